//! A proxy before a database: many short connections become few long ones.

use serde_json::json;

use super::database::{self, Named};
use super::value::{import, reference};
use super::{Resource, Stack, Template, policy};
use crate::estate::EstatePlan;

pub(super) fn add(template: &mut Template, plan: &EstatePlan, database: &Named<'_>) {
    let id = database.id;
    let secret = reference(&format!("{id}Secret"));
    let key = import(plan, Stack::Network, "Key");
    let mut decrypt = policy::allow(&["kms:Decrypt"], &key);
    let service = format!("secretsmanager.{}.amazonaws.com", plan.aws().region);
    decrypt["Condition"] = json!({ "StringEquals": { "kms:ViaService": service } });
    let read = policy::allow(&["secretsmanager:GetSecretValue"], &secret);
    let why = "lets the proxy read the password";
    let role = policy::role("rds.amazonaws.com", why, &[read, decrypt]);
    template.add(format!("{id}ProxyRole"), role);
    let family = if database.of.engine.is_mysql() { "MYSQL" } else { "POSTGRESQL" };
    let properties = json!({
        "DBProxyName": format!("{}-{}", plan.name, database.name),
        "EngineFamily": family,
        "RequireTLS": true,
        "IdleClientTimeout": 1800,
        "RoleArn": super::value::attribute(&format!("{id}ProxyRole"), "Arn"),
        "Auth": [{ "AuthScheme": "SECRETS", "IAMAuth": "DISABLED", "SecretArn": secret }],
        "VpcSubnetIds": database::subnets(plan),
        "VpcSecurityGroupIds": [import(plan, Stack::Network, "DatabaseProxyGroup")],
    });
    let why = "many short connections become few long ones, and a failover is short";
    template.add(format!("{id}Proxy"), Resource::new("AWS::RDS::DBProxy", why, properties));
    let mut targets = json!({
        "DBProxyName": reference(&format!("{id}Proxy")),
        "TargetGroupName": "default",
        "ConnectionPoolConfigurationInfo": {
            "MaxConnectionsPercent": 90,
            "MaxIdleConnectionsPercent": 50,
            "ConnectionBorrowTimeout": 10,
        },
    });
    let mut after = None;
    if database.of.engine.is_aurora() {
        targets["DBClusterIdentifiers"] = json!([reference(id)]);
        // A cluster without its writer is no target yet.
        after = Some(format!("{id}Writer"));
    } else {
        targets["DBInstanceIdentifiers"] = json!([reference(id)]);
    }
    let kind = "AWS::RDS::DBProxyTargetGroup";
    let mut group = Resource::new(kind, "the database behind it", targets);
    if let Some(writer) = after {
        group = group.after(&writer);
    }
    template.add(format!("{id}ProxyTargets"), group);
}
