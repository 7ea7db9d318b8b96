//! Looking things up and listing them. Every listing is by key, never by offset.

use uuid::Uuid;

use super::current::{late, late_one, standing};
use super::error::StoreError;
use super::reader::{Arg, Moment, Reader};
use super::row::{self, Columns, one_more};
use super::way::along;
use crate::account::{Account, CurrencyBody};
use crate::naming::validate_code;
use crate::posting::Standing;
use crate::report::{AccountBalance, AccountEntry, Page, TransferSummary, TrialBalance};
use crate::transfer::Transfer;

const CURRENCIES: &str = "SELECT code, scale FROM currencies WHERE code > ? ORDER BY code LIMIT ?";
const ACCOUNTS: &str =
    "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts
     WHERE code > ? ORDER BY code LIMIT ?";
const ACCOUNT: &str =
    "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts WHERE code = ?";
pub(super) const BALANCES_AFTER: &str = concat!(
    "SELECT ",
    standing!(),
    "
     FROM accounts AS a
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id
     ",
    late!(),
    "
     WHERE a.code > ? ORDER BY a.code LIMIT ?"
);
const BALANCE: &str = concat!(
    "SELECT ",
    standing!(),
    "
     FROM accounts AS a
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id
     ",
    late_one!(),
    "
     WHERE a.code = ?"
);
const ENTRIES: &str = along!(
    "SELECT e.number, t.id, t.description, t.effective_date, t.booked_at_us, e.direction,
        e.amount_minor, e.debits_after_minor, e.credits_after_minor
     FROM way AS w JOIN entries AS e ON e.id = w.id JOIN transfers AS t ON t.seq = e.transfer_seq
     WHERE w.number <= ? ORDER BY w.number"
);
const ENTRIES_OF: &str = "SELECT entries FROM transfers WHERE id = ?";
const TRANSFER: &str =
    "SELECT t.description, t.effective_date, t.booked_at_us, t.entry_id_first, t.entries, t.kind,
        t.expires_at_us, o.id, f.id, f.kind
     FROM transfers AS t
     LEFT JOIN transfers AS o ON o.seq = t.of_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE t.id = ?";
pub(super) const ENTRIES_OF_MOVED: &str =
    "SELECT a.code, e.direction, e.amount_minor, c.scale, a.currency
     FROM entries AS e
     JOIN accounts AS a ON a.id = e.account_id
     JOIN currencies AS c ON c.code = a.currency
     WHERE e.id >= ? AND e.id < ? ORDER BY e.id";
pub(super) const ENTRIES_OF_HELD: &str =
    "SELECT a.code, e.direction, e.amount_minor, c.scale, a.currency
     FROM pending_entries AS e
     JOIN accounts AS a ON a.id = e.account_id
     JOIN currencies AS c ON c.code = a.currency
     WHERE e.id >= ? AND e.id < ? ORDER BY e.id";
const TRANSFERS: &str =
    "SELECT t.id, t.description, t.effective_date, t.booked_at_us, t.entries, t.seq, t.kind, f.kind
     FROM transfers AS t LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE t.seq > ? ORDER BY t.seq LIMIT ?";
/// Sums go beyond 64 bits, so each is taken in two halves of 32 bits: high, low, of debits and of credits.
const TOTALS: &str = concat!(
    "SELECT a.currency, c.scale, HIGH(debits), LOW(debits), HIGH(credits), LOW(credits)
     FROM balances AS b
     JOIN accounts AS a ON a.id = b.account_id
     JOIN currencies AS c ON c.code = a.currency
     ",
    late!(),
    "
     GROUP BY a.currency, c.scale ORDER BY a.currency"
);

/// For the test that holds them against their plans.
#[cfg(test)]
pub const STATEMENTS: &[&str] = &[
    CURRENCIES,
    ACCOUNTS,
    ACCOUNT,
    BALANCES_AFTER,
    BALANCE,
    ENTRIES,
    ENTRIES_OF,
    TRANSFER,
    ENTRIES_OF_MOVED,
    ENTRIES_OF_HELD,
    TRANSFERS,
];

impl Moment {
    /// An account with its id, totals and limits.
    pub async fn standing(&mut self, code: &str) -> Result<Option<Standing>, StoreError> {
        if validate_code(code).is_err() {
            return Ok(None);
        }
        self.row(BALANCE, &[Arg::Text(code)], |row| Ok(row::standing(row)?.1)).await
    }
}

impl Reader {
    /// Currencies with a code after `after`.
    pub async fn currencies(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Page<CurrencyBody>, StoreError> {
        let arguments = [Arg::Text(after), Arg::Long(one_more(limit))];
        let rows = self.rows(CURRENCIES, &arguments, |row| row::currency(row)).await?;
        Ok(Page::cut(rows, limit, |currency| currency.code.clone()))
    }

    /// Accounts with a code after `after`.
    pub async fn accounts(&self, after: &str, limit: usize) -> Result<Page<Account>, StoreError> {
        let arguments = [Arg::Text(after), Arg::Long(one_more(limit))];
        let rows = self.rows(ACCOUNTS, &arguments, |row| row::account(row)).await?;
        let rows = self.with_metadata(rows).await?;
        Ok(Page::cut(rows, limit, |account| account.code.clone()))
    }

    pub async fn account(&self, code: &str) -> Result<Option<Account>, StoreError> {
        // To MariaDB a text with a space behind it is the text.
        if validate_code(code).is_err() {
            return Ok(None);
        }
        let found = self.rows(ACCOUNT, &[Arg::Text(code)], |row| row::account(row)).await?;
        Ok(self.with_metadata(found).await?.pop())
    }

    pub async fn balance(&self, code: &str) -> Result<Option<AccountBalance>, StoreError> {
        if validate_code(code).is_err() {
            return Ok(None);
        }
        self.row(BALANCE, &[Arg::Text(code)], |row| row::balance(row)).await
    }

    /// An account with its id, totals and limits.
    pub async fn standing(&self, code: &str) -> Result<Option<Standing>, StoreError> {
        if validate_code(code).is_err() {
            return Ok(None);
        }
        self.row(BALANCE, &[Arg::Text(code)], |row| Ok(row::standing(row)?.1)).await
    }

    /// Accounts with a code after `after`, as they stand.
    pub async fn standings_by_code(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Page<(String, Standing)>, StoreError> {
        let arguments = [Arg::Text(after), Arg::Long(one_more(limit))];
        let rows = self.rows(BALANCES_AFTER, &arguments, |row| row::standing(row)).await?;
        Ok(Page::cut(rows, limit, |(code, _)| code.clone()))
    }

    /// The entries of an account with a number after `after`; nothing when there is no account.
    pub async fn entries(
        &self,
        code: &str,
        after: i64,
        limit: usize,
    ) -> Result<Option<Page<AccountEntry>>, StoreError> {
        let Some(owner) = self.standing(code).await? else { return Ok(None) };
        self.entries_of_account(&owner, after, limit).await.map(Some)
    }

    pub(super) async fn entries_of_account(
        &self,
        owner: &Standing,
        after: i64,
        limit: usize,
    ) -> Result<Page<AccountEntry>, StoreError> {
        let entry = |row: &dyn Columns| row::entry(owner, row).map(Some);
        let numbers = (after, owner.balance.entries);
        let mut rows = self.along(ENTRIES, owner, numbers, one_more(limit), entry).await?;
        self.call_entries(rows.iter_mut()).await?;
        Ok(Page::cut(rows, limit, |entry| entry.number.to_string()))
    }

    /// How many entries a transfer has; nothing when there is none of this id.
    pub async fn entries_of(&self, id: Uuid) -> Result<Option<i64>, StoreError> {
        self.row(ENTRIES_OF, &[Arg::Uuid(id)], |row| row.long(0)).await
    }

    pub async fn transfer(&self, id: Uuid) -> Result<Option<Transfer>, StoreError> {
        let read = |row: &dyn Columns| Ok((row.long(3)?, row.long(4)?, row::transfer(id, row)?));
        let Some((first, count, transfer)) = self.row(TRANSFER, &[Arg::Uuid(id)], read).await?
        else {
            return Ok(None);
        };
        let statement = if transfer.kind.moves() { ENTRIES_OF_MOVED } else { ENTRIES_OF_HELD };
        let arguments = [Arg::Long(first), Arg::Long(first + count)];
        let entries = self.rows(statement, &arguments, |row| row::transfer_entry(row)).await?;
        let metadata = self.called(&[id]).await?.remove(&id).unwrap_or_default();
        Ok(Some(Transfer { entries, metadata, ..transfer }))
    }

    /// Transfers in booking order after the `after`th.
    pub async fn transfers(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Page<TransferSummary>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit))];
        let summary = |row: &dyn Columns| Ok((row.long(5)?, row::transfer_summary(row)?));
        let mut rows = self.rows(TRANSFERS, &arguments, summary).await?;
        self.call_summaries(&mut rows).await?;
        Ok(Page::cut(rows, limit, |(seq, _)| seq.to_string()).map(|(_, summary)| summary))
    }

    /// Totals over all accounts and a page of accounts, both of the same moment.
    pub async fn trial_balance(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<TrialBalance, StoreError> {
        let mut moment = self.moment().await?;
        let currencies = moment.rows(&self.totals(), &[], |row| row::totals(row)).await?;
        let arguments = [Arg::Text(after), Arg::Long(one_more(limit))];
        let rows = moment.rows(BALANCES_AFTER, &arguments, |row| row::balance(row)).await?;
        moment.end().await?;
        let page = Page::cut(rows, limit, |account: &AccountBalance| account.account.clone());
        Ok(TrialBalance { currencies, accounts: page.items, next_cursor: page.next_cursor })
    }

    /// `TOTALS` in the engine's words for division and for 64 bits.
    fn totals(&self) -> String {
        self.in_halves(TOTALS)
    }

    /// Sums of balances, which go beyond 64 bits, each in two halves.
    pub(super) fn in_halves(&self, sql: &str) -> String {
        let (high, low) = match self {
            Self::Sqlite(_) => ("sum(X >> 32)", "sum(X & 4294967295)"),
            Self::MySql(_) => {
                ("CAST(sum(X >> 32) AS SIGNED)", "CAST(sum(X & 4294967295) AS SIGNED)")
            }
            Self::Postgres(_) => ("sum(X >> 32)::bigint", "sum(X & 4294967295)::bigint"),
        };
        let mut sql = sql.to_owned();
        for side in ["debits", "credits"] {
            for (half, text) in [("HIGH", high), ("LOW", low)] {
                let total = format!("coalesce(n.{side}_after_minor, b.{side}_minor)");
                sql = sql.replace(&format!("{half}({side})"), &text.replace('X', &total));
            }
        }
        sql
    }
}
