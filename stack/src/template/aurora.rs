//! An Aurora cluster: a writer, readers that take over, and an endpoint for each of the two.

use serde_json::json;

use super::database::{self, Named};
use super::value::{attribute, import, reference};
use super::{Kept, Resource, Stack, Template};
use crate::environment::aws::Engine;
use crate::estate::EstatePlan;

/// In a cluster's metadata, where the file allows another major version.
pub const MAJOR_UPGRADE: &str = "MajorUpgrade";

pub(super) fn add(template: &mut Template, plan: &EstatePlan, database: &Named<'_>) {
    let Named { id, name, group, what, of } = database;
    let key = import(plan, Stack::Network, "Key");
    let kind = "AWS::RDS::DBClusterParameterGroup";
    template.add(format!("{id}Parameters"), database::tuned(kind, of));
    let logs = match of.engine {
        Engine::AuroraPostgresql => json!(["postgresql"]),
        _ => json!(["audit", "error", "slowquery"]),
    };
    let properties = json!({
        "Engine": of.engine.word(),
        "EngineVersion": of.version.as_deref().unwrap_or(of.engine.version()),
        "DatabaseName": name,
        "Port": of.engine.port(),
        "MasterUsername": name,
        "MasterUserPassword": database::password(id),
        "StorageEncrypted": true,
        "KmsKeyId": key,
        "DBSubnetGroupName": reference(&format!("{id}Subnets")),
        "DBClusterParameterGroupName": reference(&format!("{id}Parameters")),
        "VpcSecurityGroupIds": [import(plan, Stack::Network, group)],
        "BackupRetentionPeriod": of.backups.as_millis() / 86_400_000,
        "CopyTagsToSnapshot": true,
        "DeletionProtection": true,
        "EnableCloudwatchLogsExports": logs,
        "EnableIAMDatabaseAuthentication": true,
    });
    let mut cluster =
        Resource::new("AWS::RDS::DBCluster", what, properties).kept(Kept::Snapshot).declined(
            "CKV_AWS_326",
            "a mistake is taken back by a point in time, which both engines have",
        );
    // Clusters have no property for it: CloudFormation allows it to each. So `forebay plan` is told here.
    if of.major_upgrade {
        cluster.metadata.insert(MAJOR_UPGRADE.to_owned(), true.into());
    }
    template.add(*id, cluster);
    for number in 0..=of.readers {
        let (word, why) = match number {
            0 => ("Writer".to_owned(), "answers what writes"),
            number => (format!("Reader{number}"), "answers what reads, and takes over"),
        };
        let instance = json!({
            "Engine": of.engine.word(),
            "DBClusterIdentifier": reference(id),
            "DBInstanceClass": of.class,
            "DBSubnetGroupName": reference(&format!("{id}Subnets")),
            "PubliclyAccessible": false,
            "AutoMinorVersionUpgrade": false,
            "CACertificateIdentifier": "rds-ca-rsa2048-g1",
            "EnablePerformanceInsights": true,
            "PerformanceInsightsKMSKeyId": key,
            "MonitoringInterval": 60,
            "MonitoringRoleArn": attribute("MonitoringRole", "Arn"),
            "PromotionTier": number.min(15),
        });
        template.add(format!("{id}{word}"), Resource::new("AWS::RDS::DBInstance", why, instance));
    }
    template.export(&format!("{id}ReaderHost"), attribute(id, "ReadEndpoint.Address"));
}
