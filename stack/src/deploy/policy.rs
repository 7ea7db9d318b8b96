//! Stack policies: CloudFormation itself refuses to replace or delete what holds data.

use serde_json::json;

use crate::difference::guard;
use crate::template::Template;

/// The policy of a stack: everything may be updated, but what holds data is neither replaced nor
/// deleted unless it is in `allowed`.
pub fn of(template: &Template, allowed: &[String]) -> String {
    let guarded: Vec<String> = template
        .resources
        .iter()
        .filter(|(_, resource)| guard::holds_data(&resource.kind))
        .filter(|(id, _)| !guard::is_allowed(allowed, &template.name, id))
        .map(|(id, _)| format!("LogicalResourceId/{id}"))
        .collect();
    let mut statements = vec![json!({
        "Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*",
    })];
    if !guarded.is_empty() {
        statements.push(json!({
            "Effect": "Deny",
            "Action": ["Update:Replace", "Update:Delete"],
            "Principal": "*",
            "Resource": guarded,
        }));
    }
    json!({ "Statement": statements }).to_string()
}
