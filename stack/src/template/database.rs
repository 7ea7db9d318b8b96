//! Databases on RDS: one server with a standby, or an Aurora cluster with readers; tuned, encrypted,
//! with a password nobody sees, and a proxy before those that ask for one.

use serde_json::{Map, Value, json};

use super::alarm::Alarm;
use super::value::{attribute, import, reference, sub};
use super::{Kept, Resource, Stack, Template, aurora, database_proxy, policy};
use crate::environment::aws::{Database, Engine};
use crate::estate::EstatePlan;
use crate::estate::parameters;
use crate::estate::subnets::Tier;

const GIB: u64 = 1 << 30;

/// A database and what it is called.
pub(super) struct Named<'a> {
    /// `Database`, `AppDatabase`: begins every logical id.
    pub id: &'a str,
    /// Its name in the server, and its first user's.
    pub name: &'a str,
    /// The security group it is in.
    pub group: &'a str,
    pub what: &'a str,
    pub of: &'a Database,
}

pub(super) fn subnets(plan: &EstatePlan) -> Vec<Value> {
    let of_data = plan.subnets.iter().filter(|subnet| subnet.tier == Tier::Data);
    of_data.map(|subnet| import(plan, Stack::Network, &subnet.id())).collect()
}

pub(super) fn add(template: &mut Template, plan: &EstatePlan, database: &Named<'_>) {
    let Named { id, name, what, .. } = database;
    let key = import(plan, Stack::Network, "Key");
    let secret = json!({
        "Description": format!("The user of {what}"),
        "KmsKeyId": key,
        "GenerateSecretString": {
            "SecretStringTemplate": json!({ "username": name }).to_string(),
            "GenerateStringKey": "password",
            "PasswordLength": 40,
            "ExcludePunctuation": true,
        },
    });
    let why = "made by AWS, read by what uses the database, seen by nobody";
    let kind = "AWS::SecretsManager::Secret";
    template.add(format!("{id}Secret"), Resource::new(kind, why, secret).kept(Kept::Retain));
    template.export(&format!("{id}Secret"), reference(&format!("{id}Secret")));
    let group = json!({
        "DBSubnetGroupDescription": "Subnets without a route out",
        "SubnetIds": subnets(plan),
    });
    let why = "where the database may be";
    template.add(format!("{id}Subnets"), Resource::new("AWS::RDS::DBSubnetGroup", why, group));
    monitoring(template, plan);
    if database.of.engine.is_aurora() {
        aurora::add(template, plan, database);
    } else {
        let kind = "AWS::RDS::DBParameterGroup";
        template.add(format!("{id}Parameters"), tuned(kind, database.of));
        let instance = Resource::new("AWS::RDS::DBInstance", what, instance(plan, database))
            .declined(
                "CKV_AWS_161",
                "its one user has a password of 40 characters that nobody sees",
            );
        let instance = match database.of.multi_az {
            true => instance,
            false => instance.declined(
                "CKV_AWS_157",
                "the environment says `multi_az: false` and accepts a lost zone",
            ),
        };
        template.add(*id, instance.kept(Kept::Snapshot));
    }
    let host = if database.of.proxy {
        database_proxy::add(template, plan, database);
        attribute(&format!("{id}Proxy"), "Endpoint")
    } else {
        attribute(id, "Endpoint.Address")
    };
    template.export(&format!("{id}Host"), host);
    alarms(template, plan, database);
}

/// The tuned parameters, each with its reason in the metadata.
pub(super) fn tuned(kind: &'static str, database: &Database) -> Resource {
    let parameters = parameters::tuned(database);
    let values: Map<String, Value> =
        parameters.iter().map(|it| (it.name.clone(), Value::from(it.value.as_str()))).collect();
    let reasons: Map<String, Value> =
        parameters.iter().map(|it| (it.name.clone(), Value::from(it.why.as_str()))).collect();
    let properties = json!({
        "Description": "Tuned for a ledger: durable first, then memory",
        "Family": parameters::family(database),
        "Parameters": values,
    });
    let why = "durable first, then memory; `forebay explain` has the reason of each";
    let mut tuned = Resource::new(kind, why, properties);
    tuned.metadata.insert("Reasons".to_owned(), reasons.into());
    tuned
}

fn instance(plan: &EstatePlan, database: &Named<'_>) -> Value {
    let Named { id, name, group, of, .. } = database;
    let key = import(plan, Stack::Network, "Key");
    let gib = of.storage.map_or(20, |storage| storage.as_bytes() / GIB);
    let logs = match of.engine {
        Engine::Postgres | Engine::AuroraPostgresql => json!(["postgresql", "upgrade"]),
        _ => json!(["error", "slowquery"]),
    };
    let mut properties = json!({
        "Engine": of.engine.word(),
        "EngineVersion": of.version.as_deref().unwrap_or(of.engine.version()),
        "DBInstanceClass": of.class,
        "DBName": name,
        "Port": of.engine.port().to_string(),
        "MasterUsername": name,
        "MasterUserPassword": password(id),
        "MultiAZ": of.multi_az,
        "StorageType": "gp3",
        "AllocatedStorage": gib.to_string(),
        "MaxAllocatedStorage": (gib * 10).min(65_536),
        "StorageEncrypted": true,
        "KmsKeyId": key,
        "DBSubnetGroupName": reference(&format!("{id}Subnets")),
        "DBParameterGroupName": reference(&format!("{id}Parameters")),
        "VPCSecurityGroups": [import(plan, Stack::Network, group)],
        "PubliclyAccessible": false,
        "BackupRetentionPeriod": of.backups.as_millis() / 86_400_000,
        "CopyTagsToSnapshot": true,
        "DeleteAutomatedBackups": false,
        "DeletionProtection": true,
        "AutoMinorVersionUpgrade": false,
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "EnableCloudwatchLogsExports": logs,
        "EnablePerformanceInsights": true,
        "PerformanceInsightsKMSKeyId": key,
        "MonitoringInterval": 60,
        "MonitoringRoleArn": attribute("MonitoringRole", "Arn"),
    });
    if of.major_upgrade {
        properties["AllowMajorVersionUpgrade"] = true.into();
    }
    properties
}

pub(super) fn password(id: &str) -> Value {
    sub(format!("{{{{resolve:secretsmanager:${{{id}Secret}}:SecretString:password}}}}"))
}

/// What lets servers write down how their machines are, minute by minute.
fn monitoring(template: &mut Template, plan: &EstatePlan) {
    let group = |rest: &str| {
        super::value::arn(&format!(
            "logs:{}:{}:log-group:RDS{rest}",
            plan.aws().region,
            plan.aws().account
        ))
    };
    let groups = policy::allow(&["logs:CreateLogGroup", "logs:PutRetentionPolicy"], &group("*"));
    let streams = policy::allow(
        &[
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:GetLogEvents",
            "logs:PutLogEvents",
        ],
        &group("*:log-stream:*"),
    );
    let why = "lets database servers write down how their machines are";
    let role = policy::role("monitoring.rds.amazonaws.com", why, &[groups, streams]);
    template.add("MonitoringRole", role);
}

fn alarms(template: &mut Template, plan: &EstatePlan, database: &Named<'_>) {
    let aurora = database.of.engine.is_aurora();
    #[expect(clippy::cast_precision_loss, reason = "a threshold, not an amount")]
    let bytes = database.of.storage.map_or(0, proxy_config::units::ByteSize::as_bytes) as f64;
    let more = "GreaterThanThreshold";
    let mut alarms = vec![
        (
            "CpuAlarm",
            "the database computes without rest; transfers wait",
            "CPUUtilization",
            more,
            80.0,
            10,
        ),
        (
            "ConnectionsAlarm",
            "someone beside the ledger holds connections",
            "DatabaseConnections",
            more,
            160.0,
            5,
        ),
    ];
    if !aurora {
        alarms.extend([
            (
                "StorageAlarm",
                "a tenth of the database's first storage is left",
                "FreeStorageSpace",
                "LessThanThreshold",
                bytes / 10.0,
                5,
            ),
            (
                "QueueAlarm",
                "writes queue before the disk; commits become slow",
                "DiskQueueDepth",
                more,
                64.0,
                5,
            ),
        ]);
    }
    let dimension = if aurora { "DBClusterIdentifier" } else { "DBInstanceIdentifier" };
    for (id, why, metric, when, threshold, minutes) in alarms {
        let alarm = Alarm {
            why,
            namespace: "AWS/RDS",
            metric,
            dimensions: vec![(dimension, reference(database.id))],
            statistic: "Average",
            when,
            threshold,
            minutes,
        };
        template.add(format!("{}{id}", database.id), alarm.resource(plan));
    }
}
