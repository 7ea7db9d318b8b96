//! Writing: one batch is one SQL transaction.
//!
//! A batch goes through one statement per table: each column travels as one array, because a
//! statement per row costs a round trip each. What is inserted is unnested column by column, which makes rows as they are
//! needed; a function in FROM would put every column aside first.

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Arguments as _, AssertSqlSafe, Connection, Postgres, Transaction};
use uuid::Uuid;

use super::super::error::{StoreError, impossible};
use super::super::list::List;
use super::super::row::{self, Columns};
use super::super::table::{Cell, Clash, Rows, Sort, Table};
use super::{ACCOUNT, Writer};
use crate::account::{Account, AccountBody, CurrencyBody};

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub struct Batch<'a> {
    transaction: Transaction<'a, Postgres>,
    epoch: i64,
}

impl Writer {
    /// Reconnects after a failure.
    pub async fn ready(&mut self) -> Result<(), StoreError> {
        if self.connection.is_none() {
            self.reconnect().await?;
        }
        Ok(())
    }

    /// Begins a batch. Reconnects after a failure.
    pub async fn begin(&mut self) -> Result<Batch<'_>, StoreError> {
        self.ready().await?;
        let connection = self.connection.as_mut().expect("connected above");
        Ok(Batch { transaction: connection.begin().await?, epoch: self.epoch })
    }

    /// Ends the connection and with it the lock.
    pub async fn close(self) -> Result<(), StoreError> {
        if let Some(connection) = self.connection {
            connection.close().await?;
        }
        Ok(())
    }
}

super::super::alike::reads!(" FOR UPDATE");

/// The statement that looks up a list.
pub fn look_up<'q>(list: List<'q>) -> Query<'q, Postgres, PgArguments> {
    match list {
        List::Answers(keys) => sqlx::query(ANSWERS).bind(keys),
        List::Standings(codes) => sqlx::query(STANDINGS).bind(codes),
        List::Targets(ids) => sqlx::query(TARGETS).bind(ids),
        List::Trails(ids) => sqlx::query(TRAILS).bind(ids),
        List::Entries(ids) => sqlx::query(TARGET_ENTRIES).bind(ids),
        List::PendingEntries(ids) => sqlx::query(TARGET_PENDING_ENTRIES).bind(ids),
        List::Called(seqs) => sqlx::query(CALLED).bind(seqs),
        List::Due(until, most) => sqlx::query(DUE).bind(until).bind(most),
    }
}

/// A statement with what is bound to it.
pub struct Insert {
    sql: String,
    arguments: PgArguments,
    rows: u64,
}

/// The statements that write the rows: one for each table.
pub fn inserts(tables: &[Rows<'_>]) -> Result<Vec<Insert>, StoreError> {
    let insert = |rows: &Rows<'_>| {
        let mut arguments = PgArguments::default();
        for (place, (_, sort)) in rows.table.columns.iter().enumerate() {
            let bound = bind(&mut arguments, rows, place, *sort);
            bound.map_err(|error| StoreError::Engine(error.to_string()))?;
        }
        Ok(Insert { sql: statement(rows.table), arguments, rows: rows.count() as u64 })
    };
    tables.iter().map(insert).collect()
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
        let row = sqlx::query("SELECT code, scale FROM currencies WHERE code = $1")
            .bind(code)
            .fetch_optional(&mut *self.transaction)
            .await?;
        row.as_ref().map(row::currency).transpose()
    }

    pub async fn insert_currency(&mut self, body: &CurrencyBody) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO currencies (code, scale) VALUES ($1, $2)")
            .bind(&body.code)
            .bind(i16::from(body.scale))
            .execute(&mut *self.transaction)
            .await?;
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
             VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(&body.code)
        .bind(&body.name)
        .bind(&body.currency)
        .bind(body.normal_balance.as_str())
        .bind(created_at_us)
        .fetch_one(&mut *self.transaction)
        .await?;
        sqlx::query("INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES ($1, 0, 0, 0)")
            .bind(id)
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

/// The statement that writes rows given as an array for each column.
fn statement(table: &Table) -> String {
    let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let arrays: Vec<String> = (1..)
        .zip(table.columns)
        .map(|(number, (_, sort))| {
            let sort = match sort {
                Sort::Long => "bigint",
                Sort::Text => "text",
                Sort::Bytes => "bytea",
                Sort::Uuid => "uuid",
            };
            format!("${number}::{sort}[]")
        })
        .collect();
    let (name, arrays) = (table.name, arrays.join(", "));
    let (keys, rest) = columns.split_at(table.keys);
    let unnested = arrays.replace(", ", "), unnest(");
    let insert = format!("INSERT INTO {name} ({}) SELECT unnest({unnested})", columns.join(", "));
    match table.clash {
        Clash::Fails => insert,
        Clash::Adds => {
            let add = |column: &&str| format!("{column} = {name}.{column} + excluded.{column}");
            let set: Vec<String> = rest.iter().map(add).collect();
            format!("{insert} ON CONFLICT ({}) DO UPDATE SET {}", keys.join(", "), set.join(", "))
        }
        // They are there: looking them up is cheaper than trying to insert first.
        Clash::Replaces => {
            let set: Vec<String> =
                rest.iter().map(|column| format!("{column} = new.{column}")).collect();
            let key = keys[0];
            format!(
                "UPDATE {name} AS old SET {} FROM unnest({arrays}) AS new ({}) WHERE old.{key} = new.{key}",
                set.join(", "),
                columns.join(", ")
            )
        }
    }
}

/// One column as an array.
fn bind(
    arguments: &mut PgArguments,
    rows: &Rows<'_>,
    place: usize,
    sort: Sort,
) -> Result<(), BoxDynError> {
    let cells = rows.cells.iter().skip(place).step_by(rows.width());
    match sort {
        Sort::Long => arguments.add(
            cells
                .map(|cell| match cell {
                    Cell::Long(number) => Some(*number),
                    _ => None,
                })
                .collect::<Vec<Option<i64>>>(),
        ),
        Sort::Text => arguments.add(
            cells
                .map(|cell| match cell {
                    Cell::Text(text) | Cell::Word(text) => Some(*text),
                    Cell::Plain(text) | Cell::Shared(text) => Some(&**text),
                    _ => None,
                })
                .collect::<Vec<Option<&str>>>(),
        ),
        Sort::Bytes => arguments.add(
            cells
                .map(|cell| match cell {
                    Cell::Bytes(bytes) => Some(*bytes),
                    _ => None,
                })
                .collect::<Vec<Option<&[u8]>>>(),
        ),
        Sort::Uuid => arguments.add(
            cells
                .map(|cell| match cell {
                    Cell::Uuid(id) => Some(*id),
                    _ => None,
                })
                .collect::<Vec<Option<Uuid>>>(),
        ),
    }
}

const DUE: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind,
        t.effective_date, t.booked_at_us, NULL
     FROM holds AS h
     JOIN transfers AS t ON t.seq = h.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE h.expires_at_us <= $1 ORDER BY h.expires_at_us LIMIT $2";
const TARGETS: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind,
        t.effective_date, t.booked_at_us, o.id
     FROM unnest($1::uuid[]) AS wanted (id) JOIN transfers AS t ON t.id = wanted.id
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     LEFT JOIN transfers AS o ON o.seq = t.of_seq";
const TRAILS: &str = "WITH RECURSIVE way (account_id, number, id, jump_id) AS (
        SELECT e.account_id, e.number, e.id, e.jump_id
        FROM unnest($1::bigint[]) AS wanted (id) JOIN entries AS e ON e.id = wanted.id
        UNION ALL SELECT e.account_id, e.number, e.id, e.jump_id
        FROM way AS w JOIN entries AS e ON e.id = w.jump_id AND e.number < w.number)
     SELECT account_id, number, id FROM way";
const TARGET_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM unnest($1::bigint[]) AS wanted (id)
     JOIN entries AS e ON e.id = wanted.id
     JOIN accounts AS a ON a.id = e.account_id";
const TARGET_PENDING_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM unnest($1::bigint[]) AS wanted (id)
     JOIN pending_entries AS e ON e.id = wanted.id
     JOIN accounts AS a ON a.id = e.account_id";
const CALLED: &str = "SELECT m.transfer_seq, m.name, m.value
     FROM unnest($1::bigint[]) AS wanted (seq)
     JOIN transfer_metadata AS m ON m.transfer_seq = wanted.seq";
const ANSWERS: &str = "SELECT t.key, t.fingerprint, 201::smallint, NULL::text, t.id
     FROM unnest($1::text[]) AS wanted (key)
     JOIN transfers AS t ON t.key = wanted.key
     UNION ALL SELECT k.key, k.fingerprint, k.status, k.body, t.id
     FROM unnest($1::text[]) AS wanted (key)
     JOIN idempotency_keys AS k ON k.key = wanted.key
     JOIN transfers AS t ON t.seq = k.transfer_seq";
const STANDINGS: &str =
    "SELECT a.code, a.currency, c.scale, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor, b.last_entry_id
     FROM unnest($1::text[]) AS wanted (code)
     JOIN accounts AS a ON a.code = wanted.code
     JOIN currencies AS c ON c.code = a.currency
     JOIN balances AS b ON b.account_id = a.id";
