//! Least privilege: what the roles of an estate may do is named, action by action, on resources
//! that are named, but where AWS knows no resource for an action.

use serde_json::Value;

use super::{Finding, finding};
use crate::template::Template;

/// Actions without resource-level permissions, which can only be allowed on `*`.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/>
const WITHOUT_RESOURCE: [&str; 11] = [
    "cloudwatch:PutMetricData",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ecr:GetAuthorizationToken",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
];

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in templates {
        for (id, role) in template.resources.iter().filter(|(_, r)| r.kind == "AWS::IAM::Role") {
            if role.properties.get("ManagedPolicyArns").is_some() {
                let message = "has a managed policy, whose actions someone else may widen";
                findings.push(finding(template, id, message));
            }
            let policies = role.properties["Policies"].as_array();
            for policy in policies.into_iter().flatten() {
                let statements = policy["PolicyDocument"]["Statement"].as_array();
                for statement in statements.into_iter().flatten() {
                    let faults = faults(statement);
                    findings.extend(faults.into_iter().map(|fault| finding(template, id, fault)));
                }
            }
        }
    }
    findings
}

fn faults(statement: &Value) -> Vec<String> {
    if statement["Effect"] != "Allow" {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let actions: Vec<&str> = texts(&statement["Action"]);
    for action in actions.iter().filter(|action| action.contains('*')) {
        faults.push(format!("allows `{action}`; name the actions"));
    }
    if texts(&statement["Resource"]).contains(&"*") {
        for action in actions.iter().filter(|action| !WITHOUT_RESOURCE.contains(action)) {
            faults.push(format!("allows `{action}` on everything; name the resources"));
        }
    }
    faults
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}
