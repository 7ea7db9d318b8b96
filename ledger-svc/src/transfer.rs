//! A transfer as it is asked for (parsed, not yet judged) and as it is answered once posted.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::{NameError, Side, validate_text};
use crate::json::{self, JsonError};
use crate::money::Amount;

/// Longest idempotency key in bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// Longest description in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// Most entries in one transfer, unless `--entries-max` says otherwise.
pub const ENTRIES_MAX_DEFAULT: usize = 1000;

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
    /// Two or more. In every currency, debits and credits sum to the same.
    #[serde(deserialize_with = "json::objects")]
    #[schema(min_items = 2, max_items = 1000)]
    pub entries: Vec<EntryBody>,
}

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

/// The client's name for one transfer: retrying under the same key never posts twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// A parsed transfer with its key, ready for the writer.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    pub key: IdempotencyKey,
    /// SHA-256 over what the body means, so that a retry with reordered keys or other
    /// white space is still the same request.
    pub fingerprint: [u8; 32],
    pub transfer: TransferBody,
}

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
}

/// Why a header value is no idempotency key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    #[error(
        "the Idempotency-Key header is missing; send a unique value per transfer, such as a UUID, and the same value when retrying"
    )]
    Missing,
    #[error("there are several Idempotency-Key headers; send exactly one")]
    Several,
    #[error("the Idempotency-Key is {0} bytes long; use 1 to {KEY_BYTES_MAX}")]
    Length(usize),
    #[error(
        "the Idempotency-Key contains something other than visible ASCII characters; use a UUID or similar"
    )]
    Characters,
}

impl IdempotencyKey {
    /// Takes 1 to 255 visible ASCII characters, verbatim.
    pub fn parse(value: &[u8]) -> Result<Self, KeyError> {
        if value.is_empty() || value.len() > KEY_BYTES_MAX {
            return Err(KeyError::Length(value.len()));
        }
        match std::str::from_utf8(value) {
            Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Self(text.to_owned())),
            _ => Err(KeyError::Characters),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a posted body. Accounts, currencies and balance are judged later, by `posting::post`.
pub fn parse(
    key: IdempotencyKey,
    body: &[u8],
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    let transfer: TransferBody = json::read(body)?;
    validate_text("description", &transfer.description, DESCRIPTION_CHARS_MAX)?;
    match transfer.entries.len() {
        found @ (0 | 1) => return Err(TransferError::TooFewEntries(found)),
        found if found > entries_max => {
            return Err(TransferError::TooManyEntries { found, max: entries_max });
        }
        _ => {}
    }
    let fingerprint = fingerprint(&transfer);
    Ok(TransferRequest { key, fingerprint, transfer })
}

/// Every field with its length before it, so that no two transfers read alike. Fields that later
/// versions add must add nothing here when they are absent: old keys have to keep matching.
fn fingerprint(transfer: &TransferBody) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut field = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    field("transfer-1");
    field(&transfer.description);
    field(&transfer.effective_date.map(|date| date.to_string()).unwrap_or_default());
    for entry in &transfer.entries {
        field(&entry.account);
        field(entry.direction.as_str());
        field(&entry.amount.canonical());
    }
    hash.finalize().into()
}

/// Only `YYYY-MM-DD`: the date library would also take a time behind it and drop it.
fn read_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    match text.parse::<Date>() {
        Ok(date) if date.to_string() == text => Ok(Some(date)),
        _ => Err(de::Error::custom(format!(
            "effective_date {:?} is not a calendar date; write YYYY-MM-DD",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

/// A posted transfer, as answered and listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Transfer {
    /// UUID version 7: later transfers sort later.
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    pub description: String,
    /// The day it counts for.
    #[schema(value_type = String, format = Date)]
    pub effective_date: Date,
    /// When it was committed, UTC with microseconds. Never earlier than the transfer before it.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub booked_at: Timestamp,
    pub entries: Vec<TransferEntry>,
}

/// One entry of a posted transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransferEntry {
    pub account: String,
    pub direction: Side,
    /// With exactly as many decimals as the currency's scale.
    #[schema(example = "12.34")]
    pub amount: String,
    #[schema(example = "EUR")]
    pub currency: String,
}

/// RFC 3339 with all six decimals, so that equal instants are equal texts.
pub fn write_instant<S: serde::Serializer>(
    at: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{at:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: &str) -> Result<TransferRequest, TransferError> {
        parse(IdempotencyKey::parse(b"k").unwrap(), body.as_bytes(), 3)
    }

    const GOOD: &str = r#"{"description":"d","entries":[
        {"account":"a","direction":"debit","amount":"1.50"},
        {"account":"b","direction":"credit","amount":"1.5"}]}"#;

    #[test]
    fn keys() {
        assert!(IdempotencyKey::parse(&[b'k'; 255]).is_ok());
        assert_eq!(IdempotencyKey::parse(&[b'k'; 256]), Err(KeyError::Length(256)));
        assert_eq!(IdempotencyKey::parse(b""), Err(KeyError::Length(0)));
        for bad in [&b"a b"[..], b"\xff", b"a\tb", "schlüssel".as_bytes()] {
            assert_eq!(IdempotencyKey::parse(bad), Err(KeyError::Characters));
        }
    }

    #[test]
    fn a_fingerprint_is_of_the_meaning() {
        let same = r#"{"entries":[{"amount":"1.5","account":"a","direction":"debit"},{"direction":"credit","account":"b","amount":"1.500"}],"effective_date":null,"description":"d"}"#;
        let one = parsed(GOOD).unwrap().fingerprint;
        assert_eq!(one, parsed(same).unwrap().fingerprint);
        for (from, to) in [
            ("\"d\"", "\"D\""),
            ("1.50", "1.51"),
            ("\"a\"", "\"c\""),
            ("debit", "credit"),
            ("\"entries\"", "\"effective_date\":\"2026-01-01\",\"entries\""),
        ] {
            let other = GOOD.replacen(from, to, 1);
            assert_ne!(one, parsed(&other).unwrap().fingerprint, "{other}");
        }
    }

    #[test]
    fn limits_name_themselves() {
        let few = parsed(r#"{"description":"","entries":[]}"#).unwrap_err();
        assert_eq!(few, TransferError::TooFewEntries(0));
        let entry = r#"{"account":"a","direction":"debit","amount":"1"}"#;
        let many = format!(r#"{{"description":"","entries":[{}]}}"#, [entry; 4].join(","));
        assert_eq!(
            parsed(&many).unwrap_err().to_string(),
            "a transfer has at most 3 entries, this one has 4; split it"
        );
        let long = GOOD.replacen("\"d\"", &format!("{:?}", "x".repeat(501)), 1);
        assert!(parsed(&long).unwrap_err().to_string().contains("501 characters"));
        let control = GOOD.replacen("\"d\"", r#""a\u0000b""#, 1);
        assert!(parsed(&control).unwrap_err().to_string().contains("U+0000"));
    }

    #[test]
    fn dates_are_plain_calendar_dates() {
        for bad in ["2026-02-30", "20260101", "2026-1-1", "2026-01-01T10:00:00", "01.02.2026", ""] {
            let body = GOOD.replacen(
                "\"entries\"",
                &format!("\"effective_date\":\"{bad}\",\"entries\""),
                1,
            );
            let error = parsed(&body).expect_err(bad).to_string();
            assert!(error.contains("YYYY-MM-DD"), "{error}");
        }
        let body = GOOD.replacen("\"entries\"", "\"effective_date\":\"2024-02-29\",\"entries\"", 1);
        assert_eq!(
            parsed(&body).unwrap().transfer.effective_date,
            Some(jiff::civil::date(2024, 2, 29))
        );
    }
}
