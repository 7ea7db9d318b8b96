//! Conditions of a transfer: how accounts must stand for it to be booked at all.

use serde::Deserialize;
use utoipa::ToSchema;

use super::error::TransferError;
use super::fingerprint::Fingerprint;

/// How one account must stand right before the transfer; nothing of the transfer counts yet. At least
/// one of `version`, `balance` and `available`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The account's code.
    #[schema(example = "assets:cash:eur")]
    pub account: String,
    /// How many entries it has: `entries` of its balance.
    #[schema(minimum = 0, example = 17)]
    pub version: Option<i64>,
    /// Its balance by its normal side.
    #[schema(example = "100.00", pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    pub balance: Option<String>,
    /// What is available on it.
    #[schema(example = "85.00", pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    pub available: Option<String>,
}

impl Expectation {
    pub(super) fn print(&self, print: &mut Fingerprint) {
        print.field(&self.account);
        print.field(&self.version.map(|version| version.to_string()).unwrap_or_default());
        // As written: a client that retries sends the same text.
        print.field(self.balance.as_deref().unwrap_or_default());
        print.field(self.available.as_deref().unwrap_or_default());
    }
}

pub(super) fn check(expected: &[Expectation], max: usize) -> Result<(), TransferError> {
    if expected.len() > max {
        return Err(TransferError::TooManyExpectations { found: expected.len(), max });
    }
    let empty = |expected: &Expectation| {
        expected.version.is_none() && expected.balance.is_none() && expected.available.is_none()
    };
    expected.iter().position(empty).map_or(Ok(()), |at| Err(TransferError::EmptyExpectation(at)))
}
