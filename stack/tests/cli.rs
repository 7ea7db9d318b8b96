//! The commands that start nothing, as people run them.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn forebay(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("FOREBAY_STATE_DIR")
        .env_remove("FOREBAY_FFMPEG")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn init_writes_a_file_that_passes_check_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let first = forebay(folder.path(), &["init", "new"]);
    assert_eq!(first.status.code(), Some(0), "{}", err(&first));
    assert!(out(&first).contains("forebay up new/forebay.yaml"), "{}", out(&first));
    let checked = forebay(&folder.path().join("new"), &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    assert!(out(&checked).starts_with("forebay.yaml is fine"), "{}", out(&checked));
    fs::write(folder.path().join("new/forebay.yaml"), "mine").unwrap();
    let second = forebay(folder.path(), &["init", "new"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(err(&second).contains("stays as it is"), "{}", err(&second));
    assert_eq!(fs::read_to_string(folder.path().join("new/forebay.yaml")).unwrap(), "mine");
}

/// What an environment on AWS cannot do without.
const ANSWERS: [&str; 12] = [
    "--account",
    "123456789012",
    "--releases",
    "acme-releases",
    "--domain",
    "live.example.com",
    "--hosted-zone",
    "Z0123456789",
    "--origin",
    "packager.example.com:80",
    "--email",
    "sre@example.com",
];

#[test]
fn init_makes_a_file_for_aws_of_answers_that_passes_every_check() {
    let folder = tempfile::tempdir().unwrap();
    for (name, further) in [
        ("whole", &[][..]),
        ("small", &["--size", "small", "--database", "postgres", "--budget", "300"]),
        ("without", &["--database", "none", "--name", "without"]),
    ] {
        let made = forebay(folder.path(), &[&["init", name], &ANSWERS[..], further].concat());
        assert_eq!(made.status.code(), Some(0), "{}", err(&made));
        let file = format!("{name}/forebay.yaml");
        let made = forebay(folder.path(), &["synth", &file, "-o", name]);
        assert_eq!(made.status.code(), Some(0), "{}", err(&made));
        let app = folder.path().join(name).join("app.json").exists();
        assert_eq!(app, name != "without", "a ledger where there is a database");
    }
    let here = forebay(folder.path(), &["init", "here", "--for", "here"]);
    assert!(out(&here).contains("forebay up here/forebay.yaml"), "{}", out(&here));
    let missing = forebay(folder.path(), &["init", "no", "--account", "123456789012"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(err(&missing).contains("there is nobody to ask; say --releases"), "{}", err(&missing));
    let wrong = forebay(folder.path(), &["init", "no", "--account", "12", "--size", "huge"]);
    assert!(err(&wrong).contains("--account `12`: write twelve digits"), "{}", err(&wrong));
    assert!(err(&wrong).contains("--size `huge`: write production"), "{}", err(&wrong));
    assert!(!folder.path().join("no").exists());
}

/// On a real terminal, which `script` gives it.
#[test]
fn init_asks_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let typed = "aws\nshop\n12\n123456789012\n\nacme-releases\nshop.example.com\nZ0123456789\n\
        packager.example.com:80\n\n\nsre@example.com\n\n";
    let command = format!("'{}' init asked", env!("CARGO_BIN_EXE_forebay"));
    let mut script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    let told = out(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("Where is it to run") && told.contains("  write twelve digits"),
        "{told}"
    );
    let file = fs::read_to_string(folder.path().join("asked/forebay.yaml")).unwrap();
    assert!(file.contains("name: \"shop\"") && file.contains("engine: \"mysql\""), "{file}");
    let checked = forebay(folder.path(), &["check", "asked/forebay.yaml"]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
}

#[test]
fn shipped_environments_pass_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in [
        "base",
        "live-accounting",
        "local",
        "media-platform",
        "production",
        "staging",
        "stream-api",
        "video-encoding",
    ] {
        let checked = forebay(&root, &["check", &format!("environments/{name}.yaml")]);
        assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    }
}

#[test]
fn check_tells_problems_as_text_and_as_json_with_code_65() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("forebay.yaml"), "version: 1\nnmae: x\ncdn: 1\n").unwrap();
    let text = forebay(folder.path(), &["check"]);
    assert_eq!(text.status.code(), Some(65));
    for expected in ["forebay.yaml:2:1", "did you mean `name`?", "is a number", "`edge`"] {
        assert!(err(&text).contains(expected), "{expected}: {}", err(&text));
    }
    let json = forebay(folder.path(), &["check", "-o", "json"]);
    assert_eq!(json.status.code(), Some(65));
    let told: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(told["ok"], false);
    let lines: Vec<_> = told["problems"].as_array().unwrap().iter().map(|p| &p["line"]).collect();
    assert!(lines.contains(&&serde_json::json!(2)) && lines.contains(&&serde_json::json!(3)));
}

#[test]
fn files_that_are_not_there_have_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let named = forebay(folder.path(), &["check", "none.yaml"]);
    assert_eq!(named.status.code(), Some(65));
    assert!(err(&named).contains("none.yaml cannot be read"), "{}", err(&named));
    let unnamed = forebay(folder.path(), &["up"]);
    assert_eq!(unnamed.status.code(), Some(69));
    assert!(err(&unnamed).contains("forebay init"), "{}", err(&unnamed));
    assert_eq!(forebay(folder.path(), &["fly"]).status.code(), Some(2));
}

#[test]
fn status_and_down_of_what_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    forebay(folder.path(), &["init"]);
    let status = forebay(folder.path(), &["status"]);
    assert_eq!(status.status.code(), Some(69));
    assert_eq!(out(&status), "my-environment is not running\n");
    let json = forebay(folder.path(), &["status", "-o", "json"]);
    assert_eq!(json.status.code(), Some(69));
    let told: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(told["name"], "my-environment");
    assert_eq!(told["running"], false);
    assert_eq!(told["pid"], serde_json::Value::Null);
    assert_eq!(told["children"], serde_json::json!([]));
    let down = forebay(folder.path(), &["down"]);
    assert_eq!(down.status.code(), Some(0), "{}", err(&down));
    assert_eq!(out(&down), "my-environment is not running\n");
    assert!(!folder.path().join(".forebay").exists());
}

#[test]
fn what_is_generated_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let schema = forebay(folder.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out(&schema)).unwrap();
    assert!(schema["properties"]["streams"].is_object());
    assert!(schema["$defs"]["Route"].is_object(), "the proxy document is part of it");
    for shell in ["bash", "zsh", "fish"] {
        let script = forebay(folder.path(), &["completions", shell]);
        assert_eq!(script.status.code(), Some(0));
        assert!(out(&script).contains("forebay"));
    }
    let man = forebay(folder.path(), &["man", "pages"]);
    assert_eq!(man.status.code(), Some(0), "{}", err(&man));
    let page = fs::read_to_string(folder.path().join("pages/forebay.1")).unwrap();
    assert!(page.contains(".TH forebay 1"), "{page}");
    assert!(folder.path().join("pages/forebay-up.1").exists());
}

#[test]
fn help_tells_the_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let help = forebay(folder.path(), &["--help"]);
    for code in ["   0  ", "   1  ", "   2  ", "  65  ", "  69  "] {
        assert!(out(&help).contains(code), "{}", out(&help));
    }
}

#[test]
fn synth_writes_one_template_per_stack_and_says_what_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    let production = root.join("environments/production.yaml").display().to_string();
    let made = forebay(folder.path(), &["synth", &production]);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    assert!(out(&made).contains("Note: 6 accounts and currencies"), "{}", out(&made));
    let read = |name: &str| fs::read_to_string(folder.path().join("stacks").join(name)).unwrap();
    let order: serde_json::Value = serde_json::from_str(&read("stacks.json")).unwrap();
    assert_eq!(order["tags"]["team"], "media");
    let stacks = order["stacks"].as_array().unwrap();
    let names: Vec<&str> = stacks.iter().filter_map(|stack| stack["name"].as_str()).collect();
    let expected = ["production-network", "production-data", "production-app", "production-edge"];
    assert_eq!(names, expected);
    for stack in stacks {
        let template = read(stack["template"].as_str().unwrap());
        let template: serde_json::Value = serde_json::from_str(&template).unwrap();
        assert_eq!(template["AWSTemplateFormatVersion"], "2010-09-09");
    }
    let local = root.join("environments/local.yaml").display().to_string();
    let none = forebay(folder.path(), &["synth", &local]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("has no `aws` section"), "{}", err(&none));
}

#[test]
fn what_may_be_new_at_aws_is_said_and_not_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut init = vec!["init", "new"];
    init.extend(ANSWERS);
    let made = forebay(folder.path(), &init);
    assert_eq!(made.status.code(), Some(0), "{}", err(&made));
    let checked = forebay(&folder.path().join("new"), &["check"]);
    assert!(!out(&checked).contains("not known"), "{}", out(&checked));
    let file = "extends: new/forebay.yaml\n\
        aws: { region: eu-central-9 }\n\
        edge: { instances: { type: c99g.large } }\n\
        database: { version: \"99.9.9\" }\n\
        databases: { older: { engine: postgres, class: db.m4.large, storage: 20GiB } }\n\
        functions: { old: { code: a.zip, handler: index.handler, runtime: nodejs12.x, uses: [older] } }\n";
    fs::write(folder.path().join("later.yaml"), file).unwrap();
    let checked = forebay(folder.path(), &["check", "later.yaml"]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", out(&checked), err(&checked));
    for note in [
        "Note: aws.region: the region `eu-central-9` is not known to Forebay, whose list is of 20",
        "Note: edge.instances.type: the type `c99g.large` is not known",
        "Note: database.version: mysql 99.9.9 is not known",
        "Note: databases.older.class: RDS ends `db.m4`, and may make no database of it",
        "Note: functions.old.runtime: AWS ends `nodejs12.x`, and may make no new function",
    ] {
        assert!(out(&checked).contains(note), "{note}: {}", out(&checked));
    }
    let told = forebay(folder.path(), &["check", "later.yaml", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&out(&told)).unwrap();
    assert_eq!(told["notes"].as_array().map(Vec::len), Some(5), "{told}");
}
