//! Whether one server is fit to take requests: a state machine fed with failures, answers, probes
//! and the time. Pure: time is handed in, in milliseconds.

use proxy_config::upstream_health::{ActiveChecks, PassiveChecks};

/// Doublings of the time a server stays out.
const DOUBLINGS_MAX: u32 = 6;

/// One server's health.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failures_in_row: u32,
    /// Times it was taken out, of late.
    ejections: u32,
    out_until_ms: u64,
    probes_in_row: u32,
    probed_down: bool,
    /// When it last came back by a probe.
    probed_up_ms: u64,
}

impl Health {
    pub fn is_up(&self, now_ms: u64) -> bool {
        !self.probed_down && now_ms >= self.out_until_ms
    }

    /// A real request failed. `may_go_out` is whether enough others are left. Says for how long the
    /// server is taken out with this.
    pub fn failed(&mut self, rules: &PassiveChecks, may_go_out: bool, now_ms: u64) -> Option<u64> {
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        if self.failures_in_row < rules.failures_max || !self.is_up(now_ms) || !may_go_out {
            return None;
        }
        let out_for_ms = |times: u32| rules.out_for.as_millis() << times.min(DOUBLINGS_MAX);
        // It stayed in for longer than it was last out: that is history.
        if now_ms > self.out_until_ms.saturating_add(out_for_ms(self.ejections)) {
            self.ejections = 0;
        }
        let for_ms = out_for_ms(self.ejections);
        self.out_until_ms = now_ms.saturating_add(for_ms);
        self.ejections += 1;
        self.failures_in_row = 0;
        Some(for_ms)
    }

    /// A real request was answered.
    pub fn answered(&mut self) {
        self.failures_in_row = 0;
    }

    /// A probe was answered or not. Says when the server goes down (`false`) or comes back.
    pub fn probed(&mut self, rules: &ActiveChecks, good: bool, now_ms: u64) -> Option<bool> {
        // In a row means: against what it is taken to be now.
        if good != self.probed_down {
            self.probes_in_row = 0;
            return None;
        }
        self.probes_in_row += 1;
        let needed = if good { rules.successes_min } else { rules.failures_max };
        if self.probes_in_row < needed {
            return None;
        }
        self.probes_in_row = 0;
        self.probed_down = !good;
        if good {
            self.probed_up_ms = now_ms;
            self.failures_in_row = 0;
        }
        Some(good)
    }

    /// The part of its weight, in thousandths, that a server which came back takes: it grows evenly
    /// over `slow_start_ms`. One that was never out takes all.
    pub fn share(&self, slow_start_ms: u64, now_ms: u64) -> u64 {
        let back_ms = self.probed_up_ms.max(self.out_until_ms);
        if back_ms == 0 || slow_start_ms == 0 {
            return 1000;
        }
        let since_ms = now_ms.saturating_sub(back_ms);
        (since_ms.saturating_mul(1000) / slow_start_ms).clamp(1, 1000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_config::units::Duration;

    use super::*;

    fn passive(failures_max: u32) -> PassiveChecks {
        PassiveChecks { failures_max, out_for: Duration::millis(100), ..PassiveChecks::default() }
    }

    #[test]
    fn failures_in_a_row_take_a_server_out_for_a_while() {
        let (rules, mut health) = (passive(3), Health::default());
        assert_eq!(health.failed(&rules, true, 1000), None);
        health.answered();
        assert_eq!(
            [1, 2, 3].map(|at| health.failed(&rules, true, 1000 + at)),
            [None, None, Some(100)]
        );
        assert!(!health.is_up(1003) && !health.is_up(1102) && health.is_up(1103));
        assert_eq!(health.failed(&rules, true, 1050), None, "it is out already");
    }

    #[test]
    fn the_time_out_doubles_until_it_behaves() {
        let (rules, mut health) = (passive(1), Health::default());
        assert_eq!(health.failed(&rules, true, 1000), Some(100));
        assert_eq!(health.failed(&rules, true, 1110), Some(200));
        assert_eq!(health.failed(&rules, true, 1320), Some(400));
        assert_eq!(health.failed(&rules, true, 1_000_000), Some(100));
        let mut at = 1_000_000;
        let longest = (0..20).filter_map(|_| {
            at += 10_000_000;
            // Straight after it came back, again and again.
            health.out_until_ms = at;
            health.failed(&rules, true, at)
        });
        assert_eq!(longest.max(), Some(6400));
    }

    #[test]
    fn the_last_ones_stay_in() {
        let (rules, mut health) = (passive(1), Health::default());
        assert_eq!(health.failed(&rules, false, 1000), None);
        assert!(health.is_up(1000));
    }

    #[test]
    fn probes_take_a_server_down_and_bring_it_back() {
        let rules = ActiveChecks { failures_max: 2, successes_min: 3, ..ActiveChecks::default() };
        let mut health = Health::default();
        let mut probe = |good| health.probed(&rules, good, 5000);
        assert_eq!([false, true, false, false].map(&mut probe), [None, None, None, Some(false)]);
        assert_eq!([true, true, false, true, true].map(&mut probe), [None; 5]);
        assert_eq!(probe(true), Some(true));
        assert!(health.is_up(5000));
        assert_eq!(
            [5000, 6000, 7000, 9000].map(|now| health.share(4000, now)),
            [1, 250, 500, 1000]
        );
    }

    #[test]
    fn a_server_that_was_never_out_takes_its_full_weight() {
        assert_eq!(Health::default().share(60_000, 1), 1000);
    }

    proptest! {
        /// Whatever happens, a server comes back by itself from failures of real requests.
        #[test]
        fn nobody_stays_out_for_ever(events in proptest::collection::vec((0u64..500, any::<bool>()), 0..200)) {
            let (rules, mut health, mut now_ms) = (passive(2), Health::default(), 1);
            for (gap, fails) in events {
                now_ms += gap;
                if fails { health.failed(&rules, true, now_ms); } else { health.answered(); }
            }
            prop_assert!(health.is_up(now_ms + (100 << DOUBLINGS_MAX)));
        }
    }
}
