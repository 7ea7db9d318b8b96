//! Reconciliation: what somebody else says of an account (a bank, a card processor) held against its entries. `camt` and
//! `table` read statements, `matching` proposes which lines are which entries, and what neither side knows of the other is
//! an exception that a person explains, or books an adjustment for. Statements and matches are rows that never change, and
//! links of the chain; what is open follows from them.

pub mod camt;
pub mod matching;
pub mod overlap;
mod search;
mod side;
pub mod statement;
pub mod table;
mod xml;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::matching::{NotSearched, Proposal, Rule, Rules};
pub use self::overlap::ImportWarning;
pub use self::statement::{
    ExternalLine, ExternalStatement, IDENTITY_CHARS_MAX, LINES_MAX, LineRow, NAME_CHARS_MAX,
    NewStatement, REFERENCE_CHARS_MAX, ReadLine, ReadStatement, RepeatRow, RepeatedLine,
    StatementFormat, StatementRow, TEXT_CHARS_MAX, WithdrawError, WithdrawalRow,
};
use crate::account::Side;
use crate::posting::Rejection;
use crate::transfer::TransferRequest;
use crate::when::write_instant;

/// Lines and entries of one match.
pub const MATCH_MAX: usize = 1000;
/// Longest reason in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Lines and entries that are the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMatch {
    pub account_id: i64,
    pub rule: Rule,
    pub reason: String,
    pub lines: Vec<i64>,
    pub entries: Vec<i64>,
}

/// What a line without an entry is booked as, and matched with as soon as it is booked.
#[derive(Clone, Debug)]
pub struct NewAdjustment {
    pub account_id: i64,
    pub line: i64,
    pub reason: String,
    /// With one entry of the account, of what the line says.
    pub request: TransferRequest,
}

/// What became of an adjustment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjusted {
    Matched(MatchRow),
    /// Nothing was booked: somebody else has the line.
    Refused(MatchError),
    Rejected(Rejection),
    /// Nothing was booked: what was booked for the line before is something else, or was reversed.
    Otherwise,
}

/// A match as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchRow {
    pub id: i64,
    pub account_id: i64,
    pub rule: String,
    pub reason: String,
    pub matched_at_us: i64,
    /// In their order.
    pub lines: Vec<i64>,
    pub entries: Vec<i64>,
}

/// A match that was taken back, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmatchRow {
    pub match_id: i64,
    pub reason: String,
    pub unmatched_at_us: i64,
}

/// Why something is no match.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MatchError {
    #[error("a match has lines and entries, {MATCH_MAX} of each at most, each once")]
    Size,
    #[error(
        "line {0} is not open: it is matched already, or there is no such line of this account"
    )]
    Line(i64),
    #[error(
        "entry {0} cannot be matched: it is already, or there is no such entry on this account"
    )]
    Entry(i64),
    #[error("the lines come to {lines} and the entries to {entries}; they must be the same")]
    Sums { lines: String, entries: String },
    #[error("there is no match {0}")]
    NoMatch(i64),
    #[error("match {0} was taken back before")]
    TakenBack(i64),
}

/// An entry that is on no line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnmatchedEntry {
    pub id: i64,
    /// Counts the account's entries from 1.
    pub number: i64,
    #[schema(value_type = String, format = Uuid)]
    pub transfer: Uuid,
    #[schema(value_type = String, format = Date)]
    pub effective_date: Date,
    pub description: String,
    pub direction: Side,
    /// Positive when it raises the account's balance.
    #[schema(example = "-12.34")]
    pub amount: String,
    #[serde(skip)]
    #[schema(ignore)]
    pub minor: i64,
}

/// A match as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Match {
    pub id: i64,
    #[schema(inline)]
    pub rule: String,
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub matched_at: Timestamp,
    /// Ids of statements' lines.
    pub lines: Vec<i64>,
    /// Ids of entries.
    pub entries: Vec<i64>,
}

impl MatchRow {
    pub fn told(self) -> Match {
        Match {
            id: self.id,
            rule: self.rule,
            reason: self.reason,
            matched_at: Timestamp::from_microsecond(self.matched_at_us).unwrap_or_default(),
            lines: self.lines,
            entries: self.entries,
        }
    }
}

/// An amount by the account's normal side.
pub fn signed(normal: Side, direction: Side, minor: i64) -> i64 {
    if normal == direction { minor } else { -minor }
}
