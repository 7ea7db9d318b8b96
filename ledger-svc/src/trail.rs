//! The way back through an account's entries. Each entry points at the one before it and, to go far in few steps, at one
//! further back, so that nothing has to be kept in order beside the entries: an index of accounts and numbers is a page
//! changed anywhere for every entry, while these are two more numbers of a row that is appended.
//!
//! Where an entry's jump leads depends on its number alone (Myers, "An applicative random-access stack", 1983): of the
//! entries before it, those reached by jumps from the one before are further and further apart, by 1, 3, 7, 15 …; where
//! the last two distances are the same, the jump leads over both. Any entry is found in no more than about three steps
//! for every doubling of their count, and nobody has to know more than the entries that jumps lead over: the trail.

use std::fmt;

use thiserror::Error;

/// Where an entry points; 0 where there is none, which is so of an account's first entry alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Back {
    pub previous_id: i64,
    pub jump_id: i64,
}

/// An entry of the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub number: i64,
    pub id: i64,
}

/// An account's last entry and those that jumps lead to from there, down to the first; the last at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Vec<Step>);

/// Entries that are no trail.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the way back from an account's entry {entries} is broken: {found}")]
pub struct Broken {
    entries: i64,
    found: Numbers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbers(Vec<i64>);

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its jumps lead to {:?}", self.0)
    }
}

impl Trail {
    /// The trail of an account that has so many entries, of steps in any order.
    pub fn of(entries: i64, mut steps: Vec<Step>) -> Result<Self, Broken> {
        steps.sort_unstable_by_key(|step| step.number);
        let ascending = steps.windows(2).all(|pair| pair[0].id < pair[1].id);
        if ascending && steps.iter().map(|step| step.number).eq(numbers(entries)) {
            return Ok(Self(steps));
        }
        Err(Self(steps).broken(entries))
    }

    fn broken(&self, entries: i64) -> Broken {
        Broken { entries, found: Numbers(self.0.iter().map(|step| step.number).collect()) }
    }

    /// How many entries the account has.
    pub fn entries(&self) -> i64 {
        self.0.last().map_or(0, |last| last.number)
    }

    /// 0 where it has none.
    pub fn last_id(&self) -> i64 {
        self.0.last().map_or(0, |last| last.id)
    }

    /// An error where the account has another number of entries.
    pub fn ends_at(&self, entries: i64) -> Result<(), Broken> {
        if self.entries() == entries {
            return Ok(());
        }
        Err(self.broken(entries))
    }

    /// Takes the next entry in, and says where it points.
    pub fn append(&mut self, id: i64) -> Back {
        let (number, previous_id) = (self.entries() + 1, self.last_id());
        if let [.., third, second, first] = *self.0.as_slice()
            && first.number - second.number == second.number - third.number
        {
            self.0.truncate(self.0.len() - 2);
        }
        let jump_id = self.last_id();
        self.0.push(Step { number, id });
        Back { previous_id, jump_id }
    }
}

/// The numbers on the trail of so many entries, from the first.
fn numbers(entries: i64) -> impl Iterator<Item = i64> {
    let mut at = 1;
    let more = std::iter::from_fn(move || {
        let rest = entries.checked_sub(at).filter(|rest| *rest > 0)?;
        // The longest of 1, 3, 7, 15 … that does not lead beyond.
        let longest = i64::MAX >> (rest.saturating_add(1).leading_zeros());
        at += longest;
        Some(at)
    });
    (entries > 0).then_some(1).into_iter().chain(more)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Where each of so many entries points, by number; ids are ten times the numbers.
    fn grown(count: i64) -> (Trail, Vec<Back>) {
        let mut trail = Trail::default();
        let backs = (1..=count).map(|number| trail.append(number * 10)).collect();
        (trail, backs)
    }

    #[test]
    fn jumps_lead_over_one_three_seven() {
        let (_, backs) = grown(9);
        let jumps: Vec<i64> = backs.iter().map(|back| back.jump_id / 10).collect();
        assert_eq!(jumps, [0, 1, 2, 1, 4, 5, 4, 1, 8]);
        let previous: Vec<i64> = backs.iter().map(|back| back.previous_id / 10).collect();
        assert_eq!(previous, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_trail_is_known_by_its_numbers() {
        for count in 0..300 {
            let (trail, _) = grown(count);
            assert!(trail.0.iter().map(|step| step.number).eq(numbers(count)), "{count}");
            assert!(trail.0.len() <= 2 + count.checked_ilog2().unwrap_or(0) as usize, "{count}");
            assert_eq!(Trail::of(count, trail.0.iter().copied().rev().collect()), Ok(trail));
        }
        assert!(Trail::of(1, Vec::new()).is_err());
        assert!(Trail::of(2, vec![Step { number: 2, id: 9 }]).is_err());
        let swapped = vec![Step { number: 1, id: 9 }, Step { number: 2, id: 3 }];
        let said = Trail::of(2, swapped).unwrap_err().to_string();
        assert_eq!(
            said,
            "the way back from an account's entry 2 is broken: its jumps lead to [1, 2]"
        );
        assert_eq!(numbers(i64::MAX).last(), Some(i64::MAX));
    }

    proptest! {
        /// Going back by the longest jump that does not lead too far.
        #[test]
        fn any_entry_is_near(count in 1..5000_i64, wanted in 1..5000_i64) {
            let wanted = wanted.min(count);
            let (_, backs) = grown(count);
            let (mut at, mut steps) = (count, 0);
            while at > wanted {
                let Back { previous_id, jump_id } = backs[usize::try_from(at - 1).unwrap()];
                at = if jump_id / 10 >= wanted { jump_id / 10 } else { previous_id / 10 };
                steps += 1;
            }
            prop_assert_eq!(at, wanted);
            prop_assert!(steps <= 3 * count.ilog2() + 3, "{} steps back from {}", steps, count);
        }
    }
}
