//! The media platform on ministack, from its first deployment to its end.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use system_tests::binaries::{self, repository};

use crate::between::{Kind, UNKNOWN_TO_MINISTACK};
use crate::mock::{RELEASES, Stage, each, said};

const REGION: &str = "eu-west-1";

/// A table whose key decides whether it is the same table, a queue to be changed, and a right to it.
fn by_hand(key: &str, seconds: u32) -> String {
    format!(
        "resources:
  data:
    Sessions:
      Type: AWS::DynamoDB::Table
      Properties:
        BillingMode: PAY_PER_REQUEST
        AttributeDefinitions: [ {{ AttributeName: {key}, AttributeType: S }} ]
        KeySchema: [ {{ AttributeName: {key}, KeyType: HASH }} ]
    Mail:
      Type: AWS::SQS::Queue
      Properties: {{ SqsManagedSseEnabled: true, VisibilityTimeout: {seconds} }}
    Clerk:
      Type: AWS::IAM::Role
      Properties:
        AssumeRolePolicyDocument: {{ Version: \"2012-10-17\", Statement: [ {{ Effect: Allow, Principal: {{ Service: ec2.amazonaws.com }}, Action: \"sts:AssumeRole\" }} ] }}
    Duty:
      Type: AWS::IAM::Policy
      Properties:
        PolicyName: duty
        Roles: [ {{ Ref: Clerk }} ]
        PolicyDocument: {{ Version: \"2012-10-17\", Statement: [ {{ Sid: Within{seconds}, Effect: Allow, Action: \"sqs:SendMessage\", Resource: {{ \"Fn::GetAtt\": [ Mail, Arn ] }} }} ] }}"
    )
}

/// A name in a zone that is not there.
const FAILS: &str = "
    Broken:
      Type: AWS::Route53::RecordSet
      DependsOn: [ Mail ]
      Properties: { HostedZoneId: Z0NOWHERE, Name: a.example.com, Type: A, TTL: \"60\", ResourceRecords: [ 10.0.0.1 ] }";

/// Something that waits for a sign that nobody gives.
const WAITS: &str = "
    Handle: { Type: \"AWS::CloudFormation::WaitConditionHandle\" }
    Sign:
      Type: AWS::CloudFormation::WaitCondition
      DependsOn: [ Duty ]
      Properties: { Handle: { Ref: Handle }, Timeout: \"4\" }";

#[test]
fn an_estate_is_made_changed_repaired_and_taken_away() {
    let stage = Stage::of(Kind::Ministack, "media-platform", REGION);
    stage.write(&by_hand("id", 30));
    stage.deployed(&["--release", "1.0.0", "--binaries", "."]);
    what_was_asked_for_is_there(&stage);
    a_change_arrives(&stage);
    what_holds_data_is_replaced_only_when_it_is_named(&stage);
    what_somebody_changed_is_told(&stage);
    what_fails_is_taken_back(&stage);
    what_cannot_be_taken_back_is_resumed(&stage);
    what_holds_data_stays(&stage);
}

fn what_was_asked_for_is_there(stage: &Stage) {
    let list = |service: &str, operation: &str| stage.ask(service, operation, json!({}));
    let release = json!({ "Bucket": RELEASES, "Key": "forebay/1.0.0/forebay-proxy" });
    assert_eq!(stage.ask("s3", "head_object", release)["ContentLength"], "forebay-proxy".len());
    let told = list("ec2", "describe_subnets");
    let subnets = told["Subnets"].as_array().expect("subnets").iter();
    let own: BTreeSet<&str> = subnets
        .filter_map(|it| it["CidrBlock"].as_str())
        .filter(|cidr| cidr.starts_with("10.50."))
        .collect();
    assert_eq!(own.len(), 12, "four tiers in three zones: {own:?}");
    let told = list("rds", "describe_db_instances");
    let databases = told["DBInstances"].as_array().expect("databases");
    assert_eq!(each(&told["DBInstances"], "Engine"), ["mariadb", "mariadb"]);
    for (key, value) in
        [("MultiAZ", true), ("StorageEncrypted", true), ("PubliclyAccessible", false)]
    {
        assert!(databases.iter().all(|it| it[key] == value), "{key}: {databases:?}");
    }
    let told = list("elasticache", "describe_replication_groups");
    assert_eq!(told["ReplicationGroups"][0]["AutomaticFailover"], "enabled");
    let told = list("elbv2", "describe_load_balancers");
    let schemes = each(&told["LoadBalancers"], "Scheme");
    assert_eq!(schemes, ["internal", "internal", "internet-facing"]);
    let cluster = list("ecs", "list_clusters")["clusterArns"][0].clone();
    let services = stage.ask("ecs", "list_services", json!({ "cluster": cluster }));
    assert_eq!(services["serviceArns"].as_array().map(Vec::len), Some(3), "{services}");
    let (_, jobs) = queue(stage, "JobsQueue");
    assert_eq!(jobs["VisibilityTimeout"], "600");
    assert!(jobs["RedrivePolicy"].as_str().is_some_and(|it| it.contains('5')), "{jobs}");
    assert_eq!(keys_of_tables(stage), ["id"]);
}

/// Of each table, the attribute that is its key.
fn keys_of_tables(stage: &Stage) -> Vec<String> {
    let names = stage.ask("dynamodb", "list_tables", json!({}));
    let names = names["TableNames"].as_array().expect("tables");
    let key = |name: &Value| {
        let table = stage.ask("dynamodb", "describe_table", json!({ "TableName": name }));
        table["Table"]["KeySchema"][0]["AttributeName"].as_str().unwrap_or_default().to_owned()
    };
    names.iter().map(key).collect()
}

/// The address of the queue whose name has this part, and its attributes.
fn queue(stage: &Stage, part: &str) -> (Value, Value) {
    let told = stage.ask("sqs", "list_queues", json!({}));
    let urls = told["QueueUrls"].as_array().expect("queues");
    let url = urls.iter().find(|url| url.as_str().is_some_and(|url| url.contains(part)));
    let url = url.unwrap_or_else(|| panic!("no {part}: {urls:?}")).clone();
    let asked = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    let attributes = stage.ask("sqs", "get_queue_attributes", asked)["Attributes"].clone();
    (url, attributes)
}

fn classes(stage: &Stage) -> Vec<String> {
    each(&stage.ask("rds", "describe_db_instances", json!({}))["DBInstances"], "DBInstanceClass")
}

fn a_change_arrives(stage: &Stage) {
    assert_eq!(classes(stage), ["db.r7g.large", "db.r7g.xlarge"]);
    stage.write(&format!("database: {{ class: db.r7g.2xlarge }}\n{}", by_hand("id", 30)));
    let told = stage.deployed(&[]);
    assert!(told.contains("interruption"), "{told}");
    assert_eq!(classes(stage), ["db.r7g.2xlarge", "db.r7g.xlarge"]);
    let (told, code) = stage.forebay(&["plan"]);
    assert_eq!((told.as_str(), code), ("nothing to change\n", Some(0)));
    stage.write(&by_hand("id", 30));
    stage.deployed(&[]);
}

fn what_holds_data_is_replaced_only_when_it_is_named(stage: &Stage) {
    stage.write(&by_hand("user", 30));
    let (told, code) = stage.forebay(&["deploy", "--yes"]);
    assert_eq!(code, Some(1), "{told}");
    let refused = "media-platform-data/Sessions holds data and would be replaced";
    assert!(told.contains(refused), "{told}");
    assert_eq!(keys_of_tables(stage), ["id"]);
    stage.deployed(&["--allow-replacement", "Sessions"]);
    assert_eq!(keys_of_tables(stage), ["user"]);
}

fn what_somebody_changed_is_told(stage: &Stage) {
    let (told, code) = stage.forebay(&["drift"]);
    assert_eq!((told.as_str(), code), ("everything is as the templates say\n", Some(0)));
    let set = |seconds: &str| {
        let (url, _) = queue(stage, "Mail");
        let attributes = json!({ "VisibilityTimeout": seconds });
        stage.ask(
            "sqs",
            "set_queue_attributes",
            json!({ "QueueUrl": url, "Attributes": attributes }),
        );
    };
    set("77");
    let (told, code) = stage.forebay(&["drift"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("media-platform-data/Mail AWS::SQS::Queue: modified"), "{told}");
    assert!(told.contains("/VisibilityTimeout: 30 → 77"), "{told}");
    stage.write(&by_hand("user", 60));
    let (told, code) = stage.forebay(&["plan", "--drift"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("VisibilityTimeout: 30 → 77  (is written over)"), "{told}");
    stage.write(&by_hand("user", 30));
    set("30");
}

fn what_fails_is_taken_back(stage: &Stage) {
    stage.write(&format!("{}{FAILS}", by_hand("user", 60)));
    let (told, code) = stage.forebay(&["deploy", "--yes"]);
    assert_eq!(code, Some(1), "{told}");
    let cause = "media-platform-data failed: AWS::Route53::RecordSet Broken: No hosted zone";
    assert!(told.contains(cause), "{told}");
    assert!(told.contains("UPDATE_ROLLBACK_COMPLETE; it is as it was before"), "{told}");
    assert_eq!(queue(stage, "Mail").1["VisibilityTimeout"], "30");
}

fn what_cannot_be_taken_back_is_resumed(stage: &Stage) {
    let (told, code) = stage.forebay(&["resume"]);
    assert_eq!((told.as_str(), code), ("no stack is stuck in a rollback\n", Some(0)));
    stage.write(&format!("{}{WAITS}", by_hand("user", 60)));
    let roles = stage.ask("iam", "list_roles", json!({}));
    let clerk = each(&roles["Roles"], "RoleName").into_iter().find(|name| name.contains("Clerk"));
    let clerk = clerk.unwrap_or_else(|| panic!("no clerk: {roles}"));
    let duty = json!({ "RoleName": clerk, "PolicyName": "duty" });
    let deploying = stage.command(&["deploy", "--yes"]).spawn().expect("it runs");
    let begun = Instant::now();
    while !stage.ask("iam", "get_role_policy", duty.clone()).to_string().contains("Within60") {
        assert!(begun.elapsed() < Duration::from_secs(60), "the change never arrives");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Somebody dismisses the clerk while the update waits: the duty cannot be what it was.
    stage.ask("iam", "delete_role_policy", duty);
    stage.ask("iam", "delete_role", json!({ "RoleName": clerk }));
    let (told, code) = said(deploying.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("media-platform-data is UPDATE_ROLLBACK_FAILED"), "{told}");
    assert!(told.contains("`forebay resume` goes on with it"), "{told}");
    let (told, code) = stage.forebay(&["deploy", "--yes"]);
    assert_eq!(code, Some(1), "{told}");
    let (told, code) = stage.forebay(&["resume", "--skip", "Duty"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("media-platform-data is stuck at Duty"), "{told}");
    assert_eq!(queue(stage, "Mail").1["VisibilityTimeout"], "30", "the rest is as it was");
    let (told, code) = stage.forebay(&["drift"]);
    assert_eq!(code, Some(1), "what was skipped is to be made right by hand: {told}");
    assert!(told.contains("media-platform-data/Clerk AWS::IAM::Role: deleted"), "{told}");
}

fn what_holds_data_stays(stage: &Stage) {
    let (told, code) = stage.forebay(&["destroy", "--yes"]);
    assert_eq!(code, Some(0), "{told}");
    let balancers = stage.ask("elbv2", "describe_load_balancers", json!({}));
    assert_eq!(balancers["LoadBalancers"], json!([]));
    assert_eq!(classes(stage).len(), 2, "the databases stay");
    let (told, code) = stage.forebay(&["destroy", "--yes", "--with-data-of", "media-platform"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(classes(stage).len(), 0);
    // What is retained is there when its stack is not.
    assert!(queue(stage, "JobsQueue").1["QueueArn"].is_string());
}

/// The table of stand-ins is what ministack says of the shipped templates, no more and no less.
#[test]
fn ministack_does_not_know_what_the_table_says() {
    let stage = Stage::of(Kind::Ministack, "media-platform", REGION);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut used = BTreeSet::new();
    for name in ["media-platform", "production"] {
        let (file, out) = (format!("environments/{name}.yaml"), folder.path().join(name));
        let mut synth = binaries::command("forebay");
        let made = synth.arg("synth").arg(repository().join(file)).arg("-o").arg(&out).output();
        assert!(made.expect("it runs").status.success());
        for entry in fs::read_dir(&out).expect("it is there") {
            let text = fs::read_to_string(entry.expect("it is readable").path()).expect("text");
            let template: Value = serde_json::from_str(&text).expect("it is JSON");
            let resources = template["Resources"].as_object().into_iter().flatten();
            used.extend(
                resources.map(|(_, it)| it["Type"].as_str().unwrap_or_default().to_owned()),
            );
        }
    }
    let one = |(number, kind)| (format!("R{number}"), json!({ "Type": kind }));
    let resources: Map<String, Value> = used.into_iter().enumerate().map(one).collect();
    let body = json!({ "Resources": resources }).to_string();
    let told = stage.ask("cloudformation", "validate_template", json!({ "TemplateBody": body }));
    let told = told["error"].as_str().expect("it refuses them").to_owned();
    let listed = told.split_once("types: [").and_then(|(_, rest)| rest.split_once(']'));
    let unknown: Vec<&str> = listed.expect("a list of types").0.split(", ").collect();
    assert_eq!(unknown, UNKNOWN_TO_MINISTACK);
}
