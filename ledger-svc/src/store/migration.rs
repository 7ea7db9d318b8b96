//! Runs an engine's migrations, which are compiled in. They only ever go forward.

use std::collections::BTreeSet;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::error::StoreError;

/// The first migration's name, which marks a server's database as a ledger's.
pub const MARK: &str = "forebay ledger";
/// Where the migrations that were applied are written down.
pub const TABLE: &str = "_sqlx_migrations";

/// Version, name and SQL.
pub type Source = (i64, &'static str, &'static str);

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// How many migrations were applied now; 0 when all had been.
    pub applied: usize,
    /// The version the database is at.
    pub version: i64,
}

/// Applies what is missing. `opening` says what an engine's error means for the database.
pub async fn run<C: Migrate>(
    connection: &mut C,
    sources: &[Source],
    database: &str,
    opening: impl Fn(&sqlx::Error) -> StoreError,
) -> Result<Migrated, StoreError> {
    let migrator = Migrator::with_migrations(sources.iter().map(migration).collect());
    let failed = |error| failed(error, database, &opening);
    connection.ensure_migrations_table(TABLE).await.map_err(failed)?;
    let before = connection.list_applied_migrations(TABLE).await.map_err(failed)?;
    migrator.run_direct(None, connection, false).await.map_err(failed)?;
    let version = sources.last().map_or(0, |source| source.0);
    Ok(Migrated { applied: sources.len() - before.len(), version })
}

/// What it means for the database that a migration failed.
pub fn failed(
    error: MigrateError,
    database: &str,
    opening: impl Fn(&sqlx::Error) -> StoreError,
) -> StoreError {
    match error {
        MigrateError::Execute(error) => opening(&error),
        MigrateError::ExecuteMigration(error, version) => {
            stopped(version, database, opening(&error))
        }
        MigrateError::VersionMismatch(version) => StoreError::OtherVersion {
            database: database.into(),
            reason: format!("its migration {version} is not the one this version has"),
        },
        error => StoreError::Migration { database: database.into(), reason: error.to_string() },
    }
}

/// What stopped a migration, which is not what keeps a database from being opened.
pub fn stopped(version: i64, database: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Open { reason, .. } => {
            let reason = format!("migration {version}: {reason}; it may be run again");
            StoreError::Migration { database: database.into(), reason }
        }
        error => error,
    }
}

/// By which a migration is known again.
pub fn checksum(source: &Source) -> Vec<u8> {
    migration(source).checksum.to_vec()
}

/// Holds the migrations a database has had against this version's.
pub fn compare(
    database: &str,
    sources: &[Source],
    applied: &[(i64, Vec<u8>, bool)],
) -> Result<(), StoreError> {
    let other = |reason: String| StoreError::OtherVersion { database: database.into(), reason };
    for (index, (version, checksum, _)) in applied.iter().enumerate() {
        let source = sources.get(index).filter(|source| source.0 == *version);
        let source = source
            .ok_or_else(|| other(format!("it has migration {version}, which has no place here")))?;
        if self::checksum(source) != *checksum {
            return Err(other(format!("its migration {version} is not the one this version has")));
        }
    }
    // One that is not done was broken off.
    if applied.len() < sources.len() || applied.iter().any(|(_, _, is_done)| !is_done) {
        let (database, url) = (database.into(), database.into());
        return Err(StoreError::Unmigrated { database, url });
    }
    Ok(())
}

fn migration((version, name, sql): &Source) -> Migration {
    Migration::new(*version, (*name).into(), MigrationType::Simple, sql.into_sql_str(), false)
}

/// How many of `sources` a database with these tables and migrations has had; refuses a database
/// that is not a ledger's, or is a newer version's.
pub fn judge(
    database: &str,
    tables: &BTreeSet<String>,
    applied: &[(i64, String)],
    sources: &[Source],
) -> Result<usize, StoreError> {
    // A migration that failed before its first table leaves only the list of migrations behind.
    if applied.is_empty() {
        return match tables.iter().find(|table| *table != TABLE) {
            None => Ok(0),
            Some(table) => Err(StoreError::Foreign {
                database: database.into(),
                reason: format!(
                    "it has a table {table} of another program; give the ledger a database of its own"
                ),
            }),
        };
    }
    if applied.iter().any(|(version, name)| *version == 1 && name != MARK) {
        let reason = "its migrations are another program's".into();
        return Err(StoreError::Foreign { database: database.into(), reason });
    }
    let known = |version: i64| sources.iter().any(|source| source.0 == version);
    if let Some((version, _)) = applied.iter().find(|(version, _)| !known(*version)) {
        let reason = format!("it has migration {version}, which this version does not know");
        return Err(StoreError::OtherVersion { database: database.into(), reason });
    }
    Ok(applied.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [Source; 2] = [(1, MARK, ""), (2, "more", "")];

    #[test]
    fn databases_are_told_apart() {
        let judged = |tables: &[&str], applied: &[(i64, &str)]| {
            let tables = tables.iter().map(|table| (*table).to_owned()).collect();
            let applied: Vec<_> =
                applied.iter().map(|(v, name)| (*v, (*name).to_owned())).collect();
            judge("db", &tables, &applied, &SOURCES).map_err(|error| error.to_string())
        };
        assert_eq!(judged(&[], &[]), Ok(0));
        assert_eq!(judged(&[TABLE], &[]), Ok(0));
        assert_eq!(judged(&[TABLE, "service"], &[(1, MARK)]), Ok(1));
        assert!(judged(&["orders"], &[]).unwrap_err().contains("orders of another program"));
        assert!(
            judged(&[TABLE, "x"], &[(1, "users")]).unwrap_err().contains("not a Forebay ledger")
        );
        assert!(judged(&[TABLE], &[(1, MARK), (9, "later")]).unwrap_err().contains("migration 9"));
    }
}
