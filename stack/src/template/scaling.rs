//! How many tasks there are: as many as jobs wait for, down to none; or as the processors need.

use serde_json::{Value, json};

use super::value::{attribute, import, reference};
use super::{Resource, Stack, Template, camel};
use crate::environment::work::Worker;
use crate::estate::EstatePlan;

/// Share of the processors a service is kept at, in percent.
const CPU_TARGET: u32 = 60;

pub(super) fn add(template: &mut Template, plan: &EstatePlan, name: &str, worker: &Worker) {
    let id = camel(name);
    let service = attribute(&format!("{id}Service"), "Name");
    let properties = json!({
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": { "Fn::Sub": [
            "service/${Cluster}/${Service}", { "Service": service },
        ] },
        "MinCapacity": worker.min(),
        "MaxCapacity": worker.max,
    });
    let kind = "AWS::ApplicationAutoScaling::ScalableTarget";
    let why = format!("from {} to {} tasks of `{name}`", worker.min(), worker.max);
    template.add(format!("{id}Scale"), Resource::new(kind, &why, properties));
    match &worker.queue {
        Some(queue) => by_backlog(template, plan, name, queue, worker),
        None => by_processors(template, name),
    }
}

fn policy(template: &mut Template, id: &str, name: &str, why: &str, mut properties: Value) {
    properties["PolicyName"] = format!("{name}-{}", id.to_lowercase()).into();
    properties["ScalingTargetId"] = reference(&format!("{}Scale", camel(name)));
    let kind = "AWS::ApplicationAutoScaling::ScalingPolicy";
    template.add(id, Resource::new(kind, why, properties));
}

fn by_processors(template: &mut Template, name: &str) {
    let properties = json!({
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "PredefinedMetricSpecification": { "PredefinedMetricType": "ECSServiceAverageCPUUtilization" },
            "TargetValue": CPU_TARGET,
            "ScaleInCooldown": 300,
            "ScaleOutCooldown": 60,
        },
    });
    let why = "as many tasks as the work needs";
    policy(template, &format!("{}ByWork", camel(name)), name, why, properties);
}

/// Jobs that wait in the queue, as a metric.
fn waiting(plan: &EstatePlan, queue: &str) -> Value {
    let queue = import(plan, Stack::Data, &format!("{}QueueName", camel(queue)));
    json!({ "Id": "waiting", "ReturnData": false, "MetricStat": { "Stat": "Average", "Metric": {
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateNumberOfMessagesVisible",
        "Dimensions": [{ "Name": "QueueName", "Value": queue }],
    } } })
}

/// Tasks that run, as a metric.
fn running(name: &str) -> Value {
    let service = attribute(&format!("{}Service", camel(name)), "Name");
    json!({ "Id": "running", "ReturnData": false, "MetricStat": { "Stat": "Average", "Metric": {
        "Namespace": "ECS/ContainerInsights",
        "MetricName": "RunningTaskCount",
        "Dimensions": [
            { "Name": "ClusterName", "Value": reference("Cluster") },
            { "Name": "ServiceName", "Value": service },
        ],
    } } })
}

/// Jobs that wait for each task are kept at a number; a first job wakes the first task.
fn by_backlog(
    template: &mut Template,
    plan: &EstatePlan,
    name: &str,
    queue: &str,
    worker: &Worker,
) {
    let id = camel(name);
    let share = json!({
        "Id": "backlog", "ReturnData": true, "Label": "jobs that wait for each task",
        "Expression": "IF(FILL(running, 0) > 0, FILL(waiting, 0) / FILL(running, 0), FILL(waiting, 0))",
    });
    let properties = json!({
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "CustomizedMetricSpecification": {
                "Metrics": [waiting(plan, queue), running(name), share],
            },
            "TargetValue": worker.backlog_per_task,
            "ScaleInCooldown": 300,
            "ScaleOutCooldown": 60,
        },
    });
    let why =
        format!("a task for every {} jobs that wait, and none for none", worker.backlog_per_task);
    policy(template, &format!("{id}ByBacklog"), name, &why, properties);
    if worker.min() == 0 {
        wake(template, plan, name, queue);
    }
}

/// Tracking multiplies what runs, and nothing times anything is nothing: the first task is woken.
fn wake(template: &mut Template, plan: &EstatePlan, name: &str, queue: &str) {
    let id = camel(name);
    let step = json!({
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "Cooldown": 120,
            "MetricAggregationType": "Maximum",
            "StepAdjustments": [{ "MetricIntervalLowerBound": 0, "ScalingAdjustment": 1 }],
        },
    });
    policy(template, &format!("{id}Wake"), name, "the first job wakes the first task", step);
    let (mut jobs, mut tasks) = (waiting(plan, queue), running(name));
    jobs["MetricStat"]["Period"] = 60.into();
    tasks["MetricStat"]["Period"] = 60.into();
    let asleep = json!({
        "AlarmDescription": format!("jobs wait for `{name}` and none of it runs"),
        "Metrics": [jobs, tasks, {
            "Id": "asleep", "ReturnData": true, "Label": "jobs that nobody works on",
            "Expression": "IF(FILL(running, 0) > 0, 0, FILL(waiting, 0))",
        }],
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
        "EvaluationPeriods": 1,
        "TreatMissingData": "notBreaching",
        "AlarmActions": [reference(&format!("{id}Wake"))],
    });
    let why = "there is work and nobody at it: the first task is woken";
    template.add(format!("{id}AsleepAlarm"), Resource::new("AWS::CloudWatch::Alarm", why, asleep));
}
