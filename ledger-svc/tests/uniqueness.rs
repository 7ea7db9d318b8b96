//! A key books once because an index says so; a database that lost it is not served, and said to be what it is.

use forebay_ledger::service;
use forebay_ledger::verify::verify;

use crate::binary::binary;
use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::raw::Raw;
use crate::running::{Answer, Running, moving, open_pair, options};
use crate::verified::unfenced;

on_every_engine!(
    indexes_that_are_gone_are_told_and_made_again,
    what_was_booked_twice_is_found,
    ids_are_written_in_one_way,
);

async fn drop_index(raw: &mut Raw, database: &Database, table: &str, name: &str) {
    let on =
        if database.engine == Engine::MariaDb { format!(" ON {table}") } else { String::new() };
    raw.execute(&format!("DROP INDEX {name}{on}")).await.unwrap();
}

fn run(database: &Database, what: &[&str]) -> (i32, String) {
    let output = binary().args(what).args(["--database", &database.url]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// A database that nobody serves, with one transfer, and its answer.
async fn booked(server: &Server) -> (Database, Answer) {
    let running = server.running().await;
    open_pair(&running.api).await;
    let first = running.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    running.service.stop().await.unwrap();
    (running.database, first)
}

async fn indexes_that_are_gone_are_told_and_made_again(server: &Server) {
    let (database, first) = booked(server).await;
    let mut raw = database.connect().await;
    drop_index(&mut raw, &database, "account_metadata", "account_metadata_by_value").await;
    assert_eq!(run(&database, &["verify"]).0, 0, "one that is there for speed");
    drop_index(&mut raw, &database, "backdated_entries", "backdated_entries_by_date").await;
    let (code, said) = run(&database, &["verify"]);
    let due = "1 unique indexes that keep rows from being there twice are gone: backdated_entries(account_id,effective_date,number); forebay-ledger migrate --mend";
    assert!(code == 65 && said.contains("the books are right") && said.contains(due), "{said}");
    drop_index(&mut raw, &database, "transfers", "transfers_key").await;
    // One of the name that lets the same key in again is none.
    let key = if database.engine == Engine::MariaDb { "`key`" } else { "key" };
    if database.engine != Engine::MariaDb {
        raw.execute(&format!("CREATE INDEX transfers_key ON transfers ({key})")).await.unwrap();
    }
    let refused = service::start(options(&database.url)).await.unwrap_err().to_string();
    let due =
        "would book twice what it is asked for twice: nothing keeps transfers(key) unique any more";
    assert!(refused.contains(due) && refused.contains("migrate --mend"), "{refused}");
    let (code, said) = run(&database, &["migrate"]);
    let due = "2 unique indexes that keep rows from being there twice are gone";
    assert!(code == 65 && said.contains(due), "{code} {said}");
    let (code, said) = run(&database, &["migrate", "--mend"]);
    assert!(code == 0 && said.contains("they are made again"), "{code} {said}");
    assert_eq!(run(&database, &["verify"]).0, 0);
    let again = Running::start(options(&database.url), database).await;
    let second = again.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    assert!(second.is_replay() && second.body == first.body, "{}", second.body);
}

async fn what_was_booked_twice_is_found(server: &Server) {
    let (database, first) = booked(server).await;
    // Taken away from under a service, which asks when it starts.
    let again = Running::start(options(&database.url), database).await;
    let mut raw = again.database.connect().await;
    drop_index(&mut raw, &again.database, "transfers", "transfers_key").await;
    let second = again.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(second.status, 201, "{}", second.body);
    let database = again.database;
    again.service.stop().await.unwrap();
    let found = verify(&database.url.parse().unwrap(), None).await;
    if database.engine == Engine::Sqlite {
        // A trigger asks there as well.
        assert_eq!(second.body, first.body);
        assert_eq!(found.unwrap().unguarded.not_unique, ["transfers(key)"]);
        return;
    }
    assert_ne!(second.body, first.body);
    let found = found.unwrap_err().to_string();
    assert!(found.contains("transfers, seq 2: its key \"k\" is another transfer's too"), "{found}");
    let (code, said) = run(&database, &["migrate", "--mend"]);
    assert!(code != 0 && said.contains("the database has it already"), "{code} {said}");
}

async fn ids_are_written_in_one_way(server: &Server) {
    if server.engine != Engine::Sqlite {
        return;
    }
    let (database, _) = booked(server).await;
    let mut raw = unfenced(&database).await;
    for way in ["upper(id)", "replace(id, '-', '')", "'{' || id || '}'"] {
        raw.execute("CREATE TABLE kept AS SELECT id FROM transfers").await.unwrap();
        raw.execute(&format!("UPDATE transfers SET id = {way}")).await.unwrap();
        let found = verify(&database.url.parse().unwrap(), None).await.unwrap_err().to_string();
        assert!(found.contains("impossible: a transfer id"), "{way}: {found}");
        raw.execute("UPDATE transfers SET id = (SELECT id FROM kept)").await.unwrap();
        raw.execute("DROP TABLE kept").await.unwrap();
    }
    verify(&database.url.parse().unwrap(), None).await.unwrap();
}
