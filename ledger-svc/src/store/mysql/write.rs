//! Writing: one batch is one SQL transaction.
//!
//! All the rows of a batch go to the server as one text of several INSERTs: one round trip, and no
//! statement to prepare for every number of rows. Nothing in it needs escaping: what comes from outside is
//! written in hexadecimal, unless it is letters, digits and the like. To MariaDB a row is one value ([`packed`]).

use std::fmt::Write as _;

use serde_json::json;
use sqlx::mysql::MySqlArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, MySql, Transaction};

use super::super::error::{StoreError, impossible};
use super::super::list::List;
use super::super::row::{self, Columns};
use super::super::table::{Cell, Clash, Rows, Sort, Table};
use super::{ACCOUNT, Dialect, Writer, packed};
use crate::account::{Account, AccountBody, CurrencyBody};

/// A text is closed at this size, far below what a server takes in one packet.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// One SQL transaction of the writer. Dropped without `commit`, it is rolled back.
pub struct Batch<'a> {
    transaction: Transaction<'a, MySql>,
    epoch: i64,
    dialect: Dialect,
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
        let transaction = connection.begin().await?;
        Ok(Batch { transaction, epoch: self.epoch, dialect: self.dialect })
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
pub fn look_up<'q>(list: List<'q>) -> Query<'q, MySql, MySqlArguments> {
    match list {
        List::Answers(keys) => {
            let keys = json!(keys).to_string();
            sqlx::query(ANSWERS).bind(keys.clone()).bind(keys)
        }
        List::Standings(codes) => sqlx::query(STANDINGS).bind(json!(codes).to_string()),
        List::Targets(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
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

/// What writes some rows, and how many rows the server must say it changed.
pub struct Inserts {
    texts: Vec<String>,
    least: u64,
    most: u64,
}

/// The texts that write the rows.
pub fn inserts(dialect: Dialect, tables: &[Rows<'_>]) -> Inserts {
    // A row that is replaced counts twice, or once when it says the same as before.
    let least: u64 = tables.iter().map(|rows| rows.count() as u64).sum();
    let replaced = tables.iter().filter(|rows| rows.table.clash != Clash::Fails);
    let most = least + replaced.map(|rows| rows.count() as u64).sum::<u64>();
    Inserts { texts: texts(dialect, tables), least, most }
}

impl Batch<'_> {
    pub async fn run(&mut self, sql: String) -> Result<u64, StoreError> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        Ok(query.execute(&mut *self.transaction).await?.rows_affected())
    }

    pub fn inserts_of(&self, tables: &[Rows<'_>]) -> Inserts {
        inserts(self.dialect, tables)
    }

    pub async fn insert(&mut self, inserts: Inserts) -> Result<(), StoreError> {
        let Inserts { texts, least, most } = inserts;
        let mut written = 0;
        for text in texts {
            written += self.run(text).await?;
        }
        if (least..=most).contains(&written) {
            return Ok(());
        }
        Err(impossible("a batch", &format!("{written} rows instead of {least}")))
    }

    pub async fn currency(&mut self, code: &str) -> Result<Option<CurrencyBody>, StoreError> {
        let query = sqlx::query("SELECT code, scale FROM currencies WHERE code = ?").bind(code);
        let row = query.fetch_optional(&mut *self.transaction).await?;
        row.as_ref().map(row::currency).transpose()
    }

    pub async fn insert_currency(&mut self, body: &CurrencyBody) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO currencies (code, scale) VALUES (?, ?)")
            .bind(&body.code)
            .bind(i64::from(body.scale))
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
        let id = sqlx::query(
            "INSERT INTO accounts (code, name, currency, normal_balance, created_at_us)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&body.code)
        .bind(&body.name)
        .bind(&body.currency)
        .bind(body.normal_balance.as_str())
        .bind(created_at_us)
        .execute(&mut *self.transaction)
        .await?
        .last_insert_id();
        sqlx::query("INSERT INTO balances (account_id, debits_minor, credits_minor, entries) VALUES (?, 0, 0, 0)")
            .bind(id)
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

/// INSERTs of all the rows, as texts of bounded size.
fn texts(dialect: Dialect, tables: &[Rows<'_>]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = String::new();
    for rows in tables {
        let mut left = rows.cells.as_slice();
        let mut packs = dialect == Dialect::MariaDb;
        while packs {
            let done = packed::push(&mut text, rows.table, left);
            left = &left[done..];
            packs = done > 0;
            if text.len() >= TEXT_BYTES_MAX {
                texts.push(std::mem::take(&mut text));
            }
        }
        for (index, row) in left.chunks(rows.width()).enumerate() {
            let full = text.len() >= TEXT_BYTES_MAX;
            if full {
                if index > 0 {
                    close(&mut text, rows.table);
                }
                texts.push(std::mem::take(&mut text));
            }
            if index == 0 || full {
                open(&mut text, rows.table);
            } else {
                text.push(',');
            }
            for (place, cell) in row.iter().enumerate() {
                text.push(if place == 0 { '(' } else { ',' });
                literal(&mut text, cell);
            }
            text.push(')');
        }
        if !left.is_empty() {
            close(&mut text, rows.table);
        }
    }
    if !text.is_empty() {
        texts.push(text);
    }
    texts
}

fn open(text: &mut String, table: &Table) {
    let _ = write!(text, "INSERT INTO {} ({}) VALUES ", table.name, columns(table));
}

/// The columns of a table, as a statement lists them.
pub fn columns(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| format!("`{name}`")).collect();
    columns.join(",")
}

fn close(text: &mut String, table: &Table) {
    let set = |(name, _): &(&str, Sort)| match table.clash {
        Clash::Adds => format!("{name}={name}+VALUES({name})"),
        Clash::Fails | Clash::Replaces => format!("{name}=VALUES({name})"),
    };
    if table.clash != Clash::Fails {
        let set: Vec<String> = table.columns[table.keys..].iter().map(set).collect();
        let _ = write!(text, " ON DUPLICATE KEY UPDATE {}", set.join(","));
    }
    text.push(';');
}

/// What means nothing but itself between quotes, whatever the mode of the server.
fn is_harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" -_.,:/".contains(&byte)
}

pub fn literal(text: &mut String, cell: &Cell<'_>) {
    let _ = match cell {
        Cell::Null => write!(text, "NULL"),
        Cell::Long(number) => write!(text, "{number}"),
        Cell::Plain(word) => write!(text, "'{word}'"),
        Cell::Word(word) => write!(text, "'{word}'"),
        Cell::Text(said) => return said_literal(text, said),
        Cell::Shared(said) => return said_literal(text, said),
        Cell::Bytes(bytes) => return bytes_literal(text, bytes),
        Cell::Uuid(id) => return bytes_literal(text, id.as_bytes()),
    };
}

fn said_literal(text: &mut String, said: &str) {
    if said.bytes().all(is_harmless) {
        text.push('\'');
        text.push_str(said);
        text.push('\'');
    } else {
        text.push_str("_utf8mb4 ");
        bytes_literal(text, said.as_bytes());
    }
}

fn bytes_literal(text: &mut String, bytes: &[u8]) {
    text.push_str("x'");
    row::push_hex(text, bytes);
    text.push('\'');
}

const DUE: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind,
        t.effective_date, t.booked_at_us, NULL
     FROM holds AS h
     STRAIGHT_JOIN transfers AS t ON t.seq = h.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     WHERE h.expires_at_us <= ? ORDER BY h.expires_at_us LIMIT ?";
const TARGETS: &str = "SELECT t.seq, t.id, t.kind, t.description, t.expires_at_us, t.entry_id_first, t.entries, f.id, f.kind,
        t.effective_date, t.booked_at_us, o.id
     FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN transfers AS t ON t.id = UNHEX(wanted.id)
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     LEFT JOIN transfers AS o ON o.seq = t.of_seq";
const TRAILS: &str = "WITH RECURSIVE way (account_id, number, id, jump_id) AS (
        SELECT e.account_id, e.number, e.id, e.jump_id
        FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS wanted
        STRAIGHT_JOIN entries AS e ON e.id = wanted.id
        UNION ALL SELECT e.account_id, e.number, e.id, e.jump_id
        FROM way AS w STRAIGHT_JOIN entries AS e ON e.id = w.jump_id AND e.number < w.number)
     SELECT account_id, number, id FROM way";
const TARGET_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS wanted
     STRAIGHT_JOIN entries AS e ON e.id = wanted.id
     STRAIGHT_JOIN accounts AS a ON a.id = e.account_id";
const TARGET_PENDING_ENTRIES: &str = "SELECT e.id, a.code, e.direction, e.amount_minor
     FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS wanted
     STRAIGHT_JOIN pending_entries AS e ON e.id = wanted.id
     STRAIGHT_JOIN accounts AS a ON a.id = e.account_id";
const CALLED: &str = "SELECT m.transfer_seq, m.name, m.value
     FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS wanted
     STRAIGHT_JOIN transfer_metadata AS m ON m.transfer_seq = wanted.seq";
/// STRAIGHT_JOIN keeps the optimiser at looking up what is wanted, whatever it thinks of the sizes.
/// JSON_TABLE is told the character set, or it would take the database's default and put a question mark
/// for every character that lacks.
const ANSWERS: &str = "SELECT t.`key`, t.fingerprint, 201, NULL, t.id
     FROM JSON_TABLE(?, '$[*]' COLUMNS (`key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN transfers AS t ON t.`key` = wanted.`key`
     UNION ALL SELECT k.`key`, k.fingerprint, k.status, k.body, t.id
     FROM JSON_TABLE(?, '$[*]' COLUMNS (`key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN idempotency_keys AS k ON k.`key` = wanted.`key`
     STRAIGHT_JOIN transfers AS t ON t.seq = k.transfer_seq";
const STANDINGS: &str =
    "SELECT a.code, a.currency, c.scale, a.normal_balance, a.id, b.debits_minor, b.credits_minor, b.entries,
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor, b.last_entry_id
     FROM JSON_TABLE(?, '$[*]' COLUMNS (code VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) AS wanted
     STRAIGHT_JOIN accounts AS a ON a.code = wanted.code
     STRAIGHT_JOIN currencies AS c ON c.code = a.currency
     STRAIGHT_JOIN balances AS b ON b.account_id = a.id";

#[cfg(test)]
mod tests {
    use super::*;

    static KEPT: Table = Table {
        name: "t",
        columns: &[("key", Sort::Long), ("said", Sort::Text)],
        keys: 1,
        clash: Clash::Fails,
    };
    static REPLACED: Table = Table {
        name: "u",
        columns: &[("a", Sort::Long), ("b", Sort::Bytes)],
        keys: 1,
        clash: Clash::Replaces,
    };
    static ADDED: Table = Table {
        name: "v",
        columns: &[("a", Sort::Long), ("b", Sort::Long), ("c", Sort::Long)],
        keys: 2,
        clash: Clash::Adds,
    };

    #[test]
    fn nothing_from_outside_is_a_quote() {
        let cells = vec![Cell::Long(-7), Cell::Text("o'é"), Cell::Null, Cell::Text("a:b-1 c")];
        let kept = Rows { table: &KEPT, cells };
        let replaced =
            Rows { table: &REPLACED, cells: vec![Cell::Long(1), Cell::Bytes(&[0, 255])] };
        let added = Rows { table: &ADDED, cells: [1, 2, 3].map(Cell::Long).to_vec() };
        assert_eq!(
            texts(Dialect::MySql, &[kept, replaced, added]),
            ["INSERT INTO t (`key`,`said`) VALUES (-7,_utf8mb4 x'6f27c3a9'),(NULL,'a:b-1 c');\
              INSERT INTO u (`a`,`b`) VALUES (1,x'00ff') ON DUPLICATE KEY UPDATE b=VALUES(b);\
              INSERT INTO v (`a`,`b`,`c`) VALUES (1,2,3) ON DUPLICATE KEY UPDATE c=c+VALUES(c);"]
        );
    }

    #[test]
    fn texts_are_bounded_and_lose_nothing() {
        let said = "é".repeat(50_000);
        let rows = |count: i64| {
            let cells = (0..count).flat_map(|key| [Cell::Long(key), Cell::Text(&said)]);
            Rows { table: &KEPT, cells: cells.collect() }
        };
        // The first table alone fills texts, and the second begins where one is full.
        let texts = texts(Dialect::MySql, &[rows(21), rows(79)]);
        assert_eq!(texts.len(), 5);
        for text in &texts {
            assert!(text.len() < TEXT_BYTES_MAX + 300_000);
            assert!(text.starts_with("INSERT INTO t ") && text.ends_with("');"));
            assert!(!text.contains(";;"), "nothing is closed twice");
        }
        let written: usize = texts.iter().map(|text| text.matches("_utf8mb4").count()).sum();
        assert_eq!(written, 100);
    }
}
