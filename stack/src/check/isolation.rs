//! A network without a way out: no private subnet has one after all, and every service of AWS that an
//! instance, a task or a function calls has an endpoint.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, finding, named_in};
use crate::template::{Resource, Template};

/// Whose roles call services from within the network.
const WITHIN: [&str; 3] = ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "lambda.amazonaws.com"];

/// The endpoints that actions need, by how they begin; the longest beginning counts. None: no call of
/// one's own, or S3, which has its gateway.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/>
const NEEDS: [(&str, &[&str]); 15] = [
    ("cloudwatch:", &["monitoring"]),
    ("ec2:", &["ec2"]),
    ("ecr:", &["ecr.api", "ecr.dkr"]),
    ("ecs:", &["ecs"]),
    ("ecs:Poll", &["ecs-agent"]),
    ("ecs:StartTelemetrySession", &["ecs-telemetry"]),
    ("iam:PassRole", &[]),
    ("kms:", &[]),
    ("logs:", &["logs"]),
    ("mediaconvert:", &["mediaconvert"]),
    ("s3:", &[]),
    ("secretsmanager:", &["secretsmanager"]),
    ("sqs:", &["sqs"]),
    ("ssm:", &["ssm"]),
    ("ssmmessages:", &["ssmmessages"]),
];

/// What Lambda does for a function from its own network: logs, traces, and addresses.
const BY_LAMBDA: [&str; 3] = ["ec2:", "logs:", "xray:"];

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let endpoints = endpoints(templates);
    let mut findings = Vec::new();
    for template in templates {
        findings.extend(ways_out(template));
        let beyond = beyond(template);
        for (id, resource) in &template.resources {
            let needed = match resource.kind.as_ref() {
                "AWS::IAM::Role" if beyond.contains(id) => continue,
                "AWS::IAM::Role" => called(resource),
                // cfn-init and cfn-signal.
                "AWS::EC2::LaunchTemplate" => {
                    BTreeMap::from([("cloudformation".to_owned(), "cfn-init".to_owned())])
                }
                _ => continue,
            };
            for (service, action) in needed {
                if !endpoints.contains(&service) {
                    let message = format!(
                        "calls {service} ({action}), which has no endpoint in a network without a \
                         way out; name it in `network.endpoints`"
                    );
                    findings.push(finding(template, id, message));
                }
            }
        }
    }
    findings
}

/// Roles of functions that stand in no network of ours: AWS's services are where they are.
fn beyond(template: &Template) -> BTreeSet<String> {
    let functions = template.resources.values().filter(|it| it.kind == "AWS::Lambda::Function");
    let beyond = functions.filter(|it| it.properties["VpcConfig"].is_null());
    beyond.flat_map(|it| named_in(&it.properties["Role"])).collect()
}

/// Routes of private subnets that lead out of the network.
fn ways_out(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, route) in template.resources.iter().filter(|(_, it)| it.kind == "AWS::EC2::Route") {
        let table = route.properties["RouteTableId"]["Ref"].as_str().unwrap_or_default();
        let out = ["GatewayId", "NatGatewayId", "EgressOnlyInternetGatewayId", "CarrierGatewayId"];
        let leads = out.iter().any(|key| !route.properties[*key].is_null());
        let private = template.resources.values().any(|it| {
            it.kind == "AWS::EC2::SubnetRouteTableAssociation"
                && it.properties["RouteTableId"]["Ref"] == table
                && !it.properties["SubnetId"]["Ref"].as_str().unwrap_or("").starts_with("Public")
        });
        if leads && private {
            let message = "leads out of a network that is to have no way out (`nat: none`)";
            findings.push(finding(template, id, message));
        }
    }
    findings
}

/// The services that have an endpoint which every zone reaches by the service's own name.
fn endpoints(templates: &[Template]) -> BTreeSet<String> {
    let all = templates.iter().flat_map(|template| template.resources.values());
    let interfaces = all.filter(|it| {
        it.kind == "AWS::EC2::VPCEndpoint" && it.properties["PrivateDnsEnabled"] == true
    });
    let service = |it: &Resource| {
        let name = &it.properties["ServiceName"];
        let name = name["Fn::Sub"].as_str().or_else(|| name.as_str())?;
        name.splitn(4, '.').nth(3).map(str::to_owned)
    };
    interfaces.filter_map(service).collect()
}

/// Services that whoever has a role calls from within the network, each with an action that does.
fn called(role: &Resource) -> BTreeMap<String, String> {
    let trusted =
        &role.properties["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"];
    let Some(principal) = trusted.as_str().filter(|it| WITHIN.contains(it)) else {
        return BTreeMap::new();
    };
    let mut needed = BTreeMap::new();
    let mut see = |action: &str| {
        if principal == "lambda.amazonaws.com" && BY_LAMBDA.iter().any(|it| action.starts_with(it))
        {
            return;
        }
        let known = NEEDS.iter().filter(|(begins, _)| action.starts_with(begins));
        match known.max_by_key(|(begins, _)| begins.len()) {
            Some((_, services)) => {
                services.iter().for_each(|it| {
                    needed.entry((*it).to_owned()).or_insert_with(|| action.to_owned());
                });
            }
            // What the table does not know has an endpoint of its own name, or none.
            None => {
                let service = action.split(':').next().unwrap_or(action);
                needed.entry(service.to_owned()).or_insert_with(|| action.to_owned());
            }
        }
    };
    let policies = role.properties["Policies"].as_array().into_iter().flatten();
    for policy in policies {
        let statements = policy["PolicyDocument"]["Statement"].as_array().into_iter().flatten();
        for statement in statements.filter(|it| it["Effect"] == "Allow") {
            match &statement["Action"] {
                Value::Array(actions) => {
                    actions.iter().filter_map(Value::as_str).for_each(&mut see);
                }
                other => other.as_str().into_iter().for_each(&mut see),
            }
        }
    }
    needed
}
