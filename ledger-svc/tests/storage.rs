//! The database file: append-only, migrated once, refused when foreign, unsafe or in use.

use std::path::Path;

use forebay_ledger::store::{self, Access, StoreError};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

use crate::engine::{Engine, Server};
use crate::running::{moving, open_pair};

async fn execute(connection: &mut SqliteConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

/// A plain connection on the service's file.
async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

const OPENING: Access = Access { migrate: true, allow_unsafe: false };

fn url(path: &Path) -> store::DatabaseUrl {
    format!("sqlite:{}", path.display()).parse().unwrap()
}

async fn refused(path: &Path) -> StoreError {
    store::open(&url(path), OPENING).await.expect_err("it should have been refused")
}

#[tokio::test]
async fn what_is_posted_cannot_be_changed_by_sql_either() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server.running().await;
    open_pair(&running.api).await;
    running.api.post("/v1/keys", &json!({"name": "n", "role": "reader"})).await;
    running.api.post("/v1/keys/1/revoke", &json!({})).await;
    let posted = running.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    let mut connection = connect(&running.database.directory.join("ledger.sqlite")).await;
    for sql in [
        "UPDATE transfers SET description = 'x'",
        "DELETE FROM transfers",
        "INSERT OR REPLACE INTO transfers SELECT seq, id, 'x', effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us, key, fingerprint, link_seq, link FROM transfers",
        "INSERT OR REPLACE INTO transfers SELECT seq + 1, id, 'x', effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us, key, fingerprint, link_seq, link FROM transfers",
        "UPDATE entries SET amount_minor = 1",
        "DELETE FROM entries WHERE id = 1",
        "INSERT OR REPLACE INTO entries SELECT id, transfer_seq, account_id, number, direction, 5, debits_after_minor, credits_after_minor, previous_id, jump_id FROM entries",
        "UPDATE transfers SET key = 'x'",
        "INSERT OR REPLACE INTO transfers SELECT seq + 1, 'other', description, effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us, key, fingerprint, link_seq, link FROM transfers",
        "UPDATE accounts SET currency = 'USD'",
        "DELETE FROM accounts",
        "UPDATE currencies SET scale = 3 WHERE code = 'EUR'",
        "DELETE FROM currencies",
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "INSERT OR REPLACE INTO audit_log SELECT id, at_us, 'x', action, subject, detail FROM audit_log",
        "UPDATE api_keys SET role = 'admin'",
        "DELETE FROM api_keys",
        "INSERT OR REPLACE INTO api_keys SELECT id, name, prefix, hash, 'admin', NULL, NULL, created_at_us, NULL FROM api_keys",
        "DELETE FROM api_key_revocations",
    ] {
        let error = execute(&mut connection, sql).await.expect_err(sql).to_string();
        assert!(error.contains("append-only") || error.contains("never changed"), "{sql}: {error}");
    }
    for sql in [
        "UPDATE balances SET debits_minor = -1",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'debit', 0, 0, 0, 0, 0)",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'sideways', 1, 0, 0, 0, 0)",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'debit', 1.5, 0, 0, 0, 0)",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'debit', 1, 0, 0, 99, 0)",
        "INSERT INTO entries VALUES (99, 1, 1, 99, 'debit', 1, 0, 0, 2, 3)",
    ] {
        execute(&mut connection, sql).await.expect_err(sql);
    }
    let location = posted.headers["location"].to_str().unwrap();
    assert_eq!(running.api.get(location).await.body, posted.body);
}

#[tokio::test]
async fn migrating_twice_does_nothing_the_second_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    let Err(StoreError::Unmigrated { .. }) =
        store::open(&url(&path), Access { migrate: false, ..OPENING }).await
    else {
        panic!("an empty database has no tables yet")
    };
    let first = store::migrate(&url(&path), false).await.unwrap();
    assert!(first.applied > 0);
    let bytes = std::fs::read(&path).unwrap();
    let second = store::migrate(&url(&path), false).await.unwrap();
    assert_eq!((second.applied, second.version), (0, first.version));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    store::open(&url(&path), Access { migrate: false, ..OPENING }).await.unwrap();
}

#[tokio::test]
async fn one_database_has_one_service() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server.running().await;
    let path = running.database.directory.join("ledger.sqlite");
    let link = running.database.directory.join("other-name.sqlite");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let error = refused(path).await;
        assert!(matches!(error, StoreError::Locked { .. }) && !error.is_bad_document());
        assert!(
            error.to_string().contains(&format!("by process {}", std::process::id())),
            "{error}"
        );
    }
    assert!(matches!(store::migrate(&url(&path), false).await, Err(StoreError::Locked { .. })));
    running.service.stop().await.unwrap();
    store::open(&url(&path), OPENING).await.unwrap();
}

#[tokio::test]
async fn foreign_databases_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(
        path("text"),
        "not a database, but long enough to be mistaken for one".repeat(20),
    )
    .unwrap();
    for (name, sql) in [("tables", "CREATE TABLE t (x)"), ("marked", "PRAGMA application_id = 7")] {
        std::fs::write(path(name), "").unwrap();
        let mut connection = connect(&path(name)).await;
        execute(&mut connection, sql).await.unwrap();
        connection.close().await.unwrap();
    }
    for name in ["text", "tables", "marked"] {
        let before = std::fs::read(path(name)).unwrap();
        let error = refused(&path(name)).await;
        assert!(matches!(error, StoreError::Foreign { .. }), "{name}: {error}");
        assert!(error.is_bad_document());
        assert_eq!(std::fs::read(path(name)).unwrap(), before, "{name}");
        assert!(!path(&format!("{name}.lock")).exists(), "{name}");
    }
    let missing = refused(&path("no/such/directory.sqlite")).await;
    assert!(matches!(missing, StoreError::Open { .. }) && !missing.is_bad_document());
    let error = refused(directory.path()).await;
    assert!(!matches!(error, StoreError::Locked { .. }), "{error}");
}

#[tokio::test]
async fn other_versions_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (name, sql) in [
        (
            "newer",
            "INSERT INTO _sqlx_migrations SELECT 99, 'later', installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1",
        ),
        ("changed", "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1"),
    ] {
        let path = directory.path().join(name);
        store::migrate(&url(&path), false).await.unwrap();
        let mut connection = connect(&path).await;
        assert_eq!(execute(&mut connection, sql).await.unwrap(), 1);
        connection.close().await.unwrap();
        let error = refused(&path).await;
        assert!(matches!(error, StoreError::OtherVersion { .. }), "{name}: {error}");
        assert!(error.to_string().contains("another version"), "{error}");
    }
}

#[tokio::test]
async fn unsafe_settings_are_refused_by_name_with_the_safe_value() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.sqlite");
    for (level, accepted) in [("off", false), ("normal", false), ("full", true), ("extra", true)] {
        let url = format!("sqlite:{}?synchronous={level}", path.display()).parse().unwrap();
        match store::open(&url, OPENING).await {
            Ok(store::Opened { writer, .. }) => {
                assert!(accepted, "{level}");
                writer.close().await.unwrap();
            }
            Err(error) => {
                assert!(
                    !accepted && matches!(error, StoreError::Unsafe { .. }),
                    "{level}: {error}"
                );
                let said = error.to_string();
                assert!(said.contains("PRAGMA synchronous") && said.contains("FULL"), "{said}");
            }
        }
    }
}
