//! Writing: one batch is one SQL transaction.
//!
//! A batch goes through one statement per table: the rows travel as one JSON parameter, because a
//! round trip to the engine's thread costs more than the row does.

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Connection, Sqlite, Transaction};

use super::super::row::{self, Columns as _};
use super::super::{Created, StoreError, impossible};
use super::{ACCOUNT, Writer, connect};
use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{Changes, Snapshot};
use crate::posting::Accounts;
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
    pub async fn lock_and_read(
        &mut self,
        keys: &[&str],
        accounts: &[&str],
    ) -> Result<Snapshot, StoreError> {
        let connection = &mut *self.transaction;
        let row = sqlx::query(
            "SELECT epoch,
                (SELECT coalesce(max(seq), 0) FROM transfers),
                (SELECT coalesce(max(id), 0) FROM entries),
                coalesce((SELECT booked_at_us FROM transfers ORDER BY seq DESC LIMIT 1), 0)
             FROM service WHERE id = 1",
        )
        .fetch_one(&mut *connection)
        .await?;
        let found = row.long(0)?;
        if found != self.epoch {
            return Err(StoreError::Replaced { ours: self.epoch, found });
        }
        let mut snapshot = Snapshot {
            transfer_seq_last: row.long(1)?,
            entry_id_last: row.long(2)?,
            booked_at_last_us: row.long(3)?,
            ..Snapshot::default()
        };
        let rows = sqlx::query(
            "SELECT k.key, k.fingerprint, k.status, k.body, t.id
             FROM json_each(?) AS wanted
             JOIN idempotency_keys AS k ON k.key = wanted.value
             JOIN transfers AS t ON t.seq = k.transfer_seq",
        )
        .bind(json!(keys).to_string())
        .fetch_all(&mut *connection)
        .await?;
        snapshot.answers = rows.iter().map(row::answer).collect::<Result<_, _>>()?;
        let rows = sqlx::query(
            "SELECT a.code, a.id, a.currency, c.scale, b.debits_minor, b.credits_minor, b.entries
             FROM json_each(?) AS wanted
             JOIN accounts AS a ON a.code = wanted.value
             JOIN currencies AS c ON c.code = a.currency
             JOIN balances AS b ON b.account_id = a.id",
        )
        .bind(json!(accounts).to_string())
        .fetch_all(connection)
        .await?;
        snapshot.accounts = Accounts(rows.iter().map(row::standing).collect::<Result<_, _>>()?);
        Ok(snapshot)
    }

    /// Writes what was decided: transfers, their entries, the new balances and the answers.
    pub async fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let connection = &mut *self.transaction;
        let (mut transfers, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
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
            ]));
            for (id, entry) in (new.entry_id_first..).zip(&new.entries) {
                entries.push(json!([
                    id,
                    new.seq,
                    entry.account_id,
                    entry.after.entries,
                    entry.direction.as_str(),
                    entry.amount_minor,
                    entry.after.debits_minor,
                    entry.after.credits_minor,
                ]));
            }
            let answer = &new.stored.answer;
            let fingerprint = row::hex(&new.stored.fingerprint);
            answers.push(json!([new.key, fingerprint, new.seq, answer.status, &*answer.body]));
        }
        let balances: Vec<_> = changes
            .balances
            .iter()
            .map(|(id, b)| json!([id, b.debits_minor, b.credits_minor, b.entries]))
            .collect();
        let steps = [
            (WRITE_TRANSFERS, transfers),
            (WRITE_ENTRIES, entries),
            (WRITE_BALANCES, balances),
            (WRITE_ANSWERS, answers),
        ];
        for (statement, rows) in steps {
            let expected = rows.len() as u64;
            let written = sqlx::query(statement)
                .bind(json!(rows).to_string())
                .execute(&mut *connection)
                .await?
                .rows_affected();
            if written != expected {
                return Err(impossible(
                    "a batch",
                    &format!("{written} rows instead of {expected}"),
                ));
            }
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

const WRITE_TRANSFERS: &str = "INSERT INTO transfers
     (seq, id, description, effective_date, booked_at_us, entry_id_first, entries)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
     FROM json_each(?) ORDER BY key";
const WRITE_ENTRIES: &str = "INSERT INTO entries
     (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
     FROM json_each(?) ORDER BY key";
const WRITE_BALANCES: &str = "UPDATE balances
     SET debits_minor = new.value ->> 1, credits_minor = new.value ->> 2, entries = new.value ->> 3
     FROM json_each(?) AS new WHERE account_id = new.value ->> 0";
const WRITE_ANSWERS: &str =
    "INSERT INTO idempotency_keys (key, fingerprint, transfer_seq, status, body)
     SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4
     FROM json_each(?) ORDER BY key";
