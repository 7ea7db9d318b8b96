//! SQLite, embedded: how its file is opened, judged and migrated, and how its rows are read.
//! What is written in its own words is here and in `write`.

mod backup;
mod fold;
mod lock;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection};

pub use self::backup::copy;
use self::fold::Folding;
use self::lock::Lock;
#[cfg(test)]
pub use self::write::LOOK_UPS;
pub use self::write::{Batch, Insert, inserts, look_up};
use super::alike;
use super::durability::{self, UnsafeSetting};
use super::error::StoreError;
use super::migration::{self, Migrated};
use super::row::Columns;
use super::service::SERVICE;
use super::url::{Access, SqliteFile, Synchronous};
use crate::seal::ServiceRow;

/// "FBLG", set by the first migration.
const APPLICATION_ID: i64 = 1_178_750_023;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS_MAX: u32 = 4;
/// Of the file, in KiB, kept by the writer: the ends of the indexes it appends to, and more.
const WRITER_CACHE_KIB: u32 = 64 << 10;
/// Pages of 4 KiB in the log before it is folded in: what changes often is written back once for many batches.
const LOG_PAGES_MAX: u32 = 16 << 10;

pub const MIGRATIONS: [migration::Source; alike::MIGRATIONS] =
    alike::migrations!("sqlite", "ledger");

/// The one writing connection.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    epoch: i64,
    allow_unsafe: bool,
    folding: Arc<Folding>,
    _lock: Arc<Lock>,
}

/// Creates or updates the tables. Does nothing, and says so, when there is nothing to do.
pub async fn migrate(file: &SqliteFile, allow_unsafe: bool) -> Result<Migrated, StoreError> {
    // Before the lock so that nothing is left beside a foreign file, and under it to be sure.
    inspect(&file.path).await?;
    let mut lock = lock::acquire(&file.path)?;
    inspect(&file.path).await?;
    let options = options(file).create_if_missing(true);
    let (mut connection, _) = connect(&file.path, &options, allow_unsafe).await?;
    lock.hold(&file.path)?;
    let migrated = run_migrations(&file.path, &mut connection).await?;
    connection.close().await?;
    Ok(migrated)
}

/// Opens the file for one service.
pub async fn open(
    file: &SqliteFile,
    access: Access,
) -> Result<(Writer, SqlitePool, SqlitePool, Vec<UnsafeSetting>), StoreError> {
    let path = &file.path;
    inspect(path).await?;
    let mut lock = lock::acquire(path)?;
    let applied = inspect(path).await?;
    if !access.migrate && applied < MIGRATIONS.len() {
        let url = format!("sqlite:{}", path.display());
        return Err(StoreError::Unmigrated { database: named(path), url });
    }
    let options = writing(options(file));
    let creating = options.clone().create_if_missing(true);
    let (mut connection, unsafe_settings) = connect(path, &creating, access.allow_unsafe).await?;
    lock.hold(path)?;
    run_migrations(path, &mut connection).await?;
    let epoch = take_over(&mut connection).await.map_err(|error| opening(path, &error))?;
    let (pool, ahead) = (readers(file), reading(file, 1));
    let writer = Writer {
        path: path.clone(),
        options,
        connection: Some(connection),
        epoch,
        allow_unsafe: access.allow_unsafe,
        folding: Arc::new(Folding::start(self::options(file))),
        _lock: Arc::new(lock),
    };
    Ok((writer, pool, ahead, unsafe_settings))
}

alike::rows_once!(SqliteConnection);

#[cfg(test)]
impl Writer {
    /// Another lane, which the simulation of what two of them do has and nobody else: there is one writer at a time.
    pub fn beside(&self) -> Self {
        let (path, options) = (self.path.clone(), self.options.clone());
        let (epoch, allow_unsafe) = (self.epoch, self.allow_unsafe);
        let (folding, _lock) = (Arc::clone(&self.folding), Arc::clone(&self._lock));
        Self { path, options, connection: None, epoch, allow_unsafe, folding, _lock }
    }
}

/// Reading connections.
pub fn readers(file: &SqliteFile) -> SqlitePool {
    reading(file, READERS_MAX)
}

fn reading(file: &SqliteFile, connections: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_lazy_with(options(file).pragma("query_only", "ON"))
}

/// How messages name the file.
fn named(path: &Path) -> String {
    path.display().to_string()
}

fn options(file: &SqliteFile) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(&file.path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match file.synchronous {
            Synchronous::Off => SqliteSynchronous::Off,
            Synchronous::Normal => SqliteSynchronous::Normal,
            Synchronous::Full => SqliteSynchronous::Full,
            Synchronous::Extra => SqliteSynchronous::Extra,
        })
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
}

fn writing(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", LOG_PAGES_MAX.to_string())
}

/// Looks at an existing file before anything, the journal mode included, is changed in it. Says
/// how many migrations it has had.
async fn inspect(path: &Path) -> Result<usize, StoreError> {
    if !path.exists() {
        return Ok(0);
    }
    let foreign =
        |reason: &str| StoreError::Foreign { database: named(path), reason: reason.into() };
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
                return Err(StoreError::OtherVersion { database: named(path), reason });
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
    allow_unsafe: bool,
) -> Result<(SqliteConnection, Vec<UnsafeSetting>), StoreError> {
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
    let synchronous = match synchronous {
        0 => "OFF",
        1 => "NORMAL",
        2 => "FULL",
        _ => "EXTRA",
    };
    let settings = durability::Settings::from([
        ("PRAGMA synchronous".into(), synchronous.into()),
        ("PRAGMA journal_mode".into(), journal.to_uppercase()),
        ("PRAGMA foreign_keys".into(), if foreign_keys == 1 { "ON" } else { "OFF" }.into()),
    ]);
    let settings = durability::sqlite(&settings);
    if !settings.is_empty() && !allow_unsafe {
        return Err(StoreError::Unsafe { database: named(path), settings });
    }
    Ok((connection, settings))
}

/// Begins the next epoch.
async fn take_over(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    alike::next_epoch!(connection.begin_with("BEGIN IMMEDIATE").await?, SERVICE)
}

async fn run_migrations(
    path: &Path,
    connection: &mut SqliteConnection,
) -> Result<Migrated, StoreError> {
    migration::run(connection, &MIGRATIONS, &named(path), |error| opening(path, error)).await
}

/// What an engine error while opening means for the file. The codes are SQLite's primary result
/// codes: 8 READONLY, 11 CORRUPT, 26 NOTADB.
fn opening(path: &Path, error: &sqlx::Error) -> StoreError {
    let database = named(path);
    let reason = error.to_string();
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(8) => StoreError::ReadOnly { database, reason },
        Some(11 | 26) => StoreError::Foreign { database, reason },
        _ => StoreError::Open { database, reason },
    }
}

const ACCOUNT: &str =
    "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts WHERE code = ?";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_that_is_not_allowed_is_told_as_read_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.sqlite");
        let file = SqliteFile { path: path.clone(), synchronous: Synchronous::Full };
        let access = Access { migrate: true, allow_unsafe: false };
        let (writer, ..) = super::open(&file, access).await.unwrap();
        let reading = SqliteConnectOptions::new().filename(&path).read_only(true);
        let mut connection = SqliteConnection::connect_with(&reading).await.unwrap();
        let error = sqlx::query("UPDATE service SET epoch = 9").execute(&mut connection).await;
        let error = opening(&path, &error.unwrap_err());
        assert!(matches!(error, StoreError::ReadOnly { .. }) && error.is_bad_document(), "{error}");
        writer.close().await.unwrap();
    }
}
