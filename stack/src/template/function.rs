//! Functions on Lambda, with a URL that only the CDN may call.

use serde_json::{Map, Value, json};

use super::value::{attribute, import, reference};
use super::{Resource, Stack, Template, access, camel, policy};
use crate::environment::work::{Function, Wants};
use crate::estate::EstatePlan;
use crate::estate::subnets::Tier;

pub(super) fn add(template: &mut Template, plan: &EstatePlan, name: &str, function: &Function) {
    let id = camel(name);
    let key = import(plan, Stack::Network, "Key");
    let log = json!({
        "LogGroupName": format!("/forebay/{}/{name}", plan.name),
        "RetentionInDays": plan.estate.network.flow_logs.as_millis() / 86_400_000,
        "KmsKeyId": key,
    });
    let why = format!("what `{name}` says");
    template.add(format!("{id}Logs"), Resource::new("AWS::Logs::LogGroup", &why, log));
    let wants = Wants::from(function);
    let mut may = vec![
        policy::allow(
            &["logs:CreateLogStream", "logs:PutLogEvents"],
            &attribute(&format!("{id}Logs"), "Arn"),
        ),
        policy::allow(&["xray:PutTelemetryRecords", "xray:PutTraceSegments"], &json!("*")),
    ];
    may.extend(access::may_have_an_address());
    may.extend(access::may_read_secrets(plan, wants));
    may.extend(access::may_use(plan, wants));
    let why = format!("what `{name}` may do");
    template.add(format!("{id}Role"), policy::role("lambda.amazonaws.com", &why, &may));
    let subnets: Vec<Value> = plan
        .subnets
        .iter()
        .filter(|subnet| subnet.tier == Tier::App)
        .map(|subnet| import(plan, Stack::Network, &subnet.id()))
        .collect();
    let properties = json!({
        "Code": { "S3Bucket": plan.aws().releases, "S3Key": function.code },
        "Handler": function.handler,
        "Runtime": function.runtime,
        "Architectures": ["arm64"],
        "MemorySize": function.memory.as_bytes() >> 20,
        "Timeout": function.timeout.as_millis() / 1000,
        "ReservedConcurrentExecutions": function.concurrency,
        "Role": attribute(&format!("{id}Role"), "Arn"),
        "KmsKeyArn": key,
        "Environment": { "Variables": variables(plan, function) },
        "LoggingConfig": { "LogGroup": reference(&format!("{id}Logs")), "LogFormat": "JSON" },
        "TracingConfig": { "Mode": "Active" },
        "VpcConfig": {
            "SecurityGroupIds": [import(plan, Stack::Network, "FunctionsGroup")],
            "SubnetIds": subnets,
        },
    });
    let why = format!("answers requests for `{name}`");
    let resource = Resource::new("AWS::Lambda::Function", &why, properties)
        .declined("CKV_AWS_116", "it is called and answers at once; nobody calls it and goes away")
        .declined("CKV_AWS_272", "the archive comes from the bucket of releases, which is guarded");
    template.add(format!("{id}Function"), resource);
    let url = json!({
        "TargetFunctionArn": attribute(&format!("{id}Function"), "Arn"),
        "AuthType": "AWS_IAM",
        "InvokeMode": "RESPONSE_STREAM",
    });
    let why = "its address, for those that sign";
    template.add(format!("{id}Url"), Resource::new("AWS::Lambda::Url", why, url));
    alarm(template, plan, &id, name);
}

fn alarm(template: &mut Template, plan: &EstatePlan, id: &str, name: &str) {
    let why = format!("`{name}` fails");
    let alarm = super::alarm::Alarm {
        why: &why,
        namespace: "AWS/Lambda",
        metric: "Errors",
        dimensions: vec![("FunctionName", reference(&format!("{id}Function")))],
        statistic: "Sum",
        when: "GreaterThanThreshold",
        threshold: 0.0,
        minutes: 3,
    };
    template.add(format!("{id}ErrorsAlarm"), alarm.resource(plan));
}

/// Lambda has no variables that hold secrets: it gets their ARNs.
fn variables(plan: &EstatePlan, function: &Function) -> Map<String, Value> {
    let wants = Wants::from(function);
    let mut variables: Map<String, Value> = access::variables(plan, wants).into_iter().collect();
    for (name, secret, _) in access::secrets(plan, wants) {
        let name = name.trim_end_matches("_USER").trim_end_matches("_PASSWORD");
        variables.insert(format!("{name}_SECRET"), secret);
    }
    let own = function.environment.iter();
    variables.extend(own.map(|(name, value)| (name.clone(), json!(value))));
    variables
}
