//! The head of the chain is signed at intervals and when a period is closed, and `verify` holds signatures against it.

use forebay_ledger::signature::{SigningKey, pem};
use forebay_ledger::signing::Signing;
use forebay_ledger::verify::{verify, verify_signed};
use serde_json::json;

use crate::binary::{binary, ended, serving, signal};
use crate::engine::{Engine, Server, on_every_engine};
use crate::running::{Running, moving, open_pair, options};

on_every_engine!(heads_are_signed_and_verified);

fn key(path: &std::path::Path) -> SigningKey {
    SigningKey::create(path).unwrap()
}

async fn heads_are_signed_and_verified(server: &Server) {
    let database = server.database().await;
    let key = key(&database.directory.join("signing-key"));
    let public = key.public;
    let mut options = options(&database.url);
    let every = std::time::Duration::from_millis(20);
    options.signing = Some(Signing { key: key.into(), every });
    let running = Running::start(options, database).await;
    let api = &running.api;
    open_pair(api).await;
    for index in 0..5 {
        api.transfer(&format!("k{index}"), &moving("eur:credit", "eur:debit", "1")).await;
        api.metric_reaches("forebay_ledger_signatures_total", f64::from(index) / 3.0).await;
    }
    let before = api.metric("forebay_ledger_signatures_total").await;
    assert_eq!(api.post("/v1/closes", &json!({"through": "2026-01-31"})).await.status, 201);
    assert!(api.metric("forebay_ledger_signatures_total").await > before, "a close is signed");
    let head = api.read("/v1/head").await;
    assert_eq!(head["public_key"], pem::public(&public));
    assert!(head["signed"]["link"].as_i64().unwrap() < head["link"].as_i64().unwrap());
    let listed = api.read("/v1/signatures?limit=1").await;
    assert_eq!((&listed["items"][0]["id"], listed["next_cursor"].as_str()), (&json!(1), Some("1")));
    // Where nothing is booked, nothing is signed: the count comes to rest.
    let rest = async {
        loop {
            let count = api.metric("forebay_ledger_signatures_total").await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if api.metric("forebay_ledger_signatures_total").await == count {
                return;
            }
        }
    };
    tokio::time::timeout(crate::running::DEADLINE, rest).await.expect("it signs for ever");
    let database = running.database;
    running.service.stop().await.unwrap();
    let url = database.url.parse().unwrap();
    let verified = verify_signed(&url, None, &[public]).await.unwrap();
    assert!(verified.signed.unwrap().1 >= 2);
    let other = verify_signed(&url, None, &[[7; 32]]).await.unwrap_err().to_string();
    assert!(other.contains("head_signatures, id 1: it is by the key"), "{other}");

    let mut raw = database.connect().await;
    if database.engine == Engine::Postgres {
        raw.execute("SET session_replication_role = replica").await.unwrap();
    } else {
        for what in ["update", "delete", "replace"] {
            let sql = format!("DROP TRIGGER IF EXISTS head_signatures_no_{what}");
            raw.execute(&sql).await.unwrap();
        }
    }
    raw.execute("UPDATE head_signatures SET head_seq = head_seq + 1 WHERE id = 2").await.unwrap();
    let found = verify(&url, None).await.unwrap_err().to_string();
    assert!(found.contains("head_signatures, id 2: it is not what its key made"), "{found}");
    raw.execute("UPDATE head_signatures SET head_seq = head_seq - 1 WHERE id = 2").await.unwrap();
    raw.execute("DELETE FROM head_signatures WHERE id = 2").await.unwrap();
    let found = verify(&url, None).await.unwrap_err().to_string();
    assert!(found.contains("signature:2 is gone"), "{found}");
}

#[tokio::test]
async fn the_commands_make_keys_sign_and_verify() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let path = |name: &str| database.directory.join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let output = binary().args(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, public, error) = run(&["signing-key", "create", "--to", &path("key")]);
    assert!(code == 0 && public.starts_with("-----BEGIN PUBLIC KEY-----"), "{error}");
    assert_eq!(run(&["signing-key", "show", &path("key")]).1, public);
    assert_eq!(
        run(&["signing-key", "create", "--to", &path("key")]).0,
        1,
        "no key is written over"
    );
    std::fs::write(path("public"), &public).unwrap();
    assert_eq!(run(&["migrate", "--database", &database.url]).0, 0);
    let verify = |more: &[&str]| {
        let mut all = vec!["verify", "--database", &database.url];
        all.extend(more);
        run(&all)
    };
    let (code, _, error) = verify(&["--public-key", &path("public")]);
    assert!(code == 65 && error.contains("no head was signed"), "{error}");
    let close = [
        "close",
        "--database",
        &database.url,
        "--through",
        "2026-01-31",
        "--signing-key-file",
        &path("key"),
    ];
    assert_eq!(run(&close).0, 0);
    let (code, said, error) = verify(&["--public-key", &path("public")]);
    assert!(code == 0 && said.contains("1 signatures, the last over link "), "{said}{error}");
    let mut served = serving(&database, &["--signing-key-file", &path("key")]).await;
    assert_eq!(served.api.read("/v1/head").await["public_key"], public);
    signal(&served.child, "-TERM");
    assert_eq!(ended(&mut served.child).await.code(), Some(0));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path("key"), mode).unwrap();
    let (code, _, error) =
        run(&["serve", "--database", &database.url, "--signing-key-file", &path("key")]);
    assert!(code == 1 && error.contains("chmod 600"), "{code} {error}");
}
