//! SQLite, embedded: how its file is opened, judged and migrated, and how its rows are read.
//! Every statement the ledger runs on it is here, in `write` and in `read`.

mod read;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection, Row, SqlSafeStr};
use uuid::Uuid;

pub use self::write::Batch;
use super::lock::{self, Lock};
use super::{DatabaseUrl, StoreError, Synchronous};
use crate::account::Side;
use crate::report::Account;

/// "FBLG", set by the first migration.
const APPLICATION_ID: i64 = 1_178_750_023;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS_MAX: u32 = 4;

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "ledger", include_str!("../../migrations/sqlite/0001_ledger.sql")),
    (2, "iso currencies", include_str!("../../migrations/sqlite/0002_iso_currencies.sql")),
];

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// How many migrations were applied now; 0 when all had been.
    pub applied: usize,
    /// The version the database is at.
    pub version: i64,
}

/// The one writing connection.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    epoch: i64,
    _lock: Lock,
}

/// The reading connections.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: SqlitePool,
}

/// Creates or updates the tables. Does nothing, and says so, when there is nothing to do.
pub async fn migrate(url: &DatabaseUrl) -> Result<Migrated, StoreError> {
    // Before the lock so that nothing is left beside a foreign file, and under it to be sure.
    inspect(&url.path).await?;
    let _lock = lock::acquire(&url.path)?;
    inspect(&url.path).await?;
    let mut connection = connect(&url.path, &options(url).create_if_missing(true)).await?;
    let migrated = run_migrations(&url.path, &mut connection).await?;
    connection.close().await?;
    Ok(migrated)
}

/// Opens the database for one service: takes its lock, refuses what is foreign or unsafe, migrates
/// when `may_migrate`, and proves by a write that it can be written.
pub async fn open(url: &DatabaseUrl, may_migrate: bool) -> Result<(Writer, Reader), StoreError> {
    inspect(&url.path).await?;
    let lock = lock::acquire(&url.path)?;
    let applied = inspect(&url.path).await?;
    if !may_migrate && applied < MIGRATIONS.len() {
        return Err(StoreError::Unmigrated { path: url.path.clone() });
    }
    let options = options(url);
    let mut connection = connect(&url.path, &options.clone().create_if_missing(true)).await?;
    run_migrations(&url.path, &mut connection).await?;
    let epoch = sqlx::query("UPDATE service SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| opening(&url.path, &error))?
        .try_get(0)?;
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_lazy_with(options.clone().pragma("query_only", "ON"));
    let writer = Writer {
        path: url.path.clone(),
        options,
        connection: Some(connection),
        epoch,
        _lock: lock,
    };
    Ok((writer, Reader { pool }))
}

fn options(url: &DatabaseUrl) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&url.path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match url.synchronous {
            Synchronous::Off => SqliteSynchronous::Off,
            Synchronous::Normal => SqliteSynchronous::Normal,
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Extra => SqliteSynchronous::Extra,
        })
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Looks at an existing file before anything, the journal mode included, is changed in it. Says
/// how many migrations it has had.
async fn inspect(path: &Path) -> Result<usize, StoreError> {
    if !path.exists() {
        return Ok(0);
    }
    let foreign = |reason: &str| StoreError::Foreign { path: path.into(), reason: reason.into() };
    let failed = |error: sqlx::Error| opening(path, &error);
    let mut connection = SqliteConnection::connect_with(
        &SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT),
    )
    .await
    .map_err(failed)?;
    let mark: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let applied = match (mark, tables) {
        (0, 0) => 0,
        (APPLICATION_ID, 1..) => {
            let versions: Vec<i64> =
                sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version")
                    .fetch_all(&mut connection)
                    .await
                    .map_err(failed)?;
            if let Some(version) = versions.iter().find(|v| !MIGRATIONS.iter().any(|m| m.0 == **v))
            {
                let reason =
                    format!("it has migration {version}, which this version does not know");
                return Err(StoreError::OtherVersion { path: path.into(), reason });
            }
            versions.len()
        }
        (0, _) => return Err(foreign("it has tables of another program")),
        _ => return Err(foreign("it carries another program's application id")),
    };
    connection.close().await.map_err(failed)?;
    Ok(applied)
}

/// Connects and checks, on the connection itself, that what was asked for is what is in force.
async fn connect(
    path: &Path,
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, StoreError> {
    let failed = |error: sqlx::Error| opening(path, &error);
    let mut connection = SqliteConnection::connect_with(options).await.map_err(failed)?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let refuse = |setting, found: String, safe| {
        Err(StoreError::Unsafe { path: path.into(), setting, found, safe })
    };
    if synchronous < 2 {
        let found = if synchronous == 0 { "OFF" } else { "NORMAL" };
        return refuse("PRAGMA synchronous", found.into(), "FULL (or EXTRA)");
    }
    if journal != "wal" {
        return refuse(
            "PRAGMA journal_mode",
            journal.to_uppercase(),
            "WAL (on a local file system)",
        );
    }
    if foreign_keys != 1 {
        return refuse("PRAGMA foreign_keys", "OFF".into(), "ON");
    }
    Ok(connection)
}

async fn run_migrations(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<Migrated, StoreError> {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect();
    let migrator = Migrator::with_migrations(migrations);
    let failed = |error: sqlx::migrate::MigrateError| match error {
        sqlx::migrate::MigrateError::Execute(error) => opening(path, &error),
        sqlx::migrate::MigrateError::VersionMismatch(version) => StoreError::OtherVersion {
            path: path.into(),
            reason: format!("its migration {version} is not the one this version has"),
        },
        error => StoreError::Migration { path: path.into(), reason: error.to_string() },
    };
    connection.ensure_migrations_table("_sqlx_migrations").await.map_err(failed)?;
    let before = connection.list_applied_migrations("_sqlx_migrations").await.map_err(failed)?;
    migrator.run_direct(None, connection, false).await.map_err(failed)?;
    let version = MIGRATIONS.last().map_or(0, |migration| migration.0);
    Ok(Migrated { applied: MIGRATIONS.len() - before.len(), version })
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

/// What an engine error while opening means for the file. The codes are SQLite's primary result
/// codes: 8 READONLY, 11 CORRUPT, 26 NOTADB.
fn opening(path: &Path, error: &sqlx::Error) -> StoreError {
    let path = path.to_owned();
    let reason = error.to_string();
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(8) => StoreError::ReadOnly { path, reason },
        Some(11 | 26) => StoreError::Foreign { path, reason },
        _ => StoreError::Open { path, reason },
    }
}

const ACCOUNT: &str =
    "SELECT code, name, currency, normal_balance, created_at_us FROM accounts WHERE code = ?";

/// A row of `ACCOUNT`'s columns.
fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    Ok(Account {
        code: row.try_get(0)?,
        name: row.try_get(1)?,
        currency: row.try_get(2)?,
        normal_balance: side(row.try_get(3)?)?,
        created_at: instant(row.try_get(4)?)?,
    })
}

fn side(word: &str) -> Result<Side, StoreError> {
    Side::from_word(word).ok_or_else(|| impossible("a side", &word))
}

fn date(text: &str) -> Result<Date, StoreError> {
    text.parse().map_err(|_| impossible("a date", &text))
}

fn instant(microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds).map_err(|_| impossible("a time", &microseconds))
}

fn uuid(text: &str) -> Result<Uuid, StoreError> {
    text.parse().map_err(|_| impossible("a transfer id", &text))
}

fn impossible(what: &str, found: &dyn fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} that reads {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_is_not_allowed_is_told_as_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sqlite");
        let url: DatabaseUrl = format!("sqlite:{}", path.display()).parse().unwrap();
        let (writer, _) = super::open(&url, true).await.unwrap();
        let reading = SqliteConnectOptions::new().filename(&path).read_only(true);
        let mut connection = SqliteConnection::connect_with(&reading).await.unwrap();
        let error = sqlx::query("UPDATE service SET epoch = 9").execute(&mut connection).await;
        let error = opening(&path, &error.unwrap_err());
        assert!(matches!(error, StoreError::ReadOnly { .. }) && error.is_bad_document(), "{error}");
        writer.close().await.unwrap();
    }
}
