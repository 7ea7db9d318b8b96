//! Books as text that other programs read and write: CSV, beancount, ledger-cli. A `Document` is what such a text
//! says; `beancount`, `journal` and `rows` read and write one, `check` holds it against a chart and makes requests of it.
//! Whatever a text says that a ledger cannot keep is a fault at its line: nothing is lost on the way. All of it is pure.

pub mod beancount;
pub mod check;
#[cfg(test)]
mod documents_tests;
pub mod journal;
pub mod lines;
pub mod rows;

use std::collections::BTreeSet;
use std::fmt;

use clap::ValueEnum;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::{AccountBody, CurrencyBody, Side};
use crate::metadata::Metadata;
use crate::money::Amount;

/// Faults told at once.
pub const FAULTS_MAX: usize = 100;
/// Names that exports give their own particulars begin so.
pub const OWN: &str = "forebay-";

/// What other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// An entry a line (RFC 4180), a heading line first
    Csv,
    /// The chart: an account a line, a heading line first
    CsvAccounts,
    /// beancount, version 2 and 3
    Beancount,
    /// The journal format of ledger-cli and hledger
    Ledger,
}

/// What a text says, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub currencies: Vec<Placed<CurrencyBody>>,
    pub accounts: Vec<Placed<AccountBody>>,
    pub bookings: Vec<Placed<Booking>>,
}

/// Something and the line it is on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    pub line: usize,
    pub it: T,
}

/// A transfer as a text has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// The idempotency key, if the text has one.
    pub key: Option<String>,
    pub date: Date,
    pub description: String,
    pub metadata: Metadata,
    pub legs: Vec<Leg>,
}

/// An entry as a text has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Where it is; the booking's own line where a format has no other.
    pub line: usize,
    /// The account's code.
    pub account: String,
    pub direction: Side,
    pub amount: Amount,
    pub currency: String,
}

/// Something that cannot be read, or cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    pub message: String,
}

/// All that is wrong with a text, by line; the first hundred.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", told(.0))]
pub struct Faults(pub Vec<Fault>);

/// Something that a format has no way to say.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Unwritable(pub String);

/// How keys begin that are made of a transfer's id.
const FOLLOWED: &str = "transfer:";
const TOO_FEW: &str = "a transfer needs at least two entries";

/// Directives that somebody wants left out, by their words, such as `price`.
pub type LeftOut = BTreeSet<String>;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

fn told(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Faults as they are found.
#[derive(Debug, Default)]
pub struct Found(Vec<Fault>);

impl Found {
    pub fn at(&mut self, line: usize, message: impl Into<String>) {
        self.0.push(Fault { line, message: message.into() });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, or a fault and nothing.
    pub fn or_note<T>(&mut self, line: usize, read: Result<T, impl ToString>) -> Option<T> {
        read.map_err(|error| self.at(line, error.to_string())).ok()
    }

    pub fn end<T>(mut self, read: T) -> Result<T, Faults> {
        if self.0.is_empty() {
            return Ok(read);
        }
        self.0.sort();
        self.0.truncate(FAULTS_MAX);
        Err(Faults(self.0))
    }
}

/// Reads a text.
pub fn read(format: Format, text: &str, left_out: &LeftOut) -> Result<Document, Faults> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Csv => rows::read_entries(text),
        Format::CsvAccounts => rows::read_accounts(text),
        Format::Beancount => beancount::read(text, left_out),
        Format::Ledger => journal::read(text, left_out),
    }
}

/// What an export writes as the key of a transfer that followed another one: its own was that of another request.
pub fn key_of(id: Uuid) -> String {
    format!("{FOLLOWED}{id}")
}

/// The transfer that such a key names.
pub fn named(key: &str) -> Option<Uuid> {
    let id = key.strip_prefix(FOLLOWED)?;
    id.parse().ok().filter(|parsed: &Uuid| parsed.to_string() == id)
}

/// A signed decimal, `-1,234.50`, as side and amount. Positive is a debit, as everywhere in plain-text accounting.
fn signed_amount(text: &str) -> Result<(Side, Amount), String> {
    let (direction, digits) = match text.strip_prefix('-') {
        Some(digits) => (Side::Credit, digits),
        None => (Side::Debit, text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = without_separators(digits).ok_or_else(|| {
        format!("{text:?} is no amount; write digits, a point before decimals, a comma at most before each three digits")
    })?;
    plain
        .parse()
        .map(|amount| (direction, amount))
        .map_err(|error: crate::money::AmountError| error.to_string())
}

/// Digits without the commas before each three of them; nothing when there are others.
fn without_separators(digits: &str) -> Option<String> {
    let whole = digits.split('.').next().unwrap_or_default();
    if !whole.contains(',') {
        return Some(digits.to_owned());
    }
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    grouped.then(|| digits.replace(',', ""))
}

/// The side on which an account grows whose name begins so.
fn usual_side(name: &str) -> Option<Side> {
    match name.split(':').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "assets" | "expenses" => Some(Side::Debit),
        "liabilities" | "equity" | "income" | "revenue" | "revenues" => Some(Side::Credit),
        _ => None,
    }
}

/// One leg may go without an amount: it takes what the others leave, if that is one amount.
fn complete(legs: Vec<Open>, found: &mut Found) -> Vec<Leg> {
    let mut sums: std::collections::BTreeMap<String, rust_decimal::Decimal> = Default::default();
    for leg in &legs {
        let Some((direction, amount, currency)) = &leg.amount else { continue };
        let signed = match direction {
            Side::Debit => amount.decimal(),
            Side::Credit => -amount.decimal(),
        };
        let sum = sums.entry(currency.clone()).or_default();
        match sum.checked_add(signed) {
            Some(added) => *sum = added,
            None => found.at(leg.line, "the amounts are too large to be added up"),
        }
    }
    let mut rest = sums.into_iter().filter(|(_, sum)| !sum.is_zero());
    let (rest, more) = (rest.next(), rest.next().is_some());
    let open = legs.iter().filter(|leg| leg.amount.is_none()).count();
    let mut complete = Vec::with_capacity(legs.len());
    for Open { line: at, account, amount } in legs {
        let taken = match (amount, &rest) {
            (Some(amount), _) => amount,
            (None, Some((currency, sum))) if open == 1 && !more => {
                let direction = if sum.is_sign_negative() { Side::Debit } else { Side::Credit };
                match sum.abs().to_string().parse() {
                    Ok(amount) => (direction, amount, currency.clone()),
                    Err(error) => {
                        found.at(at, format!("what is left is no amount: {error}"));
                        continue;
                    }
                }
            }
            _ => {
                found.at(at, "an amount is missing, and the other lines do not leave exactly one");
                continue;
            }
        };
        let (direction, amount, currency) = taken;
        complete.push(Leg { line: at, account, direction, amount, currency });
    }
    complete
}

/// A leg whose amount may be missing.
struct Open {
    line: usize,
    account: String,
    amount: Option<(Side, Amount, String)>,
}
