//! The general ledger: the entries of all accounts, in booking order.

use super::error::StoreError;
use super::halving::LAST_ENTRY;
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use super::statement::Period;
use crate::money::Currency;
use crate::posting::{Balance, Limits, Standing};
use crate::report::{JournalEntry, Page};

/// The page is cut before anything is joined to it: MariaDB would join small tables to all of the range first.
const JOURNAL: &str =
    "SELECT e.number, t.id, t.description, t.effective_date, t.booked_at_us, e.direction,
        e.amount_minor, e.debits_after_minor, e.credits_after_minor,
        e.id, a.code, a.currency, c.scale, a.normal_balance, a.id
     FROM (SELECT id, transfer_seq, account_id, number, direction, amount_minor, debits_after_minor, credits_after_minor
        FROM entries WHERE id > ? AND id <= ? ORDER BY id LIMIT ?) AS e
     JOIN transfers AS t ON t.seq = e.transfer_seq
     JOIN accounts AS a ON a.id = e.account_id
     JOIN currencies AS c ON c.code = a.currency
     ORDER BY e.id";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[JOURNAL];

impl Reader {
    /// Entries booked in the period, those after the `after`th of all.
    pub async fn journal(
        &self,
        period: Period,
        after: i64,
        limit: usize,
    ) -> Result<Page<JournalEntry>, StoreError> {
        let mut moment = self.moment().await?;
        let last = moment.row(LAST_ENTRY, &[], |row| row.long(0)).await?.unwrap_or(0);
        let first = match period.from {
            None => 0,
            Some(from) => moment.entries_before(last, from).await?,
        };
        let end = match period.to {
            None => last,
            Some(to) => moment.entries_before(last, to).await?,
        };
        let arguments = [Arg::Long(after.max(first)), Arg::Long(end), Arg::Long(one_more(limit))];
        let mut rows = moment.rows(JOURNAL, &arguments, journal_entry).await?;
        moment.end().await?;
        self.call_entries(rows.iter_mut().map(|row| &mut row.entry)).await?;
        Ok(Page::cut(rows, limit, |entry| entry.id.to_string()))
    }
}

fn journal_entry(row: &dyn Columns) -> Result<JournalEntry, StoreError> {
    let owner = Standing {
        account_id: row.long(14)?,
        currency: Currency { code: row.string(11)?, scale: row.small(12)? },
        normal: row.side(13)?,
        balance: Balance::default(),
        limits: Limits::default(),
        last_entry_id: 0,
    };
    Ok(JournalEntry {
        id: row.long(9)?,
        account: row.string(10)?,
        entry: row::entry(&owner, row)?,
        currency: owner.currency.code,
    })
}
