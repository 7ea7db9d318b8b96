//! What goes wrong with a database, and what a person is to do then.

use std::fmt;

use thiserror::Error;

use super::durability::UnsafeSetting;
use crate::as_of::Overflow;
use crate::trail::Broken;

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

pub fn impossible(what: &str, found: &dyn fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} that reads {found}"))
}
