//! TLS on the main listener, spoken by curl.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::binary::{binary, serving, signal};
use crate::engine::{Engine, Server};
use crate::running::DEADLINE;

/// A certificate that signs itself, and its key, as files.
fn issue(folder: &Path) -> (PathBuf, PathBuf) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("ledger.pem"), folder.join("ledger.key"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

fn curl(trusted: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--cacert"]).arg(trusted);
    command.args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn books_are_kept_over_tls_and_a_new_certificate_needs_no_restart() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let folder = database.directory.clone();
    let (certificate, key) = issue(&folder);
    let more = ["--tls-certificate", text(&certificate), "--tls-key", text(&key)];
    let serving = serving(&database, &more).await;
    let port = serving.api.base.rsplit_once(':').unwrap().1.to_owned();
    let url = format!("https://localhost:{port}/v1/accounts");
    let first = folder.join("first.pem");
    std::fs::copy(&certificate, &first).unwrap();

    let account = r#"{"code":"a","name":"a","currency":"EUR","normal_balance":"debit"}"#;
    let fields = ["-H", "content-type: application/json", "-d", account, &url];
    let posted = curl(&first, &fields);
    let said = String::from_utf8_lossy(&posted.stdout).into_owned();
    assert!(posted.status.success() && said.contains(r#""code":"a""#), "{said}");
    let plain = curl(&first, &[&url.replace("https", "http")]);
    assert!(!plain.status.success(), "plain HTTP is not spoken there");
    // The admin listener is for this machine: probes and metrics.
    let ready = format!("{}/readyz", serving.api.admin);
    assert_eq!(serving.api.client.get(ready).send().await.unwrap().status(), 200);

    issue(&folder);
    assert!(!curl(&certificate, &[&url]).status.success(), "not in force before HUP");
    signal(&serving.child, "-HUP");
    eventually("the new certificate", || curl(&certificate, &[&url]).status.success()).await;
    assert!(!curl(&first, &[&url]).status.success(), "the old one is gone");

    let second = folder.join("second.pem");
    std::fs::copy(&certificate, &second).unwrap();
    std::fs::write(&key, "no key").unwrap();
    signal(&serving.child, "-HUP");
    let log = || std::fs::read_to_string(folder.join("log")).unwrap();
    eventually("the refusal", || log().contains("stays in force")).await;
    assert!(curl(&second, &[&url]).status.success());
}

#[test]
fn what_is_no_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = issue(folder.path());
    let other = tempfile::tempdir().unwrap();
    let (_, another) = issue(other.path());
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let cases = [
        (&certificate, Some(&another), 65, "does not go with the key"),
        (&empty, Some(&key), 65, "has no certificate"),
        (&certificate, Some(&empty), 65, "empty.pem"),
        (&certificate, None, 2, "--tls-key"),
    ];
    for (certificate, key, code, says) in cases {
        let mut command = binary();
        command.args(["serve", "--database", "sqlite:none.db", "--tls-certificate"]);
        command.current_dir(folder.path());
        command.arg(certificate);
        if let Some(key) = key {
            command.arg("--tls-key").arg(key);
        }
        let Output { status, stderr, .. } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.code() == Some(code) && said.contains(says), "{status}: {said}");
    }
}
