//! What is found wrong, and why a database is not verified.

use std::fmt;

use thiserror::Error;

use crate::store::{StoreError, Unguarded};

/// The first row found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub table: &'static str,
    /// Its key, such as `seq 12`.
    pub row: String,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.table, self.row, self.what)
    }
}

/// A row that is wrong.
pub fn wrong(table: &'static str, row: impl Into<String>, what: impl Into<String>) -> Finding {
    Finding { table, row: row.into(), what: what.into() }
}

/// Why a database is not verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the books are not right: {0}")]
    Wrong(Finding),
    #[error(
        "the file is damaged: {0}. Bring back a backup; an index alone is made again from its table by SQLite's REINDEX while no service runs, and what was booked meanwhile, verify finds"
    )]
    Damaged(String),
    #[error("{0}; forebay-ledger migrate --mend makes them again")]
    Unguarded(Unguarded),
}

impl From<Finding> for VerifyError {
    fn from(finding: Finding) -> Self {
        Self::Wrong(finding)
    }
}
