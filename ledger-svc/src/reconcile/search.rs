//! The search for a group of items that come to a sum.

use std::collections::BTreeSet;

use super::matching::Item;

/// Steps of one search.
const STEPS_MAX: usize = 50_000;

/// Looks for two different groups of items that come to a sum; a second one shows that the first is not sure.
pub struct Search<'a> {
    /// The largest first.
    among: &'a [&'a Item],
    pub steps: usize,
    pub found: Vec<Vec<i64>>,
    max: usize,
}

impl<'a> Search<'a> {
    /// Groups of `max` at most.
    pub fn run(among: &'a [&'a Item], sum: u64, max: usize) -> Self {
        let mut search = Self { among, steps: 0, found: Vec::new(), max };
        search.go(0, sum, &mut Vec::new());
        search
    }

    /// Whether there may be more than it found.
    pub fn is_broken_off(&self) -> bool {
        self.steps >= STEPS_MAX
    }

    fn go(&mut self, from: usize, left: u64, taken: &mut Vec<i64>) {
        self.steps += 1;
        if left == 0 {
            let group: BTreeSet<i64> = taken.iter().copied().collect();
            self.found.push(group.into_iter().collect());
            return;
        }
        for place in from..self.among.len() {
            if self.steps >= STEPS_MAX || self.found.len() > 1 || taken.len() == self.max {
                return;
            }
            let item = self.among[place];
            if item.minor.unsigned_abs() <= left {
                taken.push(item.id);
                self.go(place + 1, left - item.minor.unsigned_abs(), taken);
                taken.pop();
            }
        }
    }
}
