//! The estate on AWS, seen offline: AWS's own linter has nothing to say of any shipped environment,
//! and what the instances are given is what the programs take.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use system_tests::binaries::{self, repository};

/// Those of `environments/` that have an `aws` section, each with its templates in a folder.
fn estates(folder: &Path) -> Vec<PathBuf> {
    let mut made = Vec::new();
    for entry in std::fs::read_dir(repository().join("environments")).expect("it is there") {
        let path = entry.expect("it is readable").path();
        let target = folder.join(path.file_stem().expect("it has a name"));
        let output = binaries::command("forebay")
            .arg("synth")
            .arg(&path)
            .arg("-o")
            .arg(&target)
            .output()
            .expect("it runs");
        if output.status.success() {
            made.push(target);
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("has no `aws` section"), "{}: {said}", path.display());
        }
    }
    assert!(made.len() >= 2, "production and staging at least");
    made
}

fn template(folder: &Path, stack: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(format!("{stack}.json"))).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// A file of an instance, as cfn-init would write it.
fn instance_file(template: &Value, launch_template: &str, path: &str) -> String {
    let metadata = &template["Resources"][launch_template]["Metadata"];
    let files = &metadata["AWS::CloudFormation::Init"]["config"]["files"];
    let lines = files[path]["content"]["Fn::Join"][1].as_array().expect("a file of lines");
    let lines: Vec<&str> = lines.iter().filter_map(Value::as_str).collect();
    lines.join("\n")
}

#[test]
fn the_linter_has_nothing_to_say() {
    let linter = binaries::folder().ancestors().find_map(|folder| {
        let linter = folder.join("judges/bin/cfn-lint");
        linter.exists().then_some(linter)
    });
    let linter = linter.expect("cfn-lint is installed by `tools/install.sh test`");
    let folder = tempfile::tempdir().expect("a temporary folder");
    for estate in estates(folder.path()) {
        let mut lint = Command::new(&linter);
        lint.args(["--region", "eu-central-1", "--"]);
        for entry in std::fs::read_dir(&estate).expect("it is there") {
            let path = entry.expect("it is readable").path();
            if !path.ends_with("stacks.json") {
                lint.arg(path);
            }
        }
        let output = lint.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let first: String = said.chars().take(2_000).collect();
        assert!(output.status.success(), "{}: {first}", estate.display());
    }
}

#[test]
fn what_an_edge_instance_is_given_the_proxy_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for estate in estates(folder.path()) {
        let edge = template(&estate, "edge");
        let document = instance_file(&edge, "EdgeLaunchTemplate", "/etc/forebay/proxy.yaml");
        let path = estate.join("proxy.yaml");
        std::fs::write(&path, &document).expect("it is writable");
        let output = binaries::command("forebay-proxy").arg("check").arg(&path).output();
        let output = output.expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}\n{document}", estate.display());
        let name = estate.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(document.contains(&format!("ledger.{name}.internal:8081")), "{document}");
        assert!(!document.contains("127.0.0.1"), "an address of one machine: {document}");
    }
}

#[test]
fn the_scripts_of_an_instance_are_scripts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let estate = &estates(folder.path())[0];
    let cases = [
        ("edge", "EdgeLaunchTemplate", "/usr/local/sbin/forebay-fetch"),
        ("app", "LedgerLaunchTemplate", "/usr/local/sbin/forebay-fetch"),
        ("app", "LedgerLaunchTemplate", "/usr/local/sbin/ledger-database"),
    ];
    for (stack, launch_template, path) in cases {
        let script = instance_file(&template(estate, stack), launch_template, path);
        let file = estate.join("script.sh");
        std::fs::write(&file, &script).expect("it is writable");
        let output = Command::new("sh").arg("-n").arg(&file).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{path}: {said}\n{script}");
        assert!(script.starts_with("#!/bin/sh\n"), "{path}: {script}");
    }
    let agent = instance_file(
        &template(estate, "edge"),
        "EdgeLaunchTemplate",
        "/etc/forebay/cloudwatch-agent.json",
    );
    let agent: Value = serde_json::from_str(&agent).expect("the agent's configuration is JSON");
    assert!(agent["logs"].is_object());
}
