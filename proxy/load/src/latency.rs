//! Latencies of requests, and what is said about them.

use serde::Serialize;

/// Percentiles in microseconds, counted from the moment each request was due, and how many failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub requests: u64,
    /// No answer, or not 200 or 201. They have no latency; they are what must not be.
    pub failures: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
    /// How late the load generator itself sent, at the 99th percentile, on connections that were
    /// free: no figure here is finer than this.
    pub sent_late_p99_us: u64,
    /// For a plot: ten-thousandths of the requests, and the microseconds they were answered within.
    pub curve: Vec<(u64, u64)>,
}

/// What the curve is made at, in ten-thousandths.
const CURVE: [u64; 14] =
    [0, 2500, 5000, 7500, 9000, 9500, 9750, 9900, 9950, 9975, 9990, 9995, 9999, 10_000];

impl Latency {
    pub fn of(mut answered_us: Vec<u64>, mut sent_late_us: Vec<u64>, failures: u64) -> Latency {
        answered_us.sort_unstable();
        sent_late_us.sort_unstable();
        let at = |share| percentile(&answered_us, share);
        Latency {
            requests: answered_us.len() as u64 + failures,
            failures,
            p50_us: at(5000),
            p90_us: at(9000),
            p99_us: at(9900),
            p999_us: at(9990),
            max_us: at(10_000),
            sent_late_p99_us: percentile(&sent_late_us, 9900),
            curve: CURVE.map(|share| (share, at(share))).to_vec(),
        }
    }
}

/// The smallest value that at least so many ten-thousandths of all do not exceed; 0 of none.
pub fn percentile(sorted: &[u64], share: u64) -> u64 {
    let rank = (sorted.len() as u64 * share).div_ceil(10_000).max(1) - 1;
    usize::try_from(rank).ok().and_then(|rank| sorted.get(rank)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let latency = Latency::of((1..=1000).rev().collect(), vec![7], 3);
        assert_eq!((latency.p50_us, latency.p90_us, latency.p99_us), (500, 900, 990));
        assert_eq!((latency.p999_us, latency.max_us), (999, 1000));
        assert_eq!((latency.requests, latency.failures, latency.sent_late_p99_us), (1003, 3, 7));
        assert_eq!(latency.curve.first(), Some(&(0, 1)));
        assert_eq!(Latency::of(vec![], vec![], 1).p99_us, 0);
    }
}
