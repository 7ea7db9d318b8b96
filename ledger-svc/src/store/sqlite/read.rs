//! Reading: a small pool of connections that never wait for the writer, because in WAL mode each
//! sees the last commit. Every listing is by key, never by offset.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::super::StoreError;
use super::{ACCOUNT, Reader, account, date, instant, side, uuid};
use crate::account::CurrencyBody;
use crate::money::format_minor;
use crate::report::{
    Account, AccountBalance, AccountEntry, CurrencyTotals, Page, TransferSummary, TrialBalance,
};
use crate::transfer::{Transfer, TransferEntry};

/// Columns: as `balance_of` reads them, by code after `?1`.
const BALANCES_AFTER: &str = "SELECT a.code, a.currency, c.scale, a.normal_balance, b.debits_minor, b.credits_minor, b.entries
     FROM accounts AS a
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id
     WHERE a.code > ? ORDER BY a.code LIMIT ?";
/// The sums are taken in two halves of 32 bits, because SQLite refuses a sum beyond 64 bits.
const TOTALS: &str = "SELECT a.currency, c.scale,
        sum(b.debits_minor >> 32), sum(b.debits_minor & 4294967295),
        sum(b.credits_minor >> 32), sum(b.credits_minor & 4294967295)
     FROM balances AS b
     JOIN accounts AS a ON a.id = b.account_id
     JOIN currencies AS c ON c.code = a.currency
     GROUP BY a.currency, c.scale ORDER BY a.currency";

impl Reader {
    /// Currencies with a code after `after`.
    pub async fn currencies(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Page<CurrencyBody>, StoreError> {
        let rows =
            sqlx::query("SELECT code, scale FROM currencies WHERE code > ? ORDER BY code LIMIT ?")
                .bind(after)
                .bind(one_more(limit))
                .fetch_all(&self.pool)
                .await?;
        let currencies = rows
            .iter()
            .map(|row| Ok(CurrencyBody { code: row.try_get(0)?, scale: row.try_get(1)? }))
            .collect::<Result<_, StoreError>>()?;
        Ok(Page::cut(currencies, limit, |currency| currency.code.clone()))
    }

    /// Accounts with a code after `after`.
    pub async fn accounts(&self, after: &str, limit: usize) -> Result<Page<Account>, StoreError> {
        let rows = sqlx::query(
            "SELECT code, name, currency, normal_balance, created_at_us FROM accounts
             WHERE code > ? ORDER BY code LIMIT ?",
        )
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        let accounts = rows.iter().map(account).collect::<Result<_, _>>()?;
        Ok(Page::cut(accounts, limit, |account| account.code.clone()))
    }

    pub async fn account(&self, code: &str) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query(ACCOUNT).bind(code).fetch_optional(&self.pool).await?;
        row.as_ref().map(account).transpose()
    }

    pub async fn balance(&self, code: &str) -> Result<Option<AccountBalance>, StoreError> {
        let row = sqlx::query(
            "SELECT a.code, a.currency, c.scale, a.normal_balance, b.debits_minor, b.credits_minor, b.entries
             FROM accounts AS a
             JOIN currencies AS c ON c.code = a.currency
             JOIN balances AS b ON b.account_id = a.id
             WHERE a.code = ?",
        )
        .bind(code)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(balance_of).transpose()
    }

    /// The entries of an account with a number after `after`; nothing when there is no account.
    pub async fn entries(
        &self,
        code: &str,
        after: i64,
        limit: usize,
    ) -> Result<Option<Page<AccountEntry>>, StoreError> {
        let Some(owner) = sqlx::query(
            "SELECT a.id, c.scale, a.normal_balance FROM accounts AS a
             JOIN currencies AS c ON c.code = a.currency WHERE a.code = ?",
        )
        .bind(code)
        .fetch_optional(&self.pool)
        .await?
        else {
            return Ok(None);
        };
        let (scale, normal) = (owner.try_get(1)?, side(owner.try_get(2)?)?);
        let rows = sqlx::query(
            "SELECT e.number, t.id, t.description, t.effective_date, t.booked_at_us, e.direction,
                e.amount_minor, e.debits_after_minor, e.credits_after_minor
             FROM entries AS e JOIN transfers AS t ON t.seq = e.transfer_seq
             WHERE e.account_id = ? AND e.number > ? ORDER BY e.number LIMIT ?",
        )
        .bind(owner.try_get::<i64, _>(0)?)
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        let entry = |row: &SqliteRow| {
            Ok(AccountEntry {
                number: row.try_get(0)?,
                transfer: uuid(row.try_get(1)?)?,
                description: row.try_get(2)?,
                effective_date: date(row.try_get(3)?)?,
                booked_at: instant(row.try_get(4)?)?,
                direction: side(row.try_get(5)?)?,
                amount: format_minor(row.try_get::<i64, _>(6)?.into(), scale),
                balance: format_minor(normal.balance(row.try_get(7)?, row.try_get(8)?), scale),
            })
        };
        let entries = rows.iter().map(entry).collect::<Result<_, StoreError>>()?;
        Ok(Some(Page::cut(entries, limit, |entry| entry.number.to_string())))
    }

    pub async fn transfer(&self, id: Uuid) -> Result<Option<Transfer>, StoreError> {
        let Some(row) = sqlx::query(
            "SELECT description, effective_date, booked_at_us, entry_id_first, entries
             FROM transfers WHERE id = ?",
        )
        .bind(id.to_string())
        .fetch_optional(&self.pool)
        .await?
        else {
            return Ok(None);
        };
        let first: i64 = row.try_get(3)?;
        let rows = sqlx::query(
            "SELECT a.code, e.direction, e.amount_minor, c.scale, a.currency
             FROM entries AS e
             JOIN accounts AS a ON a.id = e.account_id
             JOIN currencies AS c ON c.code = a.currency
             WHERE e.id >= ? AND e.id < ? ORDER BY e.id",
        )
        .bind(first)
        .bind(first + row.try_get::<i64, _>(4)?)
        .fetch_all(&self.pool)
        .await?;
        let entry = |row: &SqliteRow| {
            Ok(TransferEntry {
                account: row.try_get(0)?,
                direction: side(row.try_get(1)?)?,
                amount: format_minor(row.try_get::<i64, _>(2)?.into(), row.try_get(3)?),
                currency: row.try_get(4)?,
            })
        };
        Ok(Some(Transfer {
            id,
            description: row.try_get(0)?,
            effective_date: date(row.try_get(1)?)?,
            booked_at: instant(row.try_get(2)?)?,
            entries: rows.iter().map(entry).collect::<Result<_, StoreError>>()?,
        }))
    }

    /// Transfers in booking order after the `after`th.
    pub async fn transfers(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Page<TransferSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, description, effective_date, booked_at_us, entries, seq FROM transfers
             WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        let summary = |row: &SqliteRow| {
            let summary = TransferSummary {
                id: uuid(row.try_get(0)?)?,
                description: row.try_get(1)?,
                effective_date: date(row.try_get(2)?)?,
                booked_at: instant(row.try_get(3)?)?,
                entries: row.try_get(4)?,
            };
            Ok((row.try_get::<i64, _>(5)?, summary))
        };
        let rows = rows.iter().map(summary).collect::<Result<_, StoreError>>()?;
        let page = Page::cut(rows, limit, |(seq, _)| seq.to_string());
        let items = page.items.into_iter().map(|(_, summary)| summary).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// Totals over all accounts and a page of accounts, both of the same moment.
    pub async fn trial_balance(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<TrialBalance, StoreError> {
        let mut moment = self.pool.begin().await?;
        let totals = sqlx::query(TOTALS).fetch_all(&mut *moment).await?;
        let rows = sqlx::query(BALANCES_AFTER)
            .bind(after)
            .bind(one_more(limit))
            .fetch_all(&mut *moment)
            .await?;
        moment.rollback().await?;
        let accounts = rows.iter().map(balance_of).collect::<Result<_, _>>()?;
        let page = Page::cut(accounts, limit, |account: &AccountBalance| account.account.clone());
        Ok(TrialBalance {
            currencies: totals.iter().map(totals_of).collect::<Result<_, _>>()?,
            accounts: page.items,
            next_cursor: page.next_cursor,
        })
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A row of code, currency, scale, normal side, debits, credits and entries.
fn balance_of(row: &SqliteRow) -> Result<AccountBalance, StoreError> {
    let (scale, normal) = (row.try_get(2)?, side(row.try_get(3)?)?);
    let (debits, credits): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
    Ok(AccountBalance {
        account: row.try_get(0)?,
        currency: row.try_get(1)?,
        normal_balance: normal,
        debits: format_minor(debits.into(), scale),
        credits: format_minor(credits.into(), scale),
        balance: format_minor(normal.balance(debits, credits), scale),
        entries: row.try_get(6)?,
    })
}

/// A row of `TOTALS`: currency, scale, and each side's sum in two halves.
fn totals_of(row: &SqliteRow) -> Result<CurrencyTotals, StoreError> {
    let scale = row.try_get(1)?;
    let sum = |high: usize| -> Result<i128, StoreError> {
        let halves: (i64, i64) = (row.try_get(high)?, row.try_get(high + 1)?);
        Ok((i128::from(halves.0) << 32) + i128::from(halves.1))
    };
    let (debits, credits) = (sum(2)?, sum(4)?);
    Ok(CurrencyTotals {
        currency: row.try_get(0)?,
        debits: format_minor(debits, scale),
        credits: format_minor(credits, scale),
        difference: format_minor(debits - credits, scale),
    })
}

/// A page is read with one row to spare, which tells whether there is another page.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}
