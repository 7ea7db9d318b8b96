//! Rows of reconciliation, of signatures and of account sets.

use super::super::table::Sort::{Bytes, Long, Text};
use super::super::table::{Cell, Clash, Rows, Table, long_if_any, table};
use crate::account_set::{MemberRow, SetRow};
use crate::reconcile::{LineRow, MatchRow, StatementRow, UnmatchRow, WithdrawalRow};
use crate::signature::SignatureRow;

static STATEMENTS: Table = table(
    "external_statements",
    &[
        ("id", Long),
        ("account_id", Long),
        ("name", Text),
        ("format", Text),
        ("hash", Bytes),
        ("opening_minor", Long),
        ("closing_minor", Long),
        ("first_date", Text),
        ("last_date", Text),
        ("line_count", Long),
        ("imported_at_us", Long),
    ],
);
static LINES: Table = table(
    "external_lines",
    &[
        ("id", Long),
        ("statement_id", Long),
        ("number", Long),
        ("date", Text),
        ("amount_minor", Long),
        ("reference", Text),
        ("text", Text),
        ("identity", Text),
    ],
);
static REPEATS: Table = Table {
    name: "external_repeats",
    columns: &[("statement_id", Long), ("number", Long), ("line_id", Long)],
    keys: 2,
    clash: Clash::Fails,
};
static WITHDRAWALS: Table = table(
    "external_withdrawals",
    &[("statement_id", Long), ("reason", Text), ("withdrawn_at_us", Long)],
);
static MATCHES: Table = table(
    "matches",
    &[
        ("id", Long),
        ("account_id", Long),
        ("rule", Text),
        ("reason", Text),
        ("matched_at_us", Long),
    ],
);
static MATCH_LINES: Table = Table {
    name: "match_lines",
    columns: &[("match_id", Long), ("line_id", Long)],
    keys: 2,
    clash: Clash::Fails,
};
static MATCH_ENTRIES: Table = Table {
    name: "match_entries",
    columns: &[("match_id", Long), ("entry_id", Long)],
    keys: 2,
    clash: Clash::Fails,
};
static UNMATCHES: Table =
    table("unmatches", &[("match_id", Long), ("reason", Text), ("unmatched_at_us", Long)]);
static OPEN_LINES: Table = table("open_lines", &[("line_id", Long), ("account_id", Long)]);
static MATCHED_ENTRIES: Table = table("matched_entries", &[("entry_id", Long), ("match_id", Long)]);
static SIGNATURES: Table = table(
    "head_signatures",
    &[
        ("id", Long),
        ("head_seq", Long),
        ("head_hash", Bytes),
        ("public_key", Bytes),
        ("signature", Bytes),
        ("signed_at_us", Long),
    ],
);

pub fn of_signature(row: &SignatureRow) -> Rows<'_> {
    let cells = vec![
        Cell::Long(row.id),
        Cell::Long(row.head.seq),
        Cell::Bytes(&row.head.hash),
        Cell::Bytes(&row.public_key),
        Cell::Bytes(&row.signature),
        Cell::Long(row.signed_at_us),
    ];
    Rows { table: &SIGNATURES, cells }
}

/// A statement, its lines, that they are open, and which of them are lines of others.
pub fn of_statement(row: &StatementRow) -> Vec<Rows<'_>> {
    let statement = vec![
        Cell::Long(row.id),
        Cell::Long(row.account_id),
        Cell::Text(&row.name),
        Cell::Text(&row.format),
        Cell::Bytes(&row.hash),
        long_if_any(row.opening_minor),
        long_if_any(row.closing_minor),
        Cell::Text(&row.first_date),
        Cell::Text(&row.last_date),
        Cell::Long(row.line_count),
        Cell::Long(row.imported_at_us),
    ];
    let line = |line: &'_ LineRow| line.id;
    let ids: Vec<i64> = row.lines.iter().map(line).collect();
    let lines = row.lines.iter().flat_map(|line| {
        [
            Cell::Long(line.id),
            Cell::Long(line.statement_id),
            Cell::Long(line.number),
            Cell::Text(&line.date),
            Cell::Long(line.amount_minor),
            Cell::Text(&line.reference),
            Cell::Text(&line.text),
            Cell::Text(&line.identity),
        ]
    });
    let repeats = row.repeats.iter().flat_map(|repeat| {
        [Cell::Long(row.id), Cell::Long(repeat.number), Cell::Long(repeat.line_id)]
    });
    let mut tables = vec![
        Rows { table: &STATEMENTS, cells: statement },
        Rows { table: &LINES, cells: lines.collect() },
        Rows { table: &REPEATS, cells: repeats.collect() },
    ];
    tables.push(of_open_lines(row.account_id, &ids));
    tables.retain(|rows| !rows.cells.is_empty());
    tables
}

pub fn of_withdrawal(row: &WithdrawalRow) -> Rows<'_> {
    let cells = vec![
        Cell::Long(row.statement_id),
        Cell::Text(&row.reason),
        Cell::Long(row.withdrawn_at_us),
    ];
    Rows { table: &WITHDRAWALS, cells }
}

pub fn of_open_lines(account_id: i64, lines: &[i64]) -> Rows<'static> {
    let cells = lines.iter().flat_map(|line| [*line, account_id].map(Cell::Long));
    Rows { table: &OPEN_LINES, cells: cells.collect() }
}

/// A match, what it joins, and that its entries are matched.
pub fn of_match(row: &MatchRow) -> Vec<Rows<'_>> {
    let cells = vec![
        Cell::Long(row.id),
        Cell::Long(row.account_id),
        Cell::Text(&row.rule),
        Cell::Text(&row.reason),
        Cell::Long(row.matched_at_us),
    ];
    let with = |ids: &[i64]| ids.iter().flat_map(|id| [row.id, *id].map(Cell::Long)).collect();
    let matched = row.entries.iter().flat_map(|entry| [*entry, row.id].map(Cell::Long)).collect();
    vec![
        Rows { table: &MATCHES, cells },
        Rows { table: &MATCH_LINES, cells: with(&row.lines) },
        Rows { table: &MATCH_ENTRIES, cells: with(&row.entries) },
        Rows { table: &MATCHED_ENTRIES, cells: matched },
    ]
}

pub fn of_unmatch(row: &UnmatchRow) -> Rows<'_> {
    let cells =
        vec![Cell::Long(row.match_id), Cell::Text(&row.reason), Cell::Long(row.unmatched_at_us)];
    Rows { table: &UNMATCHES, cells }
}

static SETS: Table =
    table("account_sets", &[("id", Long), ("code", Text), ("name", Text), ("created_at_us", Long)]);
static MEMBERS: Table = table(
    "account_set_members",
    &[
        ("id", Long),
        ("set_id", Long),
        ("account_id", Long),
        ("member_set_id", Long),
        ("added_at_us", Long),
    ],
);

pub fn of_set(row: &SetRow) -> Rows<'_> {
    let cells = vec![
        Cell::Long(row.id),
        Cell::Text(&row.code),
        Cell::Text(&row.name),
        Cell::Long(row.created_at_us),
    ];
    Rows { table: &SETS, cells }
}

pub fn of_members(rows: &[MemberRow]) -> Rows<'static> {
    let cells = rows.iter().flat_map(|row| {
        [
            Cell::Long(row.id),
            Cell::Long(row.set_id),
            long_if_any(row.account_id),
            long_if_any(row.member_set_id),
            Cell::Long(row.added_at_us),
        ]
    });
    Rows { table: &MEMBERS, cells: cells.collect() }
}
