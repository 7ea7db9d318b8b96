//! What people with a terminal see of a deployment: a tree that is drawn again in place. The terminal is
//! one that script(1) makes.

use std::process::{Command, Stdio};

use crate::cases::Stage;
use crate::fake::Script;

/// A command on a terminal of some rows and columns: what came out of it, and how it ended.
fn on_a_terminal(stage: &Stage, size: (u16, u16), arguments: &str) -> (String, Option<i32>) {
    let (rows, columns) = size;
    let binary = env!("CARGO_BIN_EXE_forebay");
    let line = format!("stty rows {rows} cols {columns}; exec {binary} {arguments} --look 300ms");
    let output = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
        .current_dir(stage.folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .env("HOME", stage.folder.path())
        .env("AWS_ENDPOINT_URL", format!("http://{}", stage.fake.address))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

/// The picture that stands at the end: what came after the last time it was begun anew.
fn last_picture(told: &str) -> Vec<&str> {
    told.rsplit("\x1b[J").next().unwrap().lines().map(str::trim_end).collect()
}

#[test]
fn a_deployment_is_a_tree_drawn_in_place() {
    let stage = Stage::of(Script { looks: 2, ..Script::default() });
    let deploy = "deploy forebay.yaml --yes --release 1.0.0 --binaries .";
    let (told, code) = on_a_terminal(&stage, (30, 100), deploy);
    assert_eq!(code, Some(0), "{told}");
    let last = last_picture(&told);
    assert!(last[0].ends_with("  production: 4 of 4 stacks done"), "{last:?}");
    for (line, part) in [(1, "├─ ✔ production-network  create complete"), (4, "└─ ✔ production-")]
    {
        assert!(last[line].contains(part), "{last:?}");
    }
    assert_eq!(last.last(), Some(&"production is deployed"));
    // While it was made, the network stood in the tree with what had been done of it, and moved on in place.
    assert!(told.contains("├─ … production-network  create complete, 72 of 72"), "{told}");
    assert!(told.contains("\x1b[5A\x1b[J"), "{told}");
    assert!(
        !told.contains("production-network       (stack)"),
        "no lines of events beside it: {told}"
    );
}

#[test]
fn a_failure_stays_in_the_tree_and_its_cause_above_it() {
    let fails = Some(("Database".to_owned(), "Cannot find version 8.4.8 for mysql".to_owned()));
    let stage = Stage::of(Script { fails, ..Script::default() });
    let deploy = "deploy forebay.yaml --yes --release 1 --binaries .";
    let (told, code) = on_a_terminal(&stage, (12, 80), deploy);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("production-data failed: AWS::RDS::DBInstance Database: "), "{told}");
    let last = last_picture(&told).join("\n");
    for part in [
        "✘ production-data  rollback complete",
        "│  └─ ✘ Database  AWS::RDS::DBInstance  create failed: Cannot",
        "  production-app",
        "production-data failed; what was changed in it was taken back",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    let tree = last.lines().skip_while(|line| !line.contains(" stacks done"));
    for line in tree.take_while(|line| !line.starts_with("forebay: ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_is_resumed_and_what_is_deleted_are_trees_too() {
    let stage = Stage::about_to_fail();
    let (told, code) = stage.deploy(&[]);
    assert_eq!(code, Some(1), "{told}");
    let (told, code) = on_a_terminal(&stage, (30, 100), "resume forebay.yaml --skip Database");
    assert_eq!(code, Some(0), "{told}");
    let last = last_picture(&told).join("\n");
    for part in [
        "production: 1 of 1 stacks done",
        "└─ ✔ production-data  update rollback complete",
        "every stack is as it was before its update",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
    let (told, code) = on_a_terminal(&stage, (30, 100), "destroy forebay.yaml --yes");
    assert_eq!(code, Some(0), "{told}");
    let last = last_picture(&told).join("\n");
    for part in ["production: 2 of 2 stacks done", "✔ production-edge  deleted"] {
        assert!(last.contains(part), "{part}: {last}");
    }
}
