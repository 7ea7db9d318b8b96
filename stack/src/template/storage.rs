//! Buckets: private, encrypted, versioned, and only over TLS.

use proxy_config::units::Duration;
use serde_json::{Value, json};

use super::value::{attribute, import, reference, sub};
use super::{Kept, Resource, Stack, Template, camel};
use crate::environment::delivery::Bucket;
use crate::estate::EstatePlan;

pub(super) fn add(template: &mut Template, plan: &EstatePlan) {
    for (name, bucket) in &plan.estate.storage {
        let id = format!("{}Bucket", camel(name));
        let key = import(plan, Stack::Network, "Key");
        let mut properties = json!({
            "BucketEncryption": { "ServerSideEncryptionConfiguration": [{
                "BucketKeyEnabled": true,
                "ServerSideEncryptionByDefault": {
                    "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key,
                },
            }] },
            "LifecycleConfiguration": { "Rules": rules(bucket) },
            "LoggingConfiguration": {
                "DestinationBucketName": reference("AccessLogs"),
                "LogFilePrefix": format!("s3/{name}/"),
            },
            "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] },
            "PublicAccessBlockConfiguration": nobody(),
            "VersioningConfiguration": { "Status": "Enabled" },
        });
        if !bucket.uploads_from.is_empty() {
            properties["CorsConfiguration"] = json!({ "CorsRules": [{
                "AllowedHeaders": ["content-type", "content-md5", "x-amz-*"],
                "AllowedMethods": ["GET", "HEAD", "POST", "PUT"],
                "AllowedOrigins": bucket.uploads_from,
                "ExposedHeaders": ["ETag"],
                "MaxAge": 3600,
            }] });
        }
        let why = format!("objects of `{name}`; they stay when the stack goes");
        let resource = Resource::new("AWS::S3::Bucket", &why, properties);
        template.add(&id, resource.kept(Kept::Retain));
        template.export(&id, reference(&id));
        template.export(&format!("{id}Domain"), attribute(&id, "RegionalDomainName"));
        if !delivered(plan, name) {
            let policy = policy(&sub(format!("${{{id}.Arn}}")), &reference(&id), None);
            template.add(format!("{id}Policy"), policy);
        }
    }
}

/// Whether the CDN reads it; then its policy names the distribution, and stands beside that.
pub(super) fn delivered(plan: &EstatePlan, name: &str) -> bool {
    plan.estate.cdn.as_ref().is_some_and(|cdn| {
        cdn.otherwise.origin == *name || cdn.behaviours.iter().any(|it| it.origin == *name)
    })
}

/// Nobody in the clear; and the CDN reads, when there is one.
pub(super) fn policy(arn: &Value, bucket: &Value, distribution: Option<Value>) -> Resource {
    let objects = match arn.get("Fn::Sub").and_then(Value::as_str) {
        Some(text) => sub(format!("{text}/*")),
        None => json!({ "Fn::Join": ["", [arn, "/*"]] }),
    };
    let mut statements = vec![json!({
        "Sid": "OnlyEncrypted", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [arn, objects],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })];
    if let Some(distribution) = distribution {
        statements.push(json!({
            "Sid": "TheCdnReads", "Effect": "Allow",
            "Principal": { "Service": "cloudfront.amazonaws.com" },
            "Action": "s3:GetObject", "Resource": objects,
            "Condition": { "StringEquals": { "AWS:SourceArn": distribution } },
        }));
    }
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    let properties = json!({ "Bucket": bucket, "PolicyDocument": document });
    Resource::new("AWS::S3::BucketPolicy", "nobody in the clear", properties)
}

pub(super) fn nobody() -> Value {
    json!({
        "BlockPublicAcls": true,
        "BlockPublicPolicy": true,
        "IgnorePublicAcls": true,
        "RestrictPublicBuckets": true,
    })
}

fn rules(bucket: &Bucket) -> Vec<Value> {
    let mut rules = vec![json!({
        "Id": "Tidy", "Status": "Enabled",
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 7 },
        "NoncurrentVersionExpiration": { "NoncurrentDays": 30 },
    })];
    if let Some(days) = bucket.expire.map(days) {
        rules.push(json!({ "Id": "Expire", "Status": "Enabled", "ExpirationInDays": days }));
    }
    rules
}

fn days(duration: Duration) -> u64 {
    duration.as_millis() / 86_400_000
}
