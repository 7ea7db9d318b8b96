//! What a plan may not do unless it is named: take away what holds data; and what CloudFormation
//! would refuse: an export that changes while another stack imports it, and what no service does.

use std::collections::BTreeMap;

use serde_json::Value;

use super::effect::Effect;
use super::{Difference, Held, ResourceChange, major};
use crate::check::imported_in;

/// Types that hold what nobody can make again, whatever their template says of keeping them.
const HOLD_DATA: [&str; 10] = [
    "AWS::DynamoDB::Table",
    "AWS::EFS::FileSystem",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::KMS::Key",
    "AWS::RDS::DBCluster",
    "AWS::RDS::DBInstance",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
    "AWS::Backup::BackupVault",
];

pub fn holds_data(kind: &str) -> bool {
    HOLD_DATA.contains(&kind)
}

/// Whether somebody said that a resource may be lost: by its id, or by `STACK/ID`.
pub fn is_allowed(allowed: &[String], stack: &str, id: &str) -> bool {
    let full = format!("{stack}/{id}");
    allowed.iter().any(|name| name == id || *name == full)
}

/// Why a difference may not be deployed as it is; empty when it may.
pub fn refusals(difference: &Difference, held: &[Held], allowed: &[String]) -> Vec<String> {
    let mut refused = Vec::new();
    for stack in &difference.stacks {
        for change in stack.resources.iter().filter(|change| change.holds_data) {
            let what = match change.effect {
                Effect::Replacement => "would be replaced",
                Effect::Delete => "would be deleted",
                _ => continue,
            };
            let full = format!("{}/{}", stack.name, change.id);
            if is_allowed(allowed, &stack.name, &change.id) {
                continue;
            }
            let left = match change.kept.as_deref() {
                Some("Retain") => "; it would stay in the account, out of use",
                Some("Snapshot") => "; a snapshot would stay",
                _ => "; nothing of it would stay",
            };
            refused.push(format!(
                "{full} holds data and {what}{left}. If that is meant: --allow-replacement {}",
                change.id
            ));
        }
    }
    refused.extend(not_possible(difference));
    refused.extend(exports_in_use(difference, held));
    refused
}

/// Properties that cannot become what they are to be. What is replaced as a whole begins with them.
fn not_possible(difference: &Difference) -> Vec<String> {
    let mut refused = Vec::new();
    for stack in &difference.stacks {
        let fails = |change: &&ResourceChange| change.effect == Effect::Impossible;
        for change in stack.resources.iter().filter(fails) {
            for property in change.properties.iter().filter(|it| it.effect == Effect::Impossible) {
                let text = |value: &Option<Value>| match value {
                    Some(Value::String(text)) => text.clone(),
                    other => other.as_ref().map_or_else(String::new, Value::to_string),
                };
                let remedy = major::remedy(change, property).unwrap_or_else(|| {
                    "Write what is there, or more, in the file; or make another beside it and move over"
                        .to_owned()
                });
                refused.push(format!(
                    "{}/{}: {} cannot go from {} to {}: {}. {remedy}",
                    stack.name,
                    change.id,
                    property.path,
                    text(&property.before),
                    text(&property.after),
                    property.because.as_deref().unwrap_or("AWS refuses it"),
                ));
            }
        }
    }
    refused
}

/// Exports that change while a stack that stays imports them, which CloudFormation refuses. One that
/// goes is well when its importers let go of it first, which `deploy` sees to.
fn exports_in_use(difference: &Difference, held: &[Held]) -> Vec<String> {
    let mut importers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for stack in held {
        for name in imported_in(&stack.template) {
            importers.entry(name).or_default().push(&stack.name);
        }
    }
    let mut refused = Vec::new();
    for export in difference.stacks.iter().flat_map(|stack| &stack.exports) {
        let mut users = importers.get(export).cloned().unwrap_or_default();
        users.dedup();
        if !users.is_empty() {
            refused.push(format!(
                "the export {export} would change, and CloudFormation changes none that {} imports. \
                 Take what uses it out of the file, deploy, put it in again, deploy",
                users.join(" and ")
            ));
        }
    }
    refused
}
