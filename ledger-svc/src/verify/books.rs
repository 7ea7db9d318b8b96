//! The books kept a second time, from the rows alone: what the totals, holds and chain must be. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::days::Days;
use super::finding::{Finding, wrong};
use crate::account::{Account, CurrencyBody, Side};
use crate::behind::ENTRIES_MAX;
use crate::chain::{EntryRow, Record, TransferRow};
use crate::close::CloseRow;
use crate::link::{Head, Link};
use crate::money::format_minor;
use crate::posting::{Balance, Limits, LimitsRow};
use crate::store::{BackdatedDay, BalanceRow};
use crate::trail::Trail;
use crate::transfer::TransferKind;

/// A currency's two sides over all transfers, in minor units, and its scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub debits_minor: i128,
    pub credits_minor: i128,
    pub scale: u8,
}

/// An account as it must stand.
#[derive(Clone, Debug)]
struct Kept {
    currency: String,
    balance: Balance,
    limits: Limits,
    trail: Trail,
    /// How it stood before and after each entry that its row need not have yet, with the last entry then.
    late: Vec<(Balance, i64)>,
}

/// A pending transfer that nothing has followed.
#[derive(Clone, Debug)]
struct Held {
    expires_at_us: Option<i64>,
    entry_id_first: i64,
    entries: Vec<EntryRow>,
}

/// Everything kept so far.
#[derive(Debug, Default)]
pub struct Books {
    /// Up to which entry the rows of `balances` are said to be written.
    through: i64,
    head: Head,
    scales: BTreeMap<String, u8>,
    accounts: HashMap<i64, Kept>,
    holds: BTreeMap<i64, Held>,
    followed: BTreeSet<i64>,
    pub sums: BTreeMap<String, Sums>,
    pub transfers: i64,
    pub entries: i64,
    pending_entries: i64,
    booked_at_us: i64,
    days: Days,
}

impl Books {
    pub fn new(balances_through: i64) -> Self {
        Self { through: balances_through, ..Self::default() }
    }

    pub fn head(&self) -> Head {
        self.head
    }

    /// Holds a link of the chain against what it should be about.
    pub fn link(
        &mut self,
        link: &Link,
        record: Record<'_>,
        table: &'static str,
    ) -> Result<(), Finding> {
        let expected = self.head.extend(record);
        if *link == expected {
            return Ok(());
        }
        let what = format!(
            "{} is not what link {} of the chain was made of: it, what belongs to it, or the chain has been changed",
            expected.subject, link.seq
        );
        let row = expected.subject.split_once(':').map_or("", |(_, row)| row);
        Err(wrong(table, row, what))
    }

    pub fn currency(&mut self, link: &Link, currency: &CurrencyBody) -> Result<(), Finding> {
        self.link(link, Record::Currency(currency), "currencies")?;
        self.scales.insert(currency.code.clone(), currency.scale);
        Ok(())
    }

    pub fn account(&mut self, link: &Link, account: &Account) -> Result<(), Finding> {
        self.link(link, Record::Account(account), "accounts")?;
        if !self.scales.contains_key(&account.currency) {
            return Err(wrong("accounts", account.id.to_string(), "its currency is not there"));
        }
        let (balance, limits) = (Balance::default(), Limits::default());
        let trail = Trail::default();
        let late = Vec::new();
        let kept = Kept { currency: account.currency.clone(), balance, limits, trail, late };
        self.accounts.insert(account.id, kept);
        Ok(())
    }

    pub fn limits(&mut self, link: &Link, row: &LimitsRow) -> Result<(), Finding> {
        self.link(link, Record::Limits(row), "account_limits")?;
        match self.accounts.get_mut(&row.account_id) {
            Some(kept) => kept.limits = row.limits,
            None => {
                return Err(wrong(
                    "account_limits",
                    row.id.to_string(),
                    "its account is not there",
                ));
            }
        }
        Ok(())
    }

    pub fn close(&mut self, link: &Link, close: &CloseRow) -> Result<(), Finding> {
        self.days.close(close)?;
        self.link(link, Record::Close(close), "closes")
    }

    pub fn check_backdated_days(&self, rows: &[BackdatedDay]) -> Result<(), Finding> {
        self.days.check(rows)
    }

    pub fn transfer(&mut self, link: &Link, transfer: &TransferRow) -> Result<(), Finding> {
        let at = |what: &str| wrong("transfers", format!("seq {}", transfer.seq), what);
        if transfer.seq != self.transfers + 1 {
            return Err(at(&format!("seq {} should be here", self.transfers + 1)));
        }
        if transfer.booked_at_us < self.booked_at_us {
            return Err(at("it is booked before the one before it"));
        }
        self.check_key(transfer)?;
        self.check_entries(transfer)?;
        self.follow(transfer)?;
        self.link(link, Record::Transfer(transfer), "transfers")?;
        self.days.transfer(transfer)?;
        self.transfers = transfer.seq;
        self.booked_at_us = transfer.booked_at_us;
        Ok(())
    }

    /// Every request has its key and its answer; only expiries have none.
    fn check_key(&self, transfer: &TransferRow) -> Result<(), Finding> {
        let Some(key) = &transfer.key else {
            if transfer.kind == TransferKind::Expire {
                return Ok(());
            }
            let what = format!("the key of transfer {} is gone", transfer.seq);
            return Err(wrong("transfers", format!("seq {}", transfer.seq), what));
        };
        let is_about_it = key.body.as_ref().is_none_or(|body| {
            let answered: Option<serde_json::Value> = serde_json::from_str(body).ok();
            let id = answered.as_ref().and_then(|body| body["id"].as_str());
            id == Some(transfer.id.to_string().as_str())
        });
        if is_about_it && key.status == 201 {
            return Ok(());
        }
        let what = format!("its answer is not about transfer {}", transfer.seq);
        Err(wrong("idempotency_keys", format!("key {:?}", key.key), what))
    }

    /// Its own entries: numbered without gaps, on accounts that exist, balanced, with right totals.
    fn check_entries(&mut self, transfer: &TransferRow) -> Result<(), Finding> {
        let moves = transfer.kind.moves();
        if !moves && transfer.kind != TransferKind::Pending {
            return Ok(());
        }
        let (table, last) = match moves {
            true => ("entries", &mut self.entries),
            false => ("pending_entries", &mut self.pending_entries),
        };
        let count = i64::try_from(transfer.entries.len()).unwrap_or(i64::MAX);
        if transfer.entry_count != count || transfer.entry_id_first != *last + 1 {
            let what = format!(
                "it should have {} entries from id {}, and {count} are there",
                transfer.entry_count, transfer.entry_id_first
            );
            return Err(wrong("transfers", format!("seq {}", transfer.seq), what));
        }
        if transfer.kind == TransferKind::Post {
            self.release(transfer)?;
        }
        let mut sums: BTreeMap<String, i128> = BTreeMap::new();
        for entry in &transfer.entries {
            let at = |what: &str| wrong(table, format!("id {}", entry.id), what);
            let last = if moves { &mut self.entries } else { &mut self.pending_entries };
            *last += 1;
            if entry.id != *last {
                return Err(at(&format!("id {last} should be here")));
            }
            let kept = self.accounts.get_mut(&entry.account_id);
            let kept = kept.ok_or_else(|| at("its account is not there"))?;
            kept.add(entry, moves, self.through).map_err(|what| at(&what))?;
            let signed = i128::from(entry.amount_minor) * if entry.debit { 1 } else { -1 };
            *sums.entry(kept.currency.clone()).or_default() += signed;
            if moves {
                let total = self.sums.entry(kept.currency.clone()).or_default();
                total.scale = self.scales[&kept.currency];
                if entry.debit {
                    total.debits_minor += i128::from(entry.amount_minor);
                } else {
                    total.credits_minor += i128::from(entry.amount_minor);
                }
            }
        }
        match sums.iter().find(|(_, sum)| **sum != 0) {
            None => Ok(()),
            Some((currency, sum)) => {
                let by = format_minor(*sum, self.scales[currency]);
                let what =
                    format!("it does not balance: {by} {currency} too much on the debit side");
                Err(wrong("transfers", format!("seq {}", transfer.seq), what))
            }
        }
    }

    /// What it begins to hold, ends, or reverses.
    fn follow(&mut self, transfer: &TransferRow) -> Result<(), Finding> {
        let at = |what: &str| wrong("transfers", format!("seq {}", transfer.seq), what);
        match (transfer.kind, transfer.of_seq) {
            (TransferKind::Transfer, None) => {}
            (TransferKind::Pending, None) => {
                let held = Held {
                    expires_at_us: transfer.expires_at_us,
                    entry_id_first: transfer.entry_id_first,
                    entries: transfer.entries.clone(),
                };
                self.holds.insert(transfer.seq, held);
            }
            // What it posts has been released before its own entries were added.
            (TransferKind::Post, Some(_)) => {}
            (TransferKind::Void | TransferKind::Expire, Some(_)) => self.release(transfer)?,
            (TransferKind::Reverse, Some(of)) if of < transfer.seq => {}
            _ => return Err(at("its kind does not go with the transfer it names")),
        }
        match transfer.of_seq {
            Some(of) if !self.followed.insert(of) => Err(at("another one follows that transfer")),
            _ => Ok(()),
        }
    }

    fn release(&mut self, transfer: &TransferRow) -> Result<(), Finding> {
        let at = |what: &str| wrong("transfers", format!("seq {}", transfer.seq), what);
        let held = transfer.of_seq.and_then(|of| self.holds.remove(&of));
        let held = held.ok_or_else(|| at("the transfer it ends is not pending"))?;
        let points = (transfer.entry_id_first, transfer.entry_count);
        let count = i64::try_from(held.entries.len()).unwrap_or(i64::MAX);
        if transfer.kind != TransferKind::Post && points != (held.entry_id_first, count) {
            return Err(at("it does not point at the entries it releases"));
        }
        for entry in &held.entries {
            let kept = self.accounts.get_mut(&entry.account_id);
            let balance = &mut kept.ok_or_else(|| at("an account is not there"))?.balance;
            let side = if entry.debit {
                &mut balance.pending_debits_minor
            } else {
                &mut balance.pending_credits_minor
            };
            *side -= entry.amount_minor;
        }
        Ok(())
    }

    /// The tables that are derived from all others.
    pub fn derived(
        &self,
        balances: &[BalanceRow],
        holds: &[(i64, Option<i64>)],
    ) -> Result<(), Finding> {
        if !(0..=2 * ENTRIES_MAX).contains(&(self.entries - self.through)) {
            let (found, last) = (self.through, self.entries);
            let what = format!(
                "it says that balances are written up to entry {found}, of {last} there are"
            );
            return Err(wrong("service", "id 1", what));
        }
        let mut seen = 0;
        for row in balances {
            let at = |what: &str| wrong("balances", format!("account_id {}", row.account_id), what);
            let kept = self.accounts.get(&row.account_id);
            let kept = kept.ok_or_else(|| at("there is no such account"))?;
            let (due, last_id) = kept.row_of(row.balance.entries);
            if due != row.balance {
                let found = row.balance;
                return Err(at(&format!("it says {found:?}, and its entries come to {due:?}")));
            }
            if last_id != row.last_entry_id {
                let (found, due) = (row.last_entry_id, last_id);
                return Err(at(&format!(
                    "it says that its last entry is {found}, and it is {due}"
                )));
            }
            if kept.limits != row.limits {
                return Err(at("its limits are not the last ones set in account_limits"));
            }
            seen += 1;
        }
        if seen != self.accounts.len() {
            let there: BTreeSet<i64> = balances.iter().map(|row| row.account_id).collect();
            let missing = self.accounts.keys().filter(|id| !there.contains(id)).min();
            let row = format!("account_id {}", missing.copied().unwrap_or_default());
            return Err(wrong("balances", row, "the row is gone"));
        }
        let due: Vec<(i64, Option<i64>)> =
            self.holds.iter().map(|(seq, held)| (*seq, held.expires_at_us)).collect();
        if due != holds {
            let differing = |other: &[(i64, Option<i64>)], (seq, at): &(i64, Option<i64>)| {
                !other.contains(&(*seq, *at))
            };
            let row = holds
                .iter()
                .find(|hold| differing(&due, hold))
                .or_else(|| due.iter().find(|hold| differing(holds, hold)));
            let row = row.map_or(0, |(seq, _)| *seq);
            let what = "it does not agree with the pending transfers";
            return Err(wrong("holds", format!("transfer_seq {row}"), what));
        }
        Ok(())
    }
}

impl Kept {
    /// What its row must say that has so many entries, and the last of them; without the rest where it may be behind.
    fn row_of(&self, entries: i64) -> (Balance, i64) {
        let now = self.balance;
        let late = self.late.iter().find(|(balance, _)| balance.entries == entries);
        let (then, last_id) = late.copied().unwrap_or((now, self.trail.last_id()));
        let Balance { pending_debits_minor, pending_credits_minor, .. } = now;
        (Balance { pending_debits_minor, pending_credits_minor, ..then }, last_id)
    }

    /// `through`: the last entry that its row must have.
    fn add(&mut self, entry: &EntryRow, moves: bool, through: i64) -> Result<(), String> {
        let before = (self.balance, self.trail.last_id());
        let side = if entry.debit { Side::Debit } else { Side::Credit };
        let after = match moves {
            true => self.balance.moved(side, entry.amount_minor),
            false => self.balance.held(side, entry.amount_minor),
        };
        self.balance = after.ok_or("its account's total leaves 64 bits")?;
        let found = (entry.number, entry.debits_after_minor, entry.credits_after_minor);
        let due = (self.balance.entries, self.balance.debits_minor, self.balance.credits_minor);
        if !moves {
            return Ok(());
        }
        if found != due {
            return Err(format!(
                "number and totals are {found:?}, and the entries before it make them {due:?}"
            ));
        }
        let back = self.trail.append(entry.id);
        if entry.back != back {
            return Err(format!(
                "it points at {:?}, and the entries before it are {back:?}",
                entry.back
            ));
        }
        if entry.id > through {
            if self.late.is_empty() {
                self.late.push(before);
            }
            self.late.push((self.balance, entry.id));
        }
        Ok(())
    }
}
