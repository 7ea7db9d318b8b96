//! PostgreSQL: how a database is judged, locked and migrated, and how the writer connects. What is
//! written in its own words is here and in `write`.
//!
//! Each of the writer's lanes is a connection that holds an advisory lock of the database. A second service cannot
//! get them; and after a lost connection the lane itself gets its lock back only when the server has ended the old
//! session, so that a commit whose answer was lost is by then either done or undone.

mod write;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

pub use self::write::{Batch, Insert, inserts, look_up};
use super::alike;
use super::durability::{self, Settings, UnsafeSetting};
use super::error::StoreError;
use super::migration::{self, Migrated};
use super::row::Columns;
use super::service::SERVICE;
use super::url::{Access, Server};
use crate::seal::ServiceRow;

pub const MIGRATIONS: [migration::Source; alike::MIGRATIONS] =
    alike::migrations!("postgres", migration::MARK);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read waits for a connection; also how long reads hang while the server is away.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const READERS_MAX: u32 = 8;
/// For a service that was killed: the server needs a moment to notice.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_STEP: Duration = Duration::from_millis(20);

/// Waits for locks as long as the embedded engine does. The server notices a lost client within a
/// minute. All the writer's statements look up by key, so the planner is kept from anything else,
/// whatever it believes of tables that grow faster than their statistics.
const WRITER_SESSION: [(&str, &str); 9] = [
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("default_transaction_isolation", "read committed"),
    ("tcp_keepalives_idle", "15"),
    ("tcp_keepalives_interval", "5"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// Reads look up by key as well, and what the planner makes of going back along an account's entries must not depend on
/// what it believes of their number; what it would take for costly it would compile first.
pub const READER_SESSION: [(&str, &str); 5] = [
    ("default_transaction_read_only", "on"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];
const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name IN (
    'fsync', 'full_page_writes', 'synchronous_commit', 'transaction_isolation',
    'server_version_num', 'server_version', 'server_encoding')";
/// "FBLG", and what follows it: one for each lane. Of this database alone.
const LOCK_KEYS: [i64; 2] = [1_178_750_023, 1_178_750_024];
const LOCK: &str = "SELECT pg_try_advisory_lock($1)";
const LOCK_HOLDER: &str = "SELECT pid::bigint FROM pg_locks
     WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid::bigint = $1 AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
const EPOCH: &str = "SELECT epoch FROM service WHERE id = 1";
const ACCOUNT: &str =
    "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts WHERE code = $1";

const VERSION_MIN: u32 = 130_000;

/// A writing connection.
#[derive(Debug)]
pub struct Writer {
    server: Server<PgConnectOptions>,
    connection: Option<PgConnection>,
    /// Of the lock that this lane holds.
    lock_key: i64,
    /// The server's process of the connection the lock was last taken on.
    process_id: i64,
    epoch: i64,
    allow_unsafe: bool,
}

/// Creates or updates the tables. Does nothing, and says so, when there is nothing to do.
pub async fn migrate(
    server: &Server<PgConnectOptions>,
    allow_unsafe: bool,
) -> Result<Migrated, StoreError> {
    let (mut connection, _) = connect(server, allow_unsafe).await?;
    inspect(server, &mut connection).await?;
    for key in LOCK_KEYS {
        lock(server, &mut connection, key).await?;
    }
    let migrated = run_migrations(server, &mut connection).await?;
    connection.close().await?;
    Ok(migrated)
}

/// Opens the database for one service.
pub async fn open(
    server: &Server<PgConnectOptions>,
    access: Access,
) -> Result<([Writer; 2], PgPool, PgPool, Vec<UnsafeSetting>), StoreError> {
    let failed = |error: sqlx::Error| opening(server, &error);
    let (mut connection, unsafe_settings) = connect(server, access.allow_unsafe).await?;
    inspect(server, &mut connection).await?;
    lock(server, &mut connection, LOCK_KEYS[0]).await?;
    let (mut beside, _) = connect(server, access.allow_unsafe).await?;
    lock(server, &mut beside, LOCK_KEYS[1]).await?;
    let applied = inspect(server, &mut connection).await?;
    if access.migrate {
        run_migrations(server, &mut connection).await?;
    } else if applied < MIGRATIONS.len() {
        let (database, url) = (server.name.clone(), server.name.clone());
        return Err(StoreError::Unmigrated { database, url });
    }
    let epoch = take_over(&mut connection).await.map_err(failed)?;
    let process_ids = [process_id(&mut connection).await?, process_id(&mut beside).await?];
    let lane = |connection: PgConnection, number: usize| Writer {
        server: server.clone(),
        connection: Some(connection),
        lock_key: LOCK_KEYS[number],
        process_id: process_ids[number],
        epoch,
        allow_unsafe: access.allow_unsafe,
    };
    let lanes = [lane(connection, 0), lane(beside, 1)];
    // What the writer reads ahead is planned as it is under its lock.
    let (pool, ahead) = (readers(server), reading(server, 1, &WRITER_SESSION));
    Ok((lanes, pool, ahead, unsafe_settings))
}

/// Reading connections.
pub fn readers(server: &Server<PgConnectOptions>) -> PgPool {
    reading(server, READERS_MAX, &READER_SESSION)
}

fn reading(
    server: &Server<PgConnectOptions>,
    connections: u32,
    settings: &[(&str, &str)],
) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(READ_TIMEOUT)
        .connect_lazy_with(session(&server.options, settings))
}

impl Writer {
    /// A connection that holds the lock, for a database nobody else has written since.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        let (mut connection, _) = connect(&self.server, self.allow_unsafe).await?;
        let found: i64 = sqlx::query_scalar(EPOCH).fetch_one(&mut connection).await?;
        if found != self.epoch {
            return Err(StoreError::Replaced { ours: self.epoch, found });
        }
        // The server may take minutes to notice that the old connection's other end is gone.
        let holder = lock_holder(&mut connection, self.lock_key).await?;
        if holder == Some(self.process_id) {
            tracing::warn!(process = self.process_id, "ending our lost connection");
            // It may just have ended by itself; the lock tells.
            let _ = sqlx::query("SELECT pg_terminate_backend($1::integer)")
                .bind(self.process_id)
                .execute(&mut connection)
                .await;
        }
        lock(&self.server, &mut connection, self.lock_key).await?;
        self.process_id = process_id(&mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

alike::rows_once!(PgConnection);

pub fn session(options: &PgConnectOptions, settings: &[(&str, &str)]) -> PgConnectOptions {
    options.clone().application_name("forebay-ledger").options(settings.iter().copied())
}

/// Connects and checks, on the connection itself, what is in force.
async fn connect(
    server: &Server<PgConnectOptions>,
    allow_unsafe: bool,
) -> Result<(PgConnection, Vec<UnsafeSetting>), StoreError> {
    let failed = |error: sqlx::Error| opening(server, &error);
    let options = session(&server.options, &WRITER_SESSION);
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, options.connect());
    let Ok(connected) = connecting.await else {
        let reason = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
        return Err(StoreError::Open { database: server.name.clone(), reason });
    };
    let mut connection = connected.map_err(failed)?;
    let mut settings = Settings::new();
    for row in sqlx::query(SETTINGS).fetch_all(&mut connection).await.map_err(failed)? {
        settings.insert(row.string(0)?.to_ascii_lowercase(), row.string(1)?);
    }
    supported(&settings)
        .map_err(|reason| StoreError::Unsupported { database: server.name.clone(), reason })?;
    let settings = durability::postgres(&settings);
    if !settings.is_empty() && !allow_unsafe {
        return Err(StoreError::Unsafe { database: server.name.clone(), settings });
    }
    Ok((connection, settings))
}

/// Whether the server is new enough and holds any text.
fn supported(settings: &Settings) -> Result<(), String> {
    let value = |name: &str| settings.get(name).map_or("", String::as_str);
    if value("server_version_num").parse::<u32>().is_ok_and(|found| found < VERSION_MIN) {
        return Err(format!("it is PostgreSQL {}; use 13 or newer", value("server_version")));
    }
    match value("server_encoding") {
        "UTF8" => Ok(()),
        other => Err(format!("its encoding is {other}; create the database with ENCODING 'UTF8'")),
    }
}

/// Looks at what is there before anything is changed. Says how many migrations it has had.
async fn inspect(
    server: &Server<PgConnectOptions>,
    connection: &mut PgConnection,
) -> Result<usize, StoreError> {
    let failed = |error: sqlx::Error| opening(server, &error);
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let tables = BTreeSet::from_iter(tables);
    let applied: Vec<(i64, String)> = if tables.contains(migration::TABLE) {
        sqlx::query_as("SELECT version, description FROM _sqlx_migrations ORDER BY version")
            .fetch_all(connection)
            .await
            .map_err(failed)?
    } else {
        Vec::new()
    };
    migration::judge(&server.name, &tables, &applied, &MIGRATIONS)
}

/// Takes the lock for this connection, or says who holds it.
async fn lock(
    server: &Server<PgConnectOptions>,
    connection: &mut PgConnection,
    key: i64,
) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        if sqlx::query_scalar(LOCK).bind(key).fetch_one(&mut *connection).await? {
            return Ok(());
        }
        if began.elapsed() >= LOCK_PATIENCE {
            break;
        }
        tokio::time::sleep(LOCK_STEP).await;
    }
    let holder = match lock_holder(connection, key).await? {
        Some(holder) => format!(" by process {holder} of the server"),
        None => String::new(),
    };
    let lock = "an advisory lock of the database".into();
    Err(StoreError::Locked { database: server.name.clone(), holder, lock })
}

async fn lock_holder(connection: &mut PgConnection, key: i64) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(LOCK_HOLDER).bind(key).fetch_optional(connection).await?)
}

async fn process_id(connection: &mut PgConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT pg_backend_pid()::bigint").fetch_one(connection).await?)
}

/// Begins the next epoch.
async fn take_over(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    alike::next_epoch!(connection.begin().await?, format!("{SERVICE} FOR UPDATE"))
}

async fn run_migrations(
    server: &Server<PgConnectOptions>,
    connection: &mut PgConnection,
) -> Result<Migrated, StoreError> {
    migration::run(connection, &MIGRATIONS, &server.name, |error| opening(server, error)).await
}

/// What an engine error while opening means for the database: 25006 is a server that takes no writes,
/// such as a standby.
fn opening(server: &Server<PgConnectOptions>, error: &sqlx::Error) -> StoreError {
    let (database, reason) = (server.name.clone(), error.to_string());
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code.as_deref() {
        Some("25006") => StoreError::ReadOnly { database, reason },
        _ => StoreError::Open { database, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_other_encodings_are_refused_by_name() {
        let judged = |version: &str, encoding: &str| {
            supported(&Settings::from([
                ("server_version_num".into(), version.into()),
                ("server_version".into(), "this".into()),
                ("server_encoding".into(), encoding.into()),
            ]))
        };
        assert_eq!(judged("130000", "UTF8"), Ok(()));
        assert!(judged("120020", "UTF8").unwrap_err().contains("PostgreSQL this; use 13"));
        assert!(judged("170000", "SQL_ASCII").unwrap_err().contains("ENCODING 'UTF8'"));
    }
}
