//! What a batch writes, as rows of tables: the same for every engine, each of which sends them its own way.

use jiff::Timestamp;
use uuid::Uuid;

use crate::batch::Changes;
use crate::chain::{LimitsRow, Link};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Long,
    Text,
    Bytes,
    Uuid,
}

/// A table that is written to, and its columns.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Sort)],
    /// Rows that are there already, by the first column, are replaced.
    pub replaces: bool,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    Null,
    Long(i64),
    Text(&'a str),
    /// Words and dates, which need no quoting in any engine.
    Plain(String),
    Bytes(&'a [u8]),
    Uuid(Uuid),
}

/// Rows of one table, cell after cell.
#[derive(Debug)]
pub struct Rows<'a> {
    pub table: &'static Table,
    pub cells: Vec<Cell<'a>>,
}

impl Rows<'_> {
    pub fn width(&self) -> usize {
        self.table.columns.len()
    }

    pub fn count(&self) -> usize {
        self.cells.len() / self.width()
    }
}

use Sort::{Bytes, Long, Text};

const fn table(name: &'static str, columns: &'static [(&'static str, Sort)]) -> Table {
    Table { name, columns, replaces: false }
}

static TRANSFERS: Table = table(
    "transfers",
    &[
        ("seq", Long),
        ("id", Sort::Uuid),
        ("description", Text),
        ("effective_date", Text),
        ("booked_at_us", Long),
        ("entry_id_first", Long),
        ("entries", Long),
        ("kind", Text),
        ("of_seq", Long),
        ("expires_at_us", Long),
    ],
);
static ENTRIES: Table = table(
    "entries",
    &[
        ("id", Long),
        ("transfer_seq", Long),
        ("account_id", Long),
        ("number", Long),
        ("direction", Text),
        ("amount_minor", Long),
        ("debits_after_minor", Long),
        ("credits_after_minor", Long),
    ],
);
static PENDING_ENTRIES: Table = table(
    "pending_entries",
    &[
        ("id", Long),
        ("transfer_seq", Long),
        ("account_id", Long),
        ("direction", Text),
        ("amount_minor", Long),
    ],
);
static BALANCES: Table = Table {
    name: "balances",
    columns: &[
        ("account_id", Long),
        ("debits_minor", Long),
        ("credits_minor", Long),
        ("entries", Long),
        ("pending_debits_minor", Long),
        ("pending_credits_minor", Long),
    ],
    replaces: true,
};
static KEYS: Table = table(
    "idempotency_keys",
    &[
        ("key", Text),
        ("fingerprint", Bytes),
        ("transfer_seq", Long),
        ("status", Long),
        ("body", Text),
    ],
);
static HOLDS: Table = table("holds", &[("transfer_seq", Long), ("expires_at_us", Long)]);
static CHAIN: Table = table("chain", &[("seq", Long), ("subject", Text), ("hash", Bytes)]);
static LIMITS: Table = table(
    "account_limits",
    &[
        ("id", Long),
        ("account_id", Long),
        ("balance_min_minor", Long),
        ("balance_max_minor", Long),
        ("set_at_us", Long),
    ],
);

fn long_if_any<'a>(number: Option<i64>) -> Cell<'a> {
    number.map_or(Cell::Null, Cell::Long)
}

/// Everything a batch adds, table by table; those without rows are left out.
pub fn of_changes(changes: &Changes) -> Vec<Rows<'_>> {
    let tables = [
        transfers(changes),
        entries(changes),
        pending_entries(changes),
        balances(changes),
        keys(changes),
        holds(changes),
    ];
    tables.into_iter().filter(|rows| !rows.cells.is_empty()).collect()
}

pub fn of_links(links: &[Link]) -> Rows<'_> {
    let cells = links.iter().flat_map(|link| {
        [Cell::Long(link.seq), Cell::Text(&link.subject), Cell::Bytes(&link.hash)]
    });
    Rows { table: &CHAIN, cells: cells.collect() }
}

pub fn of_limits(row: &LimitsRow) -> Rows<'static> {
    let cells = vec![
        Cell::Long(row.id),
        Cell::Long(row.account_id),
        long_if_any(row.limits.min_minor),
        long_if_any(row.limits.max_minor),
        Cell::Long(row.set_at_us),
    ];
    Rows { table: &LIMITS, cells }
}

fn transfers(changes: &Changes) -> Rows<'_> {
    let mut cells = Vec::with_capacity(changes.transfers.len() * TRANSFERS.columns.len());
    for new in &changes.transfers {
        let transfer = &new.transfer;
        cells.extend([
            Cell::Long(new.seq),
            Cell::Uuid(transfer.id),
            Cell::Text(&transfer.description),
            Cell::Plain(transfer.effective_date.to_string()),
            Cell::Long(transfer.booked_at.as_microsecond()),
            Cell::Long(new.entry_id_first),
            Cell::Long(new.entries.len().try_into().unwrap_or(i64::MAX)),
            Cell::Text(transfer.kind.as_str()),
            long_if_any(new.of_seq),
            long_if_any(transfer.expires_at.map(Timestamp::as_microsecond)),
        ]);
    }
    Rows { table: &TRANSFERS, cells }
}

fn entries(changes: &Changes) -> Rows<'_> {
    let cells = changes.moved().flat_map(|(id, seq, entry)| {
        [
            Cell::Long(id),
            Cell::Long(seq),
            Cell::Long(entry.account_id),
            Cell::Long(entry.after.entries),
            Cell::Text(entry.direction.as_str()),
            Cell::Long(entry.amount_minor),
            Cell::Long(entry.after.debits_minor),
            Cell::Long(entry.after.credits_minor),
        ]
    });
    Rows { table: &ENTRIES, cells: cells.collect() }
}

fn pending_entries(changes: &Changes) -> Rows<'_> {
    let cells = changes.held().flat_map(|(id, seq, entry)| {
        [
            Cell::Long(id),
            Cell::Long(seq),
            Cell::Long(entry.account_id),
            Cell::Text(entry.direction.as_str()),
            Cell::Long(entry.amount_minor),
        ]
    });
    Rows { table: &PENDING_ENTRIES, cells: cells.collect() }
}

fn balances(changes: &Changes) -> Rows<'_> {
    let cells = changes.balances.iter().flat_map(|(id, balance)| {
        [
            *id,
            balance.debits_minor,
            balance.credits_minor,
            balance.entries,
            balance.pending_debits_minor,
            balance.pending_credits_minor,
        ]
    });
    Rows { table: &BALANCES, cells: cells.map(Cell::Long).collect() }
}

fn keys(changes: &Changes) -> Rows<'_> {
    let cells = changes.answers().flat_map(|(seq, key, stored)| {
        [
            Cell::Text(key),
            Cell::Bytes(&stored.fingerprint),
            Cell::Long(seq),
            Cell::Long(stored.status.into()),
            stored.body.as_deref().map_or(Cell::Null, Cell::Text),
        ]
    });
    Rows { table: &KEYS, cells: cells.collect() }
}

fn holds(changes: &Changes) -> Rows<'_> {
    let cells = changes.opened().flat_map(|(seq, at)| [Cell::Long(seq), long_if_any(at)]);
    Rows { table: &HOLDS, cells: cells.collect() }
}
