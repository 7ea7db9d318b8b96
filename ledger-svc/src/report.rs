//! What reads answer with: accounts, balances, entries, listings and the trial balance. Amounts
//! are decimals as strings with exactly as many decimals as their currency's scale.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::Side;
use crate::transfer::{TransferKind, TransferState, write_instant, write_instant_or_null};

/// An account of the chart, as created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Account {
    /// The database's number of it.
    #[serde(skip)]
    #[schema(ignore)]
    pub id: i64,
    #[schema(example = "assets:cash:eur")]
    pub code: String,
    #[schema(example = "Cash in euro")]
    pub name: String,
    #[schema(example = "EUR")]
    pub currency: String,
    pub normal_balance: Side,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub created_at: Timestamp,
}

/// An account's totals. `balance` is debits minus credits for a debit account and the other way
/// round for a credit account, so that it is normally positive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountBalance {
    #[schema(example = "assets:cash:eur")]
    pub account: String,
    #[schema(example = "EUR")]
    pub currency: String,
    pub normal_balance: Side,
    #[schema(example = "120.00")]
    pub debits: String,
    #[schema(example = "20.00")]
    pub credits: String,
    #[schema(example = "100.00")]
    pub balance: String,
    /// Held by pending transfers on the debit side.
    #[schema(example = "0.00")]
    pub pending_debits: String,
    /// Held by pending transfers on the credit side.
    #[schema(example = "15.00")]
    pub pending_credits: String,
    /// The lowest the balance can become once everything pending is decided: what may be spent, down
    /// to `balance_min`.
    #[schema(example = "85.00")]
    pub available: String,
    /// The limits in force; null where there is none.
    #[schema(example = "0.00")]
    pub balance_min: Option<String>,
    pub balance_max: Option<String>,
    /// How many entries make up `debits` and `credits`.
    pub entries: i64,
}

/// One entry of one account, in booking order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountEntry {
    /// Counts the account's entries from 1 without gaps.
    pub number: i64,
    #[schema(value_type = String, format = Uuid)]
    pub transfer: Uuid,
    pub description: String,
    #[schema(value_type = String, format = Date)]
    pub effective_date: Date,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub booked_at: Timestamp,
    pub direction: Side,
    #[schema(example = "12.34")]
    pub amount: String,
    /// The account's balance with this entry, by its normal side.
    #[schema(example = "100.00")]
    pub balance: String,
}

/// What an account did over a time of booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Statement {
    #[schema(example = "assets:cash:eur")]
    pub account: String,
    #[schema(example = "EUR")]
    pub currency: String,
    pub normal_balance: Side,
    /// As asked for; null when it begins with the first entry.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub from: Option<Timestamp>,
    /// As asked for; null when it ends with the last entry.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub to: Option<Timestamp>,
    /// The balance before the first entry of the period, by the account's normal side.
    #[schema(example = "100.00")]
    pub opening_balance: String,
    /// Sums of the whole period, whatever page of entries is asked for.
    #[schema(example = "40.00")]
    pub debits: String,
    #[schema(example = "15.00")]
    pub credits: String,
    #[schema(example = "125.00")]
    pub closing_balance: String,
    /// One page of the period's entries, in booking order.
    pub entries: Vec<AccountEntry>,
    /// Null when `entries` ends with the last one of the period.
    pub next_cursor: Option<String>,
}

/// A transfer in a listing; `GET /v1/transfers/{id}` has its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransferSummary {
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    pub kind: TransferKind,
    pub state: TransferState,
    pub description: String,
    #[schema(value_type = String, format = Date)]
    pub effective_date: Date,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub booked_at: Timestamp,
    /// How many entries it has.
    pub entries: i64,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null when this is the last one.
    pub next_cursor: Option<String>,
}

/// All accounts against each other, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrialBalance {
    /// Every currency with an account, over all its accounts.
    pub currencies: Vec<CurrencyTotals>,
    /// One page of accounts by code.
    pub accounts: Vec<AccountBalance>,
    /// Null when `accounts` ends with the last account.
    pub next_cursor: Option<String>,
}

/// The totals of one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CurrencyTotals {
    #[schema(example = "EUR")]
    pub currency: String,
    #[schema(example = "1000.00")]
    pub debits: String,
    #[schema(example = "1000.00")]
    pub credits: String,
    /// Debits minus credits; anything but zero is a broken ledger.
    #[schema(example = "0.00")]
    pub difference: String,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` items out of rows read with one to spare.
    pub fn cut(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = if more { rows.last().map(cursor) } else { None };
        Self { items: rows, next_cursor }
    }

    pub fn map<U>(self, of: impl Fn(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(of).collect(), next_cursor: self.next_cursor }
    }
}
