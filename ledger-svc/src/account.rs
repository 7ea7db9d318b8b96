//! The chart: currencies and accounts as they are created and listed, and their rules of naming.

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::metadata::Metadata;
use crate::money::SCALE_MAX;

/// Longest account code in bytes.
pub const CODE_BYTES_MAX: usize = 128;
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

/// A name that breaks its rule; the message says the rule.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error(
        "account code {0:?} is not valid: write parts of small letters, digits, \"-\" and \"_\", each beginning with a letter or digit, joined by \":\", such as \"assets:cash:eur\""
    )]
    Code(String),
    #[error("account code is longer than {CODE_BYTES_MAX} bytes")]
    CodeTooLong,
    #[error("{what} is {found} characters long, more than {max}")]
    TextTooLong { what: &'static str, found: usize, max: usize },
    #[error("{what} is empty")]
    TextEmpty { what: &'static str },
    #[error("{what} contains a control character (U+{found:04X})")]
    TextControl { what: &'static str, found: u32 },
    #[error(
        "currency code {0:?} is not valid: write 3 to 12 capital letters and digits, a letter first, such as \"EUR\""
    )]
    Currency(String),
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

/// Checks a currency's code.
pub fn validate_currency(code: &str) -> Result<(), NameError> {
    let bytes = code.as_bytes();
    let shaped = (3..=12).contains(&bytes.len())
        && bytes[0].is_ascii_uppercase()
        && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if shaped { Ok(()) } else { Err(NameError::Currency(excerpt(code))) }
}

/// Checks an account code.
pub fn validate_code(code: &str) -> Result<(), NameError> {
    if code.len() > CODE_BYTES_MAX {
        return Err(NameError::CodeTooLong);
    }
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part_is_valid = |part: &str| {
        part.bytes().next().is_some_and(small)
            && part.bytes().all(|b| small(b) || b == b'-' || b == b'_')
    };
    if code.split(':').all(part_is_valid) { Ok(()) } else { Err(NameError::Code(excerpt(code))) }
}

/// Checks a line of text a person reads: bounded, and without control characters, which would
/// otherwise travel into statements, CSV files and terminals.
pub fn validate_text(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    let found = text.chars().count();
    if found > max {
        return Err(NameError::TextTooLong { what, found, max });
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(NameError::TextControl { what, found: u32::from(c) }),
        None => Ok(()),
    }
}

/// The beginning of a text that is quoted in a message.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_codes() {
        for good in ["cash", "assets:cash:eur", "a1:b-2:c_3", "0"] {
            assert_eq!(validate_code(good), Ok(()), "{good}");
        }
        let long = "a".repeat(CODE_BYTES_MAX + 1);
        for bad in ["", ":", "a:", ":a", "a::b", "A", "a b", "ä", "-a", "a:_b", "a/b", "a\n", &long]
        {
            assert!(validate_code(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn currency_codes() {
        let check = |code: &str| CurrencyBody { code: code.into(), scale: 2 }.validate();
        for good in ["EUR", "USDT", "P01NTS", "ABCDEFGHIJKL"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "EU", "eur", "1EU", "EU R", "ÄÖÜ", "ABCDEFGHIJKLM"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn balances_follow_the_normal_side() {
        assert_eq!(Side::Debit.balance(7, 10), -3);
        assert_eq!(Side::Credit.balance(7, 10), 3);
        assert_eq!(Side::Credit.balance(i64::MAX, 0), -i128::from(i64::MAX));
    }
}
