//! The real binary: its command line, its exit codes, its addresses file.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::engine::{Database, Engine, Server};
use crate::running::{Api, DEADLINE};

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-ledger"));
    command.env_remove("FOREBAY_LEDGER_DATABASE").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = binary().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A child that is killed when the test ends in any way.
pub struct Serving {
    pub child: Child,
    pub api: Api,
    pub addresses: PathBuf,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `serve` on free ports and waits for its addresses.
pub async fn serving(database: &Database, more: &[&str]) -> Serving {
    let log = database.directory.join("log");
    let log = File::options().create(true).append(true).open(log).unwrap();
    serving_told(database, more, log).await
}

/// The same, with its log somewhere else.
pub async fn serving_told(database: &Database, more: &[&str], log: File) -> Serving {
    let directory = &database.directory;
    let addresses = directory.join("addresses.json");
    // A killed service could not remove its own.
    let _ = std::fs::remove_file(&addresses);
    let mut child = binary()
        .arg("serve")
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("FOREBAY_LEDGER_DATABASE", &database.url)
        .arg("--addresses-file")
        .arg(&addresses)
        .args(if more.contains(&"--auth") { &[][..] } else { &["--auth", "open"] })
        .args(more)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let began = Instant::now();
    let found: Value = loop {
        if let Ok(text) = std::fs::read_to_string(&addresses) {
            break serde_json::from_str(&text).unwrap();
        }
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", log());
        assert!(began.elapsed() < DEADLINE, "it did not start: {}", log());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    let address = |name: &str| found[name].as_str().unwrap().parse().unwrap();
    Serving { child, api: Api::new(address("listen"), address("admin_listen")), addresses }
}

pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").arg(name).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end; fails when it hangs.
pub async fn ended(child: &mut Child) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < DEADLINE, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn printed_documents() {
    let (code, openapi, _) = output(&["openapi"]);
    let openapi: Value = serde_json::from_str(&openapi).unwrap();
    assert_eq!((code, &openapi["openapi"]), (0, &Value::from("3.1.0")));
    let (code, metrics, _) = output(&["docs", "metrics"]);
    assert!(code == 0 && metrics.contains("| `forebay_ledger_queue_depth` | gauge |"));
    let (code, help, _) = output(&["serve", "--help"]);
    assert!(
        code == 0
            && help.contains("[default: 127.0.0.1:8081]")
            && help.contains("[default: 30s]")
            && help.contains("[default: required]")
    );
}

#[test]
fn exit_codes_tell_usage_bad_documents_and_unavailability_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("sqlite:{}", directory.path().join(name).display());
    std::fs::write(directory.path().join("text"), "text".repeat(1000)).unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let (good, text, nowhere) = (path("good"), path("text"), path("no/where"));
    let normal = path("good?synchronous=normal");
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let cases: [(&[&str], i32, &str); 15] = [
        (&["serve", "--database", "mysql://u:secret@h"], 2, "names no database"),
        (
            &["migrate", "--database", "mysql://u:secret@127.0.0.1:1/d"],
            69,
            "cannot open mysql://u@127.0.0.1:1/d",
        ),
        (
            &["migrate", "--database", "postgres://u:secret@127.0.0.1:1/d"],
            69,
            "cannot open postgres://u@127.0.0.1:1/d",
        ),
        (&["serve", "--database", "nonsense:u:secret@h"], 2, "not a database URL"),
        (&["serve", "--database", "nonsense"], 2, "not a database URL"),
        (&["serve"], 2, "--database"),
        (&["serve", "--database", &good, "--queue-max", "0"], 2, "at least 1"),
        (&["serve", "--database", &good, "--drain", "soon"], 2, "not a duration"),
        (&["serve", "--database", &good, "--log", "a=b=c"], 2, "--log"),
        (&["migrate", "--database", &good], 0, ""),
        (&["serve", "--database", &text], 65, "not a Forebay ledger"),
        (&["serve", "--database", &normal], 65, "PRAGMA synchronous is NORMAL"),
        (&["serve", "--database", &path("new"), "--no-migrate"], 65, "forebay-ledger migrate"),
        (&["migrate", "--database", &nowhere], 69, "cannot open"),
        (&["serve", "--database", &good, "--listen", &taken], 69, "choose another with --listen"),
    ];
    for (arguments, expected, said) in cases {
        let mut arguments = arguments.to_vec();
        if arguments[0] == "serve" && !arguments.contains(&"--listen") {
            arguments.extend(free);
        } else if arguments[0] == "serve" {
            arguments.extend(&free[2..]);
        }
        let (code, _, stderr) = output(&arguments);
        assert_eq!(code, expected, "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn logs_are_json_lines_and_the_addresses_file_goes_with_the_service() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    for name in ["-TERM", "-INT", "-QUIT"] {
        let mut serving = serving(&database, &[]).await;
        assert_eq!(serving.api.get("/v1/accounts").await.status, 200);
        signal(&serving.child, name);
        assert_eq!(ended(&mut serving.child).await.code(), Some(0), "{name}");
        assert!(!serving.addresses.exists());
    }
    let log = std::fs::read_to_string(database.directory.join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said = |message: &str| lines.iter().filter(|l| l["fields"]["message"] == message).count();
    assert_eq!((said("serving"), said("stopping"), said("stopped")), (3, 3, 3), "{log}");
}
