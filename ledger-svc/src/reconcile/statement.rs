//! Statements of somebody else: as they are read, stored and listed.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::link::Hash;
use crate::when::{write_instant, write_instant_or_null};

/// Lines of one statement at most.
pub const LINES_MAX: usize = 10_000;

/// Longest name of a statement, reference and text of a line, in characters.
pub const NAME_CHARS_MAX: usize = 200;

pub const REFERENCE_CHARS_MAX: usize = 140;
pub const TEXT_CHARS_MAX: usize = 500;

/// Longest identity of a line in characters. What is longer is none: cut, it would be another's.
pub const IDENTITY_CHARS_MAX: usize = 140;

/// How a statement is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
pub enum StatementFormat {
    /// ISO 20022 camt.053, as banks send it
    #[serde(rename = "camt.053")]
    #[value(name = "camt.053")]
    Camt053,
    /// A table with a heading line, read by a mapping
    #[serde(rename = "csv")]
    #[value(name = "csv")]
    Csv,
}

impl StatementFormat {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Camt053 => "camt.053",
            Self::Csv => "csv",
        }
    }
}

/// A statement as it was read. Amounts are signed: what raises the account's balance by its normal side is positive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadStatement {
    /// The sender's own name of it, if it has one.
    pub name: Option<String>,
    pub opening_minor: Option<i64>,
    pub closing_minor: Option<i64>,
    /// The day at whose end the balance was the closing one, if it says so.
    pub closing_date: Option<Date>,
    pub lines: Vec<ReadLine>,
}

impl ReadStatement {
    /// The first and the last day it speaks of.
    pub fn days(&self) -> (Date, Date) {
        let dates = || self.lines.iter().map(|line| line.date);
        let first = dates().min().or(self.closing_date);
        (first.unwrap_or_default(), dates().max().max(self.closing_date).unwrap_or_default())
    }
}

/// A line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLine {
    pub date: Date,
    pub minor: i64,
    /// What both sides may call it by; empty when there is nothing.
    pub reference: String,
    pub text: String,
    /// What the sender tells it from all others by, after a word for what it is; empty when there is nothing.
    pub identity: String,
}

/// A statement to be stored.
#[derive(Clone, Debug)]
pub struct NewStatement {
    pub account_id: i64,
    pub name: String,
    pub format: StatementFormat,
    /// SHA-256 of the text. The same is not stored twice for an account, nor is another that says the same.
    pub hash: Hash,
    pub read: ReadStatement,
}

/// A statement as stored, with its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementRow {
    pub id: i64,
    pub account_id: i64,
    pub name: String,
    pub format: String,
    pub hash: Vec<u8>,
    pub opening_minor: Option<i64>,
    pub closing_minor: Option<i64>,
    pub first_date: String,
    pub last_date: String,
    /// Of all its lines, those that were there already too.
    pub line_count: i64,
    pub imported_at_us: i64,
    pub lines: Vec<LineRow>,
    /// By number.
    pub repeats: Vec<RepeatRow>,
}

/// A line of a statement that is a line of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatRow {
    pub number: i64,
    pub line_id: i64,
}

/// A statement that was withdrawn, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawalRow {
    pub statement_id: i64,
    pub reason: String,
    pub withdrawn_at_us: i64,
}

/// A line as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRow {
    pub id: i64,
    pub statement_id: i64,
    pub number: i64,
    pub date: String,
    pub amount_minor: i64,
    pub reference: String,
    pub text: String,
    pub identity: String,
}

/// Why a statement is not withdrawn.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WithdrawError {
    #[error("there is no statement {0}, or it is another account's")]
    NoStatement(i64),
    #[error("statement {0} was withdrawn before")]
    Before(i64),
    #[error("lines of statement {statement} are matched; take their matches back first: {}", named(.lines))]
    Matched { statement: i64, lines: Vec<i64> },
    #[error("lines of statement {statement} are in others too, which were imported later; withdraw them first: {}", named(.others))]
    Repeated { statement: i64, others: Vec<i64> },
}

/// Numbers named in one error at most.
const NAMED_MAX: usize = 100;

fn named(ids: &[i64]) -> String {
    let shown: Vec<String> = ids.iter().take(NAMED_MAX).map(i64::to_string).collect();
    match ids.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A statement of somebody else, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExternalStatement {
    pub id: i64,
    #[schema(example = "assets:bank:eur")]
    pub account: String,
    #[schema(example = "EUR")]
    pub currency: String,
    pub name: String,
    #[schema(example = "camt.053")]
    pub format: String,
    /// What it says the balance was before its first line; null when it does not say.
    #[schema(example = "100.00")]
    pub opening_balance: Option<String>,
    #[schema(example = "120.00")]
    pub closing_balance: Option<String>,
    #[schema(value_type = String, format = Date)]
    pub first_date: Date,
    /// Of its last line, or of the closing balance where that is later.
    #[schema(value_type = String, format = Date)]
    pub last_date: Date,
    /// How many it has, those of earlier statements too.
    pub lines: i64,
    /// How many of them are lines of earlier statements, known by their identity.
    pub repeated: i64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub imported_at: Timestamp,
    /// Null when it was not.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub withdrawn_at: Option<Timestamp>,
}

/// A line of a statement that is a line of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RepeatedLine {
    /// Counts the statement's lines from 1.
    pub number: i64,
    /// The line it is, and the statement that has it.
    pub line: i64,
    pub statement: i64,
}

/// A line of a statement of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExternalLine {
    pub id: i64,
    pub statement: i64,
    /// Counts the statement's lines from 1.
    pub number: i64,
    #[schema(value_type = String, format = Date)]
    pub date: Date,
    /// Positive when it raises the account's balance.
    #[schema(example = "-12.34")]
    pub amount: String,
    pub reference: String,
    pub text: String,
    /// What the sender tells it from all others by, after a word for what it is; empty when there is nothing.
    #[schema(example = "AcctSvcrRef 2026010200017")]
    pub identity: String,
    /// The same in minor units, for the rules.
    #[serde(skip)]
    #[schema(ignore)]
    pub minor: i64,
}

/// A text cut to what is kept, without what is no character of a line.
pub fn cut(text: &str, max: usize) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").chars().take(max).collect::<String>().trim_end().to_owned()
}
