//! The stack `data`: what holds data, retained and protected.

use serde_json::{Value, json};

use super::database::{self, Named, subnets};
use super::value::{import, reference, sub};
use super::{Kept, Resource, Stack, Template, backup, camel, queue, rotation, storage};
use crate::environment::LEDGER;
use crate::environment::aws::{Balancer, Cache, CacheEngine};
use crate::estate::EstatePlan;

pub(super) fn build(plan: &EstatePlan) -> Template {
    let mut template = Template::new(plan, Stack::Data, "what holds data, retained and protected.");
    access_logs(&mut template, plan);
    let mut databases = Vec::new();
    if let Some(of) = plan.database() {
        let what = "accounts, entries, keys: all the ledger knows";
        let (id, name, group) = ("Database", LEDGER, "DatabaseGroup");
        database::add(&mut template, plan, &Named { id, name, group, what, of });
        ledger_key(&mut template, plan);
        databases.push(id.to_owned());
    }
    for (name, of) in &plan.estate.databases {
        let id = format!("{}Database", camel(name));
        let what = format!("the database `{name}` of workers and functions");
        let name = name.replace('-', "_");
        let group = "AppDatabaseGroup";
        let named = Named { id: &id, name: &name, group, what: &what, of };
        database::add(&mut template, plan, &named);
        databases.push(id);
    }
    if let Some(backup) = &plan.estate.backup {
        backup::add(&mut template, plan, backup, &databases);
    }
    if let Some(cache) = &plan.estate.cache {
        add_cache(&mut template, plan, cache);
    }
    storage::add(&mut template, plan);
    queue::add(&mut template, plan);
    template
}

/// Where balancers write who asked for what.
fn access_logs(template: &mut Template, plan: &EstatePlan) {
    let days = plan.estate.network.flow_logs.as_millis() / 86_400_000;
    let bucket = json!({
        // The only encryption a balancer can write with.
        "BucketEncryption": { "ServerSideEncryptionConfiguration": [
            { "ServerSideEncryptionByDefault": { "SSEAlgorithm": "AES256" } },
        ] },
        "LifecycleConfiguration": { "Rules": [
            { "Id": "Expire", "Status": "Enabled", "ExpirationInDays": days },
            { "Id": "Abort", "Status": "Enabled",
              "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 1 } },
        ] },
        "OwnershipControls": { "Rules": [{ "ObjectOwnership": "BucketOwnerEnforced" }] },
        "PublicAccessBlockConfiguration": storage::nobody(),
        "VersioningConfiguration": { "Status": "Enabled" },
    });
    let why = "who asked the public balancer for what";
    let bucket = Resource::new("AWS::S3::Bucket", why, bucket)
        .kept(Kept::Retain)
        .declined("CKV_AWS_18", "it holds logs; a log of the log would log itself");
    template.add("AccessLogs", bucket);
    let objects = sub("${AccessLogs.Arn}/*");
    let all = json!([sub("${AccessLogs.Arn}"), sub("${AccessLogs.Arn}/*")]);
    let mut policy = json!({
        "Bucket": reference("AccessLogs"),
        "PolicyDocument": { "Version": "2012-10-17", "Statement": [
            { "Sid": "BalancersWrite", "Effect": "Allow",
              "Principal": { "Service": "logdelivery.elasticloadbalancing.amazonaws.com" },
              "Action": "s3:PutObject", "Resource": objects,
              "Condition": { "StringEquals": { "aws:SourceAccount": plan.aws().account } } },
            { "Sid": "BucketsWrite", "Effect": "Allow",
              "Principal": { "Service": "logging.s3.amazonaws.com" },
              "Action": "s3:PutObject", "Resource": objects,
              "Condition": { "StringEquals": { "aws:SourceAccount": plan.aws().account } } },
            { "Sid": "OnlyEncrypted", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
              "Resource": all, "Condition": { "Bool": { "aws:SecureTransport": "false" } } },
        ] },
    });
    if plan.estate.edge.balancer == Balancer::Network
        && let Some(statements) = policy["PolicyDocument"]["Statement"].as_array_mut()
    {
        statements.extend(written_by_connections(plan));
    }
    let why = "balancers write, and nobody in the clear";
    template.add("AccessLogsPolicy", Resource::new("AWS::S3::BucketPolicy", why, policy));
    template.export("AccessLogs", reference("AccessLogs"));
}

/// Balancers of connections write by another hand than those of requests.
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/enable-access-logs.html>
fn written_by_connections(plan: &EstatePlan) -> [Value; 2] {
    let account = &plan.aws().account;
    let from = format!("arn:${{AWS::Partition}}:logs:${{AWS::Region}}:{account}:*");
    let allow = |sid: &str, action: &str, resource: &str| {
        json!({ "Sid": sid, "Effect": "Allow",
          "Principal": { "Service": "delivery.logs.amazonaws.com" },
          "Action": action, "Resource": sub(resource),
          "Condition": {
            "StringEquals": { "aws:SourceAccount": account },
            "ArnLike": { "aws:SourceArn": sub(from.clone()) },
          } })
    };
    [
        allow("ConnectionsAsk", "s3:GetBucketAcl", "${AccessLogs.Arn}"),
        allow("ConnectionsWrite", "s3:PutObject", "${AccessLogs.Arn}/*"),
    ]
}

/// The first key of an administrator. The ledger books its hash when it first starts; the key itself is here, for
/// whoever may read it.
fn ledger_key(template: &mut Template, plan: &EstatePlan) {
    let secret = json!({
        "Description": "The ledger's first API key: fbl_ and then what is under key",
        "KmsKeyId": import(plan, Stack::Network, "Key"),
        "GenerateSecretString": {
            "SecretStringTemplate": json!({ "role": "admin" }).to_string(),
            "GenerateStringKey": "key",
            // What the ledger takes for a key: letters and digits, 43 of them.
            "PasswordLength": 43,
            "ExcludePunctuation": true,
        },
    });
    let kind = "AWS::SecretsManager::Secret";
    let why = "made by AWS; whoever may read it can make keys for everybody else";
    template.add("LedgerAdminKey", Resource::new(kind, why, secret).kept(Kept::Retain));
    template.export("LedgerAdminKey", reference("LedgerAdminKey"));
}

fn add_cache(template: &mut Template, plan: &EstatePlan, cache: &Cache) {
    let key = import(plan, Stack::Network, "Key");
    let secret = json!({
        "Description": "The cache's password",
        "KmsKeyId": key,
        "GenerateSecretString": {
            "SecretStringTemplate": json!({ "username": "default" }).to_string(),
            "GenerateStringKey": "password",
            "PasswordLength": 40,
            "ExcludePunctuation": true,
        },
    });
    let kind = "AWS::SecretsManager::Secret";
    let why = "made by AWS, read by what counts in the cache, seen by nobody";
    template.add("CacheSecret", Resource::new(kind, why, secret).kept(Kept::Retain));
    template.export("CacheSecret", reference("CacheSecret"));
    let group = json!({ "Description": "Subnets without a route out", "SubnetIds": subnets(plan) });
    let why = "where the cache may be";
    template.add("CacheSubnets", Resource::new("AWS::ElastiCache::SubnetGroup", why, group));
    let (engine, version, family) = match cache.engine {
        CacheEngine::Valkey => ("valkey", "8.0", "valkey8"),
        CacheEngine::Redis => ("redis", "7.1", "redis7"),
    };
    let parameters = json!({
        "CacheParameterGroupFamily": family,
        "Description": "A full cache forgets what was used least",
        "Properties": { "maxmemory-policy": "allkeys-lru" },
    });
    let why = "full, it forgets what was used least and refuses nothing";
    let kind = "AWS::ElastiCache::ParameterGroup";
    template.add("CacheParameters", Resource::new(kind, why, parameters));
    let several = cache.replicas > 0;
    let properties = json!({
        "ReplicationGroupDescription": "Counters and answers that may be lost",
        "Engine": engine,
        "EngineVersion": version,
        "CacheNodeType": cache.node,
        "NumNodeGroups": 1,
        "ReplicasPerNodeGroup": cache.replicas,
        "AutomaticFailoverEnabled": several,
        "MultiAZEnabled": several,
        "CacheSubnetGroupName": reference("CacheSubnets"),
        "CacheParameterGroupName": reference("CacheParameters"),
        "SecurityGroupIds": [import(plan, Stack::Network, "CacheGroup")],
        "AtRestEncryptionEnabled": true,
        "KmsKeyId": key,
        "TransitEncryptionEnabled": true,
        "AuthToken": sub("{{resolve:secretsmanager:${CacheSecret}:SecretString:password}}"),
        "SnapshotRetentionLimit": 1,
        "AutoMinorVersionUpgrade": true,
    });
    let why = "one primary, copies in other zones that take over";
    let kind = "AWS::ElastiCache::ReplicationGroup";
    template.add("Cache", Resource::new(kind, why, properties).kept(Kept::Snapshot));
    template.export("CacheHost", super::value::attribute("Cache", "PrimaryEndPoint.Address"));
    if let Some(every) = cache.rotate {
        rotation::add(template, plan, every);
    }
}
