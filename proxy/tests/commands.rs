use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::BINARY;

const GOOD: &str = "version: 1
listeners: { public: { address: 127.0.0.1:8080 } }
upstreams: { ledger: { servers: [ { address: 127.0.0.1:8081 } ] } }
routes:
  - name: transfers
    match: { hosts: [ledger.example], paths: [ { prefix: /v1/ } ], methods: [GET, POST] }
    upstream: ledger
    lane: transactions
";

fn run(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(dir).output().unwrap()
}

fn with(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("proxy.yaml"), text).unwrap();
    dir
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_says_ok_in_a_line() {
    let dir = with(GOOD);
    let (code, out, err) = said(&run(dir.path(), &["check", "proxy.yaml"]));
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "proxy.yaml: ok, 1 listener, 1 upstream, 1 route\n");
    let (code, out, _) = said(&run(dir.path(), &["check", "proxy.yaml", "-o", "json"]));
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["ok"].as_bool(), json["routes"].as_u64()), (0, Some(true), Some(1)));
}

#[test]
fn check_shows_every_problem_at_its_place() {
    let dir = with(&GOOD.replace("upstream: ledger", "upstrem: ledger").replace("8080", "80x"));
    let (code, out, err) = said(&run(dir.path(), &["check", "proxy.yaml"]));
    assert_eq!((code, out.as_str()), (65, ""));
    assert!(err.contains("proxy.yaml:2:") && err.contains("upstrem"), "{err}");
    let (code, out, _) = said(&run(dir.path(), &["check", "proxy.yaml", "-o", "json"]));
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["ok"].as_bool()), (65, Some(false)));
    assert!(!json["problems"].is_null());
}

#[test]
fn check_looks_at_certificates() {
    let tls =
        "tls: { certificates: [ { certificate: /nowhere/cert.pem, key: /nowhere/key.pem } ] }";
    let dir = with(&GOOD.replace("127.0.0.1:8080", &format!("127.0.0.1:8080, {tls}")));
    let (code, _, err) = said(&run(dir.path(), &["check", "proxy.yaml"]));
    assert_eq!(code, 65);
    assert!(err.contains("listeners.public.tls") && err.contains("/nowhere/cert.pem"), "{err}");
}

#[test]
fn a_missing_file_and_a_wrong_line_are_told_apart() {
    let dir = with(GOOD);
    let (code, _, err) = said(&run(dir.path(), &["check", "nowhere.yaml"]));
    assert_eq!(code, 69);
    assert!(err.contains("nowhere.yaml"), "{err}");
    assert_eq!(said(&run(dir.path(), &["chek"])).0, 2);
    assert_eq!(said(&run(dir.path(), &["dump", "proxy.yaml"])).0, 2);
    assert_eq!(said(&run(dir.path(), &["run", "proxy.yaml", "--log-level", "a=b=c"])).0, 2);
}

#[test]
fn what_an_origin_is_said_to_say_means_something() {
    let dir = with(GOOD);
    std::fs::write(dir.path().join("trace"), "").unwrap();
    for (says, part) in [("nonsense", "`nonsense`"), ("max-age", "max-age=60"), ("", "empty")] {
        let arguments = ["simulate", "proxy.yaml", "--trace", "trace", "--origin-says", says];
        let (code, _, err) = said(&run(dir.path(), &arguments));
        assert_eq!(code, 2, "{says}: {err}");
        assert!(err.contains("--origin-says") && err.contains(part), "{says}: {err}");
    }
}

#[test]
fn explain_agrees_with_the_proxy() {
    let dir = with(GOOD);
    let explain = |method: &str, url: &str| {
        let output = run(dir.path(), &["explain", "proxy.yaml", method, url, "-o", "json"]);
        let (code, out, err) = said(&output);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let met = explain("POST", "http://ledger.example:8080/v1/transfers");
    assert_eq!(met["route"]["name"], "transfers");
    assert_eq!(met["route"]["lane"], "transactions");
    let outcome = |method: &str, url: &str| explain(method, url)["outcome"].to_string();
    assert!(outcome("DELETE", "http://ledger.example:8080/v1/x").contains("405"));
    assert!(outcome("GET", "http://other.example:8080/v1/x").contains("404"));
    assert!(outcome("GET", "http://ledger.example:8080/v1/a%2fb").contains("400"));
    let text = said(&run(
        dir.path(),
        &["explain", "proxy.yaml", "GET", "http://ledger.example:8080/v1/x"],
    ));
    assert!(text.1.contains("transfers") && text.1.contains("transactions"), "{}", text.1);
    assert_eq!(said(&run(dir.path(), &["explain", "proxy.yaml", "GET", "nowhere"])).0, 2);
}

#[test]
fn a_dump_is_a_document() {
    let dir = with(GOOD);
    let (code, out, _) = said(&run(dir.path(), &["dump", "--effective", "proxy.yaml"]));
    assert_eq!(code, 0);
    assert!(out.contains("requests_max") && out.contains("drain"), "{out}");
    std::fs::write(dir.path().join("again.yaml"), &out).unwrap();
    assert_eq!(said(&run(dir.path(), &["dump", "--effective", "again.yaml"])).1, out);
}

#[test]
fn schema_and_pages_are_printed() {
    let dir = with(GOOD);
    let (code, out, _) = said(&run(dir.path(), &["schema"]));
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, schema["properties"]["listeners"].is_object()), (0, true));
    assert!(
        said(&run(dir.path(), &["docs", "metrics"])).1.contains("forebay_proxy_requests_total")
    );
    assert!(said(&run(dir.path(), &["docs", "config"])).1.contains("listeners"));
}

#[test]
fn as_many_files_as_the_system_allows() {
    let origin = crate::origin::Origin::saying("ok");
    let proxy = crate::harness::Proxy::before(&[origin.address]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let figures: Vec<_> = line.split_whitespace().skip(3).collect();
    assert_eq!(figures[0], figures[1], "{line}");
}

/// A document whose files are all missing, or not to be used.
const UNFIT: &str = "version: 1
listeners:
  one: { address: '127.0.0.1:0', tls: { certificates: [ { certificate: nowhere/one.pem, key: nowhere/one.key } ] } }
  two:
    address: '127.0.0.1:0'
    tls:
      certificates:
        - { certificate: nowhere/two.pem, key: nowhere/two.key }
        - { certificate: nowhere/three.pem, key: nowhere/three.key }
admin: { address: '127.0.0.1:0', tokens: [ { name: ops, file: nowhere/token, role: operator } ] }
access_log: { path: nowhere/access.log }
error_logs: { why: { path: made/why.log } }
error_log: [why]
protected_paths: [DIR/ledger]
caches: { c: { memory_max: 64MiB, disk: { path: DIR/theirs, bytes_max: 1GiB } } }
lanes: { bulk: { spill: { path: DIR/spill, bytes_max: 1GiB } } }
upstreams: { u: { servers: [ { address: '127.0.0.1:1' } ], tls: { authorities: nowhere/ca.pem } } }
routes:
  - { name: all, upstream: u, auth: { basic: { users_file: nowhere/users, realm: r } } }
";

#[test]
fn check_tells_of_all_files_at_once_and_makes_none() {
    let dir = with("");
    let here = |text: &str| text.replace("DIR", &dir.path().display().to_string());
    std::fs::write(dir.path().join("proxy.yaml"), here(UNFIT)).unwrap();
    for folder in ["theirs", "made"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    std::fs::write(dir.path().join("theirs/letter.txt"), "mine").unwrap();
    let (code, out, _) = said(&run(dir.path(), &["check", "proxy.yaml", "-o", "json"]));
    let json: Value = serde_json::from_str(&out).unwrap();
    let mut found: Vec<_> = json["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            let place = (problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap());
            (problem["path"].as_str().unwrap(), place.0, place.1 > 1)
        })
        .collect();
    found.sort_unstable();
    let wanted = [
        ("access_log.path", 11, true),
        ("admin.tokens[0].file", 10, true),
        ("caches.c.disk.path", 15, true),
        ("lanes.bulk.spill.path", 16, true),
        ("listeners.one.tls.certificates[0].certificate", 3, true),
        ("listeners.two.tls.certificates[0].certificate", 8, true),
        ("listeners.two.tls.certificates[1].certificate", 9, true),
        ("routes[0].auth.basic.users_file", 19, true),
        ("upstreams.u.tls.authorities", 17, true),
    ];
    assert_eq!((code, found.as_slice()), (65, wanted.as_slice()), "{out}");
    assert_eq!(said(&run(dir.path(), &["check", "--elsewhere", "proxy.yaml"])).0, 0);
    let (code, _, err) = said(&run(dir.path(), &["run", "proxy.yaml"]));
    assert!(matches!(code, 65 | 69) && err.contains("9 problems"), "{code} {err}");
    assert!(err.contains("proxy.yaml:11:21") && err.contains("nowhere/access.log"), "{err}");
    for made in ["spill", "ledger", "nowhere", "theirs/FORMAT", "made/why.log"] {
        assert!(!dir.path().join(made).exists(), "{made}");
    }
    for (folder, code, said_of_it) in
        [("theirs", 65, "is not a directory of a cache"), ("made", 0, "")]
    {
        let disk =
            "caches: { c: { memory_max: 64MiB, disk: { path: DIR/FOLDER, bytes_max: 1GiB } } }\n";
        let document = format!("{GOOD}{}", here(disk).replace("FOLDER", folder));
        std::fs::write(dir.path().join("proxy.yaml"), document).unwrap();
        let (seen, _, err) = said(&run(dir.path(), &["check", "proxy.yaml"]));
        assert!(seen == code && err.contains(said_of_it), "{seen} {err}");
        assert!(!dir.path().join(folder).join("FORMAT").exists(), "{folder}");
    }
}
