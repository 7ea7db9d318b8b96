//! An account's statement over a time of booking. An account's entries are numbered in booking order and
//! carry their totals, so the ends of any period are found by halving: look-ups by key, however long the
//! account is. Entries are never changed, so the parts agree without one SQL transaction.

use jiff::Timestamp;

use super::{Reader, StoreError};
use crate::money::format_minor;
use crate::posting::Standing;
use crate::report::{Page, Statement};

/// From when (included) until when (excluded); without, from the first or to the last entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// One entry: when it was booked, and the account's totals with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    pub booked_at_us: i64,
    pub debits_minor: i64,
    pub credits_minor: i64,
}

impl Reader {
    /// The statement with a page of its entries, those numbered after `after`; nothing when there is no
    /// such account.
    pub async fn statement(
        &self,
        code: &str,
        period: Period,
        after: i64,
        limit: usize,
    ) -> Result<Option<Statement>, StoreError> {
        let Some(account) = self.standing(code).await? else { return Ok(None) };
        let first = match period.from {
            None => 0,
            Some(from) => self.booked_before(&account, from).await?,
        };
        let last = match period.to {
            None => account.balance.entries,
            Some(to) => self.booked_before(&account, to).await?.max(first),
        };
        let opening = self.totals_with(&account, first).await?;
        let closing = self.totals_with(&account, last).await?;
        let after = after.max(first);
        let room = usize::try_from(last - after).unwrap_or(0);
        let mut page = Page { items: Vec::new(), next_cursor: None };
        if room > 0 {
            page = self.entries_of_account(&account, after, limit.min(room)).await?;
        }
        if page.items.last().is_none_or(|entry| entry.number >= last) {
            page.next_cursor = None;
        }
        let text = |minor: i128| format_minor(minor, account.currency.scale);
        let balance = |at: &Point| text(account.normal.balance(at.debits_minor, at.credits_minor));
        Ok(Some(Statement {
            account: code.to_owned(),
            normal_balance: account.normal,
            from: period.from,
            to: period.to,
            opening_balance: balance(&opening),
            debits: text((closing.debits_minor - opening.debits_minor).into()),
            credits: text((closing.credits_minor - opening.credits_minor).into()),
            closing_balance: balance(&closing),
            currency: account.currency.code,
            entries: page.items,
            next_cursor: page.next_cursor,
        }))
    }

    /// How many of the account's entries were booked before that time.
    async fn booked_before(&self, account: &Standing, at: Timestamp) -> Result<i64, StoreError> {
        let (mut known, mut end) = (0, account.balance.entries);
        while known < end {
            let middle = known + (end - known + 1) / 2;
            let booked = self.totals_with(account, middle).await?.booked_at_us;
            if i128::from(booked) * 1000 < at.as_nanosecond() {
                known = middle;
            } else {
                end = middle - 1;
            }
        }
        Ok(known)
    }

    /// The account with its entries up to the one numbered so; zeros before the first.
    async fn totals_with(&self, account: &Standing, number: i64) -> Result<Point, StoreError> {
        if number == 0 {
            return Ok(Point::default());
        }
        let point = self.point(account.account_id, number).await?;
        point.ok_or_else(|| StoreError::Corrupt(format!("an account without its entry {number}")))
    }
}
