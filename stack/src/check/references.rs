//! Every reference leads somewhere: inside a template, and from stack to stack in their order.

use std::collections::BTreeSet;

use super::{Finding, finding, imported_in, named_in};
use crate::template::Template;

const PSEUDO: [&str; 7] = [
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackName",
    "AWS::URLSuffix",
];

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut exported = BTreeSet::new();
    for template in templates {
        let known = |name: &str| {
            template.resources.contains_key(name)
                || template.parameters.contains_key(name)
                || PSEUDO.contains(&name)
        };
        for (id, resource) in &template.resources {
            let value = serde_json::json!(resource);
            for name in named_in(&value).iter().chain(&resource.depends_on) {
                if !known(name) {
                    findings.push(finding(
                        template,
                        id,
                        format!("refers to `{name}`, which is not there"),
                    ));
                }
            }
            for name in imported_in(&value) {
                if !exported.contains(&name) {
                    let message = format!("imports `{name}`, which no earlier stack exports");
                    findings.push(finding(template, id, message));
                }
            }
        }
        for (output, value) in &template.outputs {
            for name in named_in(value) {
                if !known(&name) {
                    findings.push(finding(
                        template,
                        output,
                        format!("gives `{name}`, which is not there"),
                    ));
                }
            }
        }
        for parameter in template.parameters.keys() {
            let used = |resource| named_in(&serde_json::json!(resource)).contains(parameter);
            if !template.resources.values().any(used) {
                findings.push(finding(template, parameter, "is a parameter nothing uses"));
            }
        }
        exported.extend(template.outputs.keys().map(|name| format!("{}-{name}", template.name)));
    }
    findings
}
