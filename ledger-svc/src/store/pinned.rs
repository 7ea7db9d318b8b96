//! An account as it was when it had so many entries. Entries are numbered in the order of booking and never change, so that
//! number says for ever which of them count: the pages of a statement are of one account, whatever is booked while
//! they are read.

use jiff::civil::Date;

use super::error::StoreError;
use super::reader::{Arg, Moment};
use super::row::Columns;
use super::way::along;
use crate::as_of::{AsOf, Totals};
use crate::posting::Standing;
use crate::when::{begin_of, end_of};

/// The entry of a number, with the account's totals up to it.
const NUMBERED: &str = along!(
    "SELECT e.id, e.debits_after_minor, e.credits_after_minor
     FROM way AS w
     JOIN entries AS e ON e.id = w.id
     WHERE w.number <= ? ORDER BY w.number"
);
/// By how much entries that are backdated and later than one change what counts up to a day.
const LATE: &str = "SELECT
        CAST(coalesce(sum(CASE WHEN e.direction <> 'debit' THEN 0 WHEN d.effective_date <= ? THEN e.amount_minor ELSE -e.amount_minor END), 0) AS BIGINT),
        CAST(coalesce(sum(CASE WHEN e.direction = 'debit' THEN 0 WHEN d.effective_date <= ? THEN e.amount_minor ELSE -e.amount_minor END), 0) AS BIGINT)
     FROM backdated_entries AS d
     JOIN entries AS e ON e.id = d.id
     JOIN transfers AS t ON t.seq = e.transfer_seq
     WHERE d.id > ? AND d.account_id = ?
        AND ((d.effective_date <= ? AND t.booked_at_us >= ?) OR (d.effective_date > ? AND t.booked_at_us < ?))";
/// Of backdated entries that were booked between two.
const BETWEEN: &str = "SELECT
        CAST(coalesce(sum(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE 0 END), 0) AS BIGINT),
        CAST(coalesce(sum(CASE WHEN e.direction = 'debit' THEN 0 ELSE e.amount_minor END), 0) AS BIGINT)
     FROM backdated_entries AS d
     JOIN entries AS e ON e.id = d.id
     WHERE d.id > ? AND d.id <= ? AND d.account_id = ?";
/// Of backdated entries that count for a day, up to a number.
const OF_DAY: &str = "SELECT
        CAST(coalesce(sum(CASE WHEN e.direction = 'debit' THEN e.amount_minor ELSE 0 END), 0) AS BIGINT),
        CAST(coalesce(sum(CASE WHEN e.direction = 'debit' THEN 0 ELSE e.amount_minor END), 0) AS BIGINT)
     FROM backdated_entries AS d
     JOIN entries AS e ON e.id = d.id
     WHERE d.account_id = ? AND d.effective_date = ? AND d.number <= ?";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[NUMBERED, LATE, BETWEEN, OF_DAY];

/// The account with its first entries alone. `later` says whether it has more by now.
#[derive(Clone, Debug)]
pub struct Pinned {
    pub account: Standing,
    later: bool,
}

fn sums(row: &dyn Columns) -> Result<Totals, StoreError> {
    Ok(Totals { debits_minor: row.long(0)?, credits_minor: row.long(1)?, entries: 0 })
}

impl Moment {
    /// The account with so many entries, which was read in this moment.
    pub(super) async fn pinned(
        &mut self,
        account: Standing,
        entries: Option<i64>,
    ) -> Result<Pinned, StoreError> {
        match entries {
            Some(entries) if entries < account.balance.entries => {
                let account = self.with_entries(&account, entries).await?;
                Ok(Pinned { account, later: true })
            }
            _ => Ok(Pinned { account, later: false }),
        }
    }

    async fn with_entries(
        &mut self,
        account: &Standing,
        entries: i64,
    ) -> Result<Standing, StoreError> {
        let mut then = account.clone();
        let mut found = (0, 0, 0);
        if entries > 0 {
            let arguments = [account.last_entry_id, entries, entries, entries].map(Arg::Long);
            let read = |row: &dyn Columns| Ok((row.long(0)?, row.long(1)?, row.long(2)?));
            found = self.row(NUMBERED, &arguments, read).await?.ok_or_else(|| {
                let id = account.account_id;
                StoreError::Corrupt(format!(
                    "account {id}: the way back to its entry {entries} is broken"
                ))
            })?;
        }
        (then.last_entry_id, then.balance.debits_minor, then.balance.credits_minor) = found;
        then.balance.entries = entries.max(0);
        Ok(then)
    }

    /// Its totals up to the end of a day, by effective date.
    pub(super) async fn counted_through(
        &mut self,
        Pinned { account, later }: &Pinned,
        day: Date,
    ) -> Result<Totals, StoreError> {
        let mut totals = self.one_as_of(account, AsOf::EffectiveThrough(day)).await?;
        if *later {
            let (text, end) = (day.to_string(), Arg::Long(end_of(day).as_microsecond()));
            let day = Arg::Text(&text);
            let (id, last) = (Arg::Long(account.account_id), Arg::Long(account.last_entry_id));
            let arguments = [day, day, last, id, day, end, day, end];
            let late = self.row(LATE, &arguments, sums).await?.unwrap_or_default();
            totals = less(totals, late)?;
        }
        Ok(totals)
    }

    /// Its totals up to an entry of a day, by effective date and then by number.
    pub(super) async fn counted_up_to(
        &mut self,
        pinned: &Pinned,
        day: Date,
        number: i64,
    ) -> Result<Totals, StoreError> {
        let mut totals = match day.yesterday() {
            Ok(before) => self.counted_through(pinned, before).await?,
            Err(_) => Totals::default(),
        };
        let account = &pinned.account;
        let number = number.min(account.balance.entries);
        // Of what was booked on that day, all but what counts for others …
        let begins = begin_of(day);
        let first = self.booked_until(account, begins).await?;
        let last = self.booked_until(account, end_of(day)).await?;
        if number > first.entries && last.entries > first.entries {
            let until = self.with_entries(account, number.min(last.entries)).await?;
            let after = self.entries_before(account.last_entry_id, begins).await?;
            let ends = [after, until.last_entry_id, account.account_id].map(Arg::Long);
            let others = self.row(BETWEEN, &ends, sums).await?.unwrap_or_default();
            let balance = until.balance;
            let (debits_minor, credits_minor) = (balance.debits_minor, balance.credits_minor);
            totals.add(less(
                less(Totals { debits_minor, credits_minor, entries: 0 }, first)?,
                others,
            )?)?;
        }
        // … and of what was booked on others, what counts for it.
        let text = day.to_string();
        let arguments = [Arg::Long(account.account_id), Arg::Text(&text), Arg::Long(number)];
        totals.add(self.row(OF_DAY, &arguments, sums).await?.unwrap_or_default())?;
        Ok(totals)
    }
}

fn less(from: Totals, what: Totals) -> Result<Totals, StoreError> {
    let mut left = from;
    left.add(Totals {
        debits_minor: -what.debits_minor,
        credits_minor: -what.credits_minor,
        entries: -what.entries,
    })?;
    Ok(left)
}
