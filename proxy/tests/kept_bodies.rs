//! Request bodies that are taken in whole and told of: in headers of answers, in logs, in files.

use crate::harness::{BINARY, Proxy, eventually, upstream};
use crate::origin::Origin;

/// Says how the body was framed, and what it was.
fn origin() -> Origin {
    Origin::start(|exchange| {
        let length = exchange.header("content-length").unwrap_or("-").to_owned();
        let body = exchange.body().unwrap_or_default();
        exchange.answer(&format!("{length} {}", String::from_utf8_lossy(&body)))
    })
}

/// A proxy that tells bodies in headers and in a log, and the log's folder.
fn proxy(origin: &Origin, kept: &str) -> (Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&format!(
        "upstreams: {{ app: {} }}\n\
         access_logs: {{ told: {{ path: '{}', format: {{ template: '$method [$request_body] [$request_body_file]' }} }} }}\n\
         routes:\n- name: all\n  upstream: app\n  access_logs: [ told ]\n  kept_body: {{ {kept} }}\n\
         \x20 response_headers: {{ append: [ {{ name: x-body, value: $request_body }}, {{ name: x-file, value: $request_body_file }} ] }}\n",
        upstream(&[origin.address]),
        folder.path().join("told.log").display(),
    ));
    (proxy, folder)
}

fn post(proxy: &Proxy, body: &str) -> crate::client::Response {
    let length = body.len();
    proxy.client().ask(&format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn log(folder: &tempfile::TempDir, line: &str) {
    eventually(line, || {
        let text = std::fs::read_to_string(folder.path().join("told.log")).unwrap_or_default();
        text.lines().any(|known| known == line).then_some(())
    });
}

#[test]
fn a_body_in_memory_is_told_and_one_that_is_larger_is_passed_on_untold() {
    let origin = origin();
    let (proxy, logs) = proxy(&origin, "memory_max: 8B");
    let told = post(&proxy, "a \"b\"");
    assert_eq!((told.text(), told.header("x-body")), ("5 a \"b\"".to_owned(), Some("a \"b\"")));
    log(&logs, "POST [a \\x22b\\x22] [-]");
    let larger = post(&proxy, "0123456789");
    assert_eq!((larger.text(), larger.header("x-body")), ("10 0123456789".to_owned(), None));
    log(&logs, "POST [-] [-]");
    // What has a length by now is told it.
    let mut client = proxy.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    client.send("2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.response(false).unwrap().text(), "5 abcde");
    let plain = proxy.get("/");
    assert_eq!((plain.text(), plain.header("x-body")), ("- ".to_owned(), None));
    eventually("nothing is kept", || {
        let bytes = proxy.metric("forebay_proxy_kept_bodies_bytes{at=\"memory\"}");
        (bytes == 0.0).then_some(())
    });
}

#[test]
fn files_have_what_is_larger_and_go_with_their_requests_unless_they_are_to_stay() {
    let origin = origin();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("bodies");
    let kept = format!("memory_max: 8B, folder: '{}'", at.display());
    let (going, logs) = proxy(&origin, &kept);
    assert_eq!(post(&going, "12345678").header("x-file"), None);
    let larger = "x".repeat(100_000);
    let told = post(&going, &larger);
    assert_eq!(told.text(), format!("100000 {larger}"));
    let file = told.header("x-file").unwrap().to_owned();
    assert!(file.starts_with(&format!("{}/", at.display())) && told.header("x-body").is_none());
    log(&logs, &format!("POST [-] [{file}]"));
    eventually("the file is gone", || (!std::path::Path::new(&file).exists()).then_some(()));

    let (staying, _logs) = proxy(&origin, &format!("{kept}, all_in_files: true, files_stay: true"));
    let told = post(&staying, "small");
    let file = told.header("x-file").unwrap();
    assert_eq!(
        (told.text().as_str(), std::fs::read_to_string(file).unwrap().as_str()),
        ("5 small", "small")
    );
    assert_eq!(post(&staying, "").header("x-file"), None, "nothing is no file");
    assert_eq!(std::fs::read_dir(&at).unwrap().count(), 1);
}

#[test]
fn a_folder_that_cannot_be_used_is_a_failure_and_nothing_is_passed_on() {
    let origin = origin();
    let file = tempfile::NamedTempFile::new().unwrap();
    let kept = format!("memory_max: 8B, folder: '{}/below'", file.path().display());
    let (proxy, _logs) = proxy(&origin, &kept);
    assert_eq!(post(&proxy, "0123456789").status, 500);
    assert_eq!(origin.requests(), 0);
}

#[test]
fn a_folder_that_is_full_takes_no_more_until_somebody_has_made_room() {
    let origin = origin();
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("bodies");
    let kept =
        format!("folder: '{}', bytes_max: 10B, all_in_files: true, files_stay: true", at.display());
    let (proxy, _logs) = proxy(&origin, &kept);
    let first = post(&proxy, "12345678");
    let refused = post(&proxy, "abc");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(origin.requests(), 1);
    assert_eq!(std::fs::read_dir(&at).unwrap().count(), 1, "nothing is left of it");
    let told = |metric: &str| {
        proxy.metric(&format!("forebay_proxy_kept_bodies_{metric}{{folder=\"{}\"}}", at.display()))
    };
    assert_eq!((told("folder_bytes"), told("refused_total")), (8.0, 1.0));
    std::fs::remove_file(first.header("x-file").unwrap()).unwrap();
    eventually("room", || (post(&proxy, "abc").status == 200).then_some(()));
    assert_eq!(told("folder_bytes"), 3.0);
}

#[test]
fn bodies_are_not_kept_on_a_file_system_that_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let document = format!(
        "version: 1\nlisteners: {{ p: {{ address: '127.0.0.1:0' }} }}\nadmin: {{ address: '127.0.0.1:0' }}\n\
         protected_paths: [ {} ]\nupstreams: {{ u: {{ servers: [ {{ address: '127.0.0.1:1' }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u, kept_body: {{ folder: '{}' }} }} ]\n",
        ledger.display(),
        folder.path().join("bodies").display(),
    );
    std::fs::write(folder.path().join("proxy.yaml"), document).unwrap();
    let output = std::process::Command::new(BINARY)
        .args(["run", "proxy.yaml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("routes.all.kept_body.folder") && said.contains("ledger"), "{said}");
    assert!(!folder.path().join("bodies").exists(), "nothing was made");
}
