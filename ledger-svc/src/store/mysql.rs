//! MySQL 8 and MariaDB: how a database is judged, locked and migrated, and how the writer connects.
//! What is written in its own words is here and in `write`.
//!
//! Each of the writer's lanes is a connection that holds a named lock of the server. A second service cannot get them; and
//! after a lost connection the lane itself gets its lock back only when the server has ended the old
//! session, so that a commit whose answer was lost is by then either done or undone.

mod broken_off;
mod packed;
mod write;

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::mysql::{
    MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlPoolOptions,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use self::write::inserts;
pub use self::write::{Batch, Inserts, look_up};
use super::alike;
use super::durability::{self, Settings, UnsafeSetting};
use super::error::StoreError;
use super::migration::{self, Migrated};
use super::row::Columns;
use super::service::SERVICE;
use super::table::Rows;
use super::url::{Access, Server};
use crate::seal::ServiceRow;

pub const MIGRATIONS: [migration::Source; alike::MIGRATIONS] =
    alike::migrations!("mysql", migration::MARK);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read waits for a connection; also how long reads hang while the server is away.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
const READERS_MAX: u32 = 8;
/// For a service that was killed: the server needs a moment to notice.
const LOCK_PATIENCE_S: u32 = 3;

/// Waits for locks as long as the embedded engine does; is not hung up on for being idle. No server cuts what is found.
const WRITER_SESSION: &str = "SET SESSION innodb_lock_wait_timeout = 5, lock_wait_timeout = 5,
    wait_timeout = 31536000, autocommit = 1, sql_select_limit = 18446744073709551615";
const WRITER_ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";
/// Where nothing is committed by itself, a reader's first look would be its only one.
pub const READER_SESSION: &str =
    "SET SESSION autocommit = 1, sql_select_limit = 18446744073709551615;
    SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
const SETTINGS: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN (
    'innodb_flush_log_at_trx_commit', 'innodb_flush_method', 'innodb_doublewrite', 'log_bin',
    'sync_binlog', 'default_storage_engine', 'sql_mode', 'transaction_isolation', 'tx_isolation',
    'aurora_version', 'version', 'max_allowed_packet')";
/// Of the server, so the database is part of the name.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('forebay-ledger:', SHA1(DATABASE()), ?), ?)";
const LOCK_HOLDER: &str =
    "SELECT CAST(IS_USED_LOCK(CONCAT('forebay-ledger:', SHA1(DATABASE()), ?)) AS SIGNED)";
/// How the names end: one for each lane. Earlier versions know the first.
const LOCK_ENDS: [&str; 2] = ["", ":2"];
const EPOCH: &str = "SELECT epoch FROM service WHERE id = 1";
const ACCOUNT: &str =
    "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts WHERE code = ?";

/// A batch travels in texts of up to `TEXT_BYTES_MAX` in `write` and a row.
const PACKET_BYTES_MIN: u64 = 16 << 20;

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    MariaDb,
    MySql,
}

/// The second connection of the writer.
#[derive(Clone, Debug)]
pub struct Ahead {
    pub pool: MySqlPool,
    dialect: Dialect,
}

/// One writing connection.
#[derive(Debug)]
pub struct Writer {
    server: Server<MySqlConnectOptions>,
    dialect: Dialect,
    connection: Option<MySqlConnection>,
    /// Of the lock that this lane holds.
    lock_end: &'static str,
    /// The server's number of the connection the lock was last taken on.
    connection_id: i64,
    epoch: i64,
    allow_unsafe: bool,
}

/// Creates or updates the tables. Does nothing, and says so, when there is nothing to do.
pub async fn migrate(
    server: &Server<MySqlConnectOptions>,
    allow_unsafe: bool,
) -> Result<Migrated, StoreError> {
    let mut connection = connect(server, allow_unsafe).await?.connection;
    inspect(server, &mut connection).await?;
    for end in LOCK_ENDS {
        lock(server, &mut connection, end).await?;
    }
    let migrated = run_migrations(server, &mut connection).await?;
    connection.close().await?;
    Ok(migrated)
}

/// Opens the database for one service.
pub async fn open(
    server: &Server<MySqlConnectOptions>,
    access: Access,
) -> Result<([Writer; 2], MySqlPool, Ahead, Vec<UnsafeSetting>), StoreError> {
    let failed = |error: sqlx::Error| opening(server, &error);
    let connected = connect(server, access.allow_unsafe).await?;
    let Connected { mut connection, dialect, unsafe_settings } = connected;
    inspect(server, &mut connection).await?;
    lock(server, &mut connection, LOCK_ENDS[0]).await?;
    let mut beside = connect(server, access.allow_unsafe).await?.connection;
    lock(server, &mut beside, LOCK_ENDS[1]).await?;
    let applied = inspect(server, &mut connection).await?;
    if access.migrate {
        run_migrations(server, &mut connection).await?;
    } else if applied < MIGRATIONS.len() {
        let (database, url) = (server.name.clone(), server.name.clone());
        return Err(StoreError::Unmigrated { database, url });
    }
    let epoch = take_over(&mut connection).await.map_err(failed)?;
    let connection_ids = [connection_id(&mut connection).await?, connection_id(&mut beside).await?];
    let (pool, ahead) = (readers(server), Ahead { pool: reading(server, 1), dialect });
    let lane = |connection: MySqlConnection, number: usize| Writer {
        server: server.clone(),
        dialect,
        connection: Some(connection),
        lock_end: LOCK_ENDS[number],
        connection_id: connection_ids[number],
        epoch,
        allow_unsafe: access.allow_unsafe,
    };
    let lanes = [lane(connection, 0), lane(beside, 1)];
    Ok((lanes, pool, ahead, unsafe_settings))
}

/// Reading connections.
pub fn readers(server: &Server<MySqlConnectOptions>) -> MySqlPool {
    reading(server, READERS_MAX)
}

fn reading(server: &Server<MySqlConnectOptions>, connections: u32) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(READ_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(READER_SESSION).await.map(|_| ()) })
        })
        .connect_lazy_with(session(&server.options))
}

impl Ahead {
    pub fn inserts_of(&self, tables: &[Rows<'_>]) -> Inserts {
        inserts(self.dialect, tables)
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Writer {
    /// A connection that holds the lock, for a database nobody else has written since.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        let Connected { mut connection, dialect, .. } =
            connect(&self.server, self.allow_unsafe).await?;
        self.dialect = dialect;
        let found: i64 = sqlx::query_scalar(EPOCH).fetch_one(&mut connection).await?;
        if found != self.epoch {
            return Err(StoreError::Replaced { ours: self.epoch, found });
        }
        // The server may take minutes to notice that the old connection's other end is gone.
        let holder = lock_holder(&mut connection, self.lock_end).await?;
        if holder == Some(self.connection_id) {
            tracing::warn!(connection = self.connection_id, "ending our lost connection");
            let kill = sqlx::AssertSqlSafe(format!("KILL {}", self.connection_id));
            // It may just have ended by itself; the lock tells.
            let _ = connection.execute(kill).await;
        }
        lock(&self.server, &mut connection, self.lock_end).await?;
        self.connection_id = connection_id(&mut connection).await?;
        self.connection = Some(connection);
        Ok(())
    }
}

pub fn session(options: &MySqlConnectOptions) -> MySqlConnectOptions {
    options.clone().charset("utf8mb4").collation("utf8mb4_bin")
}

/// What a text says that is not met again and has no parameters. It is not prepared: nothing answers the message by which
/// the driver gives a statement up, so the next message would wait for the acknowledgement of that one, which the server
/// delays by 40 ms (RFC 1122, 4.2.3.2 and 4.2.3.4; the driver leaves Nagle's algorithm on).
pub async fn rows_once<T>(
    connection: &mut MySqlConnection,
    sql: String,
    of: impl Fn(&dyn Columns) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter().map(|row| of(row)).collect()
}

/// A connection, and what is in force on it.
struct Connected {
    connection: MySqlConnection,
    dialect: Dialect,
    unsafe_settings: Vec<UnsafeSetting>,
}

/// Connects and checks, on the connection itself, what is in force.
async fn connect(
    server: &Server<MySqlConnectOptions>,
    allow_unsafe: bool,
) -> Result<Connected, StoreError> {
    let failed = |error: sqlx::Error| opening(server, &error);
    let options = session(&server.options);
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, options.connect());
    let Ok(connected) = connecting.await else {
        let reason = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
        return Err(StoreError::Open { database: server.name.clone(), reason });
    };
    let mut connection = connected.map_err(failed)?;
    connection.execute(WRITER_SESSION).await.map_err(failed)?;
    connection.execute(WRITER_ISOLATION).await.map_err(failed)?;
    let mut settings = Settings::new();
    for row in sqlx::query(SETTINGS).fetch_all(&mut connection).await.map_err(failed)? {
        settings.insert(row.string(0)?.to_ascii_lowercase(), row.string(1)?);
    }
    let dialect = supported(&settings)
        .map_err(|reason| StoreError::Unsupported { database: server.name.clone(), reason })?;
    let unsafe_settings = durability::mysql(&settings);
    if !unsafe_settings.is_empty() && !allow_unsafe {
        let database = server.name.clone();
        return Err(StoreError::Unsafe { database, settings: unsafe_settings });
    }
    Ok(Connected { connection, dialect, unsafe_settings })
}

/// Whose server it is, if it has what the statements use: JSON_TABLE and CHECK constraints.
fn supported(settings: &Settings) -> Result<Dialect, String> {
    let version = settings.get("version").map_or("", String::as_str);
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    let found: (u32, u32) =
        (parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0));
    let (dialect, name, least) = match version.contains("MariaDB") {
        true => (Dialect::MariaDb, "MariaDB", (10, 6)),
        false => (Dialect::MySql, "MySQL", (8, 0)),
    };
    if found < least {
        return Err(format!("it is {name} {version}; use {}.{} or newer", least.0, least.1));
    }
    let packet: Option<u64> =
        settings.get("max_allowed_packet").and_then(|value| value.parse().ok());
    match packet {
        Some(bytes) if bytes < PACKET_BYTES_MIN => {
            Err(format!("max_allowed_packet is {bytes}, set it to {PACKET_BYTES_MIN} or more"))
        }
        _ => Ok(dialect),
    }
}

/// Looks at what is there before anything is changed. Says how many migrations it has had whole.
async fn inspect(
    server: &Server<MySqlConnectOptions>,
    connection: &mut MySqlConnection,
) -> Result<usize, StoreError> {
    let failed = |error: sqlx::Error| opening(server, &error);
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE()",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let tables = BTreeSet::from_iter(tables);
    let rows: Vec<(i64, String, bool)> = if tables.contains(migration::TABLE) {
        let sql = "SELECT version, CAST(description AS CHAR), success FROM _sqlx_migrations ORDER BY version";
        sqlx::query_as(sql).fetch_all(connection).await.map_err(failed)?
    } else {
        Vec::new()
    };
    let broken_off = rows.iter().filter(|(_, _, is_done)| !is_done).count();
    let applied: Vec<_> = rows.into_iter().map(|(version, name, _)| (version, name)).collect();
    let applied = migration::judge(&server.name, &tables, &applied, &MIGRATIONS)?;
    Ok(applied - broken_off)
}

/// Takes the lock for this connection, or says who holds it.
async fn lock(
    server: &Server<MySqlConnectOptions>,
    connection: &mut MySqlConnection,
    end: &str,
) -> Result<(), StoreError> {
    let taking = sqlx::query_scalar(LOCK).bind(end).bind(LOCK_PATIENCE_S);
    let taken: Option<i64> = taking.fetch_one(&mut *connection).await?;
    if taken == Some(1) {
        return Ok(());
    }
    let holder = match lock_holder(connection, end).await? {
        Some(holder) => format!(" by connection {holder} of the server"),
        None => String::new(),
    };
    let lock = "a named lock of the server".into();
    Err(StoreError::Locked { database: server.name.clone(), holder, lock })
}

async fn lock_holder(
    connection: &mut MySqlConnection,
    end: &str,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(LOCK_HOLDER).bind(end).fetch_one(connection).await?)
}

async fn connection_id(connection: &mut MySqlConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)").fetch_one(connection).await?)
}

/// Begins the next epoch.
async fn take_over(connection: &mut MySqlConnection) -> Result<i64, sqlx::Error> {
    alike::next_epoch!(connection.begin().await?, format!("{SERVICE} FOR UPDATE"))
}

async fn run_migrations(
    server: &Server<MySqlConnectOptions>,
    connection: &mut MySqlConnection,
) -> Result<Migrated, StoreError> {
    let opening = |error: &sqlx::Error| opening(server, error);
    let finished = broken_off::finish(connection, &MIGRATIONS, &server.name, opening).await?;
    let migrated = migration::run(connection, &MIGRATIONS, &server.name, opening).await?;
    Ok(Migrated { applied: migrated.applied + usize::from(finished), ..migrated })
}

/// The server's number of an error.
fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

/// What an engine error while opening means for the database: 1290, 1792 and 1836 are a server that
/// takes no writes, such as a replica; 1419 is a migration that may not create triggers.
fn opening(server: &Server<MySqlConnectOptions>, error: &sqlx::Error) -> StoreError {
    let (database, reason) = (server.name.clone(), error.to_string());
    match number(error) {
        Some(1290 | 1792 | 1836) => StoreError::ReadOnly { database, reason },
        Some(1419) => StoreError::Migration {
            database,
            reason: format!(
                "{reason}; migrate as an administrator, or set log_bin_trust_function_creators = 1"
            ),
        },
        _ => StoreError::Open { database, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_and_small_packets_are_refused_by_name() {
        let judged = |version: &str, packet: &str| {
            supported(&Settings::from([
                ("version".into(), version.into()),
                ("max_allowed_packet".into(), packet.into()),
            ]))
        };
        for (good, dialect) in [
            ("8.0.36", Dialect::MySql),
            ("8.4.3-log", Dialect::MySql),
            ("10.6.0-MariaDB", Dialect::MariaDb),
            ("11.4.2-MariaDB-log", Dialect::MariaDb),
        ] {
            assert_eq!(judged(good, "16777216"), Ok(dialect), "{good}");
        }
        assert!(judged("5.7.44", "16777216").unwrap_err().contains("use 8.0 or newer"));
        assert!(judged("10.5.1-MariaDB", "16777216").unwrap_err().contains("use 10.6 or newer"));
        assert!(judged("8.0.36", "1048576").unwrap_err().contains("set it to 16777216"));
    }
}
