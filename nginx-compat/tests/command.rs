//! The program as people call it: exit codes, and what goes where.

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay-nginx"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn exit_codes() {
    let cases: &[(&[&str], i32)] = &[
        (&["check", "simple-proxy.conf"], 0),
        (&["check", "canary.conf"], 0),
        (&["check", "broken-words.conf"], 65),
        (&["check", "no-such-file.conf"], 1),
        (&["report", "simple-proxy.conf"], 0),
        (&["report", "tls-site.conf"], 0),
        (&["report", "canary.conf"], 1),
        (&["convert", "canary.conf"], 1),
        (&["report", "broken-braces.conf"], 65),
        (&["convert", "api-gateway.conf"], 0),
        (&["convert", "tls-site.conf"], 0),
        (&["convert", "tls-site.conf", "--partial"], 0),
        (&["convert", "canary.conf", "--partial"], 0),
        (&["convert", "broken-words.conf", "--partial"], 65),
        (&["convert"], 2),
        (&["report", "simple-proxy.conf", "-o", "html"], 0),
        (&["report", "simple-proxy.conf", "-o", "pdf"], 2),
        (&["report", "simple-proxy.conf", "--log", "no-such.log"], 1),
    ];
    for (arguments, expected) in cases {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(*expected),
            "{arguments:?}\n{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn problems_name_file_line_and_column() {
    let output = run(&["check", "broken-words.conf"]);
    let said = text(&output.stderr);
    assert!(said.starts_with("broken-words.conf:1:30: unknown directive \"worker_conections\""));
    assert!(said.contains("did you mean \"worker_connections\"?"), "{said}");
    assert!(said.ends_with("11 problems\n"), "{said}");
}

#[test]
fn the_report_is_json_on_request() {
    let output = run(&["report", "nested-includes.conf", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = report["items"].as_array().unwrap();
    let slow = items.iter().find(|item| item["directive"] == "proxy_read_timeout 5m").unwrap();
    assert_eq!(slow["file"], "nested/slow.inc");
    assert_eq!(slow["line"], 1);
    assert_eq!(slow["exactness"], "exact");
    assert_eq!(slow["context"], serde_json::json!(["http", "server", "location"]));
    let percent: f64 =
        report["shares"].as_array().unwrap().iter().map(|s| s["percent"].as_f64().unwrap()).sum();
    assert!((99.5..100.5).contains(&percent), "{percent}");
}

#[test]
fn convert_writes_a_file_that_loads_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.yaml");
    let arguments = ["convert", "guarded.conf", "--partial", "-o", path.to_str().unwrap()];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("guarded.conf:24: location /: stays closed"));
    let source = proxy_config::Source::read(&path).unwrap();
    let loaded = proxy_config::Config::load(source).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.routes.iter().any(|route| route.name == "intranet-example-admin"));

    std::fs::remove_file(&path).unwrap();
    let refused = run(&["convert", "guarded.conf", "-o", path.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(!path.exists());
    assert!(text(&refused.stderr).contains("--partial converts the rest"));
}

#[test]
fn relative_includes_start_at_the_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("nginx.conf");
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/nested-includes.conf"),
        &copy,
    )
    .unwrap();
    let copy = copy.to_str().unwrap();
    assert_eq!(run(&["check", copy]).status.code(), Some(65));
    assert_eq!(run(&["check", copy, "--prefix", "."]).status.code(), Some(0));
}
