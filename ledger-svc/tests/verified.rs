//! `verify` finds healthy books right, and a change by plain SQL in any table, naming the row.

use std::time::Instant;

use forebay_ledger::hex::hex;
use forebay_ledger::link::Head;
use forebay_ledger::store::DatabaseUrl;
use forebay_ledger::verify::{Finding, Verified, VerifyError, verify};
use serde_json::json;

use crate::binary::{binary, serving};
use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::pending::{hold_and_void, holding, id};
use crate::raw::Raw;
use crate::running::{DEADLINE, Running, answer, moving, open_pair, options};
use crate::upgrade::of_the_first_version;

on_every_engine!(
    books_are_right_while_they_are_written,
    every_change_by_sql_is_found,
    what_the_first_version_booked_is_chained,
    what_no_version_writes_is_found,
    triggers_that_are_gone_are_told,
    triggers_that_say_nothing_are_found_and_mended,
);

async fn verified(database: &Database, pinned: Option<Head>) -> Result<Verified, VerifyError> {
    let url: DatabaseUrl = database.url.parse().unwrap();
    Box::pin(verify(&url, pinned)).await
}

async fn wrong(database: &Database, pinned: Option<Head>) -> Finding {
    match verified(database, pinned).await.expect_err("it should have been found") {
        VerifyError::Wrong(finding) => finding,
        other => panic!("{other}"),
    }
}

/// One of everything: transfers of each kind, a hold that is open, limits, a currency.
async fn everything_once(running: &Running) {
    let api = &running.api;
    open_pair(api).await;
    api.post("/v1/currencies", &json!({"code": "POINTS", "scale": 1})).await;
    let account = json!({"code": "m", "name": "m", "currency": "EUR", "normal_balance": "debit", "metadata": {"a": "b"}});
    assert_eq!(api.post("/v1/accounts", &account).await.status, 201);
    hold_and_void(api).await;
    api.post("/v1/keys", &json!({"name": "n", "role": "reader"})).await;
    api.post("/v1/keys/1/revoke", &json!({})).await;
    api.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:1/"})).await;
    api.post("/v1/webhooks/1/remove", &json!({})).await;
    let first = id(&api.transfer("a", &moving("eur:credit", "eur:debit", "5")).await);
    id(&api.follow(&first, "reverse", "b", &json!({})).await);
    let held = id(&api.transfer("c", &holding("eur:credit", "eur:debit", "7")).await);
    let part = json!({"entries": moving("eur:credit", "eur:debit", "3")["entries"]});
    id(&api.follow(&held, "post", "d", &part).await);
    let mut expiring = holding("eur:credit", "eur:debit", "2");
    expiring["metadata"] = json!({"a": "b"});
    expiring["expires_at"] = json!("2999-01-01T00:00:00Z");
    id(&api.transfer("e", &expiring).await);
}

async fn books_are_right_while_they_are_written(server: &Server) {
    let running = server.running().await;
    let empty = verified(&running.database, None).await.unwrap();
    assert_eq!(empty.books.transfers, 0);
    assert!(empty.books.head().seq > 100, "the currencies are chained");
    everything_once(&running).await;
    let writing = async {
        for index in 0..100 {
            id(&running
                .api
                .transfer(&format!("w{index}"), &moving("eur:credit", "eur:debit", "1"))
                .await);
        }
    };
    let (_, seen) = tokio::join!(writing, verified(&running.database, None));
    let seen = seen.unwrap().books.head();
    let done = verified(&running.database, Some(seen)).await.unwrap();
    assert_eq!((done.books.transfers, done.books.entries), (7 + 100, 2 * 103));
    assert_eq!(done.books.sums["EUR"].debits_minor, 500 + 500 + 300 + 10_000);
    assert_eq!(done.books.sums["EUR"].credits_minor, 500 + 500 + 300 + 10_000);
    // A restart goes on with the same chain.
    let database = running.database;
    running.service.stop().await.unwrap();
    let again = Running::start(options(&database.url), database).await;
    id(&again.api.transfer("after", &moving("eur:credit", "eur:debit", "1")).await);
    let last = verified(&again.database, Some(done.books.head())).await.unwrap();
    assert_eq!(last.books.head().seq, done.books.head().seq + 1);
}

/// A connection that nothing holds back: as somebody who owns the database would take it.
pub async fn unfenced(database: &Database) -> Raw {
    let mut raw = database.connect().await;
    match database.engine {
        Engine::Postgres => {
            raw.execute("SET session_replication_role = replica").await.unwrap();
        }
        Engine::Sqlite | Engine::MariaDb => {
            let off = match database.engine {
                Engine::Sqlite => "PRAGMA foreign_keys = OFF",
                _ => "SET foreign_key_checks = 0",
            };
            raw.execute(off).await.unwrap();
            for table in [
                "transfers",
                "entries",
                "pending_entries",
                "account_limits",
                "idempotency_keys",
                "accounts",
                "currencies",
                "chain",
                "api_keys",
                "api_key_revocations",
                "audit_log",
                "webhook_endpoints",
                "webhook_removals",
                "account_metadata",
                "transfer_metadata",
                "head_signatures",
                "external_statements",
                "external_lines",
                "matches",
                "match_lines",
                "match_entries",
                "unmatches",
                "external_repeats",
                "external_withdrawals",
                "account_sets",
                "account_set_members",
            ] {
                for what in ["update", "delete", "replace"] {
                    let drop = format!("DROP TRIGGER IF EXISTS {table}_no_{what}");
                    raw.execute(&drop).await.expect(&drop);
                }
            }
        }
    }
    raw
}

/// What is changed, how it is undone, and the table (or what names it) that must be pointed at.
const CHANGES: &[(&str, &str, &str)] = &[
    (
        "UPDATE currencies SET scale = 3 WHERE code = 'EUR'",
        "UPDATE currencies SET scale = 2 WHERE code = 'EUR'",
        "currencies, EUR",
    ),
    (
        "INSERT INTO currencies (code, scale) VALUES ('FAKE', 2)",
        "DELETE FROM currencies WHERE code = 'FAKE'",
        "currencies, code FAKE",
    ),
    (
        "UPDATE accounts SET name = 'x' WHERE code = 'eur:debit'",
        "UPDATE accounts SET name = 'eur:debit' WHERE code = 'eur:debit'",
        "accounts, 1",
    ),
    (
        "UPDATE accounts SET normal_balance = 'credit' WHERE code = 'eur:debit'",
        "UPDATE accounts SET normal_balance = 'debit' WHERE code = 'eur:debit'",
        "accounts, 1",
    ),
    (
        "UPDATE account_limits SET balance_min_minor = -999999",
        "UPDATE account_limits SET balance_min_minor = -10000",
        "account_limits, 1",
    ),
    (
        "INSERT INTO account_limits (id, account_id, set_at_us) VALUES (99, 1, 1)",
        "DELETE FROM account_limits WHERE id = 99",
        "account_limits, id 99",
    ),
    (
        "UPDATE transfers SET description = 'x' WHERE seq = 3",
        "UPDATE transfers SET description = 'move' WHERE seq = 3",
        "transfers, 3",
    ),
    ("UPDATE transfers SET effective_date = '1999-01-01' WHERE seq = 3", "", "transfers, 3"),
    (
        "UPDATE transfers SET of_seq = NULL WHERE seq = 4",
        "UPDATE transfers SET of_seq = 3 WHERE seq = 4",
        "transfers, seq 4",
    ),
    (
        "UPDATE transfers SET kind = 'transfer' WHERE seq = 5",
        "UPDATE transfers SET kind = 'pending' WHERE seq = 5",
        "transfers, seq 5",
    ),
    (
        "UPDATE entries SET amount_minor = amount_minor + 1 WHERE id = 3",
        "UPDATE entries SET amount_minor = amount_minor - 1 WHERE id = 3",
        "entries, id 3",
    ),
    (
        "UPDATE entries SET debits_after_minor = debits_after_minor + 1 WHERE id = 3",
        "UPDATE entries SET debits_after_minor = debits_after_minor - 1 WHERE id = 3",
        "entries, id 3",
    ),
    (
        "UPDATE entries SET jump_id = 0 WHERE id = 3",
        "UPDATE entries SET jump_id = previous_id WHERE id = 3",
        "entries, id 3",
    ),
    (
        "UPDATE balances SET last_entry_id = last_entry_id - 2 WHERE account_id = 1",
        "UPDATE balances SET last_entry_id = last_entry_id + 2 WHERE account_id = 1",
        "balances, account_id 1",
    ),
    (
        "UPDATE entries SET account_id = 77 WHERE id = 2",
        "UPDATE entries SET account_id = 2 WHERE id = 2",
        "entries, id 2",
    ),
    (
        "INSERT INTO entries (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor, previous_id, jump_id) VALUES (99, 7, 1, 99, 'debit', 1, 1, 1, 0, 0)",
        "DELETE FROM entries WHERE id = 99",
        "entries, id 99",
    ),
    (
        "UPDATE pending_entries SET amount_minor = amount_minor + 1 WHERE id = 1",
        "UPDATE pending_entries SET amount_minor = amount_minor - 1 WHERE id = 1",
        "transfers, seq 1",
    ),
    (
        "INSERT INTO pending_entries (id, transfer_seq, account_id, direction, amount_minor) VALUES (99, 7, 1, 'debit', 1)",
        "DELETE FROM pending_entries WHERE id = 99",
        "seq 7",
    ),
    (
        "UPDATE transfers SET KEY = 'x' WHERE seq = 3",
        "UPDATE transfers SET KEY = 'a' WHERE seq = 3",
        "transfers, 3",
    ),
    ("UPDATE transfers SET KEY = NULL WHERE seq = 7", "", "the key of transfer 7 is gone"),
    ("UPDATE transfers SET fingerprint = link WHERE seq = 4", "", "transfers, 4"),
    ("UPDATE transfers SET link = fingerprint WHERE seq = 4", "", "transfers, 4"),
    ("UPDATE transfers SET link_seq = NULL WHERE seq = 4", "", "links before it are gone"),
    (
        "UPDATE balances SET debits_minor = debits_minor + 1 WHERE account_id = 1",
        "UPDATE balances SET debits_minor = debits_minor - 1 WHERE account_id = 1",
        "balances, account_id 1",
    ),
    (
        "UPDATE balances SET pending_credits_minor = 0 WHERE account_id = 2",
        "UPDATE balances SET pending_credits_minor = 200 WHERE account_id = 2",
        "balances, account_id 2",
    ),
    (
        "UPDATE balances SET balance_min_minor = NULL WHERE account_id = 1",
        "UPDATE balances SET balance_min_minor = -10000 WHERE account_id = 1",
        "balances, account_id 1",
    ),
    (
        "UPDATE holds SET expires_at_us = NULL",
        "UPDATE holds SET expires_at_us = 32472144000000000",
        "holds, transfer_seq 7",
    ),
    (
        "INSERT INTO holds (transfer_seq) VALUES (1)",
        "DELETE FROM holds WHERE transfer_seq = 1",
        "holds, transfer_seq 1",
    ),
    (
        "UPDATE chain SET subject = 'limits:9' WHERE subject = 'limits:1'",
        "UPDATE chain SET subject = 'limits:1' WHERE subject = 'limits:9'",
        "limits:9 is gone",
    ),
    (
        "UPDATE api_keys SET role = 'admin' WHERE id = 1",
        "UPDATE api_keys SET role = 'reader' WHERE id = 1",
        "api_keys, 1",
    ),
    (
        "INSERT INTO api_keys (id, name, prefix, hash, role, created_at_us) SELECT 99, 'x', 'fbl_x', hash, 'admin', 1 FROM chain WHERE seq = 1",
        "DELETE FROM api_keys WHERE id = 99",
        "api_keys, id 99",
    ),
    ("UPDATE api_key_revocations SET revoked_at_us = 1", "", "api_key_revocations, 1"),
    (
        "UPDATE audit_log SET actor = 'key:9' WHERE id = 1",
        "UPDATE audit_log SET actor = 'anybody' WHERE id = 1",
        "audit_log, 1",
    ),
    (
        "UPDATE webhook_endpoints SET url = 'http://127.0.0.1:2/'",
        "UPDATE webhook_endpoints SET url = 'http://127.0.0.1:1/'",
        "webhook_endpoints, 1",
    ),
    (
        "UPDATE account_metadata SET value = 'c'",
        "UPDATE account_metadata SET value = 'b'",
        "accounts, 3",
    ),
    (
        "INSERT INTO account_metadata (account_id, name, value) VALUES (3, 'x', 'y')",
        "DELETE FROM account_metadata WHERE name = 'x'",
        "accounts, 3",
    ),
    (
        "INSERT INTO account_metadata (account_id, name, value) VALUES (99, 'x', 'y')",
        "DELETE FROM account_metadata WHERE name = 'x'",
        "account_metadata, account_id",
    ),
    (
        "UPDATE transfer_metadata SET value = 'c'",
        "UPDATE transfer_metadata SET value = 'b'",
        "transfers, 7",
    ),
    (
        "INSERT INTO transfer_metadata (transfer_seq, name, value) VALUES (3, 'x', 'y')",
        "DELETE FROM transfer_metadata WHERE name = 'x'",
        "transfers, 3",
    ),
    (
        "INSERT INTO transfer_metadata (transfer_seq, name, value) VALUES (99, 'x', 'y')",
        "DELETE FROM transfer_metadata WHERE name = 'x'",
        "transfer_metadata, transfer_seq",
    ),
    ("UPDATE webhook_removals SET removed_at_us = 1", "", "webhook_removals, 1"),
    ("UPDATE webhook_progress SET delivered_seq = 7", "", "webhook_progress, endpoint_id 1"),
    ("UPDATE webhook_progress SET error = 'none'", "", "webhook_progress, endpoint_id 1"),
    ("UPDATE webhook_progress SET seal = ''", "", "webhook_progress, endpoint_id 1"),
    ("DELETE FROM webhook_progress", "", "webhook_progress, endpoint_id 1: it is gone"),
    ("UPDATE api_key_uses SET last_used_at_us = 1", "", "api_key_uses, key_id 1"),
    ("DELETE FROM api_key_uses", "", "api_key_uses, key_id 1: it is gone"),
    (
        "INSERT INTO api_key_uses (key_id, last_used_at_us) VALUES (9, 1)",
        "DELETE FROM api_key_uses WHERE key_id = 9",
        "api_key_uses, key_id 9",
    ),
    ("UPDATE service SET probed_at_us = 1", "", "service, id 1"),
    ("DELETE FROM service", "", "service, id 1: it is gone"),
    (
        "UPDATE service SET id = 1, epoch = -epoch",
        "UPDATE service SET epoch = -epoch",
        "service, id 1",
    ),
];

async fn every_change_by_sql_is_found(server: &Server) {
    let running = server.running().await;
    everything_once(&running).await;
    let database = running.database;
    running.service.stop().await.unwrap();
    let head = verified(&database, None).await.unwrap().books.head();
    let mut raw = unfenced(&database).await;
    for (change, undo, expected) in CHANGES {
        let change = &match database.engine {
            Engine::MariaDb => change.replace("KEY", "`key`"),
            Engine::Postgres | Engine::Sqlite => change.replace("KEY", "key"),
        };
        // Some cannot be undone by value: their old text is kept beside.
        let keep = undo.is_empty();
        let named = change.trim_start_matches("DELETE FROM ").trim_start_matches("UPDATE ");
        let table = named.split(' ').next().unwrap();
        if keep {
            raw.execute(&format!("CREATE TABLE kept AS SELECT * FROM {table}")).await.unwrap();
        }
        assert!(raw.execute(change).await.expect(change) > 0, "{change}");
        let finding = wrong(&database, None).await.to_string();
        assert!(finding.contains(expected), "{change}: {finding}");
        if keep {
            raw.execute(&format!("DELETE FROM {table}")).await.unwrap();
            raw.execute(&format!("INSERT INTO {table} SELECT * FROM kept")).await.unwrap();
            raw.execute("DROP TABLE kept").await.unwrap();
        } else {
            let undo = undo
                .replace("KEY", if database.engine == Engine::MariaDb { "`key`" } else { "key" });
            raw.execute(&undo).await.expect(&undo);
        }
        // Whether it was undone is shown by the next finding, which would otherwise be this one again.
    }
    assert_eq!(verified(&database, Some(head)).await.unwrap().books.head(), head);
    the_end_cannot_be_cut_off(&database, &mut raw, head).await;
}

/// Everything of the last transfer removed, consistently: only a head noted down before tells.
async fn the_end_cannot_be_cut_off(database: &Database, raw: &mut Raw, head: Head) {
    for sql in [
        "DELETE FROM holds",
        "DELETE FROM pending_entries WHERE transfer_seq = 7",
        "DELETE FROM transfer_metadata WHERE transfer_seq = 7",
        "DELETE FROM transfers WHERE seq = 7",
        "UPDATE balances SET pending_debits_minor = 0, pending_credits_minor = 0",
    ] {
        assert!(raw.execute(sql).await.unwrap() > 0, "{sql}");
    }
    verified(database, None).await.unwrap();
    let finding = wrong(database, Some(head)).await.to_string();
    assert!(finding.contains("ends before"), "{finding}");
    let forged = Head { seq: head.seq - 1, hash: [1; 32] };
    let finding = wrong(database, Some(forged)).await.to_string();
    assert!(finding.contains("noted down"), "{finding}");
    assert!(!finding.contains(&hex(&forged.hash)), "{finding}");
    raw.execute("UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 4").await.unwrap();
    let error = verified(database, None).await.unwrap_err().to_string();
    assert!(error.contains("migration 4"), "{error}");
}

async fn what_no_version_writes_is_found(server: &Server) {
    let running = server.running().await;
    open_pair(&running.api).await;
    running.api.post("/v1/keys", &json!({"name": "n", "role": "reader"})).await;
    let mut raw = unfenced(&running.database).await;
    raw.execute("UPDATE api_keys SET rate_burst = 5").await.unwrap();
    let found = verified(&running.database, None).await.unwrap_err().to_string();
    assert!(found.contains("half a rate"), "{found}");
    raw.execute("UPDATE api_keys SET rate_burst = NULL").await.unwrap();
    raw.execute("INSERT INTO chain SELECT seq - 100, subject, hash FROM chain WHERE seq = 1")
        .await
        .unwrap();
    let found = wrong(&running.database, None).await;
    assert_eq!((found.table, found.row.as_str()), ("chain", "seq below 1"));
}

async fn what_the_first_version_booked_is_chained(server: &Server) {
    let database = of_the_first_version(server).await;
    let url: DatabaseUrl = database.url.parse().unwrap();
    let unmigrated = verified(&database, None).await.unwrap_err().to_string();
    assert!(unmigrated.contains("forebay-ledger migrate"), "{unmigrated}");
    let migrated = Box::pin(forebay_ledger::store::migrate(&url, false)).await.unwrap();
    assert_eq!(migrated.applied, 16);
    let seen = verified(&database, None).await.unwrap();
    assert_eq!((seen.books.transfers, seen.books.entries), (1, 2));
    what_is_kept_apart_is_held_against_it(&database).await;
    let running = Running::start(options(&database.url), database).await;
    let reverse = running
        .api
        .request(reqwest::Method::POST, &format!("/v1/transfers/{}/reverse", crate::upgrade::ID))
        .header("idempotency-key", "second")
        .json(&json!({}));
    assert_eq!(answer(reverse).await.status, 201);
    let last = verified(&running.database, Some(seen.books.head())).await.unwrap();
    assert_eq!(last.books.transfers, 2);
}

/// Keys and links of transfers that an earlier version booked are in tables of their own.
async fn what_is_kept_apart_is_held_against_it(database: &Database) {
    let mut raw = unfenced(database).await;
    for (change, undo, expected) in [
        (
            "UPDATE idempotency_keys SET status = 200",
            "UPDATE idempotency_keys SET status = 201",
            "idempotency_keys, key \"first\"",
        ),
        (
            "UPDATE idempotency_keys SET transfer_seq = 88",
            "UPDATE idempotency_keys SET transfer_seq = 1",
            "the key of transfer 1 is gone",
        ),
        (
            "UPDATE chain SET subject = 'transfer:9' WHERE subject = 'transfer:1'",
            "UPDATE chain SET subject = 'transfer:1' WHERE subject = 'transfer:9'",
            "transfers, 1",
        ),
    ] {
        assert_eq!(raw.execute(change).await.expect(change), 1, "{change}");
        let finding = wrong(database, None).await.to_string();
        assert!(finding.contains(expected), "{change}: {finding}");
        raw.execute(undo).await.expect(undo);
    }
    verified(database, None).await.unwrap();
    raw.close().await;
}

async fn triggers_that_are_gone_are_told(server: &Server) {
    let running = server.running().await;
    let database = running.database;
    running.service.stop().await.unwrap();
    let verify = || {
        let output = binary().args(["verify", "--database", &database.url]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, _, error) = verify();
    assert_eq!(code, 0, "{error}");
    let (gone, sql) = match database.engine {
        Engine::Postgres => {
            ("transfers_append_only", "ALTER TABLE transfers DISABLE TRIGGER transfers_append_only")
        }
        Engine::Sqlite | Engine::MariaDb => {
            ("transfers_no_update", "DROP TRIGGER transfers_no_update")
        }
    };
    database.connect().await.execute(sql).await.unwrap();
    let (code, said, error) = verify();
    assert!(code == 65 && said.contains("the books are right"), "{code} {said}{error}");
    assert!(
        error.contains(&format!("1 triggers that keep rows from being changed are gone: {gone};")),
        "{error}"
    );
    let serving = serving(&database, &[]).await;
    let began = Instant::now();
    let log = || std::fs::read_to_string(database.directory.join("log")).unwrap();
    while !(log().contains("UNGUARDED") && log().contains(gone)) {
        assert!(began.elapsed() < DEADLINE, "{}", log());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(serving);
}

/// What puts something else under a trigger's name, or makes its function say nothing.
fn emptied(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &[
            "DROP TRIGGER entries_no_update",
            "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT 1; END",
        ],
        Engine::MariaDb => &[
            "DROP TRIGGER entries_no_update",
            "CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries FOR EACH ROW SET @nothing = 1",
        ],
        Engine::Postgres => &[
            "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "DROP TRIGGER entries_append_only ON entries",
            "CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION nothing('entries are append-only')",
        ],
    }
}

async fn triggers_that_say_nothing_are_found_and_mended(server: &Server) {
    let running = server.running().await;
    let database = running.database;
    running.service.stop().await.unwrap();
    let run = |what: &[&str]| {
        let (command, flags) = what.split_first().unwrap();
        let output =
            binary().args([command, "--database", &database.url]).args(flags).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (name, gone) = match database.engine {
        Engine::Postgres => ("entries_append_only", "DROP TRIGGER chain_append_only ON chain"),
        Engine::Sqlite | Engine::MariaDb => ("entries_no_update", "DROP TRIGGER chain_no_update"),
    };
    let mut raw = database.connect().await;
    for sql in emptied(database.engine).iter().chain([&gone]) {
        raw.execute(sql).await.expect(sql);
    }
    let of_gone = gone.split(' ').nth(2).unwrap();
    let said = format!(
        "are gone: {of_gone}; 1 triggers that keep rows from being changed are not what the migrations made them: {name}; forebay-ledger migrate --mend"
    );
    for what in ["verify", "migrate"] {
        let (code, _, error) = run(&[what]);
        assert!(code == 65 && error.contains(&said), "{what}: {code} {error}");
    }
    let (code, told, error) = run(&["migrate", "--mend"]);
    assert!(code == 0 && told.contains("they are made again"), "{code} {told}{error}");
    assert_eq!(run(&["migrate", "--mend"]).0, 0);
    assert_eq!(run(&["verify"]).0, 0);
    if database.engine == Engine::Postgres {
        let empty = "CREATE OR REPLACE FUNCTION forebay_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'";
        raw.execute(empty).await.unwrap();
        let (code, _, error) = run(&["verify"]);
        assert!(code == 65 && error.contains("transfers_append_only"), "{code} {error}");
        assert_eq!(run(&["migrate", "--mend"]).0, 0);
        assert_eq!(run(&["verify"]).0, 0);
    }
    raw.close().await;
}
