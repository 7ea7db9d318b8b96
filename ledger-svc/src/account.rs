//! The chart: currencies and accounts as they are created and listed, and their rules of naming.

use std::fmt;

use jiff::Timestamp;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::metadata::Metadata;
use crate::money::SCALE_MAX;
use crate::naming::{NameError, validate_code, validate_currency, validate_text};
use crate::when::write_instant;

/// Longest account name in characters.
pub const NAME_CHARS_MAX: usize = 200;

/// The side on which an account's balance counts as positive.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Assets and expenses grow on this side.
    Debit,
    /// Liabilities, equity and income grow on this side.
    Credit,
}

impl Side {
    /// The word in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }

    /// The side named by a word of the database.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "debit" => Some(Self::Debit),
            "credit" => Some(Self::Credit),
            _ => None,
        }
    }

    pub fn opposite(self) -> Self {
        match self {
            Self::Debit => Self::Credit,
            Self::Credit => Self::Debit,
        }
    }

    /// The balance of an account with this normal side, in minor units.
    pub fn balance(self, debits: i64, credits: i64) -> i128 {
        let (debits, credits) = (i128::from(debits), i128::from(credits));
        match self {
            Self::Debit => debits - credits,
            Self::Credit => credits - debits,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A currency and its number of decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CurrencyBody {
    /// 3 to 12 capital letters and digits, a letter first. ISO 4217 codes are there from the start.
    #[schema(example = "EUR", pattern = "^[A-Z][A-Z0-9]{2,11}$")]
    pub code: String,
    /// Number of decimals, 0 to 12. It never changes.
    #[serde(deserialize_with = "read_scale")]
    #[schema(example = 2, minimum = 0, maximum = 12)]
    pub scale: u8,
}

/// An account of the chart. It holds one currency, and none of this ever changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountBody {
    /// Parts of small letters, digits, `-` and `_`, joined by colons; at most 128 bytes.
    #[schema(
        example = "assets:cash:eur",
        pattern = "^[a-z0-9][a-z0-9_-]*(:[a-z0-9][a-z0-9_-]*)*$",
        max_length = 128
    )]
    pub code: String,
    /// What people call it; 1 to 200 characters.
    #[schema(example = "Cash in euro", min_length = 1, max_length = 200)]
    pub name: String,
    /// A currency's code.
    #[schema(example = "EUR", pattern = "^[A-Z][A-Z0-9]{2,11}$")]
    pub currency: String,
    pub normal_balance: Side,
    /// Names and values to find it again by (`GET /v1/accounts?metadata=NAME:VALUE`); up to 16 names of small letters,
    /// digits, `_`, `-` and `.`, values of up to 200 characters.
    #[serde(default)]
    pub metadata: Metadata,
}

/// An account of the chart, as created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Account {
    /// The database's number of it.
    #[serde(skip)]
    #[schema(ignore)]
    pub id: i64,
    #[schema(example = "assets:cash:eur")]
    pub code: String,
    #[schema(example = "Cash in euro")]
    pub name: String,
    #[schema(example = "EUR")]
    pub currency: String,
    pub normal_balance: Side,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub created_at: Timestamp,
    pub metadata: Metadata,
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

impl<T> Created<T> {
    /// What was not there before.
    pub fn created(&self) -> Option<&T> {
        match self {
            Self::New(created) => Some(created),
            Self::Existing(_) | Self::Conflict(_) | Self::UnknownCurrency => None,
        }
    }
}

/// Between what an account's balance must stay. What is pending counts as if it were posted where
/// that is worse, and as if it were not where that is worse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsBody {
    /// The lowest balance by the normal side: `"0"` allows no overdraft, `"-500.00"` is a credit
    /// limit of 500. No limit when null or left out.
    #[schema(example = "0", pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    pub balance_min: Option<String>,
    /// The highest balance by the normal side. No limit when null or left out.
    #[schema(example = "10000.00", pattern = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$")]
    pub balance_max: Option<String>,
}

impl CurrencyBody {
    /// Checks the code; the scale is checked when it is read.
    pub fn validate(&self) -> Result<(), NameError> {
        validate_currency(&self.code)
    }
}

impl AccountBody {
    /// Checks the code and the name; whether the currency exists is the store's to say.
    pub fn validate(&self) -> Result<(), NameError> {
        validate_code(&self.code)?;
        if self.name.is_empty() {
            return Err(NameError::TextEmpty { what: "account name" });
        }
        validate_text("account name", &self.name, NAME_CHARS_MAX)
    }
}

fn read_scale<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let scale = i64::deserialize(deserializer)?;
    match u8::try_from(scale) {
        Ok(scale @ 0..=SCALE_MAX) => Ok(scale),
        _ => Err(de::Error::custom(format!("scale is {scale}; it goes from 0 to {SCALE_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_follow_the_normal_side() {
        assert_eq!(Side::Debit.balance(7, 10), -3);
        assert_eq!(Side::Credit.balance(7, 10), 3);
        assert_eq!(Side::Credit.balance(i64::MAX, 0), -i128::from(i64::MAX));
    }
}
