//! A ceiling on the bytes per second of a lane (`bandwidth_max`), shared by all its responses.
//!
//! Each part of a body reserves its time on the wire; who comes later waits behind it. What was not
//! used is forgotten but for a burst, so that a lane that was idle does not start with a flood.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntCounter;
use proxy_config::route_action::ResponseRate;
use tokio::time::Instant;

/// How much unused time may be made up for.
pub const BURST: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Bytes per second; 0 for no ceiling.
    rate: u64,
    /// When everything reserved so far has been sent at that rate.
    free: Instant,
}

pub struct Pace {
    state: Mutex<State>,
    paced_bytes: IntCounter,
}

impl Pace {
    pub fn new(paced_bytes: IntCounter) -> Pace {
        Pace { state: Mutex::new(State { rate: 0, free: Instant::now() }), paced_bytes }
    }

    /// Bytes per second; `None` for no ceiling.
    pub fn set_rate(&self, rate: Option<u64>) {
        self.state.lock().rate = rate.unwrap_or(0);
    }

    /// Reserves time for these bytes; says how long to wait before they are sent.
    pub fn reserve(&self, bytes: usize) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.rate == 0 || bytes == 0 {
            return None;
        }
        let (now, rate) = (Instant::now(), state.rate);
        let (delay, free) = reserved(state.free, now, bytes as u64, rate, BURST);
        state.free = free;
        drop(state);
        if delay.is_zero() {
            return None;
        }
        self.paced_bytes.inc_by(bytes as u64);
        Some(delay)
    }

    /// Waits until these bytes may be sent.
    pub async fn wait(&self, bytes: usize) {
        if let Some(delay) = self.reserve(bytes) {
            tokio::time::sleep(delay).await;
        }
    }
}

/// The rate of one response (`response_rate`), beside that of its lane.
pub struct OwnRate(Mutex<Own>);

/// The rate of one response, in bytes and bytes per second.
struct Own {
    rate: u64,
    /// Bytes that are free.
    after: u64,
    begun: Option<Instant>,
    sent: u64,
}

/// How much may be sent ahead of the rate.
const AHEAD: Duration = Duration::from_secs(1);

impl OwnRate {
    pub fn new(of: &ResponseRate) -> OwnRate {
        OwnRate(Mutex::new(Own {
            rate: of.rate.as_bytes_per_second().max(1),
            after: of.after.as_bytes(),
            begun: None,
            sent: 0,
        }))
    }

    /// Bytes that are best sent at once: more would be waited for as a whole.
    pub fn piece(&self) -> usize {
        usize::try_from(self.0.lock().rate).unwrap_or(usize::MAX)
    }

    /// Reserves time for these bytes; says how long to wait before they are sent.
    pub fn reserve(&self, bytes: usize) -> Duration {
        self.0.lock().reserve(bytes, Instant::now())
    }
}

impl Own {
    fn reserve(&mut self, bytes: usize, now: Instant) -> Duration {
        let begun = *self.begun.get_or_insert(now);
        self.sent += bytes as u64;
        let counted = u128::from(self.sent.saturating_sub(self.after));
        let nanoseconds = counted * 1_000_000_000 / u128::from(self.rate);
        let due = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        due.saturating_sub(AHEAD).saturating_sub(now.saturating_duration_since(begun))
    }
}

/// How long bytes that come `now` wait, and until when they use the wire; time that was not used, up to
/// `burst`, may be made up for.
pub fn reserved(
    free: Instant,
    now: Instant,
    bytes: u64,
    rate: u64,
    burst: Duration,
) -> (Duration, Instant) {
    let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    let begins = free.max(now.checked_sub(burst).unwrap_or(now));
    (begins.saturating_duration_since(now), begins + takes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_response_keeps_to_its_own_rate() {
        let mut own = Own { rate: 1000, after: 500, begun: None, sent: 0 };
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        for (bytes, when, wait) in
            [(500, 0, 0), (1000, 0, 0), (1000, 0, 1), (1000, 1, 1), (1000, 9, 0)]
        {
            assert_eq!(own.reserve(bytes, at(when)), Duration::from_secs(wait), "{bytes} {when}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_bodies_share_one_ceiling() {
        let counter = IntCounter::new("paced", "bytes").unwrap();
        let pace = Pace::new(counter.clone());
        assert_eq!(pace.reserve(1 << 30), None, "no ceiling");
        pace.set_rate(Some(1_000_000));
        let begun = Instant::now();
        let send = async || {
            for _ in 0..10 {
                pace.wait(100_000).await;
            }
        };
        tokio::join!(send(), send());
        // 2 MB at 1 MB/s, less the burst and the last part, which was let go and then takes its time.
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(1800) && took <= Duration::from_millis(2000),
            "{took:?}"
        );
        assert!(counter.get() > 0);
        pace.set_rate(None);
        assert_eq!(pace.reserve(1 << 30), None);
    }

    proptest! {
        /// Whatever comes when: from any moment on, no more is let go than the rate and a burst allow.
        #[test]
        fn never_faster_than_the_rate_and_a_burst(
            parts in proptest::collection::vec((0..200_u64, 1..200_000_u64), 1..100),
        ) {
            let (rate, origin) = (1_000_000, Instant::now() + Duration::from_secs(10));
            let (mut now, mut free, mut sent) = (origin, origin, 0);
            for (pause_ms, bytes) in parts {
                now += Duration::from_millis(pause_ms);
                let (delay, until) = reserved(free, now, bytes, rate, BURST);
                free = until;
                let allowed = u64::try_from((now + delay + BURST - origin).as_micros()).unwrap();
                prop_assert!(sent <= allowed, "{sent} bytes after {allowed} microseconds");
                sent += bytes;
            }
        }
    }
}
