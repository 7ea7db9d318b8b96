//! `backup`, `restore` and `export`: the real binary beside a service that writes.

use serde_json::json;

use crate::binary::{binary, serving};
use crate::engine::{Engine, Server, on_every_engine};
use crate::pending::{holding, id};
use crate::running::{moving, open_pair};

on_every_engine!(everything_booked_is_exported);

fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = binary().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_backup_of_a_database_being_served_is_restored() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = server.database().await;
    let served = serving(&database, &[]).await;
    open_pair(&served.api).await;
    let first = served.api.transfer("k", &moving("eur:credit", "eur:debit", "5")).await;
    let copy = database.directory.join("copy.sqlite").display().to_string();
    let (code, said, error) = run(&["backup", "--database", &database.url, "--to", &copy]);
    assert!(code == 0 && said.contains("the books are right"), "{said}{error}");
    assert!(said.contains("1 transfers, 2 entries"), "{said}");
    // A copy never takes the place of anything, and what is no ledger is not copied.
    let (code, _, error) = run(&["backup", "--database", &database.url, "--to", &copy]);
    assert!(code == 69 && error.contains("it is there already"), "{error}");
    let text = database.directory.join("text").display().to_string();
    std::fs::write(&text, "text".repeat(1000)).unwrap();
    let other = format!("sqlite:{}", database.directory.join("other.sqlite").display());
    let (code, _, error) = run(&["restore", "--from", &text, "--database", &other]);
    assert_eq!(code, 65, "{error}");
    let (code, _, error) = run(&["restore", "--from", "/no/where", "--database", &other]);
    assert!(code == 69 && error.contains("no such file"), "{error}");
    let (code, _, error) = run(&["backup", "--database", "postgres://u@h/d", "--to", "x"]);
    assert!(code == 1 && error.contains("pg_basebackup"), "{error}");
    // What was booked after the copy is not in it; what was before is answered the same.
    id(&served.api.transfer("later", &moving("eur:credit", "eur:debit", "1")).await);
    let (code, said, error) = run(&["restore", "--from", &copy, "--database", &other]);
    assert_eq!(code, 0, "{said}{error}");
    let restored = crate::engine::Database { url: other, ..server.database().await };
    let again = serving(&restored, &[]).await;
    let replayed = again.api.transfer("k", &moving("eur:credit", "eur:debit", "5")).await;
    assert_eq!((replayed.is_replay(), replayed.body), (true, first.body));
    assert_eq!(again.api.read("/v1/accounts/eur:debit/balance").await["debits"], "5.00");
}

async fn everything_booked_is_exported(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut body = moving("eur:credit", "eur:debit", "5");
    body["description"] = json!("say \"hi\", twice");
    body["effective_date"] = json!("2026-01-31");
    let first = id(&api.transfer("a", &body).await);
    let held = id(&api.transfer("b", &holding("eur:credit", "eur:debit", "7")).await);
    let post = id(&api.follow(&held, "post", "c", &json!({"description": ""})).await);
    let url = running.database.url.as_str();
    let (code, csv, error) = run(&["export", "--database", url]);
    assert_eq!(code, 0, "{error}");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 4, "what is held is not booked: {csv}");
    assert!(lines[0].starts_with("entry,transfer,kind,booked_at,effective_date,description,"));
    assert!(lines[1].starts_with(&format!("1,{first},transfer,")), "{csv}");
    let end = ",2026-01-31,\"say \"\"hi\"\", twice\",eur:debit,debit,5.00,EUR,\"a\",";
    assert!(lines[1].ends_with(end), "{csv}");
    let end = format!(",eur:credit,credit,7.00,EUR,\"transfer:{post}\",");
    assert!(lines[4].starts_with(&format!("4,{post},post,")) && lines[4].ends_with(&end), "{csv}");
    let (code, journal, error) = run(&["export", "--database", url, "--format", "ledger"]);
    assert_eq!(code, 0, "{error}");
    let entry = "2026-01-31 * say \"hi\", twice\n    ; forebay-key: a\n    eur:debit  5.00 \"EUR\"\n    eur:credit  -5.00 \"EUR\"\n";
    assert!(journal.contains(&format!("\n; transfer {first}, booked ")), "{journal}");
    assert!(journal.contains(entry), "{journal}");
    assert!(journal.contains(&format!("\n; post {post}, booked ")), "{journal}");
}
