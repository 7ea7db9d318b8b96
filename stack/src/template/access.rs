//! What workers and functions are given to reach what they name: addresses in their environment,
//! secrets, and permissions for exactly those.

use serde_json::{Value, json};

use super::value::{arn, import, sub};
use super::{Stack, camel, policy};
use crate::environment::work::Wants;
use crate::estate::{CACHE_PORT, EstatePlan, LEDGER_PORT};

/// A variable of the environment and its value.
pub type Variable = (String, Value);

/// A variable that holds a secret, the secret's ARN, and the key of its JSON.
pub type SecretVariable = (String, Value, &'static str);

/// `DATABASE_LIVE_CHAT` for `live-chat`.
fn variable(kind: &str, name: &str, what: &str) -> String {
    let name = name.replace('-', "_").to_uppercase();
    if what.is_empty() { format!("{kind}_{name}") } else { format!("{kind}_{name}_{what}") }
}

/// Where everything is that is named.
pub fn variables(plan: &EstatePlan, wants: Wants<'_>) -> Vec<Variable> {
    let data = |output: String| import(plan, Stack::Data, &output);
    let mut variables = vec![("AWS_REGION_OF_ESTATE".to_owned(), json!(plan.aws().region))];
    let buckets = wants.reads.iter().chain(wants.writes);
    for name in buckets {
        variables.push((variable("BUCKET", name, ""), data(format!("{}Bucket", camel(name)))));
    }
    for name in wants.sends.iter().map(String::as_str).chain(wants.takes) {
        variables.push((variable("QUEUE", name, ""), data(format!("{}Queue", camel(name)))));
    }
    for name in wants.uses {
        match (name.as_str(), plan.estate.databases.get(name)) {
            ("cache", _) => {
                variables.push(("CACHE_HOST".to_owned(), data("CacheHost".to_owned())));
                variables.push(("CACHE_PORT".to_owned(), json!(CACHE_PORT.to_string())));
            }
            ("ledger", _) => {
                let url = format!("http://ledger.{}:{LEDGER_PORT}", plan.private_zone());
                variables.push(("LEDGER_URL".to_owned(), json!(url)));
            }
            (_, Some(database)) => {
                let word = camel(name);
                let mut add = |what: &str, value: Value| {
                    variables.push((variable("DATABASE", name, what), value));
                };
                add("HOST", data(format!("{word}DatabaseHost")));
                if database.engine.is_aurora() {
                    add("READER_HOST", data(format!("{word}DatabaseReaderHost")));
                }
                add("PORT", json!(database.engine.port().to_string()));
            }
            _ => {}
        }
    }
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    variables.dedup_by(|a, b| a.0 == b.0);
    variables
}

/// The secrets of what is named.
pub fn secrets(plan: &EstatePlan, wants: Wants<'_>) -> Vec<SecretVariable> {
    let data = |output: String| import(plan, Stack::Data, &output);
    let mut secrets = Vec::new();
    for name in wants.uses {
        if name == "cache" {
            secrets.push(("CACHE_PASSWORD".to_owned(), data("CacheSecret".to_owned()), "password"));
        } else if plan.estate.databases.contains_key(name) {
            let secret = data(format!("{}DatabaseSecret", camel(name)));
            secrets.push((variable("DATABASE", name, "USER"), secret.clone(), "username"));
            secrets.push((variable("DATABASE", name, "PASSWORD"), secret, "password"));
        }
    }
    secrets
}

/// Permission to read the secrets of what is named; none when it has none.
pub fn may_read_secrets(plan: &EstatePlan, wants: Wants<'_>) -> Vec<Value> {
    let mut secrets: Vec<Value> =
        self::secrets(plan, wants).into_iter().map(|(_, secret, _)| secret).collect();
    secrets.dedup();
    if secrets.is_empty() {
        return Vec::new();
    }
    let read = policy::allow(&["secretsmanager:GetSecretValue"], &json!(secrets));
    vec![read, decrypt(plan, &["kms:Decrypt"], "secretsmanager")]
}

/// Use of the estate's key, through one service only.
fn decrypt(plan: &EstatePlan, actions: &[&str], service: &str) -> Value {
    let mut statement = policy::allow(actions, &import(plan, Stack::Network, "Key"));
    let service = format!("{service}.{}.amazonaws.com", plan.aws().region);
    statement["Condition"] = json!({ "StringEquals": { "kms:ViaService": service } });
    statement
}

/// Permission for the buckets and queues that are named.
pub fn may_use(plan: &EstatePlan, wants: Wants<'_>) -> Vec<Value> {
    let bucket = |name: &String, rest: &str| {
        let own = import(plan, Stack::Data, &format!("{}Bucket", camel(name)));
        json!({ "Fn::Sub": [format!("arn:${{AWS::Partition}}:s3:::${{Bucket}}{rest}"), { "Bucket": own }] })
    };
    let queues = |names: &[String]| -> Vec<Value> {
        let arn = |name: &String| import(plan, Stack::Data, &format!("{}QueueArn", camel(name)));
        names.iter().map(arn).collect()
    };
    let mut statements = Vec::new();
    if !wants.reads.is_empty() {
        let objects: Vec<Value> = wants.reads.iter().map(|name| bucket(name, "/*")).collect();
        statements.push(policy::allow(&["s3:GetObject"], &json!(objects)));
        let lists: Vec<Value> = wants.reads.iter().map(|name| bucket(name, "")).collect();
        statements.push(policy::allow(&["s3:ListBucket"], &json!(lists)));
    }
    if !wants.writes.is_empty() {
        let objects: Vec<Value> = wants.writes.iter().map(|name| bucket(name, "/*")).collect();
        let actions = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"];
        statements.push(policy::allow(&actions, &json!(objects)));
    }
    if !wants.reads.is_empty() || !wants.writes.is_empty() {
        statements.push(decrypt(plan, &["kms:Decrypt", "kms:GenerateDataKey"], "s3"));
    }
    if !wants.sends.is_empty() {
        statements.push(policy::allow(&["sqs:SendMessage"], &json!(queues(wants.sends))));
    }
    if let Some(name) = wants.takes {
        let actions = [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        ];
        statements.push(policy::allow(&actions, &json!(queues(&[name.to_owned()]))));
    }
    if wants.takes.is_some() || !wants.sends.is_empty() {
        statements.push(decrypt(plan, &["kms:Decrypt", "kms:GenerateDataKey"], "sqs"));
    }
    statements
}

/// Permission to pull an image of the account's own registry.
pub fn may_pull(image: &str) -> Vec<Value> {
    let token = policy::allow(&["ecr:GetAuthorizationToken"], &json!("*"));
    // 123456789012.dkr.ecr.eu-central-1.amazonaws.com/name:tag
    let (host, rest) = image.split_once('/').unwrap_or(("", image));
    let mut parts = host.split('.');
    let account = parts.next().unwrap_or_default();
    let region = parts.nth(2).unwrap_or_default();
    let name = rest.split(['@', ':']).next().unwrap_or(rest);
    let repository = arn(&format!("ecr:{region}:{account}:repository/{name}"));
    let pull =
        ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];
    vec![token, policy::allow(&pull, &repository)]
}

/// What a function in the network needs to have an address there.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions>
pub fn may_have_an_address() -> Vec<Value> {
    let own = sub("arn:${AWS::Partition}:ec2:${AWS::Region}:${AWS::AccountId}:*/*");
    let addresses = [
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:UnassignPrivateIpAddresses",
    ];
    let look = ["ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"];
    vec![policy::allow(&addresses, &own), policy::allow(&look, &json!("*"))]
}
