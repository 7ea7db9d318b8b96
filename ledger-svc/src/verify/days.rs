//! What counts for which day, kept a second time: what closes must carry forward, and which entries are
//! backdated. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::finding::{Finding, wrong};
use crate::as_of::Totals;
use crate::chain::{BackdatedRow, TransferRow};
use crate::close::CloseRow;
use crate::store::BackdatedDay;

/// Debits and credits in minor units.
type Sides = (i64, i64);

#[derive(Debug, Default)]
pub struct Days {
    /// By account: totals of all days that are closed.
    carried: BTreeMap<i64, Sides>,
    /// By account and day: totals of the days that are open.
    open: BTreeMap<i64, BTreeMap<String, Sides>>,
    closed_through: String,
    backdated: BTreeMap<(i64, String, String), Totals>,
}

impl Days {
    /// Takes in the entries of a transfer that moves, and holds its backdated rows against them.
    pub fn transfer(&mut self, transfer: &TransferRow) -> Result<(), Finding> {
        if !transfer.kind.moves() {
            return Ok(());
        }
        let effective = &transfer.effective_date;
        if *effective <= self.closed_through {
            let what = format!("it counts for {effective}, which was closed before");
            return Err(wrong("transfers", format!("seq {}", transfer.seq), what));
        }
        let booked = Timestamp::from_microsecond(transfer.booked_at_us).map_err(|_| {
            wrong("transfers", format!("seq {}", transfer.seq), "it was booked at no time")
        })?;
        let booked = booked.to_zoned(TimeZone::UTC).date().to_string();
        let apart = *effective != booked;
        self.check_rows(transfer, apart)?;
        for entry in &transfer.entries {
            let day = self.open.entry(entry.account_id).or_default();
            let sides = day.entry(effective.clone()).or_default();
            let (debit, credit) =
                if entry.debit { (entry.amount_minor, 0) } else { (0, entry.amount_minor) };
            // Totals of an account fit, as was checked before; those of a day are less.
            *sides = (sides.0.saturating_add(debit), sides.1.saturating_add(credit));
            if apart {
                let key = (entry.account_id, effective.clone(), booked.clone());
                let sums = self.backdated.entry(key).or_default();
                sums.debits_minor = sums.debits_minor.saturating_add(debit);
                sums.credits_minor = sums.credits_minor.saturating_add(credit);
                sums.entries += 1;
            }
        }
        Ok(())
    }

    fn check_rows(&self, transfer: &TransferRow, apart: bool) -> Result<(), Finding> {
        let due: Vec<BackdatedRow> = transfer
            .entries
            .iter()
            .filter(|_| apart)
            .map(|entry| BackdatedRow {
                id: entry.id,
                account_id: entry.account_id,
                effective_date: transfer.effective_date.clone(),
                number: entry.number,
            })
            .collect();
        if transfer.backdated == due {
            return Ok(());
        }
        let differing = due.iter().find(|row| !transfer.backdated.contains(row));
        let row = differing.or_else(|| transfer.backdated.iter().find(|row| !due.contains(row)));
        let id = row.map_or(0, |row| row.id);
        let what = format!("it does not agree with the dates of transfer {}", transfer.seq);
        Err(wrong("backdated_entries", format!("id {id}"), what))
    }

    /// A close carries forward what counts up to its day, and each is later than the one before.
    pub fn close(&mut self, close: &CloseRow) -> Result<(), Finding> {
        let at = |what: String| wrong("closes", format!("id {}", close.id), what);
        if close.through <= self.closed_through {
            return Err(at(format!("{} was closed before", close.through)));
        }
        self.closed_through.clone_from(&close.through);
        for (account_id, days) in &mut self.open {
            let later = days.split_off(&format!("{}~", close.through));
            for sides in std::mem::replace(days, later).into_values() {
                let carried = self.carried.entry(*account_id).or_default();
                *carried = (carried.0.saturating_add(sides.0), carried.1.saturating_add(sides.1));
            }
        }
        let due: Vec<(i64, i64, i64)> =
            self.carried.iter().map(|(id, (debits, credits))| (*id, *debits, *credits)).collect();
        if close.balances == due {
            return Ok(());
        }
        let differing = due.iter().find(|row| !close.balances.contains(row));
        let row = differing.or_else(|| close.balances.iter().find(|row| !due.contains(row)));
        let account = row.map_or(0, |row| row.0);
        let row = format!("close_id {}, account_id {account}", close.id);
        Err(wrong("close_balances", row, "it is not what the entries up to the close come to"))
    }

    pub fn check(&self, rows: &[BackdatedDay]) -> Result<(), Finding> {
        let mut due = self.backdated.clone();
        for (key, totals) in rows {
            if due.remove(key) != Some(*totals) {
                let (account, effective, booked) = key;
                let row = format!("account_id {account}, {effective} booked {booked}");
                return Err(wrong("backdated_days", row, "its entries come to something else"));
            }
        }
        match due.keys().next() {
            None => Ok(()),
            Some((account, effective, booked)) => {
                let row = format!("account_id {account}, {effective} booked {booked}");
                Err(wrong("backdated_days", row, "the row is gone"))
            }
        }
    }
}
