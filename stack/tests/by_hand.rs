//! What people add to the templates and change of them by hand, through the command they type.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn environments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments").canonicalize().unwrap()
}

/// Production with further lines, in a folder of its own.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn of(lines: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let production = environments().join("production.yaml").display().to_string();
        let text = format!("version: 1\nname: production\nextends: {production}\n{lines}\n");
        fs::write(folder.path().join("mine.yaml"), text).unwrap();
        Stage { folder }
    }

    fn run(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        let output = command.args(arguments).current_dir(self.folder.path()).output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        (String::from_utf8(both).unwrap(), output.status.code())
    }

    /// The templates, which must be fine.
    fn template(&self, stack: &str) -> Value {
        let (told, code) = self.run(&["synth", "mine.yaml", "-o", "stacks"]);
        assert_eq!(code, Some(0), "{told}");
        let path = self.folder.path().join(format!("stacks/{stack}.json"));
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    /// What `check` says of a file that must not be fine.
    fn refused(lines: &str) -> String {
        let (told, code) = Stage::of(lines).run(&["check", "mine.yaml"]);
        assert_eq!(code, Some(65), "{told}");
        told
    }
}

const TABLE: &str = r#"
resources:
  data:
    Sessions:
      Type: AWS::DynamoDB::Table
      DeletionPolicy: Retain
      UpdateReplacePolicy: Retain
      Properties:
        BillingMode: PAY_PER_REQUEST
        AttributeDefinitions: [ { AttributeName: id, AttributeType: S } ]
        KeySchema: [ { AttributeName: id, KeyType: HASH } ]
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }
        SSESpecification: { SSEEnabled: true, SSEType: KMS, KMSMasterKeyId: { "Fn::ImportValue": production-network-Key } }
"#;

#[test]
fn a_raw_resource_is_in_its_template_and_in_the_plan() {
    let stage = Stage::of(TABLE);
    let table = &stage.template("data")["Resources"]["Sessions"];
    assert_eq!(table["Type"], "AWS::DynamoDB::Table");
    assert_eq!(table["DeletionPolicy"], "Retain");
    assert_eq!(table["Properties"]["KeySchema"][0]["KeyType"], "HASH");
    stage.template("data");
    let (told, _) = stage.run(&["plan", "mine.yaml", "--against", "stacks"]);
    assert_eq!(told, "nothing to change\n");
    let (told, code) = stage.run(&["explain", "data/Sessions", "mine.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    let production = environments().join("production.yaml").display().to_string();
    let (told, code) = stage.run(&["plan", &production, "--against", "stacks"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("- Sessions"), "{told}");
}

#[test]
fn a_stack_that_is_not_there_is_begun_for_it() {
    let lines = r#"resources: { media: { Encodings: { Type: "AWS::SQS::Queue", Properties: { SqsManagedSseEnabled: true } } } }"#;
    let media = Stage::of(lines).template("media");
    assert_eq!(media["Resources"].as_object().unwrap().len(), 1);
}

#[test]
fn a_raw_resource_is_checked_like_the_rest_and_told_at_its_place() {
    let told = Stage::refused(&TABLE.replace("PAY_PER_REQUEST", "PER_HOUR"));
    assert!(told.contains("mine.yaml:7:5") && told.contains("PER_HOUR"), "{told}");
    let told = Stage::refused(&TABLE.replace("Sessions:", "Database:"));
    assert!(told.contains("mine.yaml:7:5"), "{told}");
    assert!(told.contains("has a resource `Database` of its own"), "{told}");
    let told = Stage::refused(&TABLE.replace("network-Key", "network-Keys"));
    assert!(told.contains("imports `production-network-Keys`"), "{told}");
    let (told, _) = Stage::of(&TABLE.replace("PAY_PER_REQUEST", "PER_HOUR")).run(&[
        "check",
        "mine.yaml",
        "-o",
        "json",
    ]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["ok"], false);
    assert!(told["problems"][0].to_string().contains("resources.data.Sessions"), "{told}");
}

#[test]
fn nobody_is_let_into_the_ledgers_database_by_hand() {
    let rule = |stack: &str, rest: &str| {
        Stage::refused(&format!(
            "resources:\n  {stack}:\n    Back:\n      Type: AWS::EC2::SecurityGroupIngress\n      \
             Properties: {{ IpProtocol: tcp, FromPort: 3306, ToPort: 3306, {rest} }}"
        ))
    };
    let own = r#"GroupId: { "Fn::GetAtt": [ DatabaseGroup, GroupId ] }"#;
    let imported = r#"GroupId: { "Fn::ImportValue": production-network-DatabaseGroup }"#;
    let edge = r#"SourceSecurityGroupId: { "Fn::ImportValue": production-network-EdgeGroup }"#;
    let told = rule("data", &format!("{imported}, {edge}"));
    assert!(told.contains("network/DatabaseGroup: EdgeGroup reaches it"), "{told}");
    let told = rule("network", &format!("{own}, CidrIp: 10.0.0.0/8"));
    assert!(told.contains("10.0.0.0/8 reaches it; only LedgerGroup"), "{told}");
    let told = rule("network", &format!("{own}, CidrIp: 128.0.0.0/1"));
    assert!(told.contains("lets the internet in"), "{told}");
    let told = rule("data", &format!("GroupId: sg-0123456789, {edge}"));
    assert!(told.contains("a group that cannot be told"), "{told}");
    let told = Stage::refused(
        "resources: { edge: { Side: { Type: \"AWS::ElasticLoadBalancingV2::LoadBalancer\", \
         Properties: { Type: network, Scheme: internet-facing } } } }",
    );
    assert!(told.contains("is reached from the internet"), "{told}");
}

#[test]
fn rights_written_by_hand_are_named_too() {
    let told = Stage::refused(
        r#"
resources:
  app:
    More:
      Type: AWS::IAM::Policy
      Properties:
        PolicyName: more
        Roles: [ { Ref: LedgerRole } ]
        PolicyDocument: { Version: "2012-10-17", Statement: [ { Effect: Allow, Action: [ "s3:*" ], Resource: "*" } ] }
"#,
    );
    assert!(told.contains("allows `s3:*`; name the actions"), "{told}");
}

#[test]
fn a_type_without_a_schema_is_taken_and_said_to_be_unchecked() {
    let stage = Stage::of(
        r#"resources: { data: { Lake: { Type: "AWS::Glue::Database", Properties: { Any: 1 } } } }"#,
    );
    let (told, code) = stage.run(&["synth", "mine.yaml", "-o", "stacks"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("there is no schema of AWS::Glue::Database here"), "{told}");
}

#[test]
fn a_patch_changes_what_was_made_and_says_so() {
    let stage = Stage::of(
        "patches:
  data:
    Database:
      - { op: test, path: /Properties/MonitoringInterval, value: 60 }
      - { op: replace, path: /Properties/MonitoringInterval, value: 15 }
      - { op: add, path: /Properties/PreferredMaintenanceWindow, value: \"sun:03:00-sun:04:00\" }
      - { op: remove, path: /Properties/CopyTagsToSnapshot }",
    );
    let database = &stage.template("data")["Resources"]["Database"];
    assert_eq!(database["Properties"]["MonitoringInterval"], 15);
    assert_eq!(database["Properties"]["PreferredMaintenanceWindow"], "sun:03:00-sun:04:00");
    assert!(database["Properties"]["CopyTagsToSnapshot"].is_null());
    assert_eq!(database["Metadata"]["Patched"][1], "replace /Properties/MonitoringInterval");
    assert_eq!(database["DeletionPolicy"], "Snapshot", "the rest is as it was");
}

#[test]
fn what_holds_data_carries_no_group_of_somebodys_own() {
    let own = "resources:
  data:
    Open:
      Type: AWS::EC2::SecurityGroup
      Properties:
        GroupDescription: x
        VpcId: { \"Fn::ImportValue\": production-network-Vpc }
        SecurityGroupIngress: [ { IpProtocol: tcp, FromPort: 3306, ToPort: 3306, CidrIp: 10.20.0.0/16 } ]
";
    let with = |place: &str, group: &str| {
        let patch = format!("{{ op: add, path: {place}, value: {group} }}");
        Stage::refused(&format!("{own}patches: {{ data: {{ Database: [ {patch} ] }} }}"))
    };
    let more = "/Properties/VPCSecurityGroups/-";
    let told = with(more, "{ \"Fn::GetAtt\": [Open, GroupId] }");
    assert!(
        told.contains("VPCSecurityGroups: lets in whom Open does; only DatabaseGroup"),
        "{told}"
    );
    let told = with(more, "sg-0123456789abcdef0");
    assert!(told.contains("is a group nobody knows"), "{told}");
    let edge = "[ { \"Fn::ImportValue\": production-network-EdgeGroup } ]";
    let told = with("/Properties/VPCSecurityGroups", edge);
    assert!(told.contains("lets in whom EdgeGroup does"), "{told}");
    let told = with("/Properties/VPCSecurityGroups", "[]");
    assert!(told.contains("names no group"), "{told}");
}

#[test]
fn nothing_waits_for_itself() {
    let topic = |rest: &str| format!("{{ Type: AWS::SNS::Topic, {rest} }}");
    let told = |x: &str, y: &str| {
        Stage::refused(&format!("resources: {{ data: {{ X: {}, Y: {} }} }}", topic(x), topic(y)))
    };
    let of = |name: &str| {
        format!("Properties: {{ DisplayName: {{ \"Fn::GetAtt\": [{name}, TopicName] }} }}")
    };
    let said = told("DependsOn: [X]", "Properties: {}");
    assert!(
        said.contains("waits for itself: X → X") && said.contains("resources.data.X"),
        "{said}"
    );
    let said = told("DependsOn: [Y]", "DependsOn: [X]");
    assert!(said.contains("waits for itself: X → Y → X"), "{said}");
    let said = told(&of("Y"), &of("X"));
    assert!(said.contains("waits for itself: X → Y → X"), "{said}");
    let said = told("Properties: { DisplayName: { \"Fn::GetAtt\": Nope.TopicName } }", &of("X"));
    assert!(said.contains("refers to `Nope`, which is not there"), "{said}");
    let list = "Properties: { DisplayName: { \"Fn::Sub\": [\"${Y.TopicName}-${a}\", { a: b }] } }";
    let stage = Stage::of(&format!(
        "resources: {{ data: {{ X: {}, Y: {} }} }}",
        topic(list),
        topic("Properties: {}")
    ));
    assert_eq!(stage.template("data")["Resources"]["X"]["Type"], "AWS::SNS::Topic");
}

#[test]
fn a_patch_that_fits_nothing_is_told_at_its_place() {
    let patch = |lines: &str| Stage::refused(&format!("patches:\n  data:\n    {lines}"));
    let told = patch("Databse: [ { op: remove, path: /Properties/Port } ]");
    assert!(told.contains("did you mean `Database`?"), "{told}");
    let told = patch("Database: [ { op: remove, path: /Properties/Prt } ]");
    assert!(told.contains("cannot remove `/Properties/Prt`"), "{told}");
    assert!(told.contains("mine.yaml:6:"), "{told}");
    let told = patch("Database: [ { op: test, path: /Properties/MultiAZ, value: false } ]");
    assert!(told.contains("cannot test `/Properties/MultiAZ`"), "{told}");
    let told = patch("Database: [ { op: replace, path: /Properties/MultiAZ, value: maybe } ]");
    assert!(told.contains("mine.yaml:6:5") && told.contains("MultiAZ"), "{told}");
    let told =
        patch("Database: [ { op: replace, path: /Properties/PubliclyAccessible, value: true } ]");
    assert!(told.contains("has a public address"), "{told}");
    let told = patch("Database: [ { op: add, path: /DependsOn, value: 7 } ]");
    assert!(told.contains("what comes of it is no resource"), "{told}");
}

#[test]
fn a_teams_own_template_takes_the_place_of_forebays() {
    let stage = Stage::of("aws: { templates: ours }");
    let ours = stage.folder.path().join("ours");
    fs::create_dir(&ours).unwrap();
    let unit = "[Service]\nExecStart=/opt/ours {{ document }}\n";
    fs::write(ours.join("forebay-proxy.service"), unit).unwrap();
    let edge = stage.template("edge");
    let files = &edge["Resources"]["EdgeLaunchTemplate"]["Metadata"]["AWS::CloudFormation::Init"];
    let unit = &files["config"]["files"]["/etc/systemd/system/forebay-proxy.service"]["content"];
    assert_eq!(unit["Fn::Join"][1][1], "ExecStart=/opt/ours /run/forebay-proxy/proxy.yaml");
    fs::write(ours.join("boot.sh"), "{{ nothing }}").unwrap();
    let (told, code) = stage.run(&["check", "mine.yaml"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("ours/boot.sh cannot be rendered"), "{told}");
}

#[test]
fn snapshots_go_to_a_vault_and_to_another_region() {
    let vault = "arn:aws:backup:eu-west-1:123456789012:backup-vault:forebay";
    let stage = Stage::of(&format!(
        "aws: {{ regions: [ eu-central-1, eu-west-1 ] }}\nbackup: {{ monthly: 3650d, copy_to: \"{vault}\", lock: true }}"
    ));
    let data = stage.template("data");
    let rules = &data["Resources"]["BackupPlan"]["Properties"]["BackupPlan"]["BackupPlanRule"];
    assert_eq!(rules.as_array().unwrap().len(), 2);
    assert_eq!(rules[1]["CopyActions"][0]["DestinationBackupVaultArn"], vault);
    let selected = &data["Resources"]["BackupSelection"]["Properties"]["BackupSelection"];
    assert_eq!(selected["Resources"], json!([{ "Fn::GetAtt": ["Database", "DBInstanceArn"] }]));
    assert_eq!(data["Resources"]["BackupVault"]["DeletionPolicy"], "Retain");
    let policies = &stage.template("app")["Resources"]["LedgerRole"]["Properties"]["Policies"];
    let denied = &policies[1]["PolicyDocument"]["Statement"][0];
    assert_eq!(denied["Effect"], "Deny");
    assert_eq!(
        denied["Condition"]["StringNotEquals"]["aws:RequestedRegion"],
        json!(["eu-central-1", "eu-west-1"])
    );
    let told = Stage::refused(&format!(
        "aws: {{ regions: [ eu-central-1 ] }}\nbackup: {{ copy_to: \"{vault}\" }}"
    ));
    assert!(told.contains("`eu-west-1` is not one of `aws.regions`"), "{told}");
}

#[test]
fn a_cost_has_its_dates_and_a_change_its_price() {
    let stage = Stage::of("database: { class: db.r7g.xlarge }");
    let production = environments().join("production.yaml").display().to_string();
    let (told, code) = stage.run(&["synth", &production, "-o", "saved"]);
    assert_eq!(code, Some(0), "{told}");
    let (told, code) = stage.run(&["cost", "mine.yaml", "--against", "saved"]);
    assert_eq!(code, Some(0), "{told}");
    for part in
        ["data/Database  db.r7g.xlarge", "in all", "of the budget of 4000", "EC2's of 2025-"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("has no price"), "everything shipped has a price: {told}");
    let (told, _) = stage.run(&["cost", "mine.yaml", "--against", "saved", "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let sum = |side: &str| told["change"][side]["always"].as_str().unwrap().parse::<f64>().unwrap();
    let step = sum("after") - sum("before");
    // Another db.r7g.large in two zones: 0.239 × 730 × 2, at the level of Frankfurt.
    assert!((349.0..460.0).contains(&step), "{told}");
    let (told, _) = stage.run(&["plan", "mine.yaml", "--against", "saved"]);
    assert!(told.contains("US dollars a month: always "), "{told}");
}

#[test]
fn everything_shipped_has_a_price() {
    for name in ["live-accounting", "media-platform", "stream-api", "video-encoding", "staging"] {
        let file = environments().join(format!("{name}.yaml")).display().to_string();
        let (told, code) = Stage::of("").run(&["cost", &file, "-o", "json"]);
        assert_eq!(code, Some(0), "{told}");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["unknown"], json!([]), "{name}");
    }
}
