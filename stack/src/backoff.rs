//! How long a child that died waits before it is started again.

use std::time::Duration;

/// The pace at which children are probed, judged, restarted and stopped.
///
/// One value for every child; the defaults are what `forebay up` uses, tests use shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Wait before the first restart; it doubles from there.
    pub restart_first: Duration,
    /// The longest wait between two restarts.
    pub restart_max: Duration,
    /// Health of this length makes earlier failures count no more.
    pub restart_forgiven_after: Duration,
    /// Time between two probes until a child is healthy for the first time.
    pub probe_starting: Duration,
    /// Time between two probes of a child that is healthy.
    pub probe_healthy: Duration,
    /// Probes in a row that must fail before a running child is replaced.
    pub probe_failures_max: u32,
    /// A child that is not healthy this long after its start is replaced.
    pub start_max: Duration,
    /// What a child gets to finish after its stop signal, before KILL.
    pub drain_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            restart_first: Duration::from_millis(250),
            restart_max: Duration::from_secs(10),
            restart_forgiven_after: Duration::from_secs(30),
            probe_starting: Duration::from_millis(100),
            probe_healthy: Duration::from_secs(1),
            probe_failures_max: 3,
            start_max: Duration::from_secs(20),
            drain_max: Duration::from_secs(10),
        }
    }
}

impl Pace {
    /// The wait before the restart that follows `earlier` failures in a row.
    pub fn restart_wait(&self, earlier: u32) -> Duration {
        // 2^16 × 250 ms is far past any useful maximum, so the exponent may stop there.
        self.restart_first.saturating_mul(1 << earlier.min(16)).min(self.restart_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let pace = Pace::default();
        let waits: Vec<u128> = (0..8).map(|n| pace.restart_wait(n).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(pace.restart_wait(u32::MAX), pace.restart_max);
    }
}
