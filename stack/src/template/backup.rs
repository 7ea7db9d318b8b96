//! Snapshots of databases in a vault, by AWS Backup, and copies of them in another region.

use serde_json::{Value, json};

use super::alarm::Alarm;
use super::value::{arn, attribute, import, reference};
use super::{Kept, Resource, Stack, Template, policy};
use crate::environment::aws::Backup;
use crate::estate::EstatePlan;

/// `ids` are the databases of this template, each an instance or a cluster.
pub(super) fn add(template: &mut Template, plan: &EstatePlan, backup: &Backup, ids: &[String]) {
    vault(template, plan, backup);
    let mut rules = vec![rule("daily", "cron(0 3 * * ? *)", days(backup.daily), backup)];
    if let Some(monthly) = backup.monthly {
        rules.push(rule("monthly", "cron(0 5 1 * ? *)", days(monthly), backup));
    }
    let properties = json!({ "BackupPlan": {
        "BackupPlanName": plan.name,
        "BackupPlanRule": rules,
    } });
    let why = "a snapshot of each database every night";
    template.add("BackupPlan", Resource::new("AWS::Backup::BackupPlan", why, properties));
    template.add("BackupRole", role(plan, backup));
    let databases: Vec<Value> = ids.iter().map(|id| database_arn(template, id)).collect();
    let properties = json!({
        "BackupPlanId": reference("BackupPlan"),
        "BackupSelection": {
            "SelectionName": format!("{}-databases", plan.name),
            "IamRoleArn": attribute("BackupRole", "Arn"),
            "Resources": databases,
        },
    });
    let why = "which databases";
    template.add("BackupSelection", Resource::new("AWS::Backup::BackupSelection", why, properties));
    let alarm = Alarm {
        why: "a snapshot could not be made or copied",
        namespace: "AWS/Backup",
        metric: "NumberOfBackupJobsFailed",
        dimensions: vec![("BackupVaultName", reference("BackupVault"))],
        statistic: "Sum",
        when: "GreaterThanThreshold",
        threshold: 0.0,
        minutes: 1,
    };
    template.add("BackupAlarm", alarm.resource(plan));
}

fn days(time: proxy_config::units::Duration) -> u64 {
    time.as_millis() / 86_400_000
}

fn vault(template: &mut Template, plan: &EstatePlan, backup: &Backup) {
    let mut properties = json!({
        "BackupVaultName": vault_name(&plan.name),
        "EncryptionKeyArn": import(plan, Stack::Network, "Key"),
    });
    if backup.lock {
        // Within three days the lock can still be taken off; after that by nobody.
        properties["LockConfiguration"] =
            json!({ "MinRetentionDays": days(backup.daily), "ChangeableForDays": 3 });
    }
    let why = "snapshots that do not go with their database";
    let vault = Resource::new("AWS::Backup::BackupVault", why, properties);
    template.add("BackupVault", vault.kept(Kept::Retain));
}

fn rule(name: &str, when: &str, days: u64, backup: &Backup) -> Value {
    let kept = json!({ "DeleteAfterDays": days });
    let mut rule = json!({
        "RuleName": name,
        "TargetBackupVault": reference("BackupVault"),
        "ScheduleExpression": when,
        "StartWindowMinutes": 60,
        "CompletionWindowMinutes": 480,
        "Lifecycle": kept,
    });
    if let Some(vault) = &backup.copy_to {
        rule["CopyActions"] = json!([{ "DestinationBackupVaultArn": vault, "Lifecycle": kept }]);
    }
    rule
}

/// An instance or a cluster: what its type is says which.
fn database_arn(template: &Template, id: &str) -> Value {
    let cluster = template.resources.get(id).is_some_and(|it| it.kind == "AWS::RDS::DBCluster");
    attribute(id, if cluster { "DBClusterArn" } else { "DBInstanceArn" })
}

/// Of AWS's own role for this, what snapshots of databases need.
/// <https://docs.aws.amazon.com/aws-backup/latest/devguide/access-control.html>
fn role(plan: &EstatePlan, backup: &Backup) -> Resource {
    let (region, account) = (&plan.aws().region, &plan.aws().account);
    let snapshots = policy::allow(
        &[
            "rds:AddTagsToResource",
            "rds:CopyDBClusterSnapshot",
            "rds:CopyDBSnapshot",
            "rds:CreateDBClusterSnapshot",
            "rds:CreateDBSnapshot",
            "rds:DeleteDBClusterSnapshot",
            "rds:DeleteDBSnapshot",
            "rds:DescribeDBClusterSnapshots",
            "rds:DescribeDBClusters",
            "rds:DescribeDBInstances",
            "rds:DescribeDBSnapshots",
            "rds:ListTagsForResource",
            "rds:ModifyDBClusterSnapshotAttribute",
            "rds:ModifyDBSnapshotAttribute",
        ],
        &arn(&format!("rds:{region}:{account}:*")),
    );
    let mut vaults = vec![attribute("BackupVault", "BackupVaultArn")];
    vaults.extend(backup.copy_to.iter().map(|vault| json!(vault)));
    let into = policy::allow(
        &["backup:CopyFromBackupVault", "backup:CopyIntoBackupVault", "backup:DescribeBackupVault"],
        &json!(vaults),
    );
    let key = policy::allow(
        &[
            "kms:CreateGrant",
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        ],
        &import(plan, Stack::Network, "Key"),
    );
    policy::role(
        "backup.amazonaws.com",
        "lets AWS Backup make and copy snapshots",
        &[snapshots, into, key],
    )
}

/// The environment's name; a vault's has two characters at least.
fn vault_name(name: &str) -> String {
    if name.len() < 2 { format!("{name}-snapshots") } else { name.to_owned() }
}
