//! A transfer as it is asked for (parsed, not yet judged); `answer` has it as it is booked, `follow`
//! the requests about earlier transfers, `expect` their conditions, `split` amounts that are shared by rule, `item`
//! requests in a batch.

mod answer;
mod expect;
mod follow;
mod item;
mod split;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::answer::{Transfer, TransferEntry, TransferKind, TransferState};
pub use self::expect::Expectation;
pub use self::follow::{PostBody, ReverseBody, VoidBody, parse_post, parse_reverse, parse_void};
pub use self::item::{BatchBody, BatchItem, ItemError};
pub use self::split::{Part, Remainder, Rounding, Split};
use crate::account::Side;
use crate::json::{self, JsonError};
use crate::metadata::{Metadata, MetadataError};
use crate::money::Amount;
use crate::naming::{NameError, validate_text};
pub use crate::when::{write_instant, write_instant_or_null};

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
pub struct IdempotencyKey(Arc<str>);

/// A parsed request with its key, ready for the writer.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    pub key: IdempotencyKey,
    /// SHA-256 over what the request means, so that a retry with reordered keys or other
    /// white space is still the same request.
    pub fingerprint: [u8; 32],
    pub action: Action,
}

/// What a request wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Move or hold amounts.
    Transfer(TransferBody),
    /// Post a pending transfer.
    Post { of: Uuid, body: PostBody },
    /// Void a pending transfer.
    Void { of: Uuid, body: VoidBody },
    /// Move back what a posted transfer moved.
    Reverse { of: Uuid, body: ReverseBody },
}

impl Action {
    /// The earlier transfer it is about.
    pub fn of(&self) -> Option<Uuid> {
        match self {
            Self::Transfer(_) => None,
            Self::Post { of, .. } | Self::Void { of, .. } | Self::Reverse { of, .. } => Some(*of),
        }
    }

    /// The entries written in the request itself.
    pub fn entries(&self) -> &[EntryBody] {
        match self {
            Self::Transfer(body) => &body.entries,
            Self::Post { body, .. } => body.entries.as_deref().unwrap_or_default(),
            Self::Void { .. } | Self::Reverse { .. } => &[],
        }
    }

    /// Amounts of the request that are shared out.
    pub fn splits(&self) -> &[Split] {
        match self {
            Self::Transfer(body) => &body.split,
            Self::Post { .. } | Self::Void { .. } | Self::Reverse { .. } => &[],
        }
    }

    /// How many entries the request itself comes to at most.
    pub fn entry_count(&self) -> usize {
        self.entries().len() + self.splits().iter().map(|split| split.parts.len()).sum::<usize>()
    }

    /// The conditions of the request.
    pub fn expectations(&self) -> &[Expectation] {
        match self {
            Self::Transfer(body) => &body.expect,
            Self::Post { .. } | Self::Void { .. } | Self::Reverse { .. } => &[],
        }
    }

    /// The codes of the accounts named in the request itself.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries().iter().map(|entry| entry.account.as_str());
        let parts = self.splits().iter().flat_map(|split| &split.parts);
        let entries = entries.chain(parts.map(|part| part.account.as_str()));
        entries.chain(self.expectations().iter().map(|expected| expected.account.as_str()))
    }
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
            Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Self(text.into())),
            _ => Err(KeyError::Characters),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, not copied.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

/// Reads a posted body. Accounts, currencies and balance are judged later, by `posting::post`.
pub fn parse(
    key: IdempotencyKey,
    body: &[u8],
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    request(key, json::read(body)?, entries_max)
}

/// Checks a body that has been read.
fn request(
    key: IdempotencyKey,
    transfer: TransferBody,
    entries_max: usize,
) -> Result<TransferRequest, TransferError> {
    validate_text("description", &transfer.description, DESCRIPTION_CHARS_MAX)?;
    let shared: usize = transfer.split.iter().map(|split| split.parts.len()).sum();
    check_count(transfer.entries.len() + shared, entries_max)?;
    split::check(&transfer.split)?;
    transfer.metadata.validate()?;
    expect::check(&transfer.expect, entries_max)?;
    if transfer.expires_at.is_some() && !transfer.pending {
        return Err(TransferError::ExpiresWithoutPending);
    }
    let fingerprint = fingerprint(&transfer);
    Ok(TransferRequest { key, fingerprint, action: Action::Transfer(transfer) })
}

fn check_entries(entries: &[EntryBody], max: usize) -> Result<(), TransferError> {
    check_count(entries.len(), max)
}

fn check_count(entries: usize, max: usize) -> Result<(), TransferError> {
    match entries {
        found @ (0 | 1) => Err(TransferError::TooFewEntries(found)),
        found if found > max => Err(TransferError::TooManyEntries { found, max }),
        _ => Ok(()),
    }
}

/// Fields that later versions add must add nothing here when they are absent: old keys have to
/// keep matching.
fn fingerprint(transfer: &TransferBody) -> [u8; 32] {
    let mut print = Fingerprint::new("transfer-1");
    print.field(&transfer.description);
    print.field(&transfer.effective_date.map(|date| date.to_string()).unwrap_or_default());
    print.entries(&transfer.entries);
    if transfer.pending {
        print.field("pending");
        print.field(&transfer.expires_at.map(|at| at.to_string()).unwrap_or_default());
    }
    if !transfer.expect.is_empty() {
        print.field("expect");
        transfer.expect.iter().for_each(|expected| expected.print(&mut print));
    }
    // No account has such a code, so that nothing that can be booked reads alike.
    if !transfer.split.is_empty() {
        print.field("=split");
        print.field(&transfer.split.len().to_string());
        transfer.split.iter().for_each(|split| split.print(&mut print));
    }
    if !transfer.metadata.is_empty() {
        print.metadata(&transfer.metadata);
    }
    print.done()
}

/// SHA-256 over fields, each with its length before it, so that no two requests read alike.
struct Fingerprint(Vec<u8>);

impl Fingerprint {
    fn new(what: &str) -> Self {
        // Hashed in one go: feeding the hash field by field costs as much as hashing.
        let mut print = Self(Vec::with_capacity(512));
        print.field(what);
        print
    }

    fn field(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn entries(&mut self, entries: &[EntryBody]) {
        for entry in entries {
            self.field(&entry.account);
            self.field(entry.direction.as_str());
            self.field(&entry.amount.canonical());
        }
    }

    fn metadata(&mut self, metadata: &Metadata) {
        self.field("=metadata");
        self.field(&metadata.0.len().to_string());
        for (name, value) in &metadata.0 {
            self.field(name);
            self.field(value);
        }
    }

    fn done(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
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
            ("\"entries\"", "\"metadata\":{\"order\":\"1\"},\"entries\""),
            ("\"entries\"", "\"metadata\":{\"order\":\"2\"},\"entries\""),
        ] {
            let other = GOOD.replacen(from, to, 1);
            assert_ne!(one, parsed(&other).unwrap().fingerprint, "{other}");
        }
    }

    #[test]
    fn metadata_and_splits_are_checked() {
        let with = |fields: &str| {
            let body = GOOD.replacen("\"entries\"", &format!("{fields},\"entries\""), 1);
            parsed(&body).map(|request| request.fingerprint).map_err(|error| error.to_string())
        };
        let none = with("\"metadata\":{},\"split\":[]").unwrap();
        assert_eq!(none, parsed(GOOD).unwrap().fingerprint, "old keys keep matching");
        let part = r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a"}]}]"#;
        assert_ne!(with(part).unwrap(), none);
        assert_eq!(with(part), with(&part.replace("\"a\"", "\"a\",\"weight\":1")));
        for (fields, why) in [
            (r#""metadata":{"A":"x"}"#, "not valid"),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[]}]"#,
                "split[0]: it has no parts",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","weight":0}]}]"#,
                "a weight goes",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","weight":1,"fixed":"1"}]}]"#,
                "not both",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","min":"1"}]}]"#,
                "min and max",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a","percent":"0.0000001"}]}]"#,
                "six decimals",
            ),
            (
                r#""split":[{"amount":"1","direction":"debit","parts":[{"account":"a"},{"account":"b"}]}]"#,
                "at most 3 entries",
            ),
        ] {
            let said = with(fields).unwrap_err();
            assert!(said.contains(why), "{fields}: {said}");
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
        let Action::Transfer(transfer) = parsed(&body).unwrap().action else { panic!() };
        assert_eq!(transfer.effective_date, Some(jiff::civil::date(2024, 2, 29)));
    }

    #[test]
    fn an_expiry_is_an_instant_of_a_pending_transfer() {
        let with = |fields: &str| {
            parsed(&GOOD.replacen("\"entries\"", &format!("{fields},\"entries\""), 1))
        };
        let plain = with("\"pending\":false").unwrap();
        assert_eq!(plain.fingerprint, parsed(GOOD).unwrap().fingerprint, "old keys keep matching");
        let held = with("\"pending\":true").unwrap();
        let until =
            with("\"pending\":true,\"expires_at\":\"2026-01-01T00:00:00.000001Z\"").unwrap();
        let same = with("\"pending\":true,\"expires_at\":\"2026-01-01T01:00:00.000001+01:00\"");
        assert_ne!(held.fingerprint, plain.fingerprint);
        assert_ne!(held.fingerprint, until.fingerprint);
        assert_eq!(until.fingerprint, same.unwrap().fingerprint);
        let lone = with("\"expires_at\":\"2026-01-01T00:00:00Z\"").unwrap_err();
        assert_eq!(lone, TransferError::ExpiresWithoutPending);
        for bad in ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.0000001Z", "soon"] {
            let error = with(&format!("\"pending\":true,\"expires_at\":\"{bad}\"")).unwrap_err();
            assert!(error.to_string().contains("RFC 3339"), "{error}");
        }
    }
}
