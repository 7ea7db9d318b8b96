//! Why a request is no transfer.

use thiserror::Error;

use crate::json::JsonError;
use crate::metadata::MetadataError;
use crate::naming::NameError;

/// Why a request is no transfer; nothing has been read from the database yet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TransferError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Text(#[from] NameError),
    #[error("a transfer needs at least two entries, this one has {0}")]
    TooFewEntries(usize),
    #[error("a transfer has at most {max} entries, this one has {found}; split it")]
    TooManyEntries { found: usize, max: usize },
    #[error("a transfer has at most {max} expectations, this one has {found}")]
    TooManyExpectations { found: usize, max: usize },
    #[error("expect[{0}] expects nothing; give version, balance or available")]
    EmptyExpectation(usize),
    #[error("expires_at is only for pending transfers; add \"pending\": true or leave it out")]
    ExpiresWithoutPending,
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("split[{index}]: {what}")]
    Split { index: usize, what: &'static str },
}
