//! Least privilege: what the roles of an estate may do is named, action by action, on resources
//! that are named, but where AWS knows no resource for an action.

use serde_json::Value;

use super::{Finding, finding};
use crate::template::{Resource, Template};

/// Actions without resource-level permissions, which can only be allowed on `*`.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/>
const WITHOUT_RESOURCE: [&str; 13] = [
    "cloudwatch:PutMetricData",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "secretsmanager:GetRandomPassword",
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
        for (id, resource) in &template.resources {
            let mut told = |fault: String| findings.push(finding(template, id, fault));
            if resource.properties.get("ManagedPolicyArns").is_some() {
                told("has a managed policy, whose actions someone else may widen".to_owned());
            }
            for document in documents(resource) {
                let statements = document["Statement"].as_array();
                statements.into_iter().flatten().flat_map(faults).for_each(&mut told);
            }
            for name in NAMED {
                if resource.kind.starts_with("AWS::IAM::") && !resource.properties[name].is_null() {
                    told(format!(
                        "has a name of its own; leave `{name}` out, AWS finds one that is free"
                    ));
                }
            }
        }
    }
    findings
}

/// Names that CloudFormation asks another consent for, and that let an estate exist once only. The
/// name of a policy within a role is none.
const NAMED: [&str; 5] =
    ["RoleName", "UserName", "GroupName", "ManagedPolicyName", "InstanceProfileName"];

/// Policies that say what somebody may do, wherever they stand.
fn documents(resource: &Resource) -> Vec<&Value> {
    let properties = &resource.properties;
    match resource.kind.as_ref() {
        "AWS::IAM::Role" | "AWS::IAM::User" | "AWS::IAM::Group" => {
            let inline = properties["Policies"].as_array().into_iter().flatten();
            inline.map(|policy| &policy["PolicyDocument"]).collect()
        }
        "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy" => vec![&properties["PolicyDocument"]],
        _ => Vec::new(),
    }
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
