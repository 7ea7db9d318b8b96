//! Closes: how one is booked, and what is read of them.

use jiff::Timestamp;
use jiff::civil::Date;

use super::engine::Batch;
use super::error::StoreError;
use super::reader::{Arg, Reader};
use super::row::{Columns, one_more};
use super::rows;
use crate::account::Side;
use crate::as_of::Totals;
use crate::close::{CloseRow, Closing, NewClose, is_over};
use crate::money::format_minor;
use crate::report::{Close, CloseBalance, Page};

const LAST_CLOSE: &str =
    "SELECT id, through, description, closed_at_us FROM closes ORDER BY id DESC LIMIT 1";
const CLOSES: &str =
    "SELECT id, through, description, closed_at_us FROM closes WHERE id > ? ORDER BY id LIMIT ?";
const CLOSE: &str = "SELECT id, through, description, closed_at_us FROM closes WHERE id = ?";
const CLOSE_BALANCES: &str =
    "SELECT a.code, a.currency, c.scale, a.normal_balance, b.debits_minor, b.credits_minor
     FROM accounts AS a
     JOIN close_balances AS b ON b.account_id = a.id AND b.close_id = ?
     JOIN currencies AS c ON c.code = a.currency
     WHERE a.code > ? ORDER BY a.code LIMIT ?";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[LAST_CLOSE, CLOSES, CLOSE, CLOSE_BALANCES];

fn close(row: &dyn Columns) -> Result<Close, StoreError> {
    Ok(Close {
        id: row.long(0)?,
        through: row.date(1)?,
        description: row.string(2)?,
        closed_at: row.instant(3)?,
    })
}

impl Batch<'_> {
    pub(super) async fn last_close(&mut self) -> Result<Option<Close>, StoreError> {
        Ok(self.query(LAST_CLOSE, close).await?.pop())
    }

    /// Closes a period, under the write lock. The row for the chain is given when it is new.
    pub async fn create_close(
        &mut self,
        new: &NewClose,
        now: Timestamp,
    ) -> Result<(Closing, Option<CloseRow>), StoreError> {
        let through = new.body.through;
        let last = self.last_close().await?;
        match last {
            Some(last) if last.through == through => return Ok((Closing::Existing(last), None)),
            Some(last) if last.through > through => return Ok((Closing::Behind(last), None)),
            _ => {}
        }
        if !is_over(through, now) {
            return Ok((Closing::NotOver, None));
        }
        let closed = Close {
            id: last.map_or(0, |last| last.id) + 1,
            through,
            description: new.body.description.clone(),
            closed_at: Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
        };
        let mut totals = new.totals.clone();
        for (account_id, late) in self.booked_since(new.last_entry, through).await? {
            totals.entry(account_id).or_default().add(late)?;
        }
        let mut balances: Vec<(i64, i64, i64)> = totals
            .into_iter()
            .filter(|(_, totals)| totals.entries != 0)
            .map(|(id, totals)| (id, totals.debits_minor, totals.credits_minor))
            .collect();
        balances.sort_unstable();
        let row = CloseRow {
            id: closed.id,
            through: through.to_string(),
            description: closed.description.clone(),
            closed_at_us: closed.closed_at.as_microsecond(),
            balances,
        };
        let [close, balances] = rows::of_close(&row);
        self.insert(&[close]).await?;
        if !row.balances.is_empty() {
            self.insert(&[balances]).await?;
        }
        Ok((Closing::Closed(closed), Some(row)))
    }

    /// What was booked for the period since its totals were read.
    async fn booked_since(
        &mut self,
        last: i64,
        through: Date,
    ) -> Result<Vec<(i64, Totals)>, StoreError> {
        let sql = format!(
            "SELECT e.account_id, e.direction, e.amount_minor FROM entries AS e
             JOIN transfers AS t ON t.seq = e.transfer_seq
             WHERE e.id > {last} AND t.effective_date <= '{through}'"
        );
        self.query_once(&sql, |row| {
            let minor = row.long(2)?;
            let (debits_minor, credits_minor) = match row.side(1)? {
                Side::Debit => (minor, 0),
                Side::Credit => (0, minor),
            };
            Ok((row.long(0)?, Totals { debits_minor, credits_minor, entries: 1 }))
        })
        .await
    }
}

impl Reader {
    /// Nothing is booked for a day up to that of the last close any more.
    pub async fn last_close(&self) -> Result<Option<Close>, StoreError> {
        self.row(LAST_CLOSE, &[], close).await
    }

    /// Closes after the `after`th.
    pub async fn closes(&self, after: i64, limit: usize) -> Result<Page<Close>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit))];
        let rows = self.rows(CLOSES, &arguments, close).await?;
        Ok(Page::cut(rows, limit, |close| close.id.to_string()))
    }

    pub async fn close_numbered(&self, id: i64) -> Result<Option<Close>, StoreError> {
        self.row(CLOSE, &[Arg::Long(id)], close).await
    }

    /// What a close carries forward, of accounts with a code after `after`.
    pub async fn close_balances(
        &self,
        id: i64,
        after: &str,
        limit: usize,
    ) -> Result<Page<CloseBalance>, StoreError> {
        let arguments = [Arg::Long(id), Arg::Text(after), Arg::Long(one_more(limit))];
        let rows = self
            .rows(CLOSE_BALANCES, &arguments, |row| {
                let (scale, normal_balance) = (row.small(2)?, row.side(3)?);
                let (debits, credits) = (row.long(4)?, row.long(5)?);
                Ok(CloseBalance {
                    account: row.string(0)?,
                    currency: row.string(1)?,
                    normal_balance,
                    debits: format_minor(debits.into(), scale),
                    credits: format_minor(credits.into(), scale),
                    balance: format_minor(normal_balance.balance(debits, credits), scale),
                })
            })
            .await?;
        Ok(Page::cut(rows, limit, |balance| balance.account.clone()))
    }
}
