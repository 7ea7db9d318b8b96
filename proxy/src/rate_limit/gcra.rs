//! The generic cell rate algorithm (ITU-T I.371, annex A) as a pure function: no clock, no table.
//!
//! What is remembered of a key is one number, the time at which everything it has taken is paid
//! back. `rate_limit/gcra.lua` is the same function for Redis; a test holds one against the other.

use std::time::Duration;

use proxy_config::units::Rate;

/// How fast a key is paid back, how far it may be in debt, and how long it may be made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time that one request costs, at least 1 ns.
    pub interval_ns: u64,
    /// Requests that may come at once, at least 1.
    pub burst: u32,
    /// Longest wait; 0 refuses at once.
    pub delay_max_ns: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on after `wait_ns`; all it has taken is paid back after `debt_ns` from now.
    Passes { wait_ns: u64, debt_ns: u64 },
    /// It is refused and costs nothing; after `retry_ns` it would be taken.
    Over { retry_ns: u64 },
}

impl Pace {
    pub fn new(rate: Rate, burst: u32, delay_max: Duration) -> Pace {
        let period_ns = rate.per.as_millis() * 1_000_000;
        Pace {
            interval_ns: (period_ns / rate.count.max(1)).max(1),
            burst: burst.max(1),
            delay_max_ns: u64::try_from(delay_max.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Decides on one request at `now_ns` for a key that is free of debt at `paid_ns`; returns the
    /// new `paid_ns` too.
    pub fn ask(&self, paid_ns: u64, now_ns: u64) -> (Verdict, u64) {
        // A debt made under a slower rate, before a reload, counts as the largest there can be now.
        let debt_max_ns = self.burst_ns(self.burst).saturating_add(self.delay_max_ns);
        let debt_ns = paid_ns.saturating_sub(now_ns).min(debt_max_ns);
        let wait_ns = debt_ns.saturating_sub(self.burst_ns(self.burst - 1));
        if wait_ns > self.delay_max_ns {
            return (Verdict::Over { retry_ns: wait_ns - self.delay_max_ns }, now_ns + debt_ns);
        }
        let debt_ns = debt_ns.saturating_add(self.interval_ns);
        (Verdict::Passes { wait_ns, debt_ns }, now_ns.saturating_add(debt_ns))
    }

    /// Requests that would be taken at once with this debt.
    pub fn left(&self, debt_ns: u64) -> u64 {
        self.burst_ns(self.burst).saturating_sub(debt_ns) / self.interval_ns
    }

    /// Requests that a key has asked more than it has been paid back for, where it would wait so long.
    pub fn excess(&self, wait_ns: u64) -> f64 {
        self.burst_ns(self.burst - 1).saturating_add(wait_ns) as f64 / self.interval_ns as f64
    }

    fn burst_ns(&self, requests: u32) -> u64 {
        self.interval_ns.saturating_mul(u64::from(requests))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pace(rate: &str, burst: u32, delay_ms: u64) -> Pace {
        Pace::new(rate.parse().unwrap(), burst, Duration::from_millis(delay_ms))
    }

    /// Asks at each time; says at which times requests went on.
    fn passed(pace: Pace, times: &[u64]) -> Vec<u64> {
        let mut paid = 0;
        let mut passed = Vec::new();
        for now in times {
            let (verdict, after) = pace.ask(paid, *now);
            paid = after;
            if let Verdict::Passes { wait_ns, .. } = verdict {
                passed.push(now + wait_ns);
            }
        }
        passed
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let ten = pace("10/s", 3, 0);
        let start = 5 * SECOND;
        assert_eq!(passed(ten, &[start; 5]), [start; 3]);
        assert_eq!(
            ten.ask(start + 3 * SECOND / 10, start).0,
            Verdict::Over { retry_ns: SECOND / 10 }
        );
        let later = start + SECOND / 10;
        assert_eq!(passed(ten, &[start, start, start, later, later]), [start, start, start, later]);
    }

    #[test]
    fn delayed_requests_are_spread_out_and_the_wait_is_bounded() {
        let delayed = pace("10/s", 1, 250);
        let at = |tenths: u64| SECOND + tenths * SECOND / 10;
        assert_eq!(passed(delayed, &[SECOND; 5]), [at(0), at(1), at(2)]);
    }

    #[test]
    fn what_is_left_and_when_all_is_paid_back() {
        let ten = pace("10/s", 5, 0);
        let (verdict, _) = ten.ask(0, SECOND);
        assert_eq!(verdict, Verdict::Passes { wait_ns: 0, debt_ns: SECOND / 10 });
        assert_eq!((ten.left(SECOND / 10), ten.left(SECOND / 2), ten.left(SECOND)), (4, 0, 0));
    }

    #[test]
    fn a_debt_of_a_slower_rate_does_not_lock_anyone_out() {
        let (verdict, _) = pace("100/s", 10, 0).ask(3600 * SECOND, SECOND);
        assert_eq!(verdict, Verdict::Over { retry_ns: SECOND / 100 });
    }

    #[test]
    fn nothing_overflows() {
        let slow = pace("1/h", u32::MAX, 1000);
        assert!(matches!(slow.ask(u64::MAX, 1).0, Verdict::Over { .. } | Verdict::Passes { .. }));
        assert_eq!(pace("9999999999/s", 1, 0).interval_ns, 1);
    }

    proptest! {
        /// Whatever the arrivals, a window never sees more than the burst and what the rate pays
        /// back in it; and whoever asks no faster than the rate is never refused.
        #[test]
        fn never_more_than_burst_and_rate(
            gaps in proptest::collection::vec(0u64..300_000_000, 1..200),
            per_second in 1u64..200, burst in 1u32..20, delay_ms in 0u64..500,
        ) {
            let pace = pace(&format!("{per_second}/s"), burst, delay_ms);
            let times: Vec<u64> = gaps.iter().scan(SECOND, |now, gap| { *now += gap; Some(*now) }).collect();
            let went = passed(pace, &times);
            prop_assert!(went.is_sorted());
            for (at, from) in went.iter().enumerate() {
                let window = went[at..].iter().map(|to| to - from).zip(1u64..);
                for (span, count) in window {
                    prop_assert!(count <= u64::from(burst) + span / pace.interval_ns + 1, "{count} in {span}");
                }
            }
            let slow: Vec<u64> = (1..50).map(|n| n * pace.interval_ns).collect();
            prop_assert_eq!(passed(pace, &slow).len(), slow.len());
        }
    }
}
