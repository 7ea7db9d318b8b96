//! What the rules look at: the lines that are open, and the entries that may be theirs. Of very many the newest, and it is said
//! what was left out.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use prometheus::IntGauge;
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Desk, ReconcileError};
use crate::metadata::Metadata;
use crate::reconcile::matching::{Item, NotSearched, Proposed, propose};
use crate::reconcile::{ExternalLine, Proposal, Rules, UnmatchedEntry};
use crate::store::StoreError;

/// Open lines looked at.
const LINES_MAX: usize = 100_000;
/// Entries that are gone over, matched or not.
const ENTRIES_MAX: i64 = 200_000;
/// Read at once.
const PAGE: usize = 10_000;
/// How long before the first open line an entry may have been booked.
const BOOKED_BEFORE_DAYS: i32 = 40;

/// Each may hold all of that many in memory; the others wait.
static LOOKING: Semaphore = Semaphore::const_new(2);

/// What the rules found, and on what.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub proposals: Vec<Proposal>,
    pub left_out: LeftOut,
    pub not_searched: NotSearched,
}

/// Counts one for as long as it is there, however that ends.
struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    fn by(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What the rules did not look at; nothing near it is sure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeftOut {
    /// Lines that were imported before the last 100,000 that are open.
    pub lines: usize,
    /// Of the entries booked before this day, those before the account's last 200,000 are not looked at; null when none of them
    /// may be an open line's.
    #[schema(value_type = Option<String>, format = Date)]
    pub entries_before: Option<Date>,
}

/// Lines in the order they were imported, and what was before them.
#[derive(Default)]
struct Newest {
    lines: VecDeque<Item>,
    left_out: usize,
    /// The last day of a line that is left out.
    last: Option<Date>,
}

impl Newest {
    fn add(&mut self, line: ExternalLine, max: usize) {
        let (id, date, minor, text) = (line.id, line.date, line.minor, line.reference);
        self.lines.push_back(Item { id, date, minor, text });
        if self.lines.len() > max
            && let Some(oldest) = self.lines.pop_front()
        {
            self.left_out += 1;
            self.last = self.last.max(Some(oldest.date));
        }
    }
}

/// Finds the first day from whose beginning on there are not too many entries; it lies behind `many` and is `few` at the latest.
struct Halving {
    /// How many entries there are in all.
    last: i64,
    many: Date,
    few: Date,
    /// How many are before `few`, when somebody has looked.
    after: Option<i64>,
}

impl Halving {
    fn middle(&self) -> Option<Date> {
        let days = (self.few - self.many).get_days();
        (days > 1).then(|| self.many.saturating_add((days / 2).days()))
    }

    fn tell(&mut self, middle: Date, before: i64) {
        if self.last - before > ENTRIES_MAX {
            self.many = middle;
        } else {
            (self.few, self.after) = (middle, Some(before));
        }
    }
}

impl Desk<'_> {
    /// What the rules make of what is open.
    pub async fn proposals(&self, rules: Rules) -> Result<Looked, ReconcileError> {
        let waits = Counted::by(&self.metrics.reconciliations_waiting);
        // It is never closed.
        let _one = LOOKING.acquire().await;
        drop(waits);
        let _looks = Counted::by(&self.metrics.reconciliations);
        let Newest { lines, left_out, last } = self.newest_lines().await?;
        let Some(first) = lines.iter().map(|line| line.date).min() else {
            return Ok(Looked::default());
        };
        let reach = (BOOKED_BEFORE_DAYS + rules.days).days();
        let from = first.saturating_sub(reach);
        let (after, entries_before) = self.first_entry(from).await?;
        let amounts: BTreeSet<i64> = lines.iter().map(|line| line.minor).collect();
        let entries = self.entries(after, &amounts).await?;
        let of_lines = last.map(|day| day.saturating_add(rules.days.days()));
        let of_entries = entries_before.map(|day| day.saturating_add(reach));
        let doubtful_through = of_lines.max(of_entries);
        let proposing = tokio::task::spawn_blocking(move || {
            propose(&Vec::from(lines), &entries, rules, doubtful_through)
        });
        let failed = |error| StoreError::Engine(format!("the rules did not end: {error}"));
        let Proposed { proposals, not_searched } = proposing.await.map_err(failed)?;
        let left_out = LeftOut { lines: left_out, entries_before };
        Ok(Looked { proposals, left_out, not_searched })
    }

    async fn newest_lines(&self) -> Result<Newest, StoreError> {
        let (mut newest, mut after) = (Newest::default(), 0);
        loop {
            let page = self.reader.open_lines(self.account, after, PAGE).await?;
            let Some(last) = page.items.last() else { return Ok(newest) };
            after = last.id;
            let is_last = page.next_cursor.is_none();
            page.items.into_iter().for_each(|line| newest.add(line, LINES_MAX));
            if is_last {
                return Ok(newest);
            }
        }
    }

    /// How many of the account's entries are before those that are looked at; and the day before which they were booked,
    /// where that is a later one than `from`.
    async fn first_entry(&self, from: Date) -> Result<(i64, Option<Date>), StoreError> {
        let last = self.account.balance.entries;
        let after = self.reader.entries_before_day(self.account, from).await?;
        if last - after <= ENTRIES_MAX {
            return Ok((after, None));
        }
        let tomorrow =
            jiff::Timestamp::now().to_zoned(TimeZone::UTC).date().saturating_add(1.day());
        let mut halving = Halving { last, many: from, few: tomorrow.max(from), after: None };
        while let Some(middle) = halving.middle() {
            let before = self.reader.entries_before_day(self.account, middle).await?;
            halving.tell(middle, before);
        }
        // Of a day that alone has too many, the last.
        Ok((halving.after.unwrap_or(last - ENTRIES_MAX), Some(halving.few)))
    }

    /// Those no match has. What they say in words is only wanted of those that come to as much as a line.
    async fn entries(
        &self,
        mut after: i64,
        amounts: &BTreeSet<i64>,
    ) -> Result<Vec<Item>, StoreError> {
        let mut entries = Vec::new();
        loop {
            let page = self.reader.unmatched_entries(self.account, after, PAGE).await?;
            let Some(last) = page.items.last() else { return Ok(entries) };
            after = last.number;
            let is_last = page.next_cursor.is_none();
            let named = page.items.iter().filter(|entry| amounts.contains(&entry.minor));
            let ids: Vec<Uuid> = named.map(|entry| entry.transfer).collect();
            let mut called = HashMap::new();
            for ids in ids.chunks(1000) {
                called.extend(self.reader.called(ids).await?);
            }
            entries.extend(page.items.into_iter().map(|entry| {
                let text = match amounts.contains(&entry.minor) {
                    true => text(&entry, called.get(&entry.transfer)),
                    false => String::new(),
                };
                Item { id: entry.id, date: entry.effective_date, minor: entry.minor, text }
            }));
            if is_last {
                return Ok(entries);
            }
        }
    }
}

fn text(entry: &UnmatchedEntry, metadata: Option<&Metadata>) -> String {
    let values = metadata.into_iter().flat_map(|metadata| metadata.0.values());
    let texts = std::iter::once(&entry.description).chain(values);
    texts.cloned().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_the_rest_is_counted() {
        let mut newest = Newest::default();
        for (id, day) in [(1, 3), (2, 9), (3, 5), (4, 6), (5, 7)] {
            let line = ExternalLine {
                id,
                statement: 1,
                number: id,
                date: date(2026, 1, day),
                amount: "0.01".into(),
                minor: 1,
                reference: String::new(),
                text: String::new(),
                identity: String::new(),
            };
            newest.add(line, 3);
        }
        let ids: Vec<i64> = newest.lines.iter().map(|line| line.id).collect();
        assert_eq!((ids, newest.left_out, newest.last), (vec![3, 4, 5], 2, Some(date(2026, 1, 9))));
    }

    #[test]
    fn entries_begin_with_a_day_from_which_there_are_not_too_many() {
        // So many on each day from the first of January on.
        let found = |a_day: i64| {
            let (from, tomorrow) = (date(2026, 1, 1), date(2026, 3, 1));
            let before = |day: Date| i64::from((day - from).get_days()) * a_day;
            let last = before(tomorrow);
            let mut halving = Halving { last, many: from, few: tomorrow, after: None };
            while let Some(middle) = halving.middle() {
                halving.tell(middle, before(middle));
            }
            (halving.few, halving.after.map(|after| last - after))
        };
        assert_eq!(found(50_000), (date(2026, 2, 25), Some(200_000)));
        assert_eq!(found(60_000), (date(2026, 2, 26), Some(180_000)));
        assert_eq!(found(200_001), (date(2026, 3, 1), None));
    }
}
