//! Books as text that other programs read and write: CSV, beancount, ledger-cli. A `Document` is what such a text
//! says; `beancount`, `journal` and `rows` read and write one, `check` holds it against a chart and makes requests of it.
//! Whatever a text says that a ledger cannot keep is a fault at its line: nothing is lost on the way. All of it is pure.

pub mod beancount;
pub mod check;
pub mod document;
#[cfg(test)]
mod documents_tests;
pub mod fault;
pub mod journal;
mod legs;
pub mod lines;
pub mod own;
pub mod rows;

use clap::ValueEnum;
use serde::Deserialize;
use utoipa::ToSchema;

pub use self::document::{Booking, Document, LeftOut, Leg, Placed};
pub use self::fault::{FAULTS_MAX, Fault, Faults, Found};
pub use self::own::{OWN, Unwritable, key_of, named};

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
