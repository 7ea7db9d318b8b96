//! A document against the chart it is to be booked on: what it opens, what it books, and everything that stands in the
//! way, before anything is booked.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use super::document::{Booking, Document};
use super::fault::{Faults, Found};
use crate::account::{AccountBody, CurrencyBody, Side};
use crate::hex::hex;
use crate::money::{Currency, format_minor};
use crate::transfer::{BatchItem, EntryBody, IdempotencyKey, TransferBody, TransferRequest};

/// What is there already.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// Scales by code.
    pub currencies: HashMap<String, u8>,
    /// By code.
    pub accounts: HashMap<String, AccountBody>,
}

/// What a document comes to.
#[derive(Debug, Default)]
pub struct Plan {
    /// Those that are not there yet.
    pub currencies: Vec<CurrencyBody>,
    /// Those that are not there yet, with their lines.
    pub accounts: Vec<(usize, AccountBody)>,
    /// Scales of all currencies, by code.
    pub scales: HashMap<String, u8>,
    /// In the document's order.
    pub planned: Vec<Planned>,
}

/// A transfer to book.
#[derive(Clone, Debug)]
pub struct Planned {
    pub line: usize,
    /// Whether its key follows from what it says, because the text gives it none.
    pub keyless: bool,
    pub request: TransferRequest,
    /// Account, side and minor units of each entry.
    pub moves: Vec<(String, Side, i64)>,
}

impl Plan {
    /// How many entries its requests have.
    pub fn entries(&self) -> usize {
        self.planned.iter().map(|planned| planned.moves.len()).sum()
    }
}

/// Holds a document against a chart. A currency that the document does not describe must be there.
pub fn check(document: Document, mut chart: Chart, entries_max: usize) -> Result<Plan, Faults> {
    let (mut found, mut plan) = (Found::default(), Plan::default());
    for currency in document.currencies {
        let CurrencyBody { code, scale } = &currency.it;
        match chart.currencies.insert(code.clone(), *scale) {
            None => plan.currencies.push(currency.it),
            Some(there) if there == *scale => {}
            Some(there) => {
                found.at(currency.line, format!("{code} has a scale of {there} here, not {scale}"));
                chart.currencies.insert(code.clone(), there);
            }
        }
    }
    for account in document.accounts {
        let (line, it) = (account.line, account.it);
        if !chart.currencies.contains_key(&it.currency) {
            found.at(line, unknown_currency(&it.currency));
        }
        match chart.accounts.get(&it.code) {
            None => {
                chart.accounts.insert(it.code.clone(), it.clone());
                plan.accounts.push((line, it));
            }
            Some(there) if *there == it => {}
            Some(there) => found.at(
                line,
                format!(
                    "{} exists as {:?} in {} with a normal balance of {} and {} names of metadata",
                    there.code,
                    there.name,
                    there.currency,
                    there.normal_balance,
                    there.metadata.0.len()
                ),
            ),
        }
    }
    let mut alike: HashMap<[u8; 32], u32> = HashMap::new();
    let mut keys: HashMap<IdempotencyKey, usize> = HashMap::new();
    for booking in document.bookings {
        let (line, it) = (booking.line, booking.it);
        let keyless = it.key.is_none();
        let moves = legs(line, &it, &chart, &mut found);
        let request = request(it, entries_max, &mut alike);
        if let Some(request) = found.or_note(line, request) {
            let first = *keys.entry(request.key.clone()).or_insert(line);
            if first != line {
                found.at(line, used_twice(request.key.as_str(), first));
            }
            plan.planned.push(Planned { line, keyless, request, moves });
        }
    }
    plan.scales = chart.currencies;
    found.end(plan)
}

/// Of two transfers under one key the second would be taken for the first, sent again.
fn used_twice(key: &str, first: usize) -> String {
    format!("its key {key:?} is that of line {first}; each transfer has a key of its own, or none")
}

fn unknown_currency(code: &str) -> String {
    let code: String = code.chars().take(20).collect();
    format!("there is no currency {code:?}, and its scale is not told; add it, or give it one")
}

/// Accounts must be there and hold the currency; amounts must fit; both sides must come to the same.
fn legs(
    line: usize,
    booking: &Booking,
    chart: &Chart,
    found: &mut Found,
) -> Vec<(String, Side, i64)> {
    let mut moves = Vec::with_capacity(booking.legs.len());
    let mut sums: BTreeMap<&str, i128> = BTreeMap::new();
    let mut complete = true;
    for leg in &booking.legs {
        let Some(account) = chart.accounts.get(&leg.account) else {
            let code: String = leg.account.chars().take(128).collect();
            found.at(leg.line, format!("there is no account {code:?}, and it is not opened here"));
            complete = false;
            continue;
        };
        if account.currency != leg.currency {
            found.at(
                leg.line,
                format!(
                    "{} holds {}, not {}; an account here has one currency",
                    account.code, account.currency, leg.currency
                ),
            );
            complete = false;
            continue;
        }
        let Some(scale) = chart.currencies.get(&leg.currency) else {
            complete = false;
            continue;
        };
        let currency = Currency { code: leg.currency.clone(), scale: *scale };
        match leg.amount.to_minor(&currency) {
            Ok(minor) => {
                let signed = if leg.direction == Side::Debit { minor } else { -minor };
                *sums.entry(&leg.currency).or_default() += i128::from(signed);
                moves.push((leg.account.clone(), leg.direction, minor));
            }
            Err(error) => {
                found.at(leg.line, error.to_string());
                complete = false;
            }
        }
    }
    for (currency, sum) in sums.iter().filter(|(_, sum)| **sum != 0 && complete) {
        let scale = chart.currencies.get(*currency).copied().unwrap_or_default();
        let by = format_minor(*sum, scale);
        found
            .at(line, format!("it does not balance: debits are {by} {currency} more than credits"));
    }
    moves
}

/// Without a key it gets one that follows from what it says, so that the same text is never booked twice.
fn request(
    booking: Booking,
    entries_max: usize,
    alike: &mut HashMap<[u8; 32], u32>,
) -> Result<TransferRequest, String> {
    let key = match &booking.key {
        Some(key) => key.clone(),
        None => {
            let print = print(&booking);
            let times = alike.entry(print).or_default();
            *times += 1;
            format!("import:{}:{times}", hex(&print[..16]))
        }
    };
    let entry = |leg: super::Leg| EntryBody {
        account: leg.account,
        direction: leg.direction,
        amount: leg.amount,
    };
    let transfer = TransferBody {
        description: booking.description,
        effective_date: Some(booking.date),
        pending: false,
        expires_at: None,
        entries: booking.legs.into_iter().map(entry).collect(),
        split: Vec::new(),
        metadata: booking.metadata,
        expect: Vec::new(),
    };
    BatchItem::transfer(key, transfer).request(entries_max).map_err(|error| error.to_string())
}

fn print(booking: &Booking) -> [u8; 32] {
    let mut text = format!("{}\n{:?}\n", booking.date, booking.description);
    for (name, value) in &booking.metadata.0 {
        text.push_str(&format!("{name}={value:?}\n"));
    }
    for leg in &booking.legs {
        let (side, amount) = (leg.direction, leg.amount.canonical());
        text.push_str(&format!("{} {side} {amount} {}\n", leg.account, leg.currency));
    }
    Sha256::digest(text).into()
}
