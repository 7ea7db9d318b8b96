//! An account's statement over effective dates: entries by the day they count for, and by their number within it.
//! Entries of which both dates are the same follow each other by number; those that differ are listed apart
//! (`backdated_entries`). A page is the two put together.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;

use super::error::StoreError;
use super::reader::{Arg, Moment, Reader};
use super::row::{self, Columns, one_more};
use super::way::along;
use crate::account::Side;
use crate::as_of::Totals;
use crate::money::format_minor;
use crate::posting::Standing;
use crate::report::{AccountEntry, Statement, StatementBy};
use crate::when::{begin_of, end_of};

/// From that day to before that day; without, from the first or to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    pub from: Option<Date>,
    pub to: Option<Date>,
}

/// Where a page ended, and how many entries the account had when the first page was read. Later ones are on no page, so that
/// all pages are of one statement. Figures are not in it: whoever changes a cursor asks for another page, and not for other
/// balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    date: Date,
    number: i64,
    entries: i64,
}

/// With what those that are backdated are left out by.
const SAME_DAY: &str = along!(
    "SELECT e.number, t.id, t.description, t.effective_date, t.booked_at_us, e.direction,
        e.amount_minor, e.debits_after_minor, e.credits_after_minor, d.id
     FROM way AS w
     JOIN entries AS e ON e.id = w.id
     JOIN transfers AS t ON t.seq = e.transfer_seq
     LEFT JOIN backdated_entries AS d ON d.id = e.id
     WHERE w.number <= ? ORDER BY w.number"
);
const BACKDATED: &str =
    "SELECT e.number, t.id, t.description, t.effective_date, t.booked_at_us, e.direction,
        e.amount_minor, e.debits_after_minor, e.credits_after_minor
     FROM backdated_entries AS d
     JOIN entries AS e ON e.id = d.id
     JOIN transfers AS t ON t.seq = e.transfer_seq
     WHERE d.account_id = ? AND d.effective_date >= ? AND d.effective_date < ?
        AND (d.effective_date > ? OR d.number > ?) AND d.number <= ?
     ORDER BY d.effective_date, d.number LIMIT ?";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[SAME_DAY, BACKDATED];

/// An entry with its amount in minor units.
type Line = (AccountEntry, i64);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, number, entries } = self;
        write!(f, "{date}.{number}.{entries}")
    }
}

impl Place {
    /// Reads a cursor as it was given.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let date: Date = parts.next()?.parse().ok()?;
        let mut number = || parts.next()?.parse::<i64>().ok().filter(|number| *number >= 0);
        let place = Self { date, number: number()?, entries: number()? };
        (place.to_string() == text).then_some(place)
    }
}

impl Reader {
    /// The statement with a page of its entries, those behind `after`; nothing when there is no such account.
    pub async fn effective_statement(
        &self,
        code: &str,
        days: Days,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Option<Statement>, StoreError> {
        let mut moment = self.moment().await?;
        let Some(account) = moment.standing(code).await? else { return Ok(None) };
        let pinned = moment.pinned(account, after.map(|place| place.entries)).await?;
        let opening = match days.from.map(Date::yesterday) {
            Some(Ok(before)) => moment.counted_through(&pinned, before).await?,
            Some(Err(_)) | None => Totals::default(),
        };
        let last_day = days.to.map_or(Date::MAX, |to| to.yesterday().unwrap_or(Date::MIN));
        let closing = moment.counted_through(&pinned, last_day).await?;
        let entries = pinned.account.balance.entries;
        let begin = Place { date: days.from.unwrap_or(Date::MIN), number: 0, entries };
        // What a page begins behind may be a place that no page gave.
        let place = after.map_or(begin, |place| Place { entries, ..place }.max(begin));
        let before = if place == begin {
            opening
        } else {
            moment.counted_up_to(&pinned, place.date, place.number).await?
        };
        let account = pinned.account;
        let backdated = moment.backdated(&account, place, last_day, limit).await?;
        let numbers = moment.same_day_numbers(&account, place, last_day).await?;
        moment.end().await?;
        let same_day = self.same_day(&account, numbers, limit).await?;
        let (mut entries, next) =
            page(&account, (place, before), merged(same_day, backdated), limit);
        self.call_entries(entries.iter_mut()).await?;
        let text = |minor: i128| format_minor(minor, account.currency.scale);
        let balance = |at: &Totals| text(account.normal.balance(at.debits_minor, at.credits_minor));
        Ok(Some(Statement {
            account: code.to_owned(),
            normal_balance: account.normal,
            by: StatementBy::Effective,
            from: days.from.map(|date| date.to_string()),
            to: days.to.map(|date| date.to_string()),
            opening_balance: balance(&opening),
            debits: text((closing.debits_minor - opening.debits_minor).into()),
            credits: text((closing.credits_minor - opening.credits_minor).into()),
            closing_balance: balance(&closing),
            entries,
            next_cursor: next.map(|place| place.to_string()),
            currency: account.currency.code,
        }))
    }

    /// Of the entries with those numbers, the ones of which both dates are the same. What was booked stays as it is, so they
    /// need no moment.
    async fn same_day(
        &self,
        account: &Standing,
        numbers: (i64, i64),
        limit: usize,
    ) -> Result<Vec<Line>, StoreError> {
        let if_same_day = |row: &dyn Columns| {
            if row.is_null(9)? { line(account, row).map(Some) } else { Ok(None) }
        };
        self.along(SAME_DAY, account, numbers, one_more(limit), if_same_day).await
    }
}

impl Moment {
    /// After which number, and up to which, entries are that count for the day they were booked on and come behind `place`.
    async fn same_day_numbers(
        &mut self,
        account: &Standing,
        place: Place,
        last_day: Date,
    ) -> Result<(i64, i64), StoreError> {
        let begins = begin_of(place.date);
        // Nothing has to be looked for before everything.
        let first = if begins == Timestamp::MIN {
            0
        } else {
            self.booked_until(account, begins).await?.entries
        };
        let of_day = self.booked_until(account, end_of(place.date)).await?.entries;
        let last = self.booked_until(account, end_of(last_day)).await?.entries;
        Ok((place.number.clamp(first, of_day.max(first)), last))
    }

    /// The entries of which the dates differ, behind `place`.
    async fn backdated(
        &mut self,
        account: &Standing,
        place: Place,
        last_day: Date,
        limit: usize,
    ) -> Result<Vec<Line>, StoreError> {
        // Dates are compared as text, which orders years 0 to 9999.
        let from = if place.date.year() < 0 { String::new() } else { place.date.to_string() };
        let to = match last_day.tomorrow() {
            Ok(to) if to.year() >= 0 => to.to_string(),
            Ok(_) => String::new(),
            Err(_) => "9999-99".to_owned(),
        };
        let (id, most) = (Arg::Long(account.account_id), Arg::Long(one_more(limit)));
        let (from, to) = (Arg::Text(&from), Arg::Text(&to));
        let arguments =
            [id, from, to, from, Arg::Long(place.number), Arg::Long(place.entries), most];
        self.rows(BACKDATED, &arguments, |row| line(account, row)).await
    }
}

fn line(account: &Standing, row: &dyn Columns) -> Result<Line, StoreError> {
    Ok((row::entry(account, row)?, row.long(6)?))
}

/// Both in one order: by day, then by number.
fn merged(same_day: Vec<Line>, backdated: Vec<Line>) -> Vec<Line> {
    let mut lines: Vec<Line> = same_day.into_iter().chain(backdated).collect();
    lines.sort_by_key(|(entry, _)| (entry.effective_date, entry.number));
    lines
}

/// The first of the lines, each with the balance up to it by effective date.
fn page(
    account: &Standing,
    (mut place, mut totals): (Place, Totals),
    lines: Vec<Line>,
    limit: usize,
) -> (Vec<AccountEntry>, Option<Place>) {
    let more = lines.len() > limit;
    let mut entries = Vec::with_capacity(limit.min(lines.len()));
    for (mut entry, minor) in lines.into_iter().take(limit) {
        match entry.direction {
            Side::Debit => totals.debits_minor = totals.debits_minor.saturating_add(minor),
            Side::Credit => totals.credits_minor = totals.credits_minor.saturating_add(minor),
        }
        (place.date, place.number) = (entry.effective_date, entry.number);
        let balance = account.normal.balance(totals.debits_minor, totals.credits_minor);
        entry.balance = format_minor(balance, account.currency.scale);
        entries.push(entry);
    }
    (entries, more.then_some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place = Place { date: jiff::civil::date(2026, 1, 31), number: 17, entries: 20 };
        assert_eq!(Place::parse("2026-01-31.17.20"), Some(place));
        for bad in [
            "",
            "17",
            "2026-01-31",
            "2026-01-31.17",
            "2026-01-31.17.5.0",
            "2026-1-31.1.1",
            "2026-01-31.-1.5",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
