//! The cache's password, another every so often: a function gives it to the cache, which takes the one
//! before until the next time; and whoever read it when it began is begun anew in between.

use proxy_config::units::Duration;
use serde_json::{Value, json};

use super::alarm::Alarm;
use super::value::{arn, attribute, import, reference, sub};
use super::{Resource, Stack, Template, camel, policy};
use crate::estate::EstatePlan;

const FUNCTION: &str = include_str!("../../../templates/rotation/cache.py");

const DAY_MS: u64 = 86_400_000;

/// Function and schedule, beside the secret they are about.
pub(super) fn add(template: &mut Template, plan: &EstatePlan, every: Duration) {
    let key = import(plan, Stack::Network, "Key");
    let log = json!({
        "LogGroupName": format!("/forebay/{}/cache-password", plan.name),
        "RetentionInDays": plan.estate.network.flow_logs.as_millis() / DAY_MS,
        "KmsKeyId": key,
    });
    let why = "how rotating the cache's password went";
    template.add("CachePasswordLogs", Resource::new("AWS::Logs::LogGroup", why, log));
    template.add("CachePasswordRole", role(plan));
    let lines: Vec<&str> = FUNCTION.split('\n').collect();
    let function = json!({
        "Code": { "ZipFile": { "Fn::Join": ["\n", lines] } },
        "Handler": "index.handler",
        "Runtime": "python3.13",
        "Architectures": ["arm64"],
        "MemorySize": 256,
        // A cache takes minutes to have a password on every node.
        "Timeout": 900,
        "ReservedConcurrentExecutions": 1,
        "Role": attribute("CachePasswordRole", "Arn"),
        "KmsKeyArn": key,
        "Environment": { "Variables": { "GROUP": reference("Cache") } },
        "LoggingConfig": { "LogGroup": reference("CachePasswordLogs"), "LogFormat": "JSON" },
        "TracingConfig": { "Mode": "Active" },
    });
    let why = "gives the cache another password, and takes the one before until the next time";
    let function = Resource::new("AWS::Lambda::Function", why, function)
        .declined("CKV_AWS_116", "it is called and answers; who calls it tries again by itself")
        .declined("CKV_AWS_117", "it calls AWS's services only, and needs no place in the network")
        .declined("CKV_AWS_272", "its text is in this template");
    template.add("CachePassword", function);
    let call = json!({
        "FunctionName": reference("CachePassword"),
        "Action": "lambda:InvokeFunction",
        "Principal": "secretsmanager.amazonaws.com",
        "SourceAccount": plan.aws().account,
        "SourceArn": reference("CacheSecret"),
    });
    let why = "only for this secret";
    template.add("CachePasswordCall", Resource::new("AWS::Lambda::Permission", why, call));
    let schedule = json!({
        "SecretId": reference("CacheSecret"),
        "RotationLambdaARN": attribute("CachePassword", "Arn"),
        // The one it has is new.
        "RotateImmediatelyOnUpdate": false,
        "RotationRules": { "ScheduleExpression": format!("rate({} days)", days(every)), "Duration": "4h" },
    });
    let why = "when";
    let kind = "AWS::SecretsManager::RotationSchedule";
    template.add("CacheRotation", Resource::new(kind, why, schedule).after("CachePasswordCall"));
    let alarm = Alarm {
        why: "the cache's password could not be rotated",
        namespace: "AWS/Lambda",
        metric: "Errors",
        dimensions: vec![("FunctionName", reference("CachePassword"))],
        statistic: "Sum",
        when: "GreaterThanThreshold",
        threshold: 0.0,
        minutes: 1,
    };
    template.add("CachePasswordAlarm", alarm.resource(plan));
}

fn role(plan: &EstatePlan) -> Resource {
    let rotates = [
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
    ];
    let mut decrypt = policy::allow(
        &["kms:Decrypt", "kms:GenerateDataKey"],
        &import(plan, Stack::Network, "Key"),
    );
    let service = format!("secretsmanager.{}.amazonaws.com", plan.aws().region);
    decrypt["Condition"] = json!({ "StringEquals": { "kms:ViaService": service } });
    let statements = [
        policy::allow(&rotates, &reference("CacheSecret")),
        policy::allow(&["secretsmanager:GetRandomPassword"], &json!("*")),
        decrypt,
        policy::allow(
            &["elasticache:DescribeReplicationGroups", "elasticache:ModifyReplicationGroup"],
            &sub(
                "arn:${AWS::Partition}:elasticache:${AWS::Region}:${AWS::AccountId}:replicationgroup:${Cache}",
            ),
        ),
        policy::allow(
            &["logs:CreateLogStream", "logs:PutLogEvents"],
            &attribute("CachePasswordLogs", "Arn"),
        ),
        policy::allow(&["xray:PutTelemetryRecords", "xray:PutTraceSegments"], &json!("*")),
    ];
    policy::role("lambda.amazonaws.com", "gives the cache another password", &statements)
}

fn days(every: Duration) -> u64 {
    every.as_millis() / DAY_MS
}

/// Tasks are given the password when they begin: those of services that use the cache are begun anew, one
/// by one, while it is still taken.
pub(super) fn renew(template: &mut Template, plan: &EstatePlan) {
    let Some(every) = plan.estate.cache.as_ref().and_then(|cache| cache.rotate) else { return };
    let uses = plan.estate.workers.iter().filter(|(_, it)| it.uses.iter().any(|it| it == "cache"));
    let names: Vec<&String> = uses.map(|(name, _)| name).collect();
    if names.is_empty() {
        return;
    }
    let services: Vec<Value> =
        names.iter().map(|name| reference(&format!("{}Service", camel(name)))).collect();
    let key = import(plan, Stack::Network, "Key");
    let statements = [
        policy::allow(&["ecs:UpdateService"], &json!(services)),
        policy::allow(&["kms:Decrypt"], &key),
    ];
    let why = "begins tasks anew that read a password when they began";
    template.add("RenewRole", policy::role("scheduler.amazonaws.com", why, &statements));
    for name in names {
        let id = camel(name);
        let service = attribute(&format!("{id}Service"), "Name");
        let input = r#"{"Cluster":"${Cluster}","Service":"${Service}","ForceNewDeployment":true}"#;
        let properties = json!({
            "ScheduleExpression": format!("rate({} days)", (days(every) / 2).max(1)),
            "FlexibleTimeWindow": { "Mode": "FLEXIBLE", "MaximumWindowInMinutes": 120 },
            "KmsKeyArn": key,
            "Target": {
                "Arn": arn("scheduler:::aws-sdk:ecs:updateService"),
                "RoleArn": attribute("RenewRole", "Arn"),
                "Input": { "Fn::Sub": [input, { "Service": service }] },
                "RetryPolicy": { "MaximumRetryAttempts": 10 },
            },
        });
        let why = format!("tasks of `{name}` have the cache's password as it is now");
        let kind = "AWS::Scheduler::Schedule";
        template.add(format!("{id}Renewed"), Resource::new(kind, &why, properties));
    }
}
