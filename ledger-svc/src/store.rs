//! The database, seen from the ledger. An engine is one module with a `Writer` (one connection, one
//! batch at a time) and a `Reader` (a small pool that never waits for the writer); `engine` gives
//! the three of them one name each. `row` reads rows the same way from all of them, `durability`
//! judges their settings, `migration` runs their migrations, `read` looks things up on all of them alike.
//!
//! A batch is `Writer::begin` → `Batch::create_*` → `Batch::lock_and_read` → (posting) →
//! `Batch::write` → `Batch::commit`, put together in `gather` from what each engine does; a batch that is dropped is rolled back. A commit that fails is
//! never taken for done nor for undone: the next `begin` works on a connection that holds the
//! writer's lock, which it can only get once the old connection, and so the old commit, has ended.

mod acts;
mod alike;
mod as_of;
mod audit;
mod close;
mod current;
mod durability;
mod effective;
mod engine;
mod external;
mod faults;
mod gather;
mod journal;
mod known;
mod metadata;
mod migration;
mod mysql;
mod outbox;
mod pinned;
#[cfg(test)]
mod plans_tests;
mod postgres;
mod read;
mod reader;
mod reconcile;
mod row;
mod rows;
mod sealed;
mod sets;
mod signatures;
mod source;
mod sqlite;
mod statement;
mod stream;
mod threading;
mod triggers;
mod unique;
mod url;
mod way;

use std::fmt;

use thiserror::Error;

use crate::as_of::Overflow;
use crate::trail::Broken;

pub use audit::{Audit, BackdatedDay, BalanceRow};
pub use durability::UnsafeSetting;
pub use effective::{Days, Place};
pub use engine::{Ahead, Batch, Inserts, Lane, Opened, Writer, copy, migrate, open, read_only};
#[cfg(test)]
pub use faults::simulated;
pub use migration::Migrated;
pub use reader::{Moment, Reader};
pub use source::{Source, SourceSum, Texts};
pub use statement::Period;
pub use stream::Stream;
pub use triggers::{Unguarded, mend, unguarded};
pub use url::{DatabaseUrl, SqliteFile, Synchronous, UrlError};

/// What opening a database may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Create or update the tables.
    pub migrate: bool,
    /// Go on with settings that can lose acknowledged transfers.
    pub allow_unsafe: bool,
}

/// What went wrong with the database, and what to do. `database` is a path, or a URL without its
/// password.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot open {database}: {reason}")]
    Open { database: String, reason: String },
    #[error(
        "{database} is already served{holder}: one database has one forebay-ledger; stop the other, or give this one its own database ({lock})"
    )]
    Locked { database: String, holder: String, lock: String },
    #[error("{database} is not a Forebay ledger: {reason}; nothing in it was changed")]
    Foreign { database: String, reason: String },
    #[error(
        "{database} was written by another version of forebay-ledger: {reason}; use that version or a newer one"
    )]
    OtherVersion { database: String, reason: String },
    #[error("{database} needs migration: run `forebay-ledger migrate --database {url}` first")]
    Unmigrated { database: String, url: String },
    #[error(
        "{database} is not safe for money: {}. Acknowledged transfers could be lost when the machine stops; only a database for development may be opened all the same, with --allow-unsafe-durability", listed(.settings)
    )]
    Unsafe { database: String, settings: Vec<UnsafeSetting> },
    #[error(
        "{database} would book twice what it is asked for twice: nothing keeps {} unique any more; `forebay-ledger verify` says whether anything was, and `forebay-ledger migrate --mend` makes the index again", .columns.join(", ")
    )]
    Doubling { database: String, columns: Vec<&'static str> },
    #[error("{database} cannot hold a ledger: {reason}")]
    Unsupported { database: String, reason: String },
    #[error("{database} is read-only: {reason}; make it writable")]
    ReadOnly { database: String, reason: String },
    #[error("the migration of {database} failed: {reason}")]
    Migration { database: String, reason: String },
    #[error("another forebay-ledger took over this database (epoch {found}, ours is {ours})")]
    Replaced { ours: i64, found: i64 },
    #[error("the database holds something impossible: {0}")]
    Corrupt(String),
    /// Refused by an index or a trigger before any commit.
    #[error("the database has it already: {0}")]
    Duplicate(String),
    #[error("the database failed: {0}")]
    Engine(String),
}

impl StoreError {
    /// True for a document one must not touch (exit code 65), false for one that is out of reach.
    pub fn is_bad_document(&self) -> bool {
        match self {
            Self::Foreign { .. }
            | Self::OtherVersion { .. }
            | Self::Unmigrated { .. }
            | Self::Unsafe { .. }
            | Self::Doubling { .. }
            | Self::Unsupported { .. }
            | Self::ReadOnly { .. }
            | Self::Migration { .. }
            | Self::Corrupt(_) => true,
            Self::Open { .. }
            | Self::Locked { .. }
            | Self::Replaced { .. }
            | Self::Duplicate(_)
            | Self::Engine(_) => false,
        }
    }
}

impl From<Overflow> for StoreError {
    fn from(error: Overflow) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<Broken> for StoreError {
    fn from(error: Broken) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let said = error.to_string();
        match error.as_database_error() {
            Some(found) if is_duplicate(found) => Self::Duplicate(said),
            _ => Self::Engine(said),
        }
    }
}

/// On SQLite the triggers that keep rows from being replaced come first: 1811 is SQLITE_CONSTRAINT_TRIGGER.
fn is_duplicate(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.is_unique_violation() || error.code().is_some_and(|code| code == "1811")
}

fn listed(settings: &[UnsafeSetting]) -> String {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    settings.join("; ")
}

fn impossible(what: &str, found: &dyn fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} that reads {found}"))
}
