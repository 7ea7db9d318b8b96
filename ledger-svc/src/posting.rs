//! The heart: one transfer and the accounts as they stand go in; entries and new balances, or a
//! rejection, come out. No clock, no input or output, no rounding, no wrapping.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;

use crate::account::Side;
use crate::money::{AmountError, Currency, format_minor};
use crate::transfer::TransferBody;

/// How many unknown accounts a rejection names.
const NAMED_MAX: usize = 10;

/// Totals of an account in minor units of its currency. They only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub debits_minor: i64,
    pub credits_minor: i64,
    /// How many entries the account has; the next entry gets the number after it.
    pub entries: i64,
}

/// An account as it stands before a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub account_id: i64,
    pub currency: Currency,
    pub balance: Balance,
}

/// The accounts a batch touches, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(pub HashMap<String, Standing>);

/// An entry that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedEntry {
    pub account_id: i64,
    pub account: String,
    pub currency: Currency,
    pub direction: Side,
    pub amount_minor: i64,
    /// The account's totals with this entry; gives running balances without summing.
    pub after: Balance,
}

/// What one accepted transfer writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// In the order of the transfer.
    pub entries: Vec<PostedEntry>,
    /// The new balance of every account touched, by code.
    pub balances: BTreeMap<String, Balance>,
}

/// A currency whose sides differ. All figures are decimals in that currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Imbalance {
    #[schema(example = "EUR")]
    pub currency: String,
    #[schema(example = "12.34")]
    pub debits: String,
    #[schema(example = "12.00")]
    pub credits: String,
    /// Debits minus credits.
    #[schema(example = "0.34")]
    pub difference: String,
}

/// Why a transfer is not posted. A rejected transfer changes nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("no such account: {}", named(.0))]
    UnknownAccounts(Vec<String>),
    #[error("entries[{entry}]: {error}")]
    Amount { entry: usize, error: AmountError },
    #[error("debits and credits differ: {}", differences(.0))]
    Unbalanced(Vec<Imbalance>),
    #[error(
        "entries[{entry}]: the {direction} total of account {account} would overflow; move its balance to a new account"
    )]
    Overflow { entry: usize, account: String, direction: Side },
}

/// Judges one transfer against the accounts as they stand.
pub fn post(transfer: &TransferBody, accounts: &Accounts) -> Result<Posting, Rejection> {
    let unknown: Vec<String> = transfer
        .entries
        .iter()
        .filter(|entry| !accounts.0.contains_key(&entry.account))
        .map(|entry| entry.account.clone())
        .collect();
    if !unknown.is_empty() {
        return Err(Rejection::UnknownAccounts(unknown));
    }

    let mut entries = Vec::with_capacity(transfer.entries.len());
    let mut balances: BTreeMap<String, Balance> = BTreeMap::new();
    let mut sums: BTreeMap<&str, (Sums, u8)> = BTreeMap::new();
    let mut overflow = None;
    for (index, entry) in transfer.entries.iter().enumerate() {
        let standing = &accounts.0[&entry.account];
        let currency = &standing.currency;
        let minor = entry
            .amount
            .to_minor(currency)
            .map_err(|error| Rejection::Amount { entry: index, error })?;
        sums.entry(&currency.code)
            .or_insert((Sums::default(), currency.scale))
            .0
            .add(entry.direction, minor);
        let balance = balances.entry(entry.account.clone()).or_insert(standing.balance);
        // An overflow is told only when nothing simpler is wrong, so it waits for the sums.
        let Some(after) = balance.with(entry.direction, minor) else {
            overflow.get_or_insert(Rejection::Overflow {
                entry: index,
                account: entry.account.clone(),
                direction: entry.direction,
            });
            continue;
        };
        *balance = after;
        entries.push(PostedEntry {
            account_id: standing.account_id,
            account: entry.account.clone(),
            currency: currency.clone(),
            direction: entry.direction,
            amount_minor: minor,
            after,
        });
    }

    let unbalanced: Vec<Imbalance> =
        sums.into_iter().filter_map(|(code, (sums, scale))| sums.imbalance(code, scale)).collect();
    if !unbalanced.is_empty() {
        return Err(Rejection::Unbalanced(unbalanced));
    }
    match overflow {
        Some(rejection) => Err(rejection),
        None => Ok(Posting { entries, balances }),
    }
}

impl Accounts {
    /// Takes over the balances of an accepted posting, for the next transfer of the batch.
    pub fn apply(&mut self, posting: &Posting) {
        for (code, balance) in &posting.balances {
            if let Some(standing) = self.0.get_mut(code) {
                standing.balance = *balance;
            }
        }
    }
}

impl Balance {
    /// The balance after one more entry, or nothing when a total would leave 64 bits.
    fn with(self, direction: Side, minor: i64) -> Option<Self> {
        let entries = self.entries.checked_add(1)?;
        Some(match direction {
            Side::Debit => {
                Self { debits_minor: self.debits_minor.checked_add(minor)?, entries, ..self }
            }
            Side::Credit => {
                Self { credits_minor: self.credits_minor.checked_add(minor)?, entries, ..self }
            }
        })
    }
}

/// Both sides of one currency. A transfer has far fewer than 2^63 entries, so 128 bits suffice.
#[derive(Default)]
struct Sums {
    debits: i128,
    credits: i128,
}

impl Sums {
    fn add(&mut self, direction: Side, minor: i64) {
        match direction {
            Side::Debit => self.debits += i128::from(minor),
            Side::Credit => self.credits += i128::from(minor),
        }
    }

    fn imbalance(&self, currency: &str, scale: u8) -> Option<Imbalance> {
        (self.debits != self.credits).then(|| Imbalance {
            currency: currency.to_owned(),
            debits: format_minor(self.debits, scale),
            credits: format_minor(self.credits, scale),
            difference: format_minor(self.debits - self.credits, scale),
        })
    }
}

fn named(accounts: &[String]) -> String {
    let mut text = accounts.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if accounts.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", accounts.len() - NAMED_MAX));
    }
    text
}

fn differences(imbalances: &[Imbalance]) -> String {
    let one = |i: &Imbalance| {
        format!(
            "{} debits {}, credits {}, difference {}",
            i.currency, i.debits, i.credits, i.difference
        )
    };
    imbalances.iter().map(one).collect::<Vec<_>>().join("; ")
}
