//! An account's entries by their numbers, found by going back from its last one (`trail`): along the jumps to the end of
//! what is wanted, then one by one. One statement finds a run of them and reads it.

use super::error::StoreError;
use super::reader::{Arg, Reader};
use super::row::Columns;
use crate::posting::Standing;

/// MySQL goes no more than a thousand steps in a statement, and a few are jumps.
const RUN_MAX: i64 = 500;

/// `way` (id and number of entries), and the rest of a statement that reads those numbered up to its first parameter, in
/// the order of their numbers.
macro_rules! along {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE way (id, number, previous_id, jump_id) AS (
        SELECT e.id, e.number, e.previous_id, e.jump_id FROM entries AS e WHERE e.id = ?
        UNION ALL SELECT e.id, e.number, e.previous_id, e.jump_id
        FROM way AS w
        JOIN entries AS j ON j.id = w.jump_id
        JOIN entries AS e ON e.number < w.number
            AND e.id = CASE WHEN j.number >= ? THEN w.jump_id ELSE w.previous_id END
        WHERE w.number > ?)
     ",
            $rest
        )
    };
}
pub(super) use along;

impl Reader {
    /// What `of` makes of the account's entries with numbers after `after` and up to `last`, until there is as much as is
    /// wanted. `sql` is made by `along`.
    pub(super) async fn along<T>(
        &self,
        sql: &str,
        account: &Standing,
        (mut after, last): (i64, i64),
        wanted: i64,
        of: impl Fn(&dyn Columns) -> Result<Option<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let mut run = wanted.clamp(1, RUN_MAX);
        let last = last.min(account.balance.entries);
        let enough = usize::try_from(wanted).unwrap_or(usize::MAX);
        while after < last && found.len() < enough {
            let to = after.saturating_add(run).min(last);
            let arguments = [account.last_entry_id, to, after + 1, to].map(Arg::Long);
            let rows = self.rows(sql, &arguments, |row| of(row)).await?;
            if i64::try_from(rows.len()) != Ok(to - after) {
                let id = account.account_id;
                return Err(StoreError::Corrupt(format!(
                    "account {id} with {} of its entries {} to {to}: the way back to them is broken",
                    rows.len(),
                    after + 1
                )));
            }
            found.extend(rows.into_iter().flatten());
            (after, run) = (to, (run * 2).min(RUN_MAX));
        }
        found.truncate(enough);
        Ok(found)
    }
}
