//! Which of an account's entries count as of a time, and what they come to.

use jiff::Timestamp;
use jiff::civil::Date;
use thiserror::Error;

/// Which entries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    BookedBefore(Timestamp),
    /// Up to the end of that day.
    EffectiveThrough(Date),
}

impl AsOf {
    /// The time of booking, or the day.
    pub fn parts(self) -> (Option<Timestamp>, Option<Date>) {
        match self {
            Self::BookedBefore(at) => (Some(at), None),
            Self::EffectiveThrough(date) => (None, Some(date)),
        }
    }
}

/// Sums over some of an account's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub debits_minor: i64,
    pub credits_minor: i64,
    pub entries: i64,
}

/// No account's entries come to more than 64 bits hold.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("totals beyond 64 bits")]
pub struct Overflow;

impl Totals {
    pub fn add(&mut self, other: Self) -> Result<(), Overflow> {
        let sum = |one: i64, other: i64| one.checked_add(other).ok_or(Overflow);
        self.debits_minor = sum(self.debits_minor, other.debits_minor)?;
        self.credits_minor = sum(self.credits_minor, other.credits_minor)?;
        self.entries = sum(self.entries, other.entries)?;
        Ok(())
    }
}
