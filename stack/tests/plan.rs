//! `forebay plan`, `explain` and `graph`, as people run them on the shipped environments.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn environments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments").canonicalize().unwrap()
}

fn forebay(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Production's templates, saved, and a file that changes production by some lines.
struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    fn of(lines: &str) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let production = environments().join("production.yaml").display().to_string();
        let text = format!("version: 1\nname: production\nextends: {production}\n{lines}\n");
        fs::write(folder.path().join("changed.yaml"), text).unwrap();
        let saved = forebay(folder.path(), &["synth", &production, "-o", "saved"]);
        assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
        Stage { folder }
    }

    fn plan(&self, further: &[&str]) -> (String, Option<i32>) {
        let mut arguments = vec!["plan", "changed.yaml", "--against", "saved"];
        arguments.extend(further);
        let output = forebay(self.folder.path(), &arguments);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (out(&output), output.status.code())
    }
}

#[test]
fn what_is_saved_needs_no_change() {
    let (told, code) = Stage::of("").plan(&[]);
    assert_eq!((told.as_str(), code), ("nothing to change\n", Some(0)));
}

#[test]
fn a_larger_class_interrupts_and_a_larger_disk_does_not() {
    let stage = Stage::of("database: { class: db.r7g.xlarge, storage: 300GiB }");
    let (told, code) = stage.plan(&[]);
    assert_eq!(code, Some(1));
    let line = |wanted: &str| told.lines().find(|line| line.contains(wanted)).unwrap_or_default();
    assert!(
        line("DBInstanceClass").contains("\"db.r7g.large\" → \"db.r7g.xlarge\"  (interruption)"),
        "{told}"
    );
    assert!(line("AllocatedStorage").ends_with("(in place)"), "{told}");
    assert!(line("~ Database ").contains("interruption"), "{told}");
    assert!(!told.contains("refused"), "{told}");
}

#[test]
fn another_engine_is_refused_until_it_is_allowed_by_name() {
    let stage = Stage::of("database: { engine: mariadb }");
    let (told, code) = stage.plan(&["-o", "json"]);
    assert_eq!(code, Some(1));
    let told: Value = serde_json::from_str(&told).unwrap();
    let refused = told["refused"].to_string();
    assert!(
        refused.contains("production-data/Database holds data and would be replaced"),
        "{refused}"
    );
    assert!(refused.contains("a snapshot would stay"), "{refused}");
    let data = told["stacks"].as_array().unwrap().iter().find(|s| s["name"] == "production-data");
    let changes = data.unwrap()["resources"].as_array().unwrap();
    let database = changes.iter().find(|change| change["id"] == "Database").unwrap();
    assert_eq!(database["effect"], "replacement");
    assert_eq!(database["holds_data"], true);
    let alarm = changes.iter().find(|change| change["id"] == "DatabaseCpuAlarm").unwrap();
    assert!(alarm["properties"][0]["because"].as_str().unwrap().contains("will be another"));
    let (told, _) = stage.plan(&["--allow-replacement", "Database"]);
    assert!(!told.contains("holds data and would"), "{told}");
    // The address of the database is an export that the ledger's stack imports.
    assert!(
        told.contains("refused: the export production-data-DatabaseHost would change"),
        "{told}"
    );
}

#[test]
fn another_instance_type_replaces_instances_one_by_one() {
    let (told, _) = Stage::of("edge: { instances: { type: c7g.2xlarge } }").plan(&[]);
    let fleet = told.lines().find(|line| line.contains("~ EdgeFleet ")).unwrap_or_default();
    assert!(fleet.ends_with("one by one"), "{told}");
    assert!(told.contains("EdgeLaunchTemplate will be another"), "{told}");
}

#[test]
fn what_is_taken_out_of_the_file_is_deleted_only_when_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(environments().join("production.yaml")).unwrap();
    let text = text
        .replace("extends: base.yaml", &format!("extends: {}/base.yaml", environments().display()));
    // What counts in the cache goes with it.
    let of_cache = |line: &str| {
        line.starts_with("cache:") || line.contains("rate_limits:") || line.trim() == "proxy:"
    };
    let without: Vec<&str> = text.lines().filter(|line| !of_cache(line)).collect();
    fs::write(folder.path().join("with.yaml"), &text).unwrap();
    fs::write(folder.path().join("without.yaml"), without.join("\n")).unwrap();
    assert!(forebay(folder.path(), &["synth", "with.yaml", "-o", "saved"]).status.success());
    let output = forebay(folder.path(), &["plan", "without.yaml", "--against", "saved"]);
    let told = out(&output);
    assert!(
        told.contains("refused: production-data/Cache holds data and would be deleted"),
        "{told}"
    );
    assert!(told.contains("  - CacheSecret"), "{told}");
}

#[test]
fn a_folder_without_templates_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let production = environments().join("production.yaml").display().to_string();
    let output = forebay(folder.path(), &["plan", &production, "--against", "."]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("stacks.json cannot be read"), "{told}");
}

#[test]
fn a_value_is_explained_by_where_it_was_written_and_over_what() {
    let explain = |key: &str, name: &str| {
        let output = forebay(&environments(), &["explain", key, &format!("{name}.yaml")]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        out(&output)
    };
    let told = explain("database.backups", "staging");
    assert!(told.starts_with("database.backups = 3d\n    written at staging.yaml:13:"), "{told}");
    assert!(told.contains("    over 35d at production.yaml:28:"), "{told}");
    assert!(told.contains("How far back a point in time can be restored"), "{told}");
    let told = explain("database.multi_az", "production");
    assert!(told.contains("database.multi_az = true\n    the default"), "{told}");
    let told = explain("database.parameters.innodb_buffer_pool_size", "production");
    assert!(told.contains("decided by Forebay\n    accounts and recent entries"), "{told}");
    let told = explain("data/Database", "production");
    assert!(told.contains("is made anew when one of these changes: DBName"), "{told}");
    assert!(
        told.contains("refers to DatabaseParameters, DatabaseSecret, DatabaseSubnets"),
        "{told}"
    );
    let told = explain("network", "production");
    for key in ["network.cidr = 10.20.0.0/16", "network.subnets.DataSubnetC = 10.20.224.0/20"] {
        assert!(told.contains(key), "{key}: {told}");
    }
    let told = explain("database.version", "local");
    assert!(told.contains("not written, and there is no default"), "{told}");
}

#[test]
fn a_key_that_is_not_there_is_answered_with_the_nearest() {
    let output = forebay(&environments(), &["explain", "database.storge", "production.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("did you mean `database.storage`?"), "{told}");
}

#[test]
fn a_graph_is_written_in_each_format() {
    let folder = tempfile::tempdir().unwrap();
    let production = environments().join("production.yaml").display().to_string();
    for (format, start) in
        [("svg", "<svg "), ("mermaid", "flowchart TB"), ("html", "<!doctype html>")]
    {
        let output = forebay(folder.path(), &["graph", &production, "--format", format]);
        assert!(out(&output).starts_with(start), "{format}");
    }
    let output = forebay(folder.path(), &["graph", &production, "-o", "estate.svg"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(fs::read_to_string(folder.path().join("estate.svg")).unwrap().contains("zone C"));
}

#[test]
fn a_pipeline_checks_plans_and_deploys_the_file_it_was_made_for() {
    let root = environments().join("..");
    for kind in ["github", "gitlab"] {
        let output = forebay(&root, &["pipeline", kind, "environments/production.yaml"]);
        let told = out(&output);
        for part in [
            "forebay check 'environments/production.yaml'",
            "forebay plan 'environments/production.yaml'",
            "forebay deploy 'environments/production.yaml' --yes",
            "s3://acme-forebay-releases/forebay/",
            "eu-central-1",
        ] {
            assert!(told.contains(part), "{kind}, {part}: {told}");
        }
        assert!(!told.contains("ENVIRONMENT_"), "{told}");
    }
    let output = forebay(&root, &["pipeline", "github", "environments/local.yaml"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_value_is_a_default_or_decided_and_never_nothing() {
    let told = |key: &str, file: &str| {
        out(&forebay(&environments(), &["explain", key, &format!("{file}.yaml")]))
    };
    let balancer = told("edge.balancer", "production");
    assert!(balancer.starts_with("edge.balancer = application\n    the default\n"), "{balancer}");
    let firewall = told("edge.waf", "stream-api");
    assert!(firewall.starts_with("edge.waf = false\n    decided by Forebay\n"), "{firewall}");
    let rotation = told("cache.rotate", "staging");
    assert!(rotation.contains("written at") && rotation.contains("= 30d"), "{rotation}");
    let unset = told("edge.certificate", "production");
    assert!(unset.starts_with("edge.certificate: not written"), "{unset}");
}
