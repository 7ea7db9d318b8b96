//! Queues of jobs, each with one for what failed again and again.

use serde_json::{Value, json};

use super::alarm::Alarm;
use super::value::{attribute, import, reference};
use super::{Kept, Resource, Stack, Template, camel};
use crate::environment::work::Queue;
use crate::estate::EstatePlan;

/// How long dead letters are kept: as long as SQS can.
const FORTNIGHT: u64 = 14 * 86_400;

pub(super) fn add(template: &mut Template, plan: &EstatePlan) {
    for (name, queue) in &plan.estate.queues {
        one(template, plan, name, queue);
    }
}

fn one(template: &mut Template, plan: &EstatePlan, name: &str, queue: &Queue) {
    let (id, dead) = (format!("{}Queue", camel(name)), format!("{}DeadLetters", camel(name)));
    let kind = "AWS::SQS::Queue";
    let key = import(plan, Stack::Network, "Key");
    let letters = json!({
        "KmsMasterKeyId": key,
        "MessageRetentionPeriod": FORTNIGHT,
    });
    let why =
        format!("jobs of `{name}` that failed {} times, for a person to look at", queue.tries);
    template.add(&dead, Resource::new(kind, &why, letters).kept(Kept::Retain));
    let properties = json!({
        "KmsMasterKeyId": key,
        "VisibilityTimeout": queue.visibility.as_millis() / 1000,
        "MessageRetentionPeriod": queue.retention.as_millis() / 1000,
        "ReceiveMessageWaitTimeSeconds": 20,
        "RedrivePolicy": {
            "deadLetterTargetArn": attribute(&dead, "Arn"),
            "maxReceiveCount": queue.tries,
        },
    });
    let why = format!("jobs of `{name}`");
    template.add(&id, Resource::new(kind, &why, properties).kept(Kept::Retain));
    template.add(format!("{id}Policy"), encrypted_only(&[&id, &dead]));
    template.export(&id, reference(&id));
    template.export(&format!("{id}Arn"), attribute(&id, "Arn"));
    template.export(&format!("{id}Name"), attribute(&id, "QueueName"));
    let failed = Alarm {
        why: "a job failed every time it was tried",
        namespace: "AWS/SQS",
        metric: "ApproximateNumberOfMessagesVisible",
        dimensions: vec![("QueueName", attribute(&dead, "QueueName"))],
        statistic: "Maximum",
        when: "GreaterThanThreshold",
        threshold: 0.0,
        minutes: 1,
    };
    template.add(format!("{dead}Alarm"), failed.resource(plan));
    let late = Alarm {
        why: "the oldest job has waited for an hour",
        metric: "ApproximateAgeOfOldestMessage",
        dimensions: vec![("QueueName", attribute(&id, "QueueName"))],
        threshold: 3600.0,
        minutes: 5,
        ..failed
    };
    template.add(format!("{id}LateAlarm"), late.resource(plan));
}

fn encrypted_only(queues: &[&str]) -> Resource {
    let urls: Vec<Value> = queues.iter().map(|id| reference(id)).collect();
    let arns: Vec<Value> = queues.iter().map(|id| attribute(id, "Arn")).collect();
    let properties = json!({
        "Queues": urls,
        "PolicyDocument": { "Version": "2012-10-17", "Statement": [{
            "Sid": "OnlyEncrypted", "Effect": "Deny", "Principal": "*",
            "Action": "sqs:*", "Resource": arns,
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }] },
    });
    Resource::new("AWS::SQS::QueuePolicy", "nobody in the clear", properties)
}
