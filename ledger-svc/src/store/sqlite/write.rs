//! Writing: one batch is one SQL transaction.
//!
//! A batch goes through one statement per table: the rows travel as one JSON parameter, because a
//! round trip to the engine's thread costs more than the row does.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Connection, Sqlite, Transaction};
use uuid::Uuid;

use super::super::gather::{DUE_MAX, accounts_of, entry_ids, fill};
use super::super::row::{self, Columns as _};
use super::super::{Created, StoreError, impossible};
use super::{ACCOUNT, Writer, connect};
use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{Changes, Snapshot, Wanted};
use crate::chain::{LimitsRow, Link};
use crate::posting::{Accounts, Limits};
use crate::report::Account;

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub struct Batch<'a> {
    transaction: Transaction<'a, Sqlite>,
    epoch: i64,
}

impl Writer {
    /// Begins a batch and takes the engine's write lock. Reconnects after a failure.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.path, &self.options, self.allow_unsafe).await?.0);
        }
        let connection = self.connection.as_mut().expect("connected above");
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Batch { transaction, epoch: self.epoch })
    }

    /// Drops the connection after a failed batch: whatever state it is in, the next batch starts
    /// on a fresh one.
    pub async fn reset(&mut self) {
        if let Some(connection) = self.connection.take() {
            // It is being given up; an error while closing changes nothing.
            let _ = connection.close_hard().await;
        }
    }

    /// Writes the log back into the database file and closes it.
    pub async fn close(mut self) -> Result<(), StoreError> {
        if let Some(mut connection) = self.connection.take() {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
            connection.close().await?;
        }
        Ok(())
    }
}

impl Batch<'_> {
    pub async fn create_currency(
        &mut self,
        body: &CurrencyBody,
    ) -> Result<Created<CurrencyBody>, StoreError> {
        let connection = &mut *self.transaction;
        let inserted = sqlx::query(
            "INSERT INTO currencies (code, scale) VALUES (?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(&body.code)
        .bind(body.scale)
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if inserted == 1 {
            return Ok(Created::New(body.clone()));
        }
        let scale: u8 = sqlx::query_scalar("SELECT scale FROM currencies WHERE code = ?")
            .bind(&body.code)
            .fetch_one(connection)
            .await?;
        let existing = CurrencyBody { code: body.code.clone(), scale };
        Ok(if existing == *body {
            Created::Existing(existing)
        } else {
            Created::Conflict(existing)
        })
    }

    pub async fn create_account(
        &mut self,
        body: &AccountBody,
        now: Timestamp,
    ) -> Result<Created<Account>, StoreError> {
        let connection = &mut *self.transaction;
        let known: i64 = sqlx::query_scalar("SELECT count(*) FROM currencies WHERE code = ?")
            .bind(&body.currency)
            .fetch_one(&mut *connection)
            .await?;
        if known == 0 {
            return Ok(Created::UnknownCurrency);
        }
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO accounts (code, name, currency, normal_balance, created_at_us)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(&body.code)
        .bind(&body.name)
        .bind(&body.currency)
        .bind(body.normal_balance.as_str())
        .bind(now.as_microsecond())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(id) = id {
            sqlx::query("INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (?, 0, 0, 0)")
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
        let row = sqlx::query(ACCOUNT).bind(&body.code).fetch_one(connection).await?;
        let account = row::account(&row)?;
        let same = account.name == body.name
            && account.currency == body.currency
            && account.normal_balance == body.normal_balance;
        Ok(match (id, same) {
            (Some(_), _) => Created::New(account),
            (None, true) => Created::Existing(account),
            (None, false) => Created::Conflict(account),
        })
    }

    /// Everything the posting of a batch needs to know, under the write lock. Fails when another
    /// service has opened this database since.
    pub async fn lock_and_read(&mut self, wanted: &Wanted<'_>) -> Result<Snapshot, StoreError> {
        let connection = &mut *self.transaction;
        let row = sqlx::query(LAST).fetch_one(&mut *connection).await?;
        let found = row.long(4)?;
        if found != self.epoch {
            return Err(StoreError::Replaced { ours: self.epoch, found });
        }
        let mut snapshot = Snapshot { last: row::last(&row)?, ..Snapshot::default() };
        if let Some(row) = sqlx::query(HEAD).fetch_optional(&mut *connection).await? {
            snapshot.head = row::head(&row)?;
        }
        let now = wanted.now.map_or(0, Timestamp::as_microsecond);
        let due = sqlx::query(DUE).bind(now).bind(DUE_MAX).fetch_all(&mut *connection).await?;
        let mut found = due.iter().map(row::target).collect::<Result<Vec<_>, _>>()?;
        snapshot.due = found.iter().map(|(target, _)| target.id).collect();
        if !wanted.targets.is_empty() {
            let rows = sqlx::query(TARGETS)
                .bind(
                    json!(wanted.targets.iter().map(Uuid::to_string).collect::<Vec<_>>())
                        .to_string(),
                )
                .fetch_all(&mut *connection)
                .await?;
            for row in &rows {
                found.push(row::target(row)?);
            }
        }
        for (statement, moves) in [(TARGET_ENTRIES, true), (TARGET_PENDING_ENTRIES, false)] {
            let ids = entry_ids(&found, moves);
            if !ids.is_empty() {
                let rows = sqlx::query(statement)
                    .bind(json!(ids).to_string())
                    .fetch_all(&mut *connection)
                    .await?;
                let entries =
                    rows.iter().map(row::target_entry).collect::<Result<HashMap<_, _>, _>>()?;
                fill(&mut found, moves, &entries);
            }
        }
        let accounts = accounts_of(wanted, &found);
        snapshot.books.targets = found.into_iter().map(|(target, _)| (target.id, target)).collect();
        if !wanted.keys.is_empty() {
            let rows = sqlx::query(ANSWERS)
                .bind(json!(&wanted.keys).to_string())
                .fetch_all(&mut *connection)
                .await?;
            snapshot.answers = rows.iter().map(row::answer).collect::<Result<_, _>>()?;
        }
        if !accounts.is_empty() {
            let rows = sqlx::query(STANDINGS)
                .bind(json!(&accounts).to_string())
                .fetch_all(connection)
                .await?;
            let standings = rows.iter().map(row::standing).collect::<Result<_, _>>()?;
            snapshot.books.accounts = Accounts(standings);
        }
        Ok(snapshot)
    }

    /// When the next pending transfer expires, in microseconds since 1970.
    pub async fn next_expiry(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar(NEXT_EXPIRY).fetch_one(&mut *self.transaction).await?)
    }

    /// Puts limits on an account from now on.
    pub async fn set_limits(
        &mut self,
        account_id: i64,
        limits: Limits,
        now: Timestamp,
    ) -> Result<LimitsRow, StoreError> {
        let connection = &mut *self.transaction;
        let id = sqlx::query_scalar(NEXT_LIMITS).fetch_one(&mut *connection).await?;
        let row = LimitsRow { id, account_id, limits, set_at_us: now.as_microsecond() };
        sqlx::query(WRITE_LIMITS)
            .bind(row.id)
            .bind(row.account_id)
            .bind(limits.min_minor)
            .bind(limits.max_minor)
            .bind(row.set_at_us)
            .execute(&mut *connection)
            .await?;
        sqlx::query(APPLY_LIMITS)
            .bind(limits.min_minor)
            .bind(limits.max_minor)
            .bind(account_id)
            .execute(connection)
            .await?;
        Ok(row)
    }

    /// Appends to the chain.
    pub async fn write_links(&mut self, links: &[Link]) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for link in links {
            rows.push(json!([link.seq, link.subject, row::hex(&link.hash)]));
        }
        self.write_rows(WRITE_LINKS, rows).await
    }

    /// Writes what was decided: transfers, their entries, the new balances, the holds and the answers.
    pub async fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let (mut transfers, mut entries, mut pending) = (Vec::new(), Vec::new(), Vec::new());
        for new in &changes.transfers {
            let transfer = &new.transfer;
            transfers.push(json!([
                new.seq,
                transfer.id.to_string(),
                transfer.description,
                transfer.effective_date.to_string(),
                transfer.booked_at.as_microsecond(),
                new.entry_id_first,
                new.entries.len(),
                transfer.kind.as_str(),
                new.of_seq,
                transfer.expires_at.map(Timestamp::as_microsecond),
            ]));
        }
        for (id, seq, entry) in changes.moved() {
            entries.push(json!([
                id,
                seq,
                entry.account_id,
                entry.after.entries,
                entry.direction.as_str(),
                entry.amount_minor,
                entry.after.debits_minor,
                entry.after.credits_minor,
            ]));
        }
        for (id, seq, entry) in changes.held() {
            let (account, direction) = (entry.account_id, entry.direction.as_str());
            pending.push(json!([id, seq, account, direction, entry.amount_minor]));
        }
        let (mut balances, mut answers) = (Vec::new(), Vec::new());
        for (id, balance) in &changes.balances {
            balances.push(json!([
                id,
                balance.debits_minor,
                balance.credits_minor,
                balance.entries,
                balance.pending_debits_minor,
                balance.pending_credits_minor,
            ]));
        }
        for (seq, key, stored) in changes.answers() {
            let (fingerprint, answer) = (row::hex(&stored.fingerprint), &stored.answer);
            answers.push(json!([key, fingerprint, seq, answer.status, &*answer.body]));
        }
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        changes.opened().for_each(|hold| opened.push(json!(hold)));
        changes.closed().for_each(|seq| closed.push(json!([seq])));
        for (statement, rows) in [
            (WRITE_TRANSFERS, transfers),
            (WRITE_ENTRIES, entries),
            (WRITE_PENDING_ENTRIES, pending),
            (WRITE_BALANCES, balances),
            (WRITE_ANSWERS, answers),
            (OPEN_HOLDS, opened),
            (CLOSE_HOLDS, closed),
        ] {
            self.write_rows(statement, rows).await?;
        }
        Ok(())
    }

    async fn write_rows(
        &mut self,
        statement: &'static str,
        rows: Vec<Value>,
    ) -> Result<(), StoreError> {
        let expected = rows.len() as u64;
        if expected == 0 {
            return Ok(());
        }
        let written = sqlx::query(statement)
            .bind(json!(rows).to_string())
            .execute(&mut *self.transaction)
            .await?
            .rows_affected();
        if written != expected {
            return Err(impossible("a batch", &format!("{written} rows instead of {expected}")));
        }
        Ok(())
    }

    /// A write that changes nothing of the books; proves that the database can be written.
    pub async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE service SET probed_at_us = ? WHERE id = 1")
            .bind(now.as_microsecond())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    /// Makes the batch durable. When this fails, nothing of the batch may be acknowledged.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

const LAST: &str = "SELECT
     (SELECT coalesce(max(seq), 0) FROM transfers),
     (SELECT coalesce(max(id), 0) FROM entries),
     (SELECT coalesce(max(id), 0) FROM pending_entries),
     coalesce((SELECT booked_at_us FROM transfers ORDER BY seq DESC LIMIT 1), 0), epoch
     FROM service WHERE id = 1";
const DUE: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind
     FROM holds AS h
     JOIN transfers AS t ON t.seq = h.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE h.expires_at_us <= ? ORDER BY h.expires_at_us LIMIT ?";
const TARGETS: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind
     FROM json_each(?) AS wanted JOIN transfers AS t ON t.id = wanted.value
     LEFT JOIN transfers AS f ON f.of_seq = t.seq";
const TARGET_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM json_each(?) AS wanted JOIN entries AS e ON e.id = wanted.value JOIN accounts AS a ON a.id = e.account_id";
const TARGET_PENDING_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM json_each(?) AS wanted JOIN pending_entries AS e ON e.id = wanted.value JOIN accounts AS a ON a.id = e.account_id";
const NEXT_EXPIRY: &str = "SELECT min(expires_at_us) FROM holds WHERE expires_at_us IS NOT NULL";
const HEAD: &str = "SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1";
const NEXT_LIMITS: &str = "SELECT coalesce(max(id), 0) + 1 FROM account_limits";
const WRITE_LIMITS: &str =
    "INSERT INTO account_limits (id, account_id, balance_min_minor, balance_max_minor, set_at_us)
     VALUES (?, ?, ?, ?, ?)";
const WRITE_LINKS: &str = "INSERT INTO chain (seq, subject, hash)
     SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each(?) ORDER BY key";
const APPLY_LIMITS: &str =
    "UPDATE balances SET balance_min_minor = ?, balance_max_minor = ? WHERE account_id = ?";
const ANSWERS: &str = "SELECT k.key, k.fingerprint, k.status, k.body, t.id
     FROM json_each(?) AS wanted
     JOIN idempotency_keys AS k ON k.key = wanted.value
     JOIN transfers AS t ON t.seq = k.transfer_seq";
const STANDINGS: &str = "SELECT a.code, a.currency, c.scale, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor
     FROM json_each(?) AS wanted
     JOIN accounts AS a ON a.code = wanted.value
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id";
const WRITE_TRANSFERS: &str = "INSERT INTO transfers
     (seq, id, description, effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
        value ->> 7, value ->> 8, value ->> 9
     FROM json_each(?) ORDER BY key";
const WRITE_ENTRIES: &str = "INSERT INTO entries
     (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
     FROM json_each(?) ORDER BY key";
const WRITE_PENDING_ENTRIES: &str =
    "INSERT INTO pending_entries (id, transfer_seq, account_id, direction, amount_minor)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?) ORDER BY key";
const OPEN_HOLDS: &str = "INSERT INTO holds (transfer_seq, expires_at_us)
     SELECT value ->> 0, value ->> 1 FROM json_each(?) ORDER BY key";
const CLOSE_HOLDS: &str =
    "DELETE FROM holds WHERE transfer_seq IN (SELECT value ->> 0 FROM json_each(?))";
const WRITE_BALANCES: &str = "UPDATE balances
     SET debits_minor = new.value ->> 1, credits_minor = new.value ->> 2, entries = new.value ->> 3,
        pending_debits_minor = new.value ->> 4, pending_credits_minor = new.value ->> 5
     FROM json_each(?) AS new WHERE account_id = new.value ->> 0";
const WRITE_ANSWERS: &str =
    "INSERT INTO idempotency_keys (key, fingerprint, transfer_seq, status, body)
     SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4
     FROM json_each(?) ORDER BY key";
