//! Balances as they are: a row of `balances` may be behind its account's entries (`behind`), so what is read is the row and,
//! where there is one, the account's last entry behind the mark.

/// Columns of `standing` in `row`: of accounts `a`, their currencies `c`, balances `b`, and what `late!` or `late_one!` joins
/// to them.
macro_rules! standing {
    () => {
        "a.code, a.currency, c.scale, a.normal_balance, a.id,
        coalesce(n.debits_after_minor, b.debits_minor), coalesce(n.credits_after_minor, b.credits_minor), coalesce(n.number, b.entries),
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor, coalesce(n.id, b.last_entry_id)"
    };
}
pub(super) use standing;

/// Entries `l` behind the mark. PostgreSQL takes few rows to be between two bounds, many beyond one; the second is twice
/// `behind::ENTRIES_MAX`.
macro_rules! behind {
    () => {
        "entries AS l
        WHERE l.id > (SELECT balances_through FROM service WHERE id = 1)
            AND l.id <= (SELECT balances_through + 1048576 FROM service WHERE id = 1)"
    };
}
pub(super) use behind;

/// The last of each account's entries behind the mark.
macro_rules! last_late {
    () => {
        concat!(
            "(SELECT l.account_id, max(l.id) AS id FROM ",
            crate::store::current::behind!(),
            "
        GROUP BY l.account_id)"
        )
    };
}
pub(super) use last_late;

/// Joins to balances `b` the last entry `n` of each account whose row may be behind.
macro_rules! late {
    () => {
        concat!(
            "LEFT JOIN ",
            crate::store::current::last_late!(),
            " AS late ON late.account_id = b.account_id
     LEFT JOIN entries AS n ON n.id = late.id"
        )
    };
}
pub(super) use late;

/// The same where one account is read.
macro_rules! late_one {
    () => {
        concat!(
            "LEFT JOIN entries AS n ON n.id = (SELECT l.id FROM ",
            crate::store::current::behind!(),
            "
            AND l.account_id = b.account_id ORDER BY l.id DESC LIMIT 1)"
        )
    };
}
pub(super) use late_one;

/// `late!` for PostgreSQL, which may plan it while tables are empty, and then go through all of it again for each account:
/// an object that is made once, and looked into.
const LATE_IN_POSTGRES: &str = concat!(
    "LEFT JOIN entries AS n ON n.id = ((SELECT jsonb_object_agg(late.account_id, late.id) FROM ",
    last_late!(),
    " AS late) ->> b.account_id::text)::bigint"
);

/// A statement with `late!` in it, in PostgreSQL's words.
pub fn in_postgres(sql: &str) -> String {
    sql.replace(late!(), LATE_IN_POSTGRES)
}
