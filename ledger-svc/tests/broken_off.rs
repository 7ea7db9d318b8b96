//! Migrations that were broken off. MySQL commits at every statement that changes the catalogue, so each statement leaves a
//! database that the next run has to go on from; the other engines take a migration back.

use std::ops::RangeInclusive;
use std::process::Stdio;
use std::time::Duration;

use forebay_ledger::store::{self, StoreError};
use forebay_ledger::verify::{VerifyError, verify};
use sqlx::migrate::Migration;
use sqlx::{AssertSqlSafe, Row};

use crate::binary::binary;
use crate::engine::{Database, Engine, Server};
use crate::raw::Raw;
use crate::running::DEADLINE;
use crate::upgrade;

/// A day before it was booked, so that there is something to gather for every migration.
const BACKDATED: [&str; 3] = [
    "INSERT INTO transfers (seq, id, description, effective_date, booked_at_us, entry_id_first, entries)
     VALUES (2, UNHEX('01890a5dac96774bbcceb302099a8058'), 'late', '2026-01-01', 1767312000000001, 3, 2)",
    "INSERT INTO entries (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor)
     VALUES (3, 2, 1, 2, 'debit', 7, 507, 0), (4, 2, 2, 2, 'credit', 7, 0, 507)",
    "UPDATE balances SET entries = 2, debits_minor = debits_minor / 500 * 507, credits_minor = credits_minor / 500 * 507",
];

/// As the first version left it, with two transfers.
async fn with_money(server: &Server) -> Database {
    let database = upgrade::of_the_first_version(server).await;
    let mut raw = database.connect().await;
    for sql in BACKDATED {
        raw.execute(sql).await.expect(sql);
    }
    let key = "INSERT INTO idempotency_keys (`key`, fingerprint, transfer_seq, status, body)
        VALUES ('late', UNHEX(REPEAT('00', 32)), 2, 201, '{\"id\":\"01890a5d-ac96-774b-bcce-b302099a8058\"}')";
    raw.execute(key).await.unwrap();
    raw.close().await;
    database
}

async fn texts(raw: &mut Raw, sql: &str, column: usize) -> Vec<String> {
    let Raw::MySql(connection) = raw else { panic!("a server of MariaDB") };
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.try_get(column).unwrap()).collect()
}

/// What a database is made of, and a sum of the rows of each of its tables.
async fn whole(database: &Database) -> Vec<String> {
    let mut raw = database.connect().await;
    let triggers = "SELECT CAST(CONCAT_WS(' ', trigger_name, event_manipulation, event_object_table, action_statement) AS CHAR)
        FROM information_schema.triggers WHERE trigger_schema = DATABASE() ORDER BY 1";
    let mut found = texts(&mut raw, triggers, 0).await;
    let tables = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1";
    for table in texts(&mut raw, tables, 0).await {
        found.extend(texts(&mut raw, &format!("SHOW CREATE TABLE {table}"), 1).await);
        // The list has times.
        if table != "_sqlx_migrations" {
            let Raw::MySql(connection) = &mut raw else { panic!("a server of MariaDB") };
            let sql = AssertSqlSafe(format!("CHECKSUM TABLE {table}"));
            let row = sqlx::raw_sql(sql).fetch_one(connection).await.unwrap();
            found.push(format!("{table} {}", row.get::<i64, _>(1)));
        }
    }
    raw.close().await;
    found
}

/// What an earlier version, or this one, leaves that is stopped behind so many statements of a migration.
async fn broken_off(server: &Server, migration: &Migration, statements: &[String]) -> Database {
    let before = migration.version - 1;
    let database = if before < 2 { server.database().await } else { with_money(server).await };
    let mut raw = database.connect().await;
    upgrade::migrate(&mut raw, server.engine, 1..=before).await;
    for statement in statements {
        raw.execute(statement).await.expect(statement);
    }
    let checksum: String = migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
    let row = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES ({}, '{}', FALSE, UNHEX('{checksum}'), -1)",
        migration.version, migration.description
    );
    raw.execute(&row).await.unwrap();
    raw.close().await;
    database
}

async fn migrates_whole(database: &Database, due: &[String], at: &str) {
    let url = database.url.parse().unwrap();
    let early = Box::pin(verify(&url, None)).await.unwrap_err();
    assert!(matches!(early, VerifyError::Store(StoreError::Unmigrated { .. })), "{at}: {early}");
    let migrated = store::migrate(&url, true).await;
    assert!(migrated.as_ref().is_ok_and(|migrated| migrated.applied > 0), "{at}: {migrated:?}");
    for (found, due) in whole(database).await.iter().zip(due) {
        assert_eq!(found, due, "{at}");
    }
    Box::pin(verify(&url, None)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_migrations_that_stopped_behind_any_statement_go_on() {
    let count = Box::pin(each_statement_of(1..=7)).await;
    assert!(count >= 50, "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_migrations_that_stopped_behind_any_statement_go_on() {
    let count = Box::pin(each_statement_of(8..=i64::MAX)).await;
    assert!(count >= 50, "{count}");
}

/// How many moments there were.
async fn each_statement_of(versions: RangeInclusive<i64>) -> usize {
    // Nothing is lost here but by the test, so that the disk need not be waited for.
    let quick = ["--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0"];
    let server = Server::start(Engine::MariaDb, &quick).await;
    let mut due = Vec::new();
    for database in [server.database().await, with_money(&server).await] {
        store::migrate(&database.url.parse().unwrap(), true).await.unwrap();
        due.push(whole(&database).await);
    }
    assert!(due[0].len() > 100 && due[0] != due[1]);
    let mut count = 0;
    for migration in upgrade::migrations(Engine::MariaDb, versions).iter() {
        let lines = migration.sql.as_str().lines().filter(|line| !line.starts_with("--"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let statements: Vec<_> =
            text.split(";\n").map(|text| text.trim_matches([';', '\n'])).collect();
        let statements: Vec<_> = statements
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| (*text).to_owned())
            .collect();
        for done in 1..=statements.len() {
            let at = format!("{} of {} of migration {}", done, statements.len(), migration.version);
            let database = broken_off(&server, migration, &statements[..done]).await;
            migrates_whole(&database, &due[usize::from(migration.version > 2)], &at).await;
            count += 1;
            let mut raw = database.connect().await;
            raw.execute(&format!("DROP DATABASE {}", database.name())).await.unwrap();
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_migration_goes_on() {
    let server = Server::start(Engine::MariaDb, &[]).await;
    let fresh = with_money(&server).await;
    store::migrate(&fresh.url.parse().unwrap(), false).await.unwrap();
    let due = whole(&fresh).await;
    for server_too in [false, true] {
        let database = with_money(&server).await;
        // In the third migration, behind other statements, a table is changed that somebody is reading.
        let mut reading = database.connect().await;
        reading.execute("BEGIN").await.unwrap();
        assert_eq!(reading.number("SELECT count(*) FROM balances").await, 2);
        let migrate = || {
            let mut command = binary();
            command.args(["migrate", "--database", &database.url]).stderr(Stdio::null());
            command
        };
        let mut migrating = migrate().spawn().unwrap();
        let others = "SELECT count(*) FROM information_schema.processlist
            WHERE db = DATABASE() AND id <> CONNECTION_ID()";
        let waiting = format!("{others} AND state LIKE '%metadata lock%'");
        until(&mut reading, &waiting, 1).await;
        if server_too {
            server.kill();
            assert!(!migrating.wait().unwrap().success());
            server.launch().await;
        } else {
            migrating.kill().unwrap();
            migrating.wait().unwrap();
            reading.execute("ROLLBACK").await.unwrap();
            // The server does not know yet that nobody waits for what it is at.
            until(&mut reading, others, 0).await;
        }
        let dirty = "SELECT count(*) FROM _sqlx_migrations WHERE NOT success";
        assert_eq!(database.connect().await.number(dirty).await, 1);
        let output = migrate().stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(whole(&database).await, due);
        Box::pin(verify(&database.url.parse().unwrap(), None)).await.unwrap();
    }
}

async fn until(raw: &mut Raw, sql: &str, due: i64) {
    let met = async {
        while raw.number(sql).await != due {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, met).await.expect("it should come to this");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_broken_off_is_not_gone_on_with() {
    let server = Server::start(Engine::MariaDb, &[]).await;
    let database = server.database().await;
    let url = database.url.parse().unwrap();
    store::migrate(&url, false).await.unwrap();
    let mut raw = database.connect().await;
    raw.execute("UPDATE _sqlx_migrations SET success = FALSE WHERE version = 15").await.unwrap();
    let refused = store::migrate(&url, false).await.unwrap_err().to_string();
    assert!(refused.contains("migration 15 is marked as not done, and later ones"), "{refused}");
    let found = verify(&url, None).await.unwrap_err();
    assert!(matches!(found, VerifyError::Store(StoreError::Unmigrated { .. })), "{found}");
    raw.execute("UPDATE _sqlx_migrations SET success = TRUE WHERE version = 15").await.unwrap();
    raw.execute("UPDATE _sqlx_migrations SET success = FALSE, checksum = '' WHERE version = 18")
        .await
        .unwrap();
    let refused = store::migrate(&url, false).await.unwrap_err();
    assert!(matches!(refused, StoreError::OtherVersion { .. }), "{refused}");
}
