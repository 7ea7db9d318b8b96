//! An account's totals and limits, and the arithmetic on them: checked, never wrapping.

use crate::account::Side;
use crate::money::Currency;

/// Totals of an account in minor units of its currency. The posted ones only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub debits_minor: i64,
    pub credits_minor: i64,
    /// How many entries the account has; the next entry gets the number after it.
    pub entries: i64,
    /// Held by pending transfers.
    pub pending_debits_minor: i64,
    pub pending_credits_minor: i64,
}

/// Between what an account's balance, by its normal side, must stay; in minor units, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// 0 for "no overdraft", negative for a credit limit, nothing for no limit.
    pub min_minor: Option<i64>,
    pub max_minor: Option<i64>,
}

/// A setting of an account's limits, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsRow {
    pub id: i64,
    pub account_id: i64,
    pub limits: Limits,
    pub set_at_us: i64,
}

/// An account as it stands before a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub account_id: i64,
    pub currency: Currency,
    pub normal: Side,
    pub balance: Balance,
    pub limits: Limits,
    /// As it was read, 0 where there is none: what the writer knows since is in its trails.
    pub last_entry_id: i64,
}

/// A limit that a posting would break, with the balance it would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Min { limit_minor: i64, available_minor: i128 },
    Max { limit_minor: i64, highest_minor: i128 },
}

impl Balance {
    /// The lowest balance there can be once everything pending is decided: what may be spent.
    pub fn available(&self, normal: Side) -> i128 {
        match normal {
            Side::Debit => {
                normal.balance(self.debits_minor, self.credits_minor)
                    - i128::from(self.pending_credits_minor)
            }
            Side::Credit => {
                normal.balance(self.debits_minor, self.credits_minor)
                    - i128::from(self.pending_debits_minor)
            }
        }
    }

    /// The highest balance there can be once everything pending is decided.
    pub fn highest(&self, normal: Side) -> i128 {
        match normal {
            Side::Debit => {
                normal.balance(self.debits_minor, self.credits_minor)
                    + i128::from(self.pending_debits_minor)
            }
            Side::Credit => {
                normal.balance(self.debits_minor, self.credits_minor)
                    + i128::from(self.pending_credits_minor)
            }
        }
    }

    /// With one more entry, or nothing when a total would leave 64 bits.
    pub fn moved(self, direction: Side, minor: i64) -> Option<Self> {
        let entries = self.entries.checked_add(1)?;
        let after = match direction {
            Side::Debit => {
                Self { debits_minor: self.debits_minor.checked_add(minor)?, entries, ..self }
            }
            Side::Credit => {
                Self { credits_minor: self.credits_minor.checked_add(minor)?, entries, ..self }
            }
        };
        after.fits()
    }

    /// With one more amount held, or nothing when posting it all might leave 64 bits.
    pub fn held(self, direction: Side, minor: i64) -> Option<Self> {
        let after = match direction {
            Side::Debit => {
                Self { pending_debits_minor: self.pending_debits_minor.checked_add(minor)?, ..self }
            }
            Side::Credit => Self {
                pending_credits_minor: self.pending_credits_minor.checked_add(minor)?,
                ..self
            },
        };
        after.fits()
    }

    /// With a held amount given back, or nothing when less than that is held.
    pub fn released(self, direction: Side, minor: i64) -> Option<Self> {
        let less = |held: i64| held.checked_sub(minor).filter(|rest| *rest >= 0);
        Some(match direction {
            Side::Debit => Self { pending_debits_minor: less(self.pending_debits_minor)?, ..self },
            Side::Credit => {
                Self { pending_credits_minor: less(self.pending_credits_minor)?, ..self }
            }
        })
    }

    /// What is held must always fit when it is posted, so that posting it cannot fail.
    fn fits(self) -> Option<Self> {
        self.debits_minor.checked_add(self.pending_debits_minor)?;
        self.credits_minor.checked_add(self.pending_credits_minor)?;
        Some(self)
    }
}

impl Standing {
    /// The limit that `after` breaks and this posting is to blame for: an account already outside
    /// its limits may move towards them.
    pub fn broken_by(&self, after: &Balance) -> Option<Broken> {
        let (before, normal) = (&self.balance, self.normal);
        if let Some(limit_minor) = self.limits.min_minor {
            let available_minor = after.available(normal);
            if available_minor < i128::from(limit_minor)
                && available_minor < before.available(normal)
            {
                return Some(Broken::Min { limit_minor, available_minor });
            }
        }
        if let Some(limit_minor) = self.limits.max_minor {
            let highest_minor = after.highest(normal);
            if highest_minor > i128::from(limit_minor) && highest_minor > before.highest(normal) {
                return Some(Broken::Max { limit_minor, highest_minor });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_counts_against_both_limits() {
        let balance = Balance {
            debits_minor: 100,
            credits_minor: 30,
            entries: 2,
            pending_debits_minor: 5,
            pending_credits_minor: 20,
        };
        assert_eq!((balance.available(Side::Debit), balance.highest(Side::Debit)), (50, 75));
        assert_eq!((balance.available(Side::Credit), balance.highest(Side::Credit)), (-75, -50));
    }

    #[test]
    fn room_is_kept_for_what_is_held() {
        let empty = Balance::default();
        let held = empty.held(Side::Debit, i64::MAX).unwrap();
        assert_eq!(held.held(Side::Debit, 1), None);
        assert_eq!(held.moved(Side::Debit, 1), None);
        assert!(held.moved(Side::Credit, i64::MAX).is_some());
        assert_eq!(held.released(Side::Debit, i64::MAX), Some(empty));
        assert_eq!(empty.released(Side::Debit, 1), None);
    }
}
