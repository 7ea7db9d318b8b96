//! An account's statement over a time of booking. An account's entries are numbered in booking order and
//! carry their totals, so the ends of any period are found by going back: look-ups by key, however long the
//! account is. Entries are never changed, so those of a page are read when the ends are found.

use jiff::Timestamp;

use super::error::StoreError;
use super::reader::{Moment, Reader};
use crate::as_of::Totals;
use crate::money::format_minor;
use crate::posting::Standing;
use crate::report::{Page, Statement, StatementBy};

/// From when (included) until when (excluded); without, from the first or to the last entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
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
        let mut moment = self.moment().await?;
        let Some(account) = moment.standing(code).await? else { return Ok(None) };
        let now = Totals {
            debits_minor: account.balance.debits_minor,
            credits_minor: account.balance.credits_minor,
            entries: account.balance.entries,
        };
        let opening = match period.from {
            None => Totals::default(),
            Some(from) => moment.booked_until(&account, from).await?,
        };
        let closing = match period.to {
            None => now,
            Some(to) => moment.booked_until(&account, to).await?,
        };
        moment.end().await?;
        let (first, last) = (opening.entries, closing.entries.max(opening.entries));
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
        let balance = |at: &Totals| text(account.normal.balance(at.debits_minor, at.credits_minor));
        Ok(Some(Statement {
            account: code.to_owned(),
            normal_balance: account.normal,
            by: StatementBy::Booking,
            from: period.from.map(|from| format!("{from:.6}")),
            to: period.to.map(|to| format!("{to:.6}")),
            opening_balance: balance(&opening),
            debits: text((closing.debits_minor - opening.debits_minor).into()),
            credits: text((closing.credits_minor - opening.credits_minor).into()),
            closing_balance: balance(&closing),
            currency: account.currency.code,
            entries: page.items,
            next_cursor: page.next_cursor,
        }))
    }
}

impl Moment {
    pub(super) async fn booked_until(
        &mut self,
        account: &Standing,
        at: Timestamp,
    ) -> Result<Totals, StoreError> {
        let totals = self.booked_before(std::slice::from_ref(account), at).await?;
        Ok(totals.into_iter().next().unwrap_or_default())
    }
}
