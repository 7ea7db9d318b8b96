//! Every operation held against the OpenAPI document by a program of others: schemathesis sends what the document allows and
//! what it does not, and judges each answer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::binary::serving;
use crate::engine::{Engine, Server};

/// As `tools/install.sh test` installs it, beside what cargo builds.
fn program() -> PathBuf {
    let folders = Path::new(env!("CARGO_BIN_EXE_forebay-ledger")).ancestors();
    let programs = folders.map(|folder| folder.join("schemathesis/bin/schemathesis"));
    programs
        .into_iter()
        .find(|program| program.exists())
        .expect("tools/install.sh test installs it")
}

#[tokio::test]
async fn every_answer_is_as_documented() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let path = |name: &str| database.directory.join(name).display().to_string();
    let key = format!("fbl_{}", "k".repeat(43));
    std::fs::write(path("key"), &key).unwrap();
    let first = ["--auth", "required", "--first-admin-key-file", &path("key")];
    let served = serving(&database, &first).await;
    let document = served.api.request(reqwest::Method::GET, "/openapi.json").build().unwrap();
    let output = Command::new(program())
        .current_dir(&database.directory)
        .args(["run", document.url().as_str(), "--header", &format!("Authorization: Bearer {key}")])
        .args(["--phases", "examples,coverage", "--continue-on-failure", "--seed", "1"])
        // A document cannot say that two sides must balance, or that an account must be there.
        .args(["--exclude-checks", "positive_data_acceptance"])
        // Streams: one never ends, and the other is no JSON.
        .args(["--exclude-path", "/v1/events", "--exclude-path", "/v1/batches.ndjson"])
        .args(["--workers", "2", "--max-time", "60", "--warnings", "off", "--no-color"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let generated = said.lines().find_map(|line| line.trim().split_once(" generated"));
    let cases: usize = generated.expect("it says how many").0.parse().unwrap();
    assert!(cases > 1000, "{said}");
}
