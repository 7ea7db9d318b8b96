//! The stack `data`: what holds data, retained and protected.

use serde_json::{Map, Value, json};

use super::alarm::Alarm;
use super::value::{import, reference, sub};
use super::{Kept, Resource, Stack, Template};
use crate::environment::aws::{Cache, CacheEngine, Database, Engine};
use crate::estate::EstatePlan;
use crate::estate::parameters;
use crate::estate::subnets::Tier;

/// The name of the ledger's database in the server.
const DATABASE: &str = "ledger";

const GIB: u64 = 1 << 30;

pub(super) fn build(plan: &EstatePlan) -> Template {
    let mut template = Template::new(plan, Stack::Data, "what holds data, retained and protected.");
    access_logs(&mut template, plan);
    if let Some(database) = plan.database() {
        add_database(&mut template, plan, database);
        database_alarms(&mut template, plan, database);
    }
    if let Some(cache) = &plan.estate.cache {
        add_cache(&mut template, plan, cache);
    }
    template
}

fn subnets(plan: &EstatePlan) -> Vec<Value> {
    let of_data = plan.subnets.iter().filter(|subnet| subnet.tier == Tier::Data);
    of_data.map(|subnet| import(plan, Stack::Network, &subnet.id())).collect()
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
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": true,
            "BlockPublicPolicy": true,
            "IgnorePublicAcls": true,
            "RestrictPublicBuckets": true,
        },
        "VersioningConfiguration": { "Status": "Enabled" },
    });
    let why = "who asked the public balancer for what";
    template.add("AccessLogs", Resource::new("AWS::S3::Bucket", why, bucket).kept(Kept::Retain));
    let objects = sub("${AccessLogs.Arn}/*");
    let all = json!([sub("${AccessLogs.Arn}"), sub("${AccessLogs.Arn}/*")]);
    let policy = json!({
        "Bucket": reference("AccessLogs"),
        "PolicyDocument": { "Version": "2012-10-17", "Statement": [
            { "Sid": "BalancersWrite", "Effect": "Allow",
              "Principal": { "Service": "logdelivery.elasticloadbalancing.amazonaws.com" },
              "Action": "s3:PutObject", "Resource": objects,
              "Condition": { "StringEquals": { "aws:SourceAccount": plan.aws().account } } },
            { "Sid": "OnlyEncrypted", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
              "Resource": all, "Condition": { "Bool": { "aws:SecureTransport": "false" } } },
        ] },
    });
    let why = "balancers write, and nobody in the clear";
    template.add("AccessLogsPolicy", Resource::new("AWS::S3::BucketPolicy", why, policy));
    template.export("AccessLogs", reference("AccessLogs"));
}

fn add_database(template: &mut Template, plan: &EstatePlan, database: &Database) {
    let key = import(plan, Stack::Network, "Key");
    let secret = json!({
        "Description": "The user of the ledger's database",
        "KmsKeyId": key,
        "GenerateSecretString": {
            "SecretStringTemplate": json!({ "username": DATABASE }).to_string(),
            "GenerateStringKey": "password",
            "PasswordLength": 40,
            "ExcludePunctuation": true,
        },
    });
    let why = "made by AWS, read by the ledger's instances, seen by nobody";
    let kind = "AWS::SecretsManager::Secret";
    template.add("DatabaseSecret", Resource::new(kind, why, secret).kept(Kept::Retain));
    template.export("DatabaseSecret", reference("DatabaseSecret"));
    let group = json!({
        "DBSubnetGroupDescription": "Subnets without a route out",
        "SubnetIds": subnets(plan),
    });
    let why = "where the database may be";
    template.add("DatabaseSubnets", Resource::new("AWS::RDS::DBSubnetGroup", why, group));
    let values: Map<String, Value> = plan
        .parameters
        .iter()
        .map(|parameter| (parameter.name.clone(), Value::from(parameter.value.as_str())))
        .collect();
    let reasons: Map<String, Value> = plan
        .parameters
        .iter()
        .map(|parameter| (parameter.name.clone(), Value::from(parameter.why.as_str())))
        .collect();
    let tuned = json!({
        "Description": "Tuned for a ledger: durable first, then memory",
        "Family": parameters::family(database),
        "Parameters": values,
    });
    let why = "durable first, then memory; `forebay explain` has the reason of each";
    let mut tuned = Resource::new("AWS::RDS::DBParameterGroup", why, tuned);
    tuned.metadata.insert("Reasons".to_owned(), reasons.into());
    template.add("DatabaseParameters", tuned);
    let why = "accounts, entries, keys: all the ledger knows";
    let instance = Resource::new("AWS::RDS::DBInstance", why, instance(plan, database, &key));
    template.add("Database", instance.kept(Kept::Snapshot));
    template.export("DatabaseHost", super::value::attribute("Database", "Endpoint.Address"));
}

fn instance(plan: &EstatePlan, database: &Database, key: &Value) -> Value {
    let gib = database.storage.as_bytes() / GIB;
    let logs = match database.engine {
        Engine::Mysql | Engine::Mariadb => json!(["error", "slowquery"]),
        Engine::Postgres => json!(["postgresql", "upgrade"]),
    };
    let mut properties = json!({
        "Engine": database.engine.word(),
        "EngineVersion": database.version.as_deref().unwrap_or(database.engine.version()),
        "DBInstanceClass": database.class,
        "DBName": DATABASE,
        "Port": database.engine.port().to_string(),
        "MasterUsername": DATABASE,
        "MasterUserPassword": sub("{{resolve:secretsmanager:${DatabaseSecret}:SecretString:password}}"),
        "MultiAZ": database.multi_az,
        "StorageType": "gp3",
        "AllocatedStorage": gib.to_string(),
        "MaxAllocatedStorage": (gib * 10).min(65_536),
        "StorageEncrypted": true,
        "KmsKeyId": key,
        "DBSubnetGroupName": reference("DatabaseSubnets"),
        "DBParameterGroupName": reference("DatabaseParameters"),
        "VPCSecurityGroups": [import(plan, Stack::Network, "DatabaseGroup")],
        "PubliclyAccessible": false,
        "BackupRetentionPeriod": database.backups.as_millis() / 86_400_000,
        "CopyTagsToSnapshot": true,
        "DeleteAutomatedBackups": false,
        "DeletionProtection": true,
        "AutoMinorVersionUpgrade": false,
        "CACertificateIdentifier": "rds-ca-rsa2048-g1",
        "EnableCloudwatchLogsExports": logs,
        "EnablePerformanceInsights": true,
        "PerformanceInsightsKMSKeyId": key,
    });
    if database.engine == Engine::Postgres {
        properties["EnableIAMDatabaseAuthentication"] = true.into();
    }
    properties
}

fn database_alarms(template: &mut Template, plan: &EstatePlan, database: &Database) {
    #[expect(clippy::cast_precision_loss, reason = "a threshold, not an amount")]
    let bytes = database.storage.as_bytes() as f64;
    let alarms = [
        (
            "DatabaseCpuAlarm",
            "the database computes without rest; transfers wait",
            "CPUUtilization",
            "GreaterThanThreshold",
            80.0,
            10,
        ),
        (
            "DatabaseStorageAlarm",
            "a tenth of the database's first storage is left",
            "FreeStorageSpace",
            "LessThanThreshold",
            bytes / 10.0,
            5,
        ),
        (
            "DatabaseQueueAlarm",
            "writes queue before the disk; commits become slow",
            "DiskQueueDepth",
            "GreaterThanThreshold",
            64.0,
            5,
        ),
        (
            "DatabaseConnectionsAlarm",
            "someone beside the ledger holds connections",
            "DatabaseConnections",
            "GreaterThanThreshold",
            160.0,
            5,
        ),
    ];
    for (id, why, metric, when, threshold, minutes) in alarms {
        let alarm = Alarm {
            why,
            namespace: "AWS/RDS",
            metric,
            dimensions: vec![("DBInstanceIdentifier", reference("Database"))],
            statistic: "Average",
            when,
            threshold,
            minutes,
        };
        template.add(id, alarm.resource(plan));
    }
}

fn add_cache(template: &mut Template, plan: &EstatePlan, cache: &Cache) {
    let key = import(plan, Stack::Network, "Key");
    let secret = json!({
        "Description": "The cache's password",
        "KmsKeyId": key,
        "GenerateSecretString": { "PasswordLength": 40, "ExcludePunctuation": true },
    });
    let kind = "AWS::SecretsManager::Secret";
    template.add("CacheSecret", Resource::new(kind, "made by AWS", secret).kept(Kept::Retain));
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
        "AuthToken": sub("{{resolve:secretsmanager:${CacheSecret}:SecretString}}"),
        "SnapshotRetentionLimit": 1,
        "AutoMinorVersionUpgrade": true,
    });
    let why = "one primary, copies in other zones that take over";
    let kind = "AWS::ElastiCache::ReplicationGroup";
    template.add("Cache", Resource::new(kind, why, properties).kept(Kept::Snapshot));
    template.export("CacheHost", super::value::attribute("Cache", "PrimaryEndPoint.Address"));
}
