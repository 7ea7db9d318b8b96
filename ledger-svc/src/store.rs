//! The database, seen from the ledger. An engine is one file with a `Writer` (one connection,
//! one batch at a time) and a `Reader` (a small pool that never waits for the writer); both are
//! named here. A second engine turns these two names into enums of the same methods.
//!
//! A batch is `Writer::begin` → `Batch::create_*` → `Batch::lock_and_read` → (posting) →
//! `Batch::write` → `Batch::commit`; a batch that is dropped is rolled back.

mod lock;
mod sqlite;
mod url;

use std::path::PathBuf;

use thiserror::Error;

pub use sqlite::{Batch, Migrated, Reader, Writer, migrate, open};
pub use url::{DatabaseUrl, Synchronous, UrlError};

/// What went wrong with the database, and what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot open {path}: {reason}")]
    Open { path: PathBuf, reason: String },
    #[error(
        "{path} is already served{holder}: one database has one forebay-ledger; stop the other, or give this one its own database (lock file {lock})"
    )]
    Locked { path: PathBuf, lock: PathBuf, holder: String },
    #[error("{path} is not a Forebay ledger: {reason}; nothing in it was changed")]
    Foreign { path: PathBuf, reason: String },
    #[error(
        "{path} was written by another version of forebay-ledger: {reason}; use that version or a newer one"
    )]
    OtherVersion { path: PathBuf, reason: String },
    #[error("{path} needs migration: run `forebay-ledger migrate --database sqlite:{path}` first", path = path.display())]
    Unmigrated { path: PathBuf },
    #[error(
        "{path} is not safe for money: {setting} is {found}, which can lose acknowledged transfers when the machine stops; set {setting} to {safe}"
    )]
    Unsafe { path: PathBuf, setting: &'static str, found: String, safe: &'static str },
    #[error("{path} is read-only: {reason}; make the file and its directory writable")]
    ReadOnly { path: PathBuf, reason: String },
    #[error("the migration of {path} failed: {reason}")]
    Migration { path: PathBuf, reason: String },
    #[error("another forebay-ledger took over this database (epoch {found}, ours is {ours})")]
    Replaced { ours: i64, found: i64 },
    #[error("the database holds something impossible: {0}")]
    Corrupt(String),
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
            | Self::ReadOnly { .. }
            | Self::Migration { .. }
            | Self::Corrupt(_) => true,
            Self::Open { .. } | Self::Locked { .. } | Self::Replaced { .. } | Self::Engine(_) => {
                false
            }
        }
    }
}

/// How a currency or account came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created<T> {
    New(T),
    /// It was there already, exactly as asked for.
    Existing(T),
    /// Its code is taken by something else.
    Conflict(T),
    /// The account's currency does not exist.
    UnknownCurrency,
}
