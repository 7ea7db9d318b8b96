//! Reading: a pool of connections that never wait for the writer, because each sees the last commit
//! whatever is locked. Every listing is by key, never by offset.

use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::super::StoreError;
use super::super::row::{self, Columns as _, one_more};
use super::super::statement::Point;
use super::{ACCOUNT, Reader};
use crate::account::CurrencyBody;
use crate::posting::Standing;
use crate::report::{
    Account, AccountBalance, AccountEntry, CurrencyTotals, Page, TransferSummary, TrialBalance,
};
use crate::transfer::Transfer;

const BALANCES_AFTER: &str = "SELECT a.code, a.currency, c.scale::bigint, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor
     FROM accounts AS a
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id
     WHERE a.code > $1 ORDER BY a.code LIMIT $2";
const BALANCE: &str = "SELECT a.code, a.currency, c.scale::bigint, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor
     FROM accounts AS a
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id
     WHERE a.code = $1";
const TRANSFER: &str =
    "SELECT t.description, t.effective_date, t.booked_at_us, t.entry_id_first, t.entries, t.kind,
        t.expires_at_us, o.id, f.id, f.kind
     FROM transfers AS t
     LEFT JOIN transfers AS o ON o.seq = t.of_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE t.id = $1";
const POINT: &str = "SELECT t.booked_at_us, e.debits_after_minor, e.credits_after_minor
     FROM entries AS e JOIN transfers AS t ON t.seq = e.transfer_seq
     WHERE e.account_id = $1 AND e.number = $2";
const ENTRIES_OF_MOVED: &str =
    "SELECT a.code, e.direction, e.amount_minor, c.scale::bigint, a.currency
     FROM entries AS e
     JOIN accounts AS a ON a.id = e.account_id
     JOIN currencies AS c ON c.code = a.currency
     WHERE e.id >= $1 AND e.id < $2 ORDER BY e.id";
const ENTRIES_OF_HELD: &str =
    "SELECT a.code, e.direction, e.amount_minor, c.scale::bigint, a.currency
     FROM pending_entries AS e
     JOIN accounts AS a ON a.id = e.account_id
     JOIN currencies AS c ON c.code = a.currency
     WHERE e.id >= $1 AND e.id < $2 ORDER BY e.id";
/// The sums go beyond 64 bits, and so travel as text.
const TOTALS: &str = "SELECT a.currency, c.scale::bigint,
        sum(b.debits_minor)::text, sum(b.credits_minor)::text
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
        let rows = sqlx::query(
            "SELECT code, scale::bigint FROM currencies WHERE code > $1 ORDER BY code LIMIT $2",
        )
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        row::currencies(&rows, limit)
    }

    /// Accounts with a code after `after`.
    pub async fn accounts(&self, after: &str, limit: usize) -> Result<Page<Account>, StoreError> {
        let rows = sqlx::query(
            "SELECT code, name, currency, normal_balance, created_at_us, id FROM accounts
             WHERE code > $1 ORDER BY code LIMIT $2",
        )
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        row::accounts(&rows, limit)
    }

    pub async fn account(&self, code: &str) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query(ACCOUNT).bind(code).fetch_optional(&self.pool).await?;
        row.as_ref().map(row::account).transpose()
    }

    pub async fn balance(&self, code: &str) -> Result<Option<AccountBalance>, StoreError> {
        let row = sqlx::query(BALANCE).bind(code).fetch_optional(&self.pool).await?;
        row.as_ref().map(row::balance).transpose()
    }

    /// An account with its id, totals and limits.
    pub async fn standing(&self, code: &str) -> Result<Option<Standing>, StoreError> {
        let row = sqlx::query(BALANCE).bind(code).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(row::standing).transpose()?.map(|(_, standing)| standing))
    }

    /// The entries of an account with a number after `after`; nothing when there is no account.
    pub async fn entries(
        &self,
        code: &str,
        after: i64,
        limit: usize,
    ) -> Result<Option<Page<AccountEntry>>, StoreError> {
        let Some(owner) = sqlx::query(
            "SELECT a.id, c.scale::bigint, a.normal_balance FROM accounts AS a
             JOIN currencies AS c ON c.code = a.currency WHERE a.code = $1",
        )
        .bind(code)
        .fetch_optional(&self.pool)
        .await?
        else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "SELECT e.number, t.id, t.description, t.effective_date, t.booked_at_us, e.direction,
                e.amount_minor, e.debits_after_minor, e.credits_after_minor
             FROM entries AS e JOIN transfers AS t ON t.seq = e.transfer_seq
             WHERE e.account_id = $1 AND e.number > $2 ORDER BY e.number LIMIT $3",
        )
        .bind(owner.long(0)?)
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(Some(row::entries(&owner, &rows, limit)?))
    }

    /// How many entries a transfer has; nothing when there is none of this id.
    pub async fn entries_of(&self, id: Uuid) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("SELECT entries FROM transfers WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| row.long(0)).transpose()
    }

    pub async fn transfer(&self, id: Uuid) -> Result<Option<Transfer>, StoreError> {
        let row = sqlx::query(TRANSFER).bind(id).fetch_optional(&self.pool).await?;
        let Some(row) = row else { return Ok(None) };
        let (first, statement) = (
            row.long(3)?,
            match row.kind(5)?.moves() {
                true => ENTRIES_OF_MOVED,
                false => ENTRIES_OF_HELD,
            },
        );
        let rows = sqlx::query(statement)
            .bind(first)
            .bind(first + row.long(4)?)
            .fetch_all(&self.pool)
            .await?;
        Ok(Some(row::transfer(id, &row, &rows)?))
    }

    /// The account's entry numbered so.
    pub async fn point(&self, account_id: i64, number: i64) -> Result<Option<Point>, StoreError> {
        let row =
            sqlx::query(POINT).bind(account_id).bind(number).fetch_optional(&self.pool).await?;
        row.as_ref().map(row::point).transpose()
    }

    /// Transfers in booking order after the `after`th.
    pub async fn transfers(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Page<TransferSummary>, StoreError> {
        let rows = sqlx::query(
            "SELECT t.id, t.description, t.effective_date, t.booked_at_us, t.entries, t.seq, t.kind, f.kind
             FROM transfers AS t LEFT JOIN transfers AS f ON f.of_seq = t.seq
             WHERE t.seq > $1 ORDER BY t.seq LIMIT $2",
        )
        .bind(after)
        .bind(one_more(limit))
        .fetch_all(&self.pool)
        .await?;
        row::transfers(&rows, limit)
    }

    /// Totals over all accounts and a page of accounts, both of the same moment.
    pub async fn trial_balance(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<TrialBalance, StoreError> {
        let mut moment =
            self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let totals = sqlx::query(TOTALS).fetch_all(&mut *moment).await?;
        let rows = sqlx::query(BALANCES_AFTER)
            .bind(after)
            .bind(one_more(limit))
            .fetch_all(&mut *moment)
            .await?;
        moment.rollback().await?;
        let currencies = totals.iter().map(totals_of).collect::<Result<_, _>>()?;
        row::trial_balance(currencies, &rows, limit)
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A row of `TOTALS`.
fn totals_of(row: &PgRow) -> Result<CurrencyTotals, StoreError> {
    row::totals(row, row.sum(2)?, row.sum(3)?)
}
