//! What a text says of books, in its order.

use std::collections::BTreeSet;

use jiff::civil::Date;

use crate::account::{AccountBody, CurrencyBody, Side};
use crate::metadata::Metadata;
use crate::money::Amount;

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

/// Directives that somebody wants left out, by their words, such as `price`.
pub type LeftOut = BTreeSet<String>;
