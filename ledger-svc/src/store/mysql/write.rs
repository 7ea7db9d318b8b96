//! Writing: one batch is one SQL transaction.
//!
//! A batch goes through one statement per table: the rows travel as one JSON parameter, because a
//! statement per row costs a round trip each, and a multi-row INSERT a statement text of its own for
//! every number of rows.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Connection, MySql, MySqlConnection, Transaction};

use super::super::gather::{DUE_MAX, accounts_of, entry_ids, fill};
use super::super::row::{self, Columns as _};
use super::super::{Created, StoreError, impossible};
use super::{ACCOUNT, Writer};
use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{Changes, Snapshot, Wanted};
use crate::chain::{LimitsRow, Link};
use crate::posting::{Accounts, Limits};
use crate::report::Account;

/// A parameter is closed at this size, far below what a server takes in one packet.
const PARAMETER_BYTES_MAX: usize = 4 << 20;

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub struct Batch<'a> {
    transaction: Transaction<'a, MySql>,
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
        if let Some(scale) = scale(connection, &body.code).await? {
            let existing = CurrencyBody { code: body.code.clone(), scale };
            return Ok(if existing == *body {
                Created::Existing(existing)
            } else {
                Created::Conflict(existing)
            });
        }
        sqlx::query("INSERT INTO currencies (code, scale) VALUES (?, ?)")
            .bind(&body.code)
            .bind(i64::from(body.scale))
            .execute(connection)
            .await?;
        Ok(Created::New(body.clone()))
    }

    pub async fn create_account(
        &mut self,
        body: &AccountBody,
        now: Timestamp,
    ) -> Result<Created<Account>, StoreError> {
        let connection = &mut *self.transaction;
        if scale(connection, &body.currency).await?.is_none() {
            return Ok(Created::UnknownCurrency);
        }
        let existing =
            sqlx::query(ACCOUNT).bind(&body.code).fetch_optional(&mut *connection).await?;
        if let Some(row) = existing {
            let account = row::account(&row)?;
            let same = account.name == body.name
                && account.currency == body.currency
                && account.normal_balance == body.normal_balance;
            return Ok(if same { Created::Existing(account) } else { Created::Conflict(account) });
        }
        let id = sqlx::query(
            "INSERT INTO accounts (code, name, currency, normal_balance, created_at_us)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&body.code)
        .bind(&body.name)
        .bind(&body.currency)
        .bind(body.normal_balance.as_str())
        .bind(now.as_microsecond())
        .execute(&mut *connection)
        .await?
        .last_insert_id();
        sqlx::query("INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (?, 0, 0, 0)")
            .bind(id)
            .execute(&mut *connection)
            .await?;
        let row = sqlx::query(ACCOUNT).bind(&body.code).fetch_one(connection).await?;
        Ok(Created::New(row::account(&row)?))
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
            let rows = sqlx::query(TARGETS)
                .bind(
                    json!(
                        wanted.targets.iter().map(|id| id.simple().to_string()).collect::<Vec<_>>()
                    )
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
        let mut rows = Rows::new();
        for link in links {
            rows.push(&json!([link.seq, link.subject, row::hex(&link.hash)]));
        }
        self.write_rows(WRITE_LINKS, rows).await
    }

    /// Writes what was decided: transfers, their entries, the new balances, the holds and the answers.
    pub async fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let (mut transfers, mut entries, mut pending) = (Rows::new(), Rows::new(), Rows::new());
        for new in &changes.transfers {
            let transfer = &new.transfer;
            transfers.push(&json!([
                new.seq,
                transfer.id.simple().to_string(),
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
            entries.push(&json!([
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
            pending.push(&json!([id, seq, account, direction, entry.amount_minor]));
        }
        let (mut balances, mut answers) = (Rows::new(), Rows::new());
        for (id, balance) in &changes.balances {
            balances.push(&json!([
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
            answers.push(&json!([key, fingerprint, seq, answer.status, &*answer.body]));
        }
        let (mut opened, mut closed) = (Rows::new(), Rows::new());
        changes.opened().for_each(|hold| opened.push(&json!(hold)));
        changes.closed().for_each(|seq| closed.push(&json!([seq])));
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

    async fn write_rows(&mut self, statement: &'static str, rows: Rows) -> Result<(), StoreError> {
        let (expected, mut written) = (rows.count, 0);
        for parameter in rows.parameters() {
            written += sqlx::query(statement)
                .bind(parameter)
                .execute(&mut *self.transaction)
                .await?
                .rows_affected();
        }
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

async fn scale(connection: &mut MySqlConnection, code: &str) -> Result<Option<u8>, StoreError> {
    let row = sqlx::query("SELECT scale FROM currencies WHERE code = ?")
        .bind(code)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.small(0)).transpose()
}

/// Rows as JSON arrays of bounded size.
struct Rows {
    parameters: Vec<String>,
    count: u64,
}

impl Rows {
    fn new() -> Self {
        Self { parameters: Vec::new(), count: 0 }
    }

    fn push(&mut self, row: &Value) {
        let row = row.to_string();
        match self.parameters.last_mut() {
            Some(open) if open.len() + row.len() < PARAMETER_BYTES_MAX => {
                open.push(',');
                open.push_str(&row);
            }
            _ => self.parameters.push(format!("[{row}")),
        }
        self.count += 1;
    }

    fn parameters(self) -> impl Iterator<Item = String> {
        self.parameters.into_iter().map(|open| open + "]")
    }
}

const LAST: &str = "SELECT
     (SELECT coalesce(max(seq), 0) FROM transfers),
     (SELECT coalesce(max(id), 0) FROM entries),
     (SELECT coalesce(max(id), 0) FROM pending_entries),
     coalesce((SELECT booked_at_us FROM transfers ORDER BY seq DESC LIMIT 1), 0)";
const DUE: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind
     FROM holds AS h
     STRAIGHT_JOIN transfers AS t ON t.seq = h.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE h.expires_at_us <= ? ORDER BY h.expires_at_us LIMIT ?";
const TARGETS: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind
     FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN transfers AS t ON t.id = UNHEX(wanted.id)
     LEFT JOIN transfers AS f ON f.of_seq = t.seq";
const TARGET_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS wanted
     STRAIGHT_JOIN entries AS e ON e.id = wanted.id
     STRAIGHT_JOIN accounts AS a ON a.id = e.account_id";
const TARGET_PENDING_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS wanted
     STRAIGHT_JOIN pending_entries AS e ON e.id = wanted.id
     STRAIGHT_JOIN accounts AS a ON a.id = e.account_id";
const NEXT_EXPIRY: &str = "SELECT min(expires_at_us) FROM holds WHERE expires_at_us IS NOT NULL";
const HEAD: &str = "SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1";
const NEXT_LIMITS: &str = "SELECT coalesce(max(id), 0) + 1 FROM account_limits";
const WRITE_LIMITS: &str =
    "INSERT INTO account_limits (id, account_id, balance_min_minor, balance_max_minor, set_at_us)
     VALUES (?, ?, ?, ?, ?)";
const WRITE_LINKS: &str = "INSERT INTO chain (seq, subject, hash)
     SELECT seq, subject, UNHEX(hash) FROM JSON_TABLE(?, '$[*]' COLUMNS (
        seq BIGINT PATH '$[0]', subject VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]', hash VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[2]')) AS new";
const APPLY_LIMITS: &str =
    "UPDATE balances SET balance_min_minor = ?, balance_max_minor = ? WHERE account_id = ?";
/// STRAIGHT_JOIN keeps the optimiser at looking up what is wanted, whatever it thinks of the sizes.
/// Here and below JSON_TABLE is told the character set, or it would take the database's default and put
/// a question mark for every character that lacks.
const ANSWERS: &str = "SELECT k.`key`, k.fingerprint, k.status, k.body, t.id
     FROM JSON_TABLE(?, '$[*]' COLUMNS (`key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN idempotency_keys AS k ON k.`key` = wanted.`key`
     STRAIGHT_JOIN transfers AS t ON t.seq = k.transfer_seq";
const STANDINGS: &str =
    "SELECT a.code, a.currency, c.scale, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (code VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN accounts AS a ON a.code = wanted.code
     STRAIGHT_JOIN currencies AS c ON c.code = a.currency
     STRAIGHT_JOIN balances AS b ON b.account_id = a.id";
const WRITE_TRANSFERS: &str = "INSERT INTO transfers
     (seq, id, description, effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us)
     SELECT seq, UNHEX(id), description, effective_date, booked_at_us, entry_id_first, entries, kind, of_seq, expires_at_us
     FROM JSON_TABLE(?, '$[*]' COLUMNS (
        seq BIGINT PATH '$[0]', id VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]', description VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[2]',
        effective_date VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[3]', booked_at_us BIGINT PATH '$[4]',
        entry_id_first BIGINT PATH '$[5]', entries BIGINT PATH '$[6]', kind VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[7]',
        of_seq BIGINT PATH '$[8]', expires_at_us BIGINT PATH '$[9]')) AS new";
const WRITE_ENTRIES: &str = "INSERT INTO entries
     (id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor)
     SELECT id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (
        id BIGINT PATH '$[0]', transfer_seq BIGINT PATH '$[1]', account_id BIGINT PATH '$[2]',
        number BIGINT PATH '$[3]', direction VARCHAR(6) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[4]', amount_minor BIGINT PATH '$[5]',
        debits_after_minor BIGINT PATH '$[6]', credits_after_minor BIGINT PATH '$[7]')) AS new";
const WRITE_PENDING_ENTRIES: &str = "INSERT INTO pending_entries
     (id, transfer_seq, account_id, direction, amount_minor)
     SELECT id, transfer_seq, account_id, direction, amount_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (
        id BIGINT PATH '$[0]', transfer_seq BIGINT PATH '$[1]', account_id BIGINT PATH '$[2]',
        direction VARCHAR(6) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[3]', amount_minor BIGINT PATH '$[4]')) AS new";
const OPEN_HOLDS: &str = "INSERT INTO holds (transfer_seq, expires_at_us)
     SELECT transfer_seq, expires_at_us FROM JSON_TABLE(?, '$[*]' COLUMNS (
        transfer_seq BIGINT PATH '$[0]', expires_at_us BIGINT PATH '$[1]')) AS new";
const CLOSE_HOLDS: &str =
    "DELETE h FROM JSON_TABLE(?, '$[*]' COLUMNS (transfer_seq BIGINT PATH '$[0]')) AS old
     STRAIGHT_JOIN holds AS h ON h.transfer_seq = old.transfer_seq";
const WRITE_BALANCES: &str = "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
        account_id BIGINT PATH '$[0]', debits_minor BIGINT PATH '$[1]',
        credits_minor BIGINT PATH '$[2]', entries BIGINT PATH '$[3]',
        pending_debits_minor BIGINT PATH '$[4]', pending_credits_minor BIGINT PATH '$[5]')) AS new
     STRAIGHT_JOIN balances AS b ON b.account_id = new.account_id
     SET b.debits_minor = new.debits_minor, b.credits_minor = new.credits_minor, b.entries = new.entries,
        b.pending_debits_minor = new.pending_debits_minor, b.pending_credits_minor = new.pending_credits_minor";
const WRITE_ANSWERS: &str =
    "INSERT INTO idempotency_keys (`key`, fingerprint, transfer_seq, status, body)
     SELECT new.`key`, UNHEX(new.fingerprint), new.transfer_seq, new.status, new.body
     FROM JSON_TABLE(?, '$[*]' COLUMNS (
        `key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[0]', fingerprint VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]',
        transfer_seq BIGINT PATH '$[2]', status SMALLINT PATH '$[3]', body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[4]')) AS new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_bounded_and_lose_nothing() {
        let mut rows = Rows::new();
        for index in 0..100 {
            rows.push(&json!([index, "x".repeat(100_000)]));
        }
        let parameters: Vec<String> = rows.parameters().collect();
        assert_eq!(parameters.len(), 3);
        let mut seen = Vec::new();
        for parameter in &parameters {
            assert!(parameter.len() <= PARAMETER_BYTES_MAX);
            let rows: Vec<Value> = serde_json::from_str(parameter).unwrap();
            seen.extend(rows.iter().map(|row| row[0].as_u64().unwrap()));
        }
        assert_eq!(seen, Vec::from_iter(0..100));
    }
}
