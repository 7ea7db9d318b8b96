//! The regions an estate may be in: no role of it acts anywhere else.

use serde_json::{Value, json};

use super::Template;

/// Denies every role whatever is asked of another region; nothing where no region is ruled out.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-requestedregion>
pub(super) fn confine(templates: &mut [Template], regions: &[String]) {
    if regions.is_empty() {
        return;
    }
    let statement = json!({
        "Sid": "OnlyInTheseRegions",
        "Effect": "Deny",
        "Action": "*",
        "Resource": "*",
        "Condition": { "StringNotEquals": { "aws:RequestedRegion": regions } },
    });
    let policy = json!({
        "PolicyName": "regions",
        "PolicyDocument": { "Version": "2012-10-17", "Statement": [statement] },
    });
    for template in templates {
        let roles = template.resources.values_mut().filter(|it| it.kind == "AWS::IAM::Role");
        for role in roles {
            match &mut role.properties["Policies"] {
                Value::Array(policies) => policies.push(policy.clone()),
                none => *none = json!([policy]),
            }
        }
    }
}
