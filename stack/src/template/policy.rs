//! IAM: roles that services take on, and what they may do.

use serde_json::{Value, json};

use super::Resource;

/// What may be done: actions on resources, under conditions.
pub fn allow(actions: &[&str], resources: &Value) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resources })
}

/// What the agent of Systems Manager may do, so that people have sessions and no SSH. The actions know no resources.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html>
pub fn sessions() -> Value {
    let actions = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ];
    let mut statement = allow(&actions, &json!("*"));
    statement["Sid"] = "SessionsInsteadOfSsh".into();
    statement
}

/// A role for a service, with one inline policy.
pub fn role(service: &str, why: &str, statements: &[Value]) -> Resource {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": service },
            "Action": "sts:AssumeRole",
        }],
    });
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    let properties = json!({
        "AssumeRolePolicyDocument": trust,
        "Policies": [{ "PolicyName": "inline", "PolicyDocument": policy }],
    });
    Resource::new("AWS::IAM::Role", why, properties)
}
