//! A file of the embedded engine with bits that are not what was written. Tables read well, and go round a broken index.

use std::path::Path;

use forebay_ledger::verify::{VerifyError, verify};

use crate::binary::{binary, serving};
use crate::engine::{Database, Engine, Server};
use crate::raw::Raw;
use crate::running::{moving, open_pair};

const KEY: &[u8] = b"UNIQUEKEY-2";

/// Stopped, and its log folded in.
async fn booked(server: &Server) -> Database {
    let running = server.running().await;
    open_pair(&running.api).await;
    for key in ["UNIQUEKEY-1", "UNIQUEKEY-2", "UNIQUEKEY-3"] {
        let answer = running.api.transfer(key, &moving("eur:credit", "eur:debit", "1")).await;
        assert_eq!(answer.status, 201);
    }
    running.service.stop().await.unwrap();
    running.database
}

fn said(arguments: &[&str]) -> (i32, String) {
    let output = binary().args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// One bit of the key as the index has it.
async fn flip_a_bit_of_the_index(database: &Database, path: &Path) {
    let mut raw = database.connect().await;
    let size = raw.number("PRAGMA page_size").await;
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'transfers_key'";
    let page = raw.number(sql).await;
    raw.close().await;
    let (begin, size) =
        (usize::try_from((page - 1) * size).unwrap(), usize::try_from(size).unwrap());
    let mut bytes = std::fs::read(path).unwrap();
    let leaf = &mut bytes[begin..begin + size];
    let place = leaf.windows(KEY.len()).position(|bytes| bytes == KEY).unwrap();
    leaf[place + KEY.len() - 1] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_index_that_lost_a_row_is_told() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = booked(&server).await;
    let url = database.url.parse().unwrap();
    verify(&url, None).await.unwrap();
    let path = database.directory.join("ledger.sqlite");
    flip_a_bit_of_the_index(&database, &path).await;
    let due = "row 2 missing from index transfers_key";
    let (code, text) = said(&["verify", "--database", &database.url]);
    assert!(code == 65 && text.contains("the file is damaged: "), "{code} {text}");
    assert!(text.contains(due) && text.contains("REINDEX"), "{text}");
    let copy = database.directory.join("copy").display().to_string();
    let (code, text) = said(&["backup", "--database", &database.url, "--to", &copy]);
    assert_ne!(code, 0, "{text}");
    // Beside a service as well.
    let serving = serving(&database, &[]).await;
    let (code, text) = said(&["verify", "--database", &database.url]);
    assert!(code == 65 && text.contains(due), "{code} {text}");
    drop(serving);
    let mut raw = database.connect().await;
    raw.execute("REINDEX").await.unwrap();
    raw.close().await;
    verify(&url, None).await.unwrap();
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_told() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let database = booked(&server).await;
    let path = database.directory.join("ledger.sqlite");
    let mut raw: Raw = database.connect().await;
    let size = raw.number("PRAGMA page_size").await;
    let page = raw.number("SELECT rootpage FROM sqlite_schema WHERE name = 'entries'").await;
    raw.close().await;
    let begin = usize::try_from((page - 1) * size).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // The kind of the page.
    bytes[begin] = 0xff;
    std::fs::write(&path, bytes).unwrap();
    let found = verify(&database.url.parse().unwrap(), None).await.unwrap_err();
    assert!(matches!(found, VerifyError::Damaged(_)), "{found}");
}
