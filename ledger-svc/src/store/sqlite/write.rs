//! Writing: one batch is one SQL transaction.
//!
//! Rows go through prepared INSERTs of many rows at a time: a round trip to the engine's thread costs more
//! than a row does.

use std::sync::{Arc, LazyLock};

use serde_json::json;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Connection, Sqlite, Transaction};
use uuid::Uuid;

use super::super::error::{StoreError, impossible};
use super::super::list::List;
use super::super::row::{self, Columns};
use super::super::table::{Cell, Clash, Rows, Table};
use super::fold::Folding;
use super::{ACCOUNT, Writer, connect};
use crate::account::{Account, AccountBody, CurrencyBody};

/// Rows of one INSERT. Few sizes, so that each table's statements stay prepared.
const ROWS_AT_ONCE: [usize; 6] = [512, 128, 32, 8, 2, 1];

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub struct Batch<'a> {
    transaction: Transaction<'a, Sqlite>,
    epoch: i64,
    folding: &'a Folding,
}

impl Writer {
    /// Reconnects after a failure.
    pub async fn ready(&mut self) -> Result<(), StoreError> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.path, &self.options, self.allow_unsafe).await?.0);
        }
        Ok(())
    }

    /// Begins a batch and takes the engine's write lock. Reconnects after a failure.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        self.ready().await?;
        let connection = self.connection.as_mut().expect("connected above");
        let transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Batch { transaction, epoch: self.epoch, folding: &self.folding })
    }

    /// Writes the log back into the database file and closes it.
    pub async fn close(mut self) -> Result<(), StoreError> {
        // The last connection that is closed takes the log away.
        if let Some(folding) = Arc::into_inner(self.folding) {
            folding.end().await;
        }
        if let Some(mut connection) = self.connection.take() {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
            connection.close().await?;
        }
        Ok(())
    }
}

super::super::alike::reads!("");

/// The statement that looks up a list.
pub fn look_up<'q>(list: List<'q>) -> Query<'q, Sqlite, SqliteArguments> {
    match list {
        List::Answers(keys) => sqlx::query(ANSWERS).bind(json!(keys).to_string()),
        List::Standings(codes) => sqlx::query(STANDINGS).bind(json!(codes).to_string()),
        List::Targets(ids) => {
            let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
            sqlx::query(TARGETS).bind(json!(ids).to_string())
        }
        List::Trails(ids) => sqlx::query(TRAILS).bind(json!(ids).to_string()),
        List::Entries(ids) => sqlx::query(TARGET_ENTRIES).bind(json!(ids).to_string()),
        List::PendingEntries(ids) => {
            sqlx::query(TARGET_PENDING_ENTRIES).bind(json!(ids).to_string())
        }
        List::Called(seqs) => sqlx::query(CALLED).bind(json!(seqs).to_string()),
        List::Due(until, most) => sqlx::query(DUE).bind(until).bind(most),
    }
}

/// A statement with what is bound to it.
pub struct Insert {
    sql: String,
    arguments: SqliteArguments,
    rows: u64,
}

/// The statements that write the rows.
pub fn inserts(tables: &[Rows<'_>]) -> Result<Vec<Insert>, StoreError> {
    let mut inserts = Vec::new();
    for rows in tables {
        let mut rest = rows.cells.as_slice();
        for count in ROWS_AT_ONCE {
            let size = count * rows.width();
            while rest.len() >= size {
                let (now, later) = rest.split_at(size);
                let (sql, arguments) = (insert(rows.table, count), arguments(now)?);
                inserts.push(Insert { sql, arguments, rows: count as u64 });
                rest = later;
            }
        }
    }
    Ok(inserts)
}

impl Batch<'_> {
    pub async fn run(&mut self, sql: String) -> Result<u64, StoreError> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        Ok(query.execute(&mut *self.transaction).await?.rows_affected())
    }

    pub async fn insert(&mut self, inserts: Vec<Insert>) -> Result<(), StoreError> {
        for Insert { sql, arguments, rows } in inserts {
            let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
            let written = query.execute(&mut *self.transaction).await?.rows_affected();
            if written != rows {
                let found = format!("{written} rows instead of {rows}");
                return Err(impossible("a batch", &found));
            }
        }
        Ok(())
    }

    pub async fn currency(&mut self, code: &str) -> Result<Option<CurrencyBody>, StoreError> {
        let query = sqlx::query("SELECT code, scale FROM currencies WHERE code = ?").bind(code);
        let row = query.fetch_optional(&mut *self.transaction).await?;
        row.as_ref().map(row::currency).transpose()
    }

    pub async fn insert_currency(&mut self, body: &CurrencyBody) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO currencies (code, scale) VALUES (?, ?)");
        query.bind(&body.code).bind(body.scale).execute(&mut *self.transaction).await?;
        Ok(())
    }

    pub async fn account(&mut self, code: &str) -> Result<Option<Account>, StoreError> {
        let row = sqlx::query(ACCOUNT).bind(code).fetch_optional(&mut *self.transaction).await?;
        row.as_ref().map(row::account).transpose()
    }

    pub async fn insert_account(
        &mut self,
        body: &AccountBody,
        created_at_us: i64,
    ) -> Result<(), StoreError> {
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO accounts (code, name, currency, normal_balance, created_at_us)
             VALUES (?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(&body.code)
        .bind(&body.name)
        .bind(&body.currency)
        .bind(body.normal_balance.as_str())
        .bind(created_at_us)
        .fetch_one(&mut *self.transaction)
        .await?;
        sqlx::query("INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (?, 0, 0, 0)")
            .bind(id)
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await?;
        self.folding.committed();
        Ok(())
    }
}

/// What is bound is freed by the engine's thread, which costs both more than its own memory does: texts are handed over
/// without a copy where they are shared already, and words that come again and again are kept.
fn arguments(cells: &[Cell<'_>]) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(cells.len(), 0);
    for cell in cells {
        let added = match cell {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Long(number) => arguments.add(*number),
            Cell::Text(text) => arguments.add(Arc::<str>::from(*text)),
            Cell::Word(word) => arguments.add(shared(word)),
            Cell::Plain(text) | Cell::Shared(text) => arguments.add(Arc::clone(text)),
            Cell::Bytes(bytes) => arguments.add(bytes.to_vec()),
            Cell::Uuid(id) => {
                let mut text = Uuid::encode_buffer();
                arguments.add(Arc::<str>::from(&*id.hyphenated().encode_lower(&mut text)))
            }
        };
        added.map_err(|error| StoreError::Engine(error.to_string()))?;
    }
    Ok(arguments)
}

/// The words of the two columns every entry and transfer has.
fn shared(word: &'static str) -> Arc<str> {
    static KEPT: LazyLock<[Arc<str>; 3]> =
        LazyLock::new(|| ["debit", "credit", "transfer"].map(Arc::from));
    KEPT.iter().find(|kept| ***kept == *word).map_or_else(|| word.into(), Arc::clone)
}

/// An INSERT of so many rows.
fn insert(table: &Table, count: usize) -> String {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let row = format!("({})", vec!["?"; columns.len()].join(","));
    let rows = vec![row.as_str(); count].join(",");
    let mut sql = format!("INSERT INTO {} ({}) VALUES {rows}", table.name, columns.join(","));
    let (keys, rest) = columns.split_at(table.keys);
    let set = |column: &&str| match table.clash {
        Clash::Adds => format!("{column}={}.{column}+excluded.{column}", table.name),
        Clash::Fails | Clash::Replaces => format!("{column}=excluded.{column}"),
    };
    if table.clash != Clash::Fails {
        let set: Vec<String> = rest.iter().map(set).collect();
        sql.push_str(&format!(" ON CONFLICT ({}) DO UPDATE SET {}", keys.join(","), set.join(",")));
    }
    sql
}

#[cfg(test)]
pub const LOOK_UPS: &[&str] =
    &[DUE, TRAILS, TARGETS, TARGET_ENTRIES, TARGET_PENDING_ENTRIES, CALLED, ANSWERS, STANDINGS];

const DUE: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind,
        t.effective_date, t.booked_at_us, NULL
     FROM holds AS h
     JOIN transfers AS t ON t.seq = h.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE h.expires_at_us <= ? ORDER BY h.expires_at_us LIMIT ?";
const TARGETS: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind,
        t.effective_date, t.booked_at_us, o.id
     FROM json_each(?) AS wanted JOIN transfers AS t ON t.id = wanted.value
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     LEFT JOIN transfers AS o ON o.seq = t.of_seq";
const TRAILS: &str = "WITH RECURSIVE way (account_id, number, id, jump_id) AS (
        SELECT e.account_id, e.number, e.id, e.jump_id
        FROM json_each(?) AS wanted JOIN entries AS e ON e.id = wanted.value
        UNION ALL SELECT e.account_id, e.number, e.id, e.jump_id
        FROM way AS w JOIN entries AS e ON e.id = w.jump_id AND e.number < w.number)
     SELECT account_id, number, id FROM way";
const TARGET_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM json_each(?) AS wanted JOIN entries AS e ON e.id = wanted.value JOIN accounts AS a ON a.id = e.account_id";
const TARGET_PENDING_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM json_each(?) AS wanted JOIN pending_entries AS e ON e.id = wanted.value JOIN accounts AS a ON a.id = e.account_id";
const CALLED: &str = "SELECT m.transfer_seq, m.name, m.value
     FROM json_each(?) AS wanted JOIN transfer_metadata AS m ON m.transfer_seq = wanted.value";
const ANSWERS: &str = "SELECT t.key, t.fingerprint, 201, NULL, t.id
     FROM json_each(?1) AS wanted
     JOIN transfers AS t ON t.key = wanted.value
     UNION ALL SELECT k.key, k.fingerprint, k.status, k.body, t.id
     FROM json_each(?1) AS wanted
     JOIN idempotency_keys AS k ON k.key = wanted.value
     JOIN transfers AS t ON t.seq = k.transfer_seq";
const STANDINGS: &str = "SELECT a.code, a.currency, c.scale, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor, b.last_entry_id
     FROM json_each(?) AS wanted
     JOIN accounts AS a ON a.code = wanted.value
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id";
