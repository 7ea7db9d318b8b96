//! An entry as it is asked for, and how many a transfer may have.

use serde::Deserialize;
use utoipa::ToSchema;

use super::error::TransferError;
use crate::account::Side;
use crate::money::Amount;

/// One debit or credit of a transfer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryBody {
    /// The account's code. One account may occur in several entries.
    #[schema(example = "assets:cash:eur")]
    pub account: String,
    pub direction: Side,
    /// Positive decimal as a JSON string, with at most as many decimals as the currency's scale.
    #[schema(value_type = String, example = "12.34", pattern = r"^(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    pub amount: Amount,
}

pub fn check_entries(entries: &[EntryBody], max: usize) -> Result<(), TransferError> {
    check_count(entries.len(), max)
}

pub fn check_count(entries: usize, max: usize) -> Result<(), TransferError> {
    match entries {
        found @ (0 | 1) => Err(TransferError::TooFewEntries(found)),
        found if found > max => Err(TransferError::TooManyEntries { found, max }),
        _ => Ok(()),
    }
}
