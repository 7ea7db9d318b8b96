//! What a batch writes, as rows of tables: the same for every engine, each of which sends them its own way.

mod reconciliation;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

pub use self::reconciliation::{
    of_match, of_members, of_open_lines, of_set, of_signature, of_statement, of_unmatch,
    of_withdrawal,
};
use super::error::{StoreError, impossible};
use super::table::Sort::{Bytes, Long, Text};
use super::table::{Cell, Clash, Rows, Sort, Table, long_if_any, table};
use crate::account::{Account, Side};
use crate::act::{AuditRow, RevocationRow};
use crate::batch::{Changes, Day};
use crate::behind::BalanceNow;
use crate::chain::EntryRow;
use crate::close::CloseRow;
use crate::key::ApiKeyRow;
use crate::link::Link;
use crate::outbox::{EndpointRow, Progress, RemovalRow};
use crate::posting::LimitsRow;
use crate::seal;

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
        ("key", Text),
        ("fingerprint", Bytes),
        ("link_seq", Long),
        ("link", Bytes),
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
        ("previous_id", Long),
        ("jump_id", Long),
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
        ("last_entry_id", Long),
    ],
    keys: 1,
    clash: Clash::Replaces,
};
static BACKDATED_ENTRIES: Table = table(
    "backdated_entries",
    &[("id", Long), ("account_id", Long), ("effective_date", Text), ("number", Long)],
);
static BACKDATED_DAYS: Table = Table {
    name: "backdated_days",
    columns: &[
        ("account_id", Long),
        ("effective_date", Text),
        ("booked_date", Text),
        ("debits_minor", Long),
        ("credits_minor", Long),
        ("entries", Long),
    ],
    keys: 3,
    clash: Clash::Adds,
};
static CLOSES: Table = table(
    "closes",
    &[("id", Long), ("through", Text), ("description", Text), ("closed_at_us", Long)],
);
static CLOSE_BALANCES: Table = table(
    "close_balances",
    &[("close_id", Long), ("account_id", Long), ("debits_minor", Long), ("credits_minor", Long)],
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

static API_KEYS: Table = table(
    "api_keys",
    &[
        ("id", Long),
        ("name", Text),
        ("prefix", Text),
        ("hash", Bytes),
        ("role", Text),
        ("rate_per_second", Long),
        ("rate_burst", Long),
        ("created_at_us", Long),
        ("expires_at_us", Long),
    ],
);
static REVOCATIONS: Table =
    table("api_key_revocations", &[("key_id", Long), ("revoked_at_us", Long)]);
const KEY_USE_COLUMNS: &[(&str, Sort)] =
    &[("key_id", Long), ("last_used_at_us", Long), ("seal", Text)];
static NEW_KEY_USES: Table = table("api_key_uses", KEY_USE_COLUMNS);
static KEY_USES: Table =
    Table { name: "api_key_uses", columns: KEY_USE_COLUMNS, keys: 1, clash: Clash::Replaces };
static AUDIT_LOG: Table = table(
    "audit_log",
    &[
        ("id", Long),
        ("at_us", Long),
        ("actor", Text),
        ("action", Text),
        ("subject", Text),
        ("detail", Text),
    ],
);

static ENDPOINTS: Table = table(
    "webhook_endpoints",
    &[
        ("id", Long),
        ("url", Text),
        ("description", Text),
        ("secret", Bytes),
        ("after_seq", Long),
        ("created_at_us", Long),
    ],
);
static REMOVALS: Table =
    table("webhook_removals", &[("endpoint_id", Long), ("removed_at_us", Long)]);
const PROGRESS_COLUMNS: &[(&str, Sort)] = &[
    ("endpoint_id", Long),
    ("delivered_seq", Long),
    ("failures", Long),
    ("next_attempt_at_us", Long),
    ("suspended_at_us", Long),
    ("error", Text),
    ("seal", Text),
];
static NEW_PROGRESS: Table = table("webhook_progress", PROGRESS_COLUMNS);
static PROGRESS: Table =
    Table { name: "webhook_progress", columns: PROGRESS_COLUMNS, keys: 1, clash: Clash::Replaces };

static ACCOUNT_METADATA: Table = Table {
    name: "account_metadata",
    columns: &[("account_id", Long), ("name", Text), ("value", Text)],
    keys: 2,
    clash: Clash::Fails,
};

static TRANSFER_METADATA: Table = Table {
    name: "transfer_metadata",
    columns: &[("transfer_seq", Long), ("name", Text), ("value", Text)],
    keys: 2,
    clash: Clash::Fails,
};

/// Everything a batch adds, table by table; those without rows are left out. An error where the transfers are not
/// chained or the entries not threaded: rows would be missing.
pub fn of_changes(changes: &Changes) -> Result<Vec<Rows<'_>>, StoreError> {
    if !changes.are_complete() {
        return Err(impossible("a batch", &"neither chained nor threaded"));
    }
    let tables = [
        transfers(changes),
        transfer_metadata(changes),
        entries(changes),
        backdated_entries(changes),
        backdated_days(changes),
        pending_entries(changes),
        balances(changes),
        holds(changes),
    ];
    Ok(tables.into_iter().filter(|rows| !rows.cells.is_empty()).collect())
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

/// A key, and the row that will say when it was used.
pub fn of_key(row: &ApiKeyRow) -> [Rows<'_>; 2] {
    let key = vec![
        Cell::Long(row.id),
        Cell::Text(&row.name),
        Cell::Text(&row.prefix),
        Cell::Bytes(&row.hash),
        Cell::Text(row.role.as_str()),
        long_if_any(row.rate.map(|rate| rate.per_second.into())),
        long_if_any(row.rate.map(|rate| rate.burst.into())),
        Cell::Long(row.created_at_us),
        long_if_any(row.expires_at_us),
    ];
    let unused = key_use_cells((row.id, None)).to_vec();
    [Rows { table: &API_KEYS, cells: key }, Rows { table: &NEW_KEY_USES, cells: unused }]
}

pub fn of_revocation(row: RevocationRow) -> Rows<'static> {
    Rows { table: &REVOCATIONS, cells: [row.key_id, row.revoked_at_us].map(Cell::Long).to_vec() }
}

/// Key and time of last use.
pub fn of_key_uses(uses: impl Iterator<Item = (i64, Option<i64>)>) -> Rows<'static> {
    Rows { table: &KEY_USES, cells: uses.flat_map(key_use_cells).collect() }
}

fn key_use_cells((key, at): (i64, Option<i64>)) -> [Cell<'static>; 3] {
    [Cell::Long(key), long_if_any(at), Cell::Plain(seal::of_key_use(key, at).into())]
}

pub fn of_endpoint(row: &EndpointRow) -> Rows<'_> {
    let cells = vec![
        Cell::Long(row.id),
        Cell::Text(&row.url),
        Cell::Text(&row.description),
        Cell::Bytes(row.secret.bytes()),
        Cell::Long(row.after_seq),
        Cell::Long(row.created_at_us),
    ];
    Rows { table: &ENDPOINTS, cells }
}

pub fn of_removal(row: RemovalRow) -> Rows<'static> {
    let cells = [row.endpoint_id, row.removed_at_us].map(Cell::Long).to_vec();
    Rows { table: &REMOVALS, cells }
}

fn progress_cells(row: &Progress) -> [Cell<'_>; 7] {
    [
        Cell::Long(row.endpoint_id),
        Cell::Long(row.delivered_seq),
        Cell::Long(row.failures),
        long_if_any(row.next_attempt_at_us),
        long_if_any(row.suspended_at_us),
        Cell::Text(&row.error),
        Cell::Plain(seal::of_progress(row).into()),
    ]
}

/// The first row of an endpoint, which those of `of_progress` replace.
pub fn of_new_progress(row: &Progress) -> Rows<'_> {
    Rows { table: &NEW_PROGRESS, cells: progress_cells(row).to_vec() }
}

pub fn of_progress(rows: &[Progress]) -> Rows<'_> {
    Rows { table: &PROGRESS, cells: rows.iter().flat_map(progress_cells).collect() }
}

/// An account's names and values.
pub fn of_metadata(account: &Account) -> Rows<'_> {
    let cells =
        account.metadata.0.iter().flat_map(|(name, value)| {
            [Cell::Long(account.id), Cell::Text(name), Cell::Text(value)]
        });
    Rows { table: &ACCOUNT_METADATA, cells: cells.collect() }
}

pub fn of_audit(row: &AuditRow) -> Rows<'_> {
    let cells = vec![
        Cell::Long(row.id),
        Cell::Long(row.at_us),
        Cell::Text(&row.actor),
        Cell::Text(&row.action),
        Cell::Text(&row.subject),
        Cell::Text(&row.detail),
    ];
    Rows { table: &AUDIT_LOG, cells }
}

fn transfers(changes: &Changes) -> Rows<'_> {
    let mut cells = Vec::with_capacity(changes.transfers.len() * TRANSFERS.columns.len());
    let mut day = Day::default();
    for (new, link) in changes.transfers.iter().zip(&changes.links) {
        let keyed = new.keyed.as_ref();
        cells.extend([
            Cell::Long(new.seq),
            Cell::Uuid(new.id),
            Cell::Text(&new.description),
            Cell::Plain(day.text(new.effective_date)),
            Cell::Long(new.booked_at.as_microsecond()),
            Cell::Long(new.entry_id_first),
            Cell::Long(new.entries.len().try_into().unwrap_or(i64::MAX)),
            Cell::Word(new.kind.as_str()),
            long_if_any(new.of_seq),
            long_if_any(new.expires_at.map(Timestamp::as_microsecond)),
            keyed.map_or(Cell::Null, |keyed| Cell::Shared(keyed.key.shared())),
            keyed.map_or(Cell::Null, |keyed| Cell::Bytes(&keyed.fingerprint)),
            Cell::Long(link.seq),
            Cell::Bytes(&link.hash),
        ]);
    }
    Rows { table: &TRANSFERS, cells }
}

fn transfer_metadata(changes: &Changes) -> Rows<'_> {
    let cells = changes.transfers.iter().flat_map(|new| {
        let called = new.metadata.0.iter();
        called.flat_map(|(name, value)| [Cell::Long(new.seq), Cell::Text(name), Cell::Text(value)])
    });
    Rows { table: &TRANSFER_METADATA, cells: cells.collect() }
}

fn entries(changes: &Changes) -> Rows<'_> {
    let cells = changes.moved().zip(&changes.backs).flat_map(|((id, seq, entry), back)| {
        [
            Cell::Long(id),
            Cell::Long(seq),
            Cell::Long(entry.account_id),
            Cell::Long(entry.after.entries),
            Cell::Word(entry.direction.as_str()),
            Cell::Long(entry.amount_minor),
            Cell::Long(entry.after.debits_minor),
            Cell::Long(entry.after.credits_minor),
            Cell::Long(back.previous_id),
            Cell::Long(back.jump_id),
        ]
    });
    Rows { table: &ENTRIES, cells: cells.collect() }
}

fn backdated_entries(changes: &Changes) -> Rows<'_> {
    let cells = changes.backdated().flat_map(|(id, entry, effective, _)| {
        [
            Cell::Long(id),
            Cell::Long(entry.account_id),
            Cell::Plain(effective.to_string().into()),
            Cell::Long(entry.after.entries),
        ]
    });
    Rows { table: &BACKDATED_ENTRIES, cells: cells.collect() }
}

fn backdated_days(changes: &Changes) -> Rows<'_> {
    // A key may occur once in a statement.
    let mut days: BTreeMap<(i64, Date, Date), [i64; 3]> = BTreeMap::new();
    for (_, entry, effective, booked) in changes.backdated() {
        let [debits, credits, entries] =
            days.entry((entry.account_id, effective, booked)).or_default();
        match entry.direction {
            Side::Debit => *debits += entry.amount_minor,
            Side::Credit => *credits += entry.amount_minor,
        }
        *entries += 1;
    }
    let cells = days.into_iter().flat_map(|((account_id, effective, booked), sums)| {
        let [debits, credits, entries] = sums.map(Cell::Long);
        let dates = [effective, booked].map(|date| Cell::Plain(date.to_string().into()));
        let [effective, booked] = dates;
        [Cell::Long(account_id), effective, booked, debits, credits, entries]
    });
    Rows { table: &BACKDATED_DAYS, cells: cells.collect() }
}

/// Entries as they are, from one table into another.
pub fn of_entries(rows: &[EntryRow]) -> Rows<'static> {
    let cells = rows.iter().flat_map(|row| {
        let side = if row.debit { Side::Debit } else { Side::Credit };
        [
            Cell::Long(row.id),
            Cell::Long(row.transfer_seq),
            Cell::Long(row.account_id),
            Cell::Long(row.number),
            Cell::Word(side.as_str()),
            Cell::Long(row.amount_minor),
            Cell::Long(row.debits_after_minor),
            Cell::Long(row.credits_after_minor),
            Cell::Long(row.back.previous_id),
            Cell::Long(row.back.jump_id),
        ]
    });
    Rows { table: &ENTRIES, cells: cells.collect() }
}

/// A close and what it carries forward.
pub fn of_close(row: &CloseRow) -> [Rows<'_>; 2] {
    let close = vec![
        Cell::Long(row.id),
        Cell::Text(&row.through),
        Cell::Text(&row.description),
        Cell::Long(row.closed_at_us),
    ];
    let balances = row.balances.iter().flat_map(|(account_id, debits, credits)| {
        [row.id, *account_id, *debits, *credits].map(Cell::Long)
    });
    [
        Rows { table: &CLOSES, cells: close },
        Rows { table: &CLOSE_BALANCES, cells: balances.collect() },
    ]
}

fn pending_entries(changes: &Changes) -> Rows<'_> {
    let cells = changes.held().flat_map(|(id, seq, entry)| {
        [
            Cell::Long(id),
            Cell::Long(seq),
            Cell::Long(entry.account_id),
            Cell::Word(entry.direction.as_str()),
            Cell::Long(entry.amount_minor),
        ]
    });
    Rows { table: &PENDING_ENTRIES, cells: cells.collect() }
}

fn balances(changes: &Changes) -> Rows<'_> {
    let written = changes.written.iter().flat_map(|written| &written.rows);
    let cells = written.flat_map(|BalanceNow { account_id, balance, last_entry_id }| {
        [
            *account_id,
            balance.debits_minor,
            balance.credits_minor,
            balance.entries,
            balance.pending_debits_minor,
            balance.pending_credits_minor,
            *last_entry_id,
        ]
    });
    Rows { table: &BALANCES, cells: cells.map(Cell::Long).collect() }
}

fn holds(changes: &Changes) -> Rows<'_> {
    let cells = changes.opened().flat_map(|(seq, at)| [Cell::Long(seq), long_if_any(at)]);
    Rows { table: &HOLDS, cells: cells.collect() }
}
