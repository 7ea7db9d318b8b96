//! What people see, and what CloudFormation is asked, case by case.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::fake::{Fake, Script};

const ACCOUNT: &str = "123456789012";

/// A CloudFormation, production as an environment of its own, and a release.
pub struct Stage {
    pub fake: Fake,
    pub folder: tempfile::TempDir,
}

fn production() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../environments/production.yaml")
        .canonicalize()
        .unwrap()
}

impl Stage {
    /// An update of the database comes next, which fails, and so does taking it back.
    pub fn about_to_fail() -> Stage {
        let stage = Stage::deployed(Script::default());
        stage.script(|script| {
            script.fails = Some(("Database".to_owned(), "no room".to_owned()));
            script.rollback_fails = true;
        });
        stage.write("database: { storage: 300GiB }");
        stage
    }

    pub fn of(script: Script) -> Stage {
        let account =
            if script.account.is_empty() { ACCOUNT.to_owned() } else { script.account.clone() };
        let stage = Stage {
            fake: Fake::start(Script { account, ..script }),
            folder: tempfile::tempdir().unwrap(),
        };
        for binary in ["forebay-proxy", "forebay-ledger"] {
            fs::write(stage.folder.path().join(binary), binary).unwrap();
        }
        stage.write("");
        stage
    }

    pub fn write(&self, lines: &str) {
        let extends = production().display().to_string();
        let text = format!("version: 1\nname: production\nextends: {extends}\n{lines}\n");
        fs::write(self.folder.path().join("forebay.yaml"), text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(arguments);
        if ["deploy", "destroy", "drift", "resume"].contains(&arguments[0]) {
            command.args(["--look", "10ms"]);
        }
        command.current_dir(self.folder.path()).env_clear();
        command.env("AWS_ENDPOINT_URL", format!("http://{}", self.fake.address));
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        command.env("HOME", self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output: Output = self.command(arguments).output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        (String::from_utf8(both).unwrap(), output.status.code())
    }

    pub fn deploy(&self, further: &[&str]) -> (String, Option<i32>) {
        let mut arguments = vec!["deploy", "forebay.yaml", "--yes"];
        arguments.extend(further);
        self.run(&arguments)
    }

    /// Deployed once, with a release.
    pub fn deployed(script: Script) -> Stage {
        let stage = Stage::of(script);
        let (told, code) = stage.deploy(&["--release", "1.0.0", "--binaries", "."]);
        assert_eq!(code, Some(0), "{told}");
        stage
    }

    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.fake.state.lock().unwrap().script);
    }
}

#[test]
fn stacks_are_made_in_their_order_and_guarded() {
    let stage = Stage::deployed(Script { throttled: 1, ..Script::default() });
    let order = stage.fake.calls("ExecuteChangeSet");
    assert_eq!(order[..2], ["production-network", "production-data"]);
    assert_eq!(order.len(), 4);
    let data = stage.fake.stack("production-data");
    assert_eq!(data.status, "CREATE_COMPLETE");
    assert!(data.protected);
    let policy = data.policies.last().unwrap();
    assert!(
        policy.contains("Update:Replace") && policy.contains("LogicalResourceId/Database"),
        "{policy}"
    );
    let edge = stage.fake.stack("production-edge");
    assert_eq!(edge.parameters["ReleaseVersion"], "1.0.0");
    assert_eq!(edge.parameters["ReleaseSha256"].len(), 64);
    let (told, code) = stage.deploy(&[]);
    assert_eq!((told.as_str(), code), ("nothing to change\n", Some(0)));
    let (told, code) = stage.run(&["plan", "forebay.yaml"]);
    assert_eq!((told.as_str(), code), ("nothing to change\n", Some(0)));
}

#[test]
fn a_first_deployment_needs_a_release() {
    let (told, code) = Stage::of(Script::default()).deploy(&[]);
    assert_eq!(code, Some(1));
    assert!(told.contains("--release VERSION --binaries DIR"), "{told}");
}

#[test]
fn a_new_release_changes_parameters_and_nothing_else() {
    let stage = Stage::deployed(Script::default());
    fs::write(stage.folder.path().join("forebay-proxy"), "another").unwrap();
    let before = stage.fake.calls("ExecuteChangeSet").len();
    let (told, code) = stage.deploy(&["--release", "1.0.1", "--binaries", "."]);
    assert_eq!(code, Some(0), "{told}");
    let after = stage.fake.calls("ExecuteChangeSet");
    assert_eq!(after[before..], ["production-app", "production-edge"]);
    assert_eq!(stage.fake.stack("production-edge").parameters["ReleaseVersion"], "1.0.1");
}

#[test]
fn the_cause_of_a_failure_is_told_first_and_the_next_deployment_makes_it_anew() {
    let fails = Some(("Database".to_owned(), "Cannot find version 8.4.8 for mysql".to_owned()));
    let stage = Stage::of(Script { fails, ..Script::default() });
    let release = ["--release", "1", "--binaries", "."];
    let (told, code) = stage.deploy(&release);
    assert_eq!(code, Some(1), "{told}");
    let cause = "production-data failed: AWS::RDS::DBInstance Database: Cannot find version 8.4.8 for mysql";
    assert!(told.contains(cause), "{told}");
    assert!(told.contains("ROLLBACK_COMPLETE"), "{told}");
    assert!(stage.fake.calls("ExecuteChangeSet").iter().all(|stack| stack != "production-app"));
    stage.script(|script| script.fails = None);
    let (told, code) = stage.deploy(&release);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("production-data was never made whole"), "{told}");
    assert_eq!(stage.fake.calls("DeleteStack"), ["production-data"]);
    assert_eq!(stage.fake.stack("production-data").status, "CREATE_COMPLETE");
}

#[test]
fn what_holds_data_is_replaced_only_when_named() {
    let stage = Stage::deployed(Script::default());
    stage.script(|script| script.replaces = Some("Database".to_owned()));
    stage.write("database: { storage: 300GiB }");
    let before = stage.fake.calls("ExecuteChangeSet").len();
    let (told, code) = stage.deploy(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("CloudFormation would replace or delete what holds data"), "{told}");
    assert_eq!(stage.fake.calls("ExecuteChangeSet").len(), before, "nothing is set going");
    assert_eq!(stage.fake.calls("DeleteChangeSet"), ["production-data"]);
    let (told, code) = stage.deploy(&["--allow-replacement", "Database"]);
    assert_eq!(code, Some(0), "{told}");
    let policies = stage.fake.stack("production-data").policies;
    let (lifted, back) = (&policies[policies.len() - 2], &policies[policies.len() - 1]);
    assert!(!lifted.contains("LogicalResourceId/Database\""), "{lifted}");
    assert!(back.contains("LogicalResourceId/Database\""), "{back}");
    // So it is where the change fails, and where nothing is to be changed.
    stage.script(|script| script.fails = Some(("Database".to_owned(), "no room".to_owned())));
    stage.write("database: { storage: 400GiB }");
    for code in [Some(1), Some(0)] {
        let deployed = stage.deploy(&["--allow-replacement", "Database"]);
        assert_eq!(deployed.1, code, "{}", deployed.0);
        let policies = stage.fake.stack("production-data").policies;
        assert!(policies.last().unwrap().contains("LogicalResourceId/Database\""), "{policies:?}");
        stage.script(|script| script.fails = None);
        stage.write("database: { storage: 300GiB }");
    }
}

#[test]
fn a_plan_is_confirmed_by_change_sets_that_are_never_executed() {
    let stage = Stage::deployed(Script::default());
    stage.write("database: { storage: 300GiB }");
    let before = stage.fake.calls("ExecuteChangeSet").len();
    let plan = ["plan", "forebay.yaml", "--confirm", "--look", "10ms"];
    let (told, code) = stage.run(&plan);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("production-data: CloudFormation would do the same"), "{told}");
    assert_eq!(stage.fake.calls("DeleteChangeSet"), ["production-data"]);
    stage.script(|script| script.replaces = Some("Database".to_owned()));
    let (told, code) = stage.run(&plan);
    assert_eq!(code, Some(1), "{told}");
    for part in [
        "production-data: CloudFormation says otherwise",
        "  Database  AWS::RDS::DBInstance  replacement, foretold was in place",
        "refused: production-data/Database holds data and CloudFormation says replacement",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (told, _) = stage.run(&[&plan[..], &["-o", "json"]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["confirmed"][0]["disagreements"][0]["proposed"], "replacement");
    let (told, _) = stage.run(&[&plan[..], &["--allow-replacement", "Database"]].concat());
    assert!(!told.contains("refused"), "{told}");
    assert_eq!(stage.fake.calls("ExecuteChangeSet").len(), before, "nothing is set going");
    stage.write("");
    let (told, code) = stage.run(&plan);
    assert_eq!((told.as_str(), code), ("nothing to change\n", Some(0)));
}

#[test]
fn the_wrong_account_is_told_before_anything_else() {
    let stage = Stage::of(Script { account: "999999999999".to_owned(), ..Script::default() });
    for command in ["deploy", "plan", "destroy", "events", "drift", "resume"] {
        let (told, code) = stage.run(&[command, "forebay.yaml"]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("account 999999999999, and the file says 123456789012"), "{told}");
    }
    let calls = stage.fake.state.lock().unwrap().calls.clone();
    assert!(calls.iter().all(|call| call.starts_with("GetCallerIdentity")), "{calls:?}");
}

#[test]
fn nobody_to_ask_is_no_consent() {
    let stage = Stage::of(Script::default());
    let (told, code) = stage.run(&["deploy", "forebay.yaml", "--release", "1", "--binaries", "."]);
    assert_eq!(code, Some(1));
    assert!(told.contains("there is nobody to ask"), "{told}");
    assert!(stage.fake.calls("CreateChangeSet").is_empty());
}

#[test]
fn a_rollback_that_failed_is_resumed_with_what_is_skipped() {
    let stage = Stage::about_to_fail();
    let (told, code) = stage.deploy(&[]);
    assert_eq!(code, Some(1));
    assert!(told.contains("UPDATE_ROLLBACK_FAILED; `forebay resume` goes on with it"), "{told}");
    let (told, _) = stage.deploy(&[]);
    assert!(told.contains("`forebay resume` goes on with it"), "{told}");
    let (told, code) = stage.run(&["resume", "forebay.yaml", "--skip", "Database"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("production-data is stuck at Database: no room"), "{told}");
    assert_eq!(stage.fake.stack("production-data").status, "UPDATE_ROLLBACK_COMPLETE");
}

#[test]
fn what_holds_data_stays_unless_the_environment_is_named() {
    let stage = Stage::deployed(Script::default());
    let (told, code) = stage.run(&["destroy", "forebay.yaml", "--yes"]);
    assert_eq!(code, Some(0), "{told}");
    let mut gone = stage.fake.calls("DeleteStack");
    gone.sort();
    assert_eq!(gone, ["production-app", "production-edge"]);
    assert!(told.contains("production-network and production-data stay"), "{told}");
    assert!(told.contains("what protects its resources is taken off"), "{told}");
    let (told, code) = stage.run(&["destroy", "forebay.yaml", "--yes", "--with-data-of", "prod"]);
    assert_eq!(code, Some(1), "{told}");
    let (told, code) =
        stage.run(&["destroy", "forebay.yaml", "--yes", "--with-data-of", "production"]);
    assert_eq!(code, Some(0), "{told}");
    let all = stage.fake.calls("DeleteStack");
    assert_eq!(all[2..], ["production-data", "production-network"]);
}

#[test]
fn drift_is_told_and_fails() {
    let stage = Stage::deployed(Script::default());
    let (told, code) = stage.run(&["drift", "forebay.yaml"]);
    assert_eq!((told.as_str(), code), ("everything is as the templates say\n", Some(0)));
    stage.script(|script| script.drifted = Some("BalancerGroup".to_owned()));
    let (told, code) = stage.run(&["drift", "forebay.yaml"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("production-network/BalancerGroup"), "{told}");
    assert!(told.contains("/CidrIp: 10.0.0.0/8 → 0.0.0.0/0"), "{told}");
}

#[test]
fn events_are_lines_or_a_chart_and_the_doctor_looks_at_everything() {
    let stage = Stage::deployed(Script::default());
    let (told, _) = stage.run(&["events", "forebay.yaml"]);
    let database = told.lines().filter(|line| line.contains(" Database "));
    assert_eq!(database.count(), 2, "begun and done, over many pages: {told}");
    let (told, _) = stage.run(&["events", "forebay.yaml", "--chart"]);
    assert!(told.starts_with("production-app\n") && told.contains('█'), "{told}");
    let (told, code) = stage.run(&["doctor", "forebay.yaml"]);
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "credentials of 123456789012",
        "0 new stacks, 4 there are, of 2000 the account may have in eu-central-1",
        "production-data is CREATE_COMPLETE",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn an_interrupt_takes_the_update_back() {
    let stage = Stage::deployed(Script::default());
    stage.script(|script| script.looks = 100_000);
    stage.write("database: { storage: 300GiB }");
    let mut command = stage.command(&["deploy", "forebay.yaml", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while stage.fake.stack("production-data").status != "UPDATE_IN_PROGRESS" {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never began");
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupted =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the update is taken back"), "{told}");
    assert_eq!(stage.fake.calls("CancelUpdateStack"), ["production-data"]);
    assert_eq!(stage.fake.stack("production-data").status, "UPDATE_ROLLBACK_COMPLETE");
}
