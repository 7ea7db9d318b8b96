//! Balances as they are: a row of `balances` may be behind its account's entries (`behind`), so what is read is the row and,
//! where there is one, the account's last entry behind the mark.

/// Columns of `standing` in `row`: of accounts `a`, their currencies `c`, and what `late!` joins to balances `b`.
macro_rules! standing {
    () => {
        "a.code, a.currency, c.scale, a.normal_balance, a.id,
        coalesce(n.debits_after_minor, b.debits_minor), coalesce(n.credits_after_minor, b.credits_minor), coalesce(n.number, b.entries),
        b.pending_debits_minor, b.pending_credits_minor, b.balance_min_minor, b.balance_max_minor, coalesce(n.id, b.last_entry_id)"
    };
}
pub(super) use standing;

/// The last of each account's entries behind the mark. PostgreSQL takes few rows to be between two bounds, many beyond one;
/// the second is twice `behind::ENTRIES_MAX`.
macro_rules! last_late {
    () => {
        "(SELECT l.account_id, max(l.id) AS id FROM entries AS l
        WHERE l.id > (SELECT balances_through FROM service WHERE id = 1)
            AND l.id <= (SELECT balances_through + 1048576 FROM service WHERE id = 1)
        GROUP BY l.account_id)"
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
