//! Closing a period: from then on nothing is booked that counts for a day of it, and every account's totals up to its
//! end are kept, which the next period begins with.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use utoipa::ToSchema;

use crate::as_of::Totals;
use crate::report::Close;

/// What a client posts to `/v1/closes`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseBody {
    /// The last day of the period, `YYYY-MM-DD`; it must be over (UTC).
    #[serde(deserialize_with = "read_date")]
    #[schema(value_type = String, format = Date, example = "2026-10-31")]
    pub through: Date,
    /// One line for people; up to 500 characters, and may be left out.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub description: String,
}

/// A close to be booked, with what was read for it beforehand.
#[derive(Clone, Debug)]
pub struct NewClose {
    pub body: CloseBody,
    /// Totals of the accounts through that day, by account id.
    pub totals: HashMap<i64, Totals>,
    /// The last entry of all that they know of.
    pub last_entry: i64,
}

/// A close as stored, with what it carries forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRow {
    pub id: i64,
    pub through: String,
    pub description: String,
    pub closed_at_us: i64,
    /// Account, debits, credits, by account.
    pub balances: Vec<(i64, i64, i64)>,
}

/// Whether a day is over (UTC).
pub fn is_over(day: Date, now: Timestamp) -> bool {
    day < now.to_zoned(TimeZone::UTC).date()
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    Closed(Close),
    /// It was closed through that very day before.
    Existing(Close),
    /// A later day is closed already.
    Behind(Close),
    /// The day is not over.
    NotOver,
}

fn read_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.parse::<Date>() {
        Ok(date) if date.to_string() == text && date.year() >= 0 => Ok(date),
        _ => Err(de::Error::custom(format!(
            "through {:?} is not a calendar date; write YYYY-MM-DD",
            text.chars().take(40).collect::<String>()
        ))),
    }
}
