//! Writing: one batch is one SQL transaction.
//!
//! A batch goes through one statement per table: each column travels as one array, because a
//! statement per row costs a round trip each.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sqlx::{Connection, Postgres, Transaction};

use super::super::gather::{DUE_MAX, accounts_of, entry_ids, fill};
use super::super::row::{self, Columns as _};
use super::super::{Created, StoreError, impossible};
use super::{ACCOUNT, Writer};
use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{Changes, NewTransfer, Snapshot, StoredAnswer, Wanted};
use crate::chain::{LimitsRow, Link};
use crate::posting::{Accounts, Balance, Limits, PostedEntry};
use crate::report::Account;

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub struct Batch<'a> {
    transaction: Transaction<'a, Postgres>,
    epoch: i64,
}

impl Writer {
    /// Begins a batch. Reconnects after a failure.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        if self.connection.is_none() {
            self.reconnect().await?;
        }
        let connection = self.connection.as_mut().expect("connected above");
        Ok(Batch { transaction: connection.begin().await?, epoch: self.epoch })
    }

    /// Drops the connection after a failed batch: whatever state it is in, the next batch starts
    /// on a fresh one.
    pub async fn reset(&mut self) {
        if let Some(connection) = self.connection.take() {
            // It is being given up; an error while closing changes nothing.
            let _ = connection.close_hard().await;
        }
    }

    /// Ends the connection and with it the lock.
    pub async fn close(self) -> Result<(), StoreError> {
        if let Some(connection) = self.connection {
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
            "INSERT INTO currencies (code, scale) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(&body.code)
        .bind(i16::from(body.scale))
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if inserted == 1 {
            return Ok(Created::New(body.clone()));
        }
        let row = sqlx::query("SELECT scale::bigint FROM currencies WHERE code = $1")
            .bind(&body.code)
            .fetch_one(connection)
            .await?;
        let existing = CurrencyBody { code: body.code.clone(), scale: row.small(0)? };
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
        let known: i64 = sqlx::query_scalar("SELECT count(*) FROM currencies WHERE code = $1")
            .bind(&body.currency)
            .fetch_one(&mut *connection)
            .await?;
        if known == 0 {
            return Ok(Created::UnknownCurrency);
        }
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO accounts (code, name, currency, normal_balance, created_at_us)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(&body.code)
        .bind(&body.name)
        .bind(&body.currency)
        .bind(body.normal_balance.as_str())
        .bind(now.as_microsecond())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(id) = id {
            sqlx::query("INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES ($1, 0, 0, 0)")
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
        // By itself: what is read under the lock must be read after it was taken.
        let found: i64 = sqlx::query_scalar("SELECT epoch FROM service WHERE id = 1 FOR UPDATE")
            .fetch_one(&mut *connection)
            .await?;
        if found != self.epoch {
            return Err(StoreError::Replaced { ours: self.epoch, found });
        }
        let row = sqlx::query(LAST).fetch_one(&mut *connection).await?;
        let mut snapshot = Snapshot { last: row::last(&row)?, ..Snapshot::default() };
        if let Some(row) = sqlx::query(HEAD).fetch_optional(&mut *connection).await? {
            snapshot.head = row::head(&row)?;
        }
        let now = wanted.now.map_or(0, Timestamp::as_microsecond);
        let due = sqlx::query(DUE).bind(now).bind(DUE_MAX).fetch_all(&mut *connection).await?;
        let mut found = due.iter().map(row::target).collect::<Result<Vec<_>, _>>()?;
        snapshot.due = found.iter().map(|(target, _)| target.id).collect();
        if !wanted.targets.is_empty() {
            let rows =
                sqlx::query(TARGETS).bind(&wanted.targets).fetch_all(&mut *connection).await?;
            for row in &rows {
                found.push(row::target(row)?);
            }
        }
        for (statement, moves) in [(TARGET_ENTRIES, true), (TARGET_PENDING_ENTRIES, false)] {
            let ids = entry_ids(&found, moves);
            if !ids.is_empty() {
                let rows = sqlx::query(statement).bind(ids).fetch_all(&mut *connection).await?;
                let entries =
                    rows.iter().map(row::target_entry).collect::<Result<HashMap<_, _>, _>>()?;
                fill(&mut found, moves, &entries);
            }
        }
        let accounts = accounts_of(wanted, &found);
        snapshot.books.targets = found.into_iter().map(|(target, _)| (target.id, target)).collect();
        if !wanted.keys.is_empty() {
            let rows = sqlx::query(ANSWERS).bind(&wanted.keys).fetch_all(&mut *connection).await?;
            snapshot.answers = rows.iter().map(row::answer).collect::<Result<_, _>>()?;
        }
        if !accounts.is_empty() {
            let rows = sqlx::query(STANDINGS).bind(&accounts).fetch_all(connection).await?;
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
        let written = sqlx::query(WRITE_LINKS)
            .bind(column(links, |link| link.seq))
            .bind(column(links, |link| link.subject.as_str()))
            .bind(column(links, |link| link.hash.as_slice()))
            .execute(&mut *self.transaction)
            .await?;
        complete(written.rows_affected(), links.len())
    }

    /// Writes what was decided: transfers, their entries, the new balances, the holds and the answers.
    pub async fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        self.write_transfers(&changes.transfers).await?;
        self.write_entries(&changes.moved().collect::<Vec<_>>()).await?;
        self.write_pending_entries(&changes.held().collect::<Vec<_>>()).await?;
        self.write_balances(&changes.balances).await?;
        self.write_answers(&changes.answers().collect::<Vec<_>>()).await?;
        self.write_holds(changes).await
    }

    async fn write_transfers(&mut self, new: &[NewTransfer]) -> Result<(), StoreError> {
        let expires_at = |new: &NewTransfer| new.transfer.expires_at.map(Timestamp::as_microsecond);
        let written = sqlx::query(WRITE_TRANSFERS)
            .bind(column(new, |new| new.seq))
            .bind(column(new, |new| new.transfer.id))
            .bind(column(new, |new| new.transfer.description.as_str()))
            .bind(column(new, |new| new.transfer.effective_date.to_string()))
            .bind(column(new, |new| new.transfer.booked_at.as_microsecond()))
            .bind(column(new, |new| new.entry_id_first))
            .bind(column(new, |new| new.transfer.entries.len().try_into().unwrap_or(i64::MAX)))
            .bind(column(new, |new| new.transfer.kind.as_str()))
            .bind(column(new, |new| new.of_seq))
            .bind(column(new, expires_at))
            .execute(&mut *self.transaction)
            .await?;
        complete(written.rows_affected(), new.len())
    }

    async fn write_entries(
        &mut self,
        entries: &[(i64, i64, &PostedEntry)],
    ) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let written = sqlx::query(WRITE_ENTRIES)
            .bind(column(entries, |(id, ..)| *id))
            .bind(column(entries, |(_, seq, _)| *seq))
            .bind(column(entries, |(.., entry)| entry.account_id))
            .bind(column(entries, |(.., entry)| entry.after.entries))
            .bind(column(entries, |(.., entry)| entry.direction.as_str()))
            .bind(column(entries, |(.., entry)| entry.amount_minor))
            .bind(column(entries, |(.., entry)| entry.after.debits_minor))
            .bind(column(entries, |(.., entry)| entry.after.credits_minor))
            .execute(&mut *self.transaction)
            .await?;
        complete(written.rows_affected(), entries.len())
    }

    async fn write_pending_entries(
        &mut self,
        entries: &[(i64, i64, &PostedEntry)],
    ) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let written = sqlx::query(WRITE_PENDING_ENTRIES)
            .bind(column(entries, |(id, ..)| *id))
            .bind(column(entries, |(_, seq, _)| *seq))
            .bind(column(entries, |(.., entry)| entry.account_id))
            .bind(column(entries, |(.., entry)| entry.direction.as_str()))
            .bind(column(entries, |(.., entry)| entry.amount_minor))
            .execute(&mut *self.transaction)
            .await?;
        complete(written.rows_affected(), entries.len())
    }

    async fn write_balances(&mut self, new: &BTreeMap<i64, Balance>) -> Result<(), StoreError> {
        let new: Vec<(i64, Balance)> = new.iter().map(|(id, balance)| (*id, *balance)).collect();
        let written = sqlx::query(WRITE_BALANCES)
            .bind(column(&new, |(id, _)| *id))
            .bind(column(&new, |(_, balance)| balance.debits_minor))
            .bind(column(&new, |(_, balance)| balance.credits_minor))
            .bind(column(&new, |(_, balance)| balance.entries))
            .bind(column(&new, |(_, balance)| balance.pending_debits_minor))
            .bind(column(&new, |(_, balance)| balance.pending_credits_minor))
            .execute(&mut *self.transaction)
            .await?;
        complete(written.rows_affected(), new.len())
    }

    async fn write_answers(
        &mut self,
        new: &[(i64, &str, &StoredAnswer)],
    ) -> Result<(), StoreError> {
        let written = sqlx::query(WRITE_ANSWERS)
            .bind(column(new, |(_, key, _)| *key))
            .bind(column(new, |(.., stored)| stored.fingerprint.as_slice()))
            .bind(column(new, |(seq, ..)| *seq))
            .bind(column(new, |(.., stored)| i64::from(stored.answer.status)))
            .bind(column(new, |(.., stored)| &*stored.answer.body))
            .execute(&mut *self.transaction)
            .await?;
        complete(written.rows_affected(), new.len())
    }

    async fn write_holds(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let opened: Vec<(i64, Option<i64>)> = changes.opened().collect();
        if !opened.is_empty() {
            let written = sqlx::query(OPEN_HOLDS)
                .bind(column(&opened, |(seq, _)| *seq))
                .bind(column(&opened, |(_, expires_at)| *expires_at))
                .execute(&mut *self.transaction)
                .await?;
            complete(written.rows_affected(), opened.len())?;
        }
        let closed: Vec<i64> = changes.closed().collect();
        if !closed.is_empty() {
            let written =
                sqlx::query(CLOSE_HOLDS).bind(&closed).execute(&mut *self.transaction).await?;
            complete(written.rows_affected(), closed.len())?;
        }
        Ok(())
    }

    /// A write that changes nothing of the books; proves that the database can be written.
    pub async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE service SET probed_at_us = $1 WHERE id = 1")
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

/// One column of rows that go to the server as arrays.
fn column<'r, R, C>(rows: &'r [R], of: impl Fn(&'r R) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

fn complete(written: u64, expected: usize) -> Result<(), StoreError> {
    if written == expected as u64 {
        return Ok(());
    }
    Err(impossible("a batch", &format!("{written} rows instead of {expected}")))
}

const LAST: &str = "SELECT
     (SELECT coalesce(max(seq), 0) FROM transfers),
     (SELECT coalesce(max(id), 0) FROM entries),
     (SELECT coalesce(max(id), 0) FROM pending_entries),
     coalesce((SELECT booked_at_us FROM transfers ORDER BY seq DESC LIMIT 1), 0)";
const DUE: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind
     FROM holds AS h
     JOIN transfers AS t ON t.seq = h.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE h.expires_at_us <= $1 ORDER BY h.expires_at_us LIMIT $2";
const TARGETS: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind
     FROM unnest($1::uuid[]) AS wanted (id) JOIN transfers AS t ON t.id = wanted.id
     LEFT JOIN transfers AS f ON f.of_seq = t.seq";
const TARGET_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM unnest($1::bigint[]) AS wanted (id)
     JOIN entries AS e ON e.id = wanted.id
     JOIN accounts AS a ON a.id = e.account_id";
const TARGET_PENDING_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM unnest($1::bigint[]) AS wanted (id)
     JOIN pending_entries AS e ON e.id = wanted.id
     JOIN accounts AS a ON a.id = e.account_id";
const NEXT_EXPIRY: &str = "SELECT min(expires_at_us) FROM holds WHERE expires_at_us IS NOT NULL";
const HEAD: &str = "SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1";
const NEXT_LIMITS: &str = "SELECT coalesce(max(id), 0) + 1 FROM account_limits";
const WRITE_LIMITS: &str =
    "INSERT INTO account_limits (id, account_id, balance_min_minor, balance_max_minor, set_at_us)
     VALUES ($1, $2, $3, $4, $5)";
const WRITE_LINKS: &str = "INSERT INTO chain (seq, subject, hash)
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])";
const APPLY_LIMITS: &str =
    "UPDATE balances SET balance_min_minor = $1, balance_max_minor = $2 WHERE account_id = $3";
const ANSWERS: &str = "SELECT k.key, k.fingerprint, k.status::bigint, k.body, t.id
     FROM unnest($1::text[]) AS wanted (key)
     JOIN idempotency_keys AS k ON k.key = wanted.key
     JOIN transfers AS t ON t.seq = k.transfer_seq";
const STANDINGS: &str =
    "SELECT a.code, a.currency, c.scale::bigint, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor
     FROM unnest($1::text[]) AS wanted (code)
     JOIN accounts AS a ON a.code = wanted.code
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id";
const WRITE_TRANSFERS: &str = "INSERT INTO transfers
     (seq, id, description, effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us)
     SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::text[], $9::bigint[], $10::bigint[])";
const WRITE_ENTRIES: &str = "INSERT INTO entries
     (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[])";
const WRITE_PENDING_ENTRIES: &str =
    "INSERT INTO pending_entries (id, transfer_seq, account_id, direction, amount_minor)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[])";
const OPEN_HOLDS: &str = "INSERT INTO holds (transfer_seq, expires_at_us)
     SELECT * FROM unnest($1::bigint[], $2::bigint[])";
const CLOSE_HOLDS: &str = "DELETE FROM holds WHERE transfer_seq = ANY ($1::bigint[])";
const WRITE_BALANCES: &str = "UPDATE balances AS b
     SET debits_minor = new.debits_minor, credits_minor = new.credits_minor, entries = new.entries,
        pending_debits_minor = new.pending_debits_minor, pending_credits_minor = new.pending_credits_minor
     FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS new (account_id, debits_minor, credits_minor, entries, pending_debits_minor, pending_credits_minor)
     WHERE b.account_id = new.account_id";
const WRITE_ANSWERS: &str =
    "INSERT INTO idempotency_keys (key, fingerprint, transfer_seq, status, body)
     SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[])";
