//! Totals of accounts as of a time: of booking, or of effect. Entries are numbered in booking order and carry their
//! accounts' totals, so where a time of booking falls is found by halving, and each account's last entry before it by going
//! back (`trail`): look-ups by key, however many entries there are. What counts up to a day differs from what was booked by its end only by entries whose
//! two dates differ, and those are summed by day when they are booked (`backdated_days`).

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::error::StoreError;
use super::halving::LAST_ENTRY;
use super::read::BALANCES_AFTER;
use super::reader::{Arg, Moment, Reader};
use super::row::{self, Columns, one_more};
use crate::as_of::{AsOf, Totals};
use crate::money::format_minor;
use crate::posting::{Balance, Standing};
use crate::report::{AccountTotals, AsOfTrialBalance, BalanceAsOf, CurrencyTotals};
use crate::when::end_of;

/// Accounts read at once where all are read.
const PAGE: usize = 1000;

/// From an account's entry, which is later than the first parameter, back to its last that is not; or to its first.
const BACK_TO: &str = "WITH RECURSIVE way (from_id, id, number, previous_id, jump_id) AS (
        SELECT e.id, e.id, e.number, e.previous_id, e.jump_id FROM entries AS e WHERE e.id = ?
        UNION ALL SELECT w.from_id, e.id, e.number, e.previous_id, e.jump_id
        FROM way AS w
        JOIN entries AS e ON e.number < w.number
            AND e.id = CASE WHEN w.jump_id > ? THEN w.jump_id ELSE w.previous_id END
        WHERE w.id > ?)
     SELECT w.from_id, e.id, e.number, e.debits_after_minor, e.credits_after_minor
     FROM way AS w JOIN entries AS e ON e.id = w.id
     WHERE w.id <= ? OR w.number = 1";
/// By how much what counts up to a day is more, or less, than what was booked by its end.
const SHIFTS: &str = "SELECT account_id,
        CAST(sum(CASE WHEN effective_date <= ? THEN debits_minor ELSE -debits_minor END) AS BIGINT),
        CAST(sum(CASE WHEN effective_date <= ? THEN credits_minor ELSE -credits_minor END) AS BIGINT),
        CAST(sum(CASE WHEN effective_date <= ? THEN entries ELSE -entries END) AS BIGINT)
     FROM backdated_days
     WHERE ((effective_date <= ? AND booked_date > ?) OR (effective_date > ? AND booked_date <= ?))";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[BACK_TO, SHIFTS];

impl Reader {
    /// The account's balance as of then; nothing when there is no such account.
    pub async fn balance_as_of(
        &self,
        code: &str,
        at: AsOf,
    ) -> Result<Option<BalanceAsOf>, StoreError> {
        let mut moment = self.moment().await?;
        let Some(account) = moment.standing(code).await? else { return Ok(None) };
        let totals = moment.one_as_of(&account, at).await?;
        moment.end().await?;
        Ok(Some(BalanceAsOf::new(at, account_totals(code.to_owned(), &account, totals))))
    }

    /// The trial balance as of then: totals over all accounts, and a page of them.
    pub async fn trial_balance_as_of(
        &self,
        at: AsOf,
        after: &str,
        limit: usize,
    ) -> Result<AsOfTrialBalance, StoreError> {
        let mut sums: Vec<(String, u8, i128, i128)> = Vec::new();
        let (mut accounts, mut next_cursor) = (Vec::new(), None);
        let mut last = String::new();
        let mut moment = self.moment().await?;
        loop {
            let page = moment.standings_after(&last).await?;
            let Some((code, _)) = page.last() else { break };
            code.clone_into(&mut last);
            let standings: Vec<Standing> =
                page.iter().map(|(_, account)| account.clone()).collect();
            let totals = moment.totals_as_of(&standings, at).await?;
            for ((code, account), totals) in page.into_iter().zip(totals) {
                sum(&mut sums, &account, totals);
                if code.as_str() <= after {
                    continue;
                }
                if accounts.len() < limit {
                    accounts.push(account_totals(code, &account, totals));
                } else if next_cursor.is_none() {
                    next_cursor = accounts.last().map(|last: &AccountTotals| last.account.clone());
                }
            }
        }
        moment.end().await?;
        sums.sort();
        let currencies = sums
            .into_iter()
            .map(|(currency, scale, debits, credits)| {
                CurrencyTotals::of(currency, scale, debits, credits)
            })
            .collect();
        Ok(AsOfTrialBalance::new(at, currencies, accounts, next_cursor))
    }
}

/// How accounts stand and what their days come to change with every transfer: both are read in one moment.
impl Moment {
    pub(super) async fn one_as_of(
        &mut self,
        account: &Standing,
        at: AsOf,
    ) -> Result<Totals, StoreError> {
        let totals = self.totals_as_of(std::slice::from_ref(account), at).await?;
        Ok(totals.into_iter().next().unwrap_or_default())
    }

    /// Totals of the accounts, which were read in this moment, in their order.
    pub async fn totals_as_of(
        &mut self,
        accounts: &[Standing],
        at: AsOf,
    ) -> Result<Vec<Totals>, StoreError> {
        match at {
            AsOf::BookedBefore(at) => self.booked_before(accounts, at).await,
            AsOf::EffectiveThrough(date) => {
                let mut totals = self.booked_before(accounts, end_of(date)).await?;
                let mut shifts = self.shifts(accounts, date).await?;
                for (account, totals) in accounts.iter().zip(&mut totals) {
                    if let Some(shift) = shifts.remove(&account.account_id) {
                        totals.add(shift)?;
                    }
                }
                Ok(totals)
            }
        }
    }

    /// Totals of the entries booked before then.
    pub(super) async fn booked_before(
        &mut self,
        accounts: &[Standing],
        at: Timestamp,
    ) -> Result<Vec<Totals>, StoreError> {
        let Some(last) = accounts.iter().map(|account| account.last_entry_id).max() else {
            return Ok(Vec::new());
        };
        let end = self.entries_before(last, at).await?;
        let mut later: Vec<i64> =
            accounts.iter().map(|account| account.last_entry_id).filter(|id| *id > end).collect();
        // A table that is looked through in its own order is read once.
        later.sort_unstable();
        let found = self.back_to(end, &later).await?;
        let totals = |account: &Standing| {
            let Balance { debits_minor, credits_minor, entries, .. } = account.balance;
            if account.last_entry_id <= end {
                return Ok(Totals { debits_minor, credits_minor, entries });
            }
            found.get(&account.last_entry_id).copied().ok_or_else(|| {
                let what = "whose way back from its last entry is broken";
                StoreError::Corrupt(format!("account {} {what}", account.account_id))
            })
        };
        accounts.iter().map(totals).collect()
    }

    /// For each of the entries, which are later, its account's totals up to the entry `end` of all accounts.
    async fn back_to(
        &mut self,
        end: i64,
        later: &[i64],
    ) -> Result<HashMap<i64, Totals>, StoreError> {
        let read = |row: &dyn Columns| {
            // The account's first entry is later too.
            if row.long(1)? > end {
                return Ok((row.long(0)?, Totals::default()));
            }
            let (debits_minor, credits_minor) = (row.long(3)?, row.long(4)?);
            Ok((row.long(0)?, Totals { debits_minor, credits_minor, entries: row.long(2)? }))
        };
        let ends = [Arg::Long(end); 3];
        let rows = match later {
            [] => Vec::new(),
            [one] => {
                let [first, second, third] = ends;
                self.rows(BACK_TO, &[Arg::Long(*one), first, second, third], read).await?
            }
            _ => {
                let ids: Vec<String> = later.iter().map(i64::to_string).collect();
                let sql = BACK_TO.replacen("= ?", &format!("IN ({})", ids.join(",")), 1);
                self.rows_once(&sql, &ends, read).await?
            }
        };
        Ok(rows.into_iter().collect())
    }

    async fn shifts(
        &mut self,
        accounts: &[Standing],
        date: Date,
    ) -> Result<HashMap<i64, Totals>, StoreError> {
        if accounts.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<String> =
            accounts.iter().map(|account| account.account_id.to_string()).collect();
        let sql = format!("{SHIFTS} AND account_id IN ({}) GROUP BY account_id", ids.join(","));
        let date = date.to_string();
        let rows = self.rows_once(&sql, &[Arg::Text(&date); 7], |row| shift(row)).await?;
        Ok(rows.into_iter().collect())
    }

    async fn standings_after(&mut self, code: &str) -> Result<Vec<(String, Standing)>, StoreError> {
        let arguments = [Arg::Text(code), Arg::Long(one_more(PAGE) - 1)];
        self.rows(BALANCES_AFTER, &arguments, |row| row::standing(row)).await
    }
}

/// What a close needs of all accounts: read before the writer is asked, completed under its lock.
impl Reader {
    /// The totals of all accounts up to the end of a day, and the last entry they know of: what is booked later is not in
    /// them, whichever day it counts for.
    pub async fn totals_through(
        &self,
        date: Date,
    ) -> Result<(HashMap<i64, Totals>, i64), StoreError> {
        let mut moment = self.moment().await?;
        let last = moment.row(LAST_ENTRY, &[], |row| row.long(0)).await?.unwrap_or(0);
        let mut all = HashMap::new();
        let mut after = String::new();
        loop {
            let page = moment.standings_after(&after).await?;
            let Some((code, _)) = page.last() else { break };
            code.clone_into(&mut after);
            let standings: Vec<Standing> = page.into_iter().map(|(_, account)| account).collect();
            let totals = moment.booked_before(&standings, end_of(date)).await?;
            all.extend(standings.iter().map(|account| account.account_id).zip(totals));
        }
        let shifts = all_shifts(&mut moment, date).await?;
        moment.end().await?;
        for (account_id, shift) in shifts {
            all.entry(account_id).or_default().add(shift)?;
        }
        Ok((all, last))
    }
}

async fn all_shifts(moment: &mut Moment, date: Date) -> Result<Vec<(i64, Totals)>, StoreError> {
    let sql = format!("{SHIFTS} GROUP BY account_id");
    let date = date.to_string();
    moment.rows(&sql, &[Arg::Text(&date); 7], |row| shift(row)).await
}

fn shift(row: &dyn Columns) -> Result<(i64, Totals), StoreError> {
    let totals =
        Totals { debits_minor: row.long(1)?, credits_minor: row.long(2)?, entries: row.long(3)? };
    Ok((row.long(0)?, totals))
}

fn sum(sums: &mut Vec<(String, u8, i128, i128)>, account: &Standing, totals: Totals) {
    let (debits, credits) = (totals.debits_minor.into(), totals.credits_minor.into());
    match sums.iter_mut().find(|sum| sum.0 == account.currency.code) {
        Some(sum) => (sum.2, sum.3) = (sum.2 + debits, sum.3 + credits),
        None => {
            let currency = &account.currency;
            sums.push((currency.code.clone(), currency.scale, debits, credits));
        }
    }
}

fn account_totals(code: String, account: &Standing, totals: Totals) -> AccountTotals {
    let text = |minor: i128| format_minor(minor, account.currency.scale);
    let Totals { debits_minor, credits_minor, entries } = totals;
    AccountTotals {
        account: code,
        currency: account.currency.code.clone(),
        normal_balance: account.normal,
        debits: text(debits_minor.into()),
        credits: text(credits_minor.into()),
        balance: text(account.normal.balance(debits_minor, credits_minor)),
        entries,
    }
}
