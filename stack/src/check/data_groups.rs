//! Which security groups what holds data carries: those whose callers [`super::reachability`] proves, and no other. A
//! group of somebody's own would let in whom it likes.

use serde_json::Value;

use super::reachability::group_of;
use super::{Finding, finding};
use crate::template::{Resource, Template};

const DATABASES: &[&str] = &["AppDatabaseGroup", "DatabaseGroup"];

/// Types that hold data behind security groups, the property that lists them, and the groups there may be.
const CARRIERS: [(&str, &str, &[&str]); 6] = [
    ("AWS::ElastiCache::CacheCluster", "VpcSecurityGroupIds", &["CacheGroup"]),
    ("AWS::ElastiCache::ReplicationGroup", "SecurityGroupIds", &["CacheGroup"]),
    ("AWS::ElastiCache::ServerlessCache", "SecurityGroupIds", &["CacheGroup"]),
    ("AWS::RDS::DBCluster", "VpcSecurityGroupIds", DATABASES),
    ("AWS::RDS::DBInstance", "VPCSecurityGroups", DATABASES),
    ("AWS::RDS::DBProxy", "VpcSecurityGroupIds", &["DatabaseProxyGroup"]),
];

/// The ledger's own database.
const LEDGERS: &str = "Database";

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in templates {
        for (id, resource) in &template.resources {
            let carrier = CARRIERS.iter().find(|(kind, ..)| *kind == resource.kind);
            let Some((_, property, may)) = carrier.filter(|_| !is_of_cluster(resource)) else {
                continue;
            };
            let may = if id == LEDGERS { &["DatabaseGroup"] } else { *may };
            for message in faults(&resource.properties[*property], may, templates) {
                findings.push(finding(template, id, format!("{property}: {message}")));
            }
        }
    }
    findings
}

/// Its cluster has the groups.
fn is_of_cluster(resource: &Resource) -> bool {
    !resource.properties["DBClusterIdentifier"].is_null() && resource.kind == "AWS::RDS::DBInstance"
}

fn faults(carried: &Value, may: &[&str], templates: &[Template]) -> Vec<String> {
    let known = may.join(" or ");
    let groups = carried.as_array().map(Vec::as_slice).unwrap_or_default();
    if groups.is_empty() {
        return vec![format!("names no group, so that of the whole network counts; name {known}")];
    }
    let odd = groups.iter().filter_map(|group| match group_of(group, templates) {
        Some(name) if may.contains(&name.as_str()) => None,
        Some(name) => Some(format!("lets in whom {name} does; only {known} may stand here")),
        None => Some(format!("{group} is a group nobody knows; only {known} may stand here")),
    });
    odd.collect()
}
