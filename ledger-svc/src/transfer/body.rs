//! What clients send: a transfer, and what is to become of one that is there.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use utoipa::ToSchema;

use super::entry::EntryBody;
use super::expect::Expectation;
use super::split::Split;
use crate::json;
use crate::metadata::Metadata;

/// Longest description in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;

/// What a client posts to `/v1/transfers`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferBody {
    /// One line for people; up to 500 characters, and may be empty.
    #[schema(example = "Invoice 2026-0117", max_length = 500)]
    pub description: String,
    /// The day the transfer counts for, `YYYY-MM-DD`; the booking day (UTC) when left out.
    #[serde(default, deserialize_with = "read_date")]
    #[schema(value_type = Option<String>, format = Date, example = "2026-11-21")]
    pub effective_date: Option<Date>,
    /// Hold the amounts instead of moving them, until the transfer is posted, voided or expires.
    #[serde(default)]
    pub pending: bool,
    /// When a pending transfer is released by itself, RFC 3339 with an offset, to the microsecond;
    /// never when left out.
    #[serde(default, deserialize_with = "read_instant")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-28T12:00:00Z")]
    pub expires_at: Option<Timestamp>,
    /// Two or more, those of `split` counted. In every currency, debits and credits sum to the same.
    #[serde(deserialize_with = "json::objects")]
    #[schema(max_items = 1000)]
    pub entries: Vec<EntryBody>,
    /// Further entries whose amounts follow by rule: fees, taxes, instalments.
    #[serde(default, deserialize_with = "json::objects")]
    #[schema(max_items = 100)]
    pub split: Vec<Split>,
    /// Names and values to find it again by (`GET /v1/transfers?metadata=NAME:VALUE`), as those of accounts.
    #[serde(default)]
    pub metadata: Metadata,
    /// How accounts must stand, or nothing is booked; any account, each field given must hold.
    #[serde(default, deserialize_with = "json::objects")]
    #[schema(max_items = 1000)]
    pub expect: Vec<Expectation>,
}

/// What a client sends to post a pending transfer; an empty object posts it whole.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostBody {
    /// One line for people; the pending transfer's when left out.
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// The day the posting counts for, `YYYY-MM-DD`; the booking day (UTC) when left out.
    #[serde(default, deserialize_with = "read_date")]
    #[schema(value_type = Option<String>, format = Date, example = "2026-11-21")]
    pub effective_date: Option<Date>,
    /// What to post when it is not the whole: per account and direction no more than is held, and
    /// balanced in every currency. The rest is released.
    #[serde(default, deserialize_with = "json::objects_if_any")]
    #[schema(min_items = 2, max_items = 1000)]
    pub entries: Option<Vec<EntryBody>>,
    /// Names and values to find it again by; the pending transfer's when left out.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

/// What a client sends to void a pending transfer.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidBody {
    /// One line for people; the pending transfer's when left out.
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// Names and values to find it again by; the pending transfer's when left out.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

/// What a client sends to reverse a posted transfer.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReverseBody {
    /// One line for people; the reversed transfer's when left out.
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// The day the reversal counts for, `YYYY-MM-DD`; the booking day (UTC) when left out.
    #[serde(default, deserialize_with = "read_date")]
    #[schema(value_type = Option<String>, format = Date, example = "2026-11-21")]
    pub effective_date: Option<Date>,
    /// Names and values to find it again by; the reversed transfer's when left out.
    #[serde(default)]
    pub metadata: Option<Metadata>,
}

/// Only `YYYY-MM-DD`: the date library would also take a time behind it and drop it.
fn read_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match text.parse::<Date>() {
        Ok(date) if date.to_string() == text && date.year() >= 0 => Ok(Some(date)),
        _ => Err(de::Error::custom(format!(
            "effective_date {:?} is not a calendar date; write YYYY-MM-DD",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

/// An instant that fits the database exactly: nothing finer than a microsecond.
fn read_instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match text.parse::<Timestamp>() {
        Ok(at) if at.as_nanosecond() % 1000 == 0 => Ok(Some(at)),
        _ => Err(de::Error::custom(format!(
            "{:?} is not an instant; write RFC 3339 with an offset and at most six decimals, such as 2026-11-28T12:00:00Z",
            text.chars().take(40).collect::<String>()
        ))),
    }
}
