//! CloudFormation's and the services' own limits on what a template may be.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>

use serde_json::Value;

use super::{Finding, finding};
use crate::template::{BYTES_MAX_IN_BUCKET, Template};

const RESOURCES_MAX: usize = 500;
const OUTPUTS_MAX: usize = 200;
const DESCRIPTION_MAX: usize = 1024;
const STACK_NAME_MAX: usize = 128;
/// Of an instance's user data, before base64.
const USER_DATA_MAX: usize = 16_384;
/// Rules of one security group, in each direction.
const GROUP_RULES_MAX: usize = 60;

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in templates {
        let counts = [
            ("bytes", template.to_json().len(), BYTES_MAX_IN_BUCKET),
            ("resources", template.resources.len(), RESOURCES_MAX),
            ("outputs", template.outputs.len(), OUTPUTS_MAX),
            ("bytes of description", template.description.len(), DESCRIPTION_MAX),
            ("characters of name", template.name.len(), STACK_NAME_MAX),
        ];
        for (what, count, max) in counts {
            if count > max {
                findings.push(finding(template, "", format!("{count} {what}, {max} at most")));
            }
        }
        for (id, resource) in &template.resources {
            if !id.bytes().all(|c| c.is_ascii_alphanumeric()) || id.len() > 255 {
                findings.push(finding(template, id, "is not a logical id"));
            }
            let data = &resource.properties["LaunchTemplateData"]["UserData"]["Fn::Base64"];
            let bytes = joined_length(data);
            if bytes > USER_DATA_MAX {
                let message = format!("{bytes} bytes of user data, {USER_DATA_MAX} at most");
                findings.push(finding(template, id, message));
            }
            for direction in ["SecurityGroupIngress", "SecurityGroupEgress"] {
                let rules = resource.properties[direction].as_array().map_or(0, Vec::len);
                if rules > GROUP_RULES_MAX {
                    let message = format!("{rules} rules, {GROUP_RULES_MAX} at most");
                    findings.push(finding(template, id, message));
                }
            }
        }
    }
    findings
}

/// Bytes of a `Fn::Join` of lines; what is filled in later is counted as it stands.
fn joined_length(value: &Value) -> usize {
    let lines = value["Fn::Join"][1].as_array();
    lines
        .into_iter()
        .flatten()
        .map(|line| line.as_str().map_or_else(|| line.to_string().len(), str::len) + 1)
        .sum()
}
