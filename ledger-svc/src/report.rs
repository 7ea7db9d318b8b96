//! What reads answer with: accounts, balances, entries, listings and the trial balance. Amounts
//! are decimals as strings with exactly as many decimals as their currency's scale.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::Side;
use crate::as_of::AsOf;
use crate::metadata::Metadata;
use crate::money::format_minor;
use crate::posting::Standing;
use crate::transfer::{TransferKind, TransferState};
use crate::when::{write_instant, write_instant_or_null};

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

impl AccountBalance {
    pub fn of(account: String, standing: &Standing) -> Self {
        let Standing { currency, normal, balance, limits, .. } = standing;
        let text = |minor: i128| format_minor(minor, currency.scale);
        Self {
            account,
            normal_balance: *normal,
            debits: text(balance.debits_minor.into()),
            credits: text(balance.credits_minor.into()),
            balance: text(normal.balance(balance.debits_minor, balance.credits_minor)),
            pending_debits: text(balance.pending_debits_minor.into()),
            pending_credits: text(balance.pending_credits_minor.into()),
            available: text(balance.available(*normal)),
            balance_min: limits.min_minor.map(|minor| text(minor.into())),
            balance_max: limits.max_minor.map(|minor| text(minor.into())),
            entries: balance.entries,
            currency: currency.code.clone(),
        }
    }
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
    /// The account's balance with this entry and those before it, by its normal side.
    #[schema(example = "100.00")]
    pub balance: String,
    /// Its transfer's; left out when that has none.
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    #[schema(required = false)]
    pub metadata: Metadata,
}

/// Which of an entry's two dates a statement goes by.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum StatementBy {
    /// When it was booked.
    #[default]
    Booking,
    /// The day it counts for.
    Effective,
}

/// What an account did over a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Statement {
    #[schema(example = "assets:cash:eur")]
    pub account: String,
    #[schema(example = "EUR")]
    pub currency: String,
    pub normal_balance: Side,
    pub by: StatementBy,
    /// As asked for, a time of booking or an effective date; null when it begins with the first entry.
    #[schema(example = "2026-01-01T00:00:00.000000Z")]
    pub from: Option<String>,
    /// As asked for; null when it ends with the last entry.
    #[schema(example = "2026-02-01T00:00:00.000000Z")]
    pub to: Option<String>,
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
    /// One page of the period's entries, in booking order or in that of their effective dates.
    pub entries: Vec<AccountEntry>,
    /// Null when `entries` ends with the last one of the period.
    pub next_cursor: Option<String>,
}

/// An account's totals as of some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountTotals {
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
    /// How many entries make up `debits` and `credits`.
    pub entries: i64,
}

/// An account's balance as of some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BalanceAsOf {
    /// As asked for; null when it is as of an effective date.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub booked_before: Option<Timestamp>,
    /// As asked for; null when it is as of a time of booking.
    #[schema(value_type = Option<String>, format = Date)]
    pub effective_through: Option<Date>,
    #[serde(flatten)]
    pub totals: AccountTotals,
}

/// All accounts against each other as of some time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AsOfTrialBalance {
    /// As asked for; null when it is as of an effective date.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null")]
    pub booked_before: Option<Timestamp>,
    /// As asked for; null when it is as of a time of booking.
    #[schema(value_type = Option<String>, format = Date)]
    pub effective_through: Option<Date>,
    /// Every currency with an account, over all its accounts.
    pub currencies: Vec<CurrencyTotals>,
    /// One page of accounts by code.
    pub accounts: Vec<AccountTotals>,
    /// Null when `accounts` ends with the last account.
    pub next_cursor: Option<String>,
}

/// An entry among those of all accounts, in booking order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct JournalEntry {
    /// Counts all entries from 1 without gaps.
    pub id: i64,
    #[schema(example = "assets:cash:eur")]
    pub account: String,
    #[schema(example = "EUR")]
    pub currency: String,
    #[serde(flatten)]
    pub entry: AccountEntry,
}

/// A closed period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Close {
    /// Counts closes from 1.
    pub id: i64,
    /// Its last day; nothing counts for it, or for a day before, any more.
    #[schema(value_type = String, format = Date)]
    pub through: Date,
    pub description: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub closed_at: Timestamp,
}

/// What a close carries forward of one account: its totals of everything up to the close.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CloseBalance {
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
    /// Left out when it has none.
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    #[schema(required = false)]
    pub metadata: Metadata,
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

impl CurrencyTotals {
    /// Of both sides in minor units.
    pub fn of(currency: String, scale: u8, debits: i128, credits: i128) -> Self {
        Self {
            currency,
            debits: format_minor(debits, scale),
            credits: format_minor(credits, scale),
            difference: format_minor(debits - credits, scale),
        }
    }
}

impl BalanceAsOf {
    pub fn new(at: AsOf, totals: AccountTotals) -> Self {
        let (booked_before, effective_through) = at.parts();
        Self { booked_before, effective_through, totals }
    }
}

impl AsOfTrialBalance {
    pub fn new(
        at: AsOf,
        currencies: Vec<CurrencyTotals>,
        accounts: Vec<AccountTotals>,
        next_cursor: Option<String>,
    ) -> Self {
        let (booked_before, effective_through) = at.parts();
        Self { booked_before, effective_through, currencies, accounts, next_cursor }
    }
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
