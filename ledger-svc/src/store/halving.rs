//! Where in the order of booking a time falls. Entries are numbered without gaps in that order, so it is found by halving: a
//! few look-ups by key, however many entries there are.

use jiff::Timestamp;

use super::error::StoreError;
use super::reader::{Arg, Moment};

const BOOKED_AT: &str = "SELECT t.booked_at_us FROM entries AS e
     JOIN transfers AS t ON t.seq = e.transfer_seq WHERE e.id = ?";
pub(super) const LAST_ENTRY: &str = "SELECT coalesce(max(id), 0) FROM entries";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[BOOKED_AT, LAST_ENTRY];

/// Where in a list that grows by time something falls: how many of `known..=end` come before it.
#[derive(Clone, Copy, Debug)]
pub struct Halving {
    known: i64,
    end: i64,
}

impl Halving {
    pub fn new(count: i64) -> Self {
        Self { known: 0, end: count }
    }

    /// Which one to look at next; nothing when it is found.
    pub fn next(&self) -> Option<i64> {
        (self.known < self.end).then(|| self.known + (self.end - self.known + 1) / 2)
    }

    /// Whether the one looked at comes before.
    pub fn tell(&mut self, before: bool) {
        let Some(middle) = self.next() else { return };
        if before {
            self.known = middle;
        } else {
            self.end = middle - 1;
        }
    }

    pub fn found(&self) -> i64 {
        self.known
    }
}

impl Moment {
    /// How many of the entries, which are numbered without gaps, were booked before then.
    pub(super) async fn entries_before(
        &mut self,
        last: i64,
        at: Timestamp,
    ) -> Result<i64, StoreError> {
        // Mostly nothing was booked since.
        if last == 0 || self.is_booked_before(last, at).await? {
            return Ok(last);
        }
        let mut search = Halving::new(last - 1);
        while let Some(middle) = search.next() {
            search.tell(self.is_booked_before(middle, at).await?);
        }
        Ok(search.found())
    }

    async fn is_booked_before(&mut self, entry: i64, at: Timestamp) -> Result<bool, StoreError> {
        let booked = self.row(BOOKED_AT, &[Arg::Long(entry)], |row| row.long(0)).await?;
        let missing = || StoreError::Corrupt(format!("no entry {entry}"));
        Ok(is_before(booked.ok_or_else(missing)?, at))
    }
}

/// Whether something booked then is before `at`, to the nanosecond.
pub fn is_before(booked_at_us: i64, at: Timestamp) -> bool {
    i128::from(booked_at_us) * 1000 < at.as_nanosecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::when::end_of;

    #[test]
    fn halving_finds_every_place() {
        for count in 0..40 {
            for place in 0..=count {
                let (mut search, mut looks) = (Halving::new(count), 0);
                while let Some(middle) = search.next() {
                    search.tell(middle <= place);
                    looks += 1;
                }
                assert_eq!(search.found(), place);
                assert!(looks <= 6, "{looks} looks at {count}");
            }
        }
    }

    #[test]
    fn what_is_booked_at_the_time_is_not_before_it() {
        let end = end_of(jiff::civil::date(2026, 2, 28));
        assert!(is_before(end.as_microsecond() - 1, end) && !is_before(end.as_microsecond(), end));
    }
}
