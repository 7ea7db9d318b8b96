//! What an import comes to, and why it ends before its end.

use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::interchange::{Fault, Faults};
use crate::store::StoreError;
use crate::writer::WriteError;

/// Transfers booked at once.
pub const BATCH: usize = 500;

pub const KEY_REUSED: &str =
    "its key belongs to a transfer that says something else; was it booked here before?";

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Imported {
    /// Currencies that were not there.
    pub currencies: usize,
    /// Accounts that were not there.
    pub accounts: usize,
    /// Transfers booked now.
    pub transfers: usize,
    /// Their entries.
    pub entries: usize,
    /// Transfers that were booked by an import before.
    pub booked_before: usize,
    /// Lines of those of them that have no key, and are taken for what was booked because they say the same: 100 at most.
    /// Another transfer needs a key of its own.
    pub taken_for_the_same: Vec<usize>,
}

/// Why an import ended.
#[derive(Debug, Error)]
pub enum ImportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Nothing was booked.
    #[error(transparent)]
    Foreseen(#[from] Faults),
    /// Others changed the books since the plan was tried out. What earlier batches booked stays.
    #[error("{fault}; of the text {} transfers are booked, now or before", .before.transfers + .before.booked_before)]
    Refused { fault: Fault, before: Imported },
}
