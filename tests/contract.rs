//! What the binaries promise one another: documents one writes are documents another reads, and the
//! paths one calls are paths another serves.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use system_tests::binaries::{self, repository};

fn run(name: &str, args: &[&str]) -> Output {
    binaries::command(name).args(args).output().expect("it runs")
}

/// Standard output of a command that must succeed.
fn printed(name: &str, args: &[&str]) -> String {
    let output = run(name, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {said}");
    String::from_utf8(output.stdout).expect("our output is UTF-8")
}

fn openapi_paths() -> Vec<String> {
    let document: Value =
        serde_json::from_str(&printed("forebay-ledger", &["openapi"])).expect("it prints JSON");
    document["paths"].as_object().expect("paths").keys().cloned().collect()
}

/// `environments/base.yaml`'s proxy document as a document of its own, with the two upstreams an
/// environment provides.
fn shipped_proxy_document(folder: &Path) -> String {
    let base = std::fs::read_to_string(repository().join("environments/base.yaml"))
        .expect("it is shipped");
    let section = base.split("\n  proxy:\n").nth(1).expect("base.yaml has edge.proxy");
    let indented = section.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let lines: Vec<&str> = indented.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let upstreams = "upstreams:\n  ledger: { servers: [ { address: 127.0.0.1:8081 } ] }\n  \
                     origin: { servers: [ { address: 127.0.0.1:8082 } ] }\n";
    let path = folder.join("proxy.yaml");
    std::fs::write(&path, format!("{}\n{upstreams}", lines.join("\n"))).expect("it is writable");
    path.display().to_string()
}

#[test]
fn every_path_of_the_ledger_goes_through_its_lane() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let document = shipped_proxy_document(folder.path());
    let mut paths = openapi_paths();
    paths.extend(["/openapi.json".to_owned(), "/docs/".to_owned()]);
    assert!(paths.len() > 8, "{paths:?}");
    for path in paths {
        let url = format!("http://127.0.0.1:8080{}", path.replace(['{', '}'], ""));
        let said = printed("forebay-proxy", &["explain", "-o", "json", &document, "GET", &url]);
        let explanation: Value = serde_json::from_str(&said).expect("-o json prints JSON");
        let text = explanation.to_string();
        assert!(
            text.contains("\"transactions\""),
            "{path} is not in the lane of transactions: {said}"
        );
    }
}

#[test]
fn the_page_calls_only_what_the_ledger_serves() {
    let served = openapi_paths();
    let matches = |path: &str| {
        served.iter().any(|template| {
            let (path, template) = (path.split('/'), template.split('/'));
            path.clone().count() == template.clone().count()
                && path
                    .zip(template)
                    .all(|(part, wanted)| part == wanted || wanted.starts_with('{'))
        })
    };
    let script =
        std::fs::read_to_string(repository().join("stack/page/ledger.js")).expect("it is there");
    let called: Vec<&str> = script
        .split(['"', '\'', '`'])
        .filter(|text| text.starts_with("/v1/"))
        .map(|text| text.split('?').next().unwrap_or(text))
        .collect();
    assert!(called.len() >= 3, "the page's calls are not recognised: {called:?}");
    for path in called {
        assert!(matches(path), "the page calls {path}, which is none of {served:?}");
    }
}

#[test]
fn what_nginx_compat_writes_the_proxy_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let conf = folder.path().join("nginx.conf");
    let text = "events {}\nhttp {\n  upstream app { server 127.0.0.1:9001 weight=3; server 127.0.0.1:9002; }\n  \
                server {\n    listen 8088;\n    server_name example.com *.example.com;\n    \
                location / { proxy_pass http://app; }\n    location = /exact { proxy_pass http://app; }\n    \
                location /live/ { proxy_pass http://app; }\n  }\n}\n";
    std::fs::write(&conf, text).expect("it is writable");
    let proxy = folder.path().join("proxy.yaml").display().to_string();
    let conf = conf.display().to_string();
    printed("forebay-nginx", &["convert", &conf, "-o", &proxy]);
    printed("forebay-proxy", &["check", &proxy]);
    for (path, location) in [("/exact", "/exact"), ("/live/x", "/live/"), ("/liv", "/")] {
        let url = format!("http://example.com:8088{path}");
        let said = printed("forebay-proxy", &["explain", &proxy, "GET", &url]);
        assert!(said.contains(location), "{path}: {said}");
    }
}

/// What the guide tells people to write is taken as it stands.
#[test]
fn the_documents_of_the_migration_guide_are_right() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let guide = std::fs::read_to_string(repository().join("docs/MIGRATING-FROM-NGINX.md"));
    let guide = guide.expect("it is there");
    let documents: Vec<&str> =
        guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(documents.len(), 2, "one in front of both, one that shifts");
    for text in documents {
        let file = folder.path().join("front.yaml");
        std::fs::write(&file, text).expect("it is writable");
        printed("forebay-proxy", &["check", "--elsewhere", &file.display().to_string()]);
    }
}

#[test]
fn a_starter_environment_is_right_as_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = binaries::command("forebay")
        .arg("init")
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let checked = binaries::command("forebay")
        .arg("check")
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn shipped_environments_are_right() {
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("environments")).expect("it is there") {
        let path = entry.expect("it is readable").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            printed("forebay", &["check", &path.display().to_string()]);
            seen += 1;
        }
    }
    assert!(seen >= 2, "base and local at least");
}

#[test]
fn exit_codes_are_the_same_everywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bad = folder.path().join("bad.yaml");
    std::fs::write(&bad, "version: 1\n  name: [\n").expect("it is writable");
    let bad = bad.display().to_string();
    let missing = folder.path().join("missing.yaml").display().to_string();
    let cases: [(&str, Vec<&str>, i32); 9] = [
        ("forebay", vec!["--no-such-flag"], 2),
        ("forebay-proxy", vec!["--no-such-flag"], 2),
        ("forebay-ledger", vec!["--no-such-flag"], 2),
        ("forebay-nginx", vec!["--no-such-flag"], 2),
        ("forebay", vec!["check", &bad], 65),
        ("forebay-proxy", vec!["check", &bad], 65),
        ("forebay-nginx", vec!["check", &bad], 65),
        ("forebay", vec!["status", &missing], 65),
        ("forebay-ledger", vec!["serve", "--database", "oracle://nowhere"], 2),
    ];
    for (name, args, expected) in cases {
        let output = run(name, &args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{name} {args:?}: {said}");
        assert!(!said.trim().is_empty(), "{name} {args:?} says nothing");
        assert!(!said.contains("panicked"), "{name} {args:?}: {said}");
    }
    let mut version = Command::new(binaries::path("forebay"));
    let version = version.arg("--version").output().expect("it runs");
    assert!(String::from_utf8_lossy(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
}
