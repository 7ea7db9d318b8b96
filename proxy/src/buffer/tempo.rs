//! The pace of one body (`pace`, `pace_burst`), and of one body in its lane.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proxy_config::buffer_policy::Way;
use tokio::time::Instant;

use crate::buffer::Policy;
use crate::lane::Lane;
use crate::pace::OwnRate;
use crate::pace::reserved;
use crate::rate_limit::bandwidth::Allowance;

/// When the next bytes of one body may be sent.
pub struct Tempo {
    policy: Arc<Policy>,
    way: Way,
    /// When everything so far has been sent at its pace.
    free: Mutex<Option<Instant>>,
}

impl Tempo {
    pub fn new(policy: &Arc<Policy>, way: Way) -> Tempo {
        Tempo { policy: Arc::clone(policy), way, free: Mutex::new(None) }
    }

    /// How long these bytes wait under the values as they are now.
    pub fn reserve(&self, bytes: usize) -> Option<Duration> {
        let side = self.policy.side(self.way);
        let rate = side.pace?.as_bytes_per_second().max(1);
        let burst = Duration::try_from_secs_f64(side.pace_burst.as_bytes() as f64 / rate as f64);
        let burst = burst.unwrap_or(Duration::MAX);
        let now = Instant::now();
        let mut free = self.free.lock();
        // At its beginning a body has all of its burst.
        let since = free.or_else(|| now.checked_sub(burst)).unwrap_or(now);
        let (delay, until) = reserved(since, now, bytes as u64, rate, burst);
        *free = Some(until);
        drop(free);
        if delay.is_zero() {
            return None;
        }
        self.policy.series(self.way).paced.inc_by(bytes as u64);
        Some(delay)
    }

    pub async fn wait(&self, bytes: usize) {
        if let Some(delay) = self.reserve(bytes) {
            tokio::time::sleep(delay).await;
        }
    }
}

/// What a response is sent by: the bandwidth of its lane, which all share, that of whoever asks, and its own pace.
#[derive(Clone)]
pub struct Pacing {
    pub lane: Arc<Lane>,
    pub own: Option<Arc<Tempo>>,
    pub rate: Option<Arc<OwnRate>>,
    pub allowances: Vec<Allowance>,
    /// It is a part of another response, which is paced as a whole.
    pub is_part: bool,
}

impl Pacing {
    /// Reserves time for these bytes; says how long to wait before they are sent.
    pub fn reserve(&self, bytes: usize) -> Option<Duration> {
        if self.is_part {
            return None;
        }
        let own = self.own.as_ref().and_then(|tempo| tempo.reserve(bytes));
        let rate = self.rate.as_ref().map(|rate| rate.reserve(bytes));
        let keys = self.allowances.iter().map(|allowance| allowance.reserve(bytes)).max();
        let longest = self.lane.pace.reserve(bytes).max(own).max(rate).max(keys);
        longest.filter(|delay| !delay.is_zero())
    }

    /// Bytes that are best sent at once: more would be waited for as a whole.
    pub fn piece(&self) -> usize {
        self.rate.as_ref().filter(|_| !self.is_part).map_or(usize::MAX, |rate| rate.piece())
    }

    pub async fn wait(&self, bytes: usize) {
        if let Some(delay) = self.reserve(bytes) {
            tokio::time::sleep(delay).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proxy_config::buffer_policy::{BufferPolicy, BufferSide};
    use proxy_config::units::{ByteRate, ByteSize};

    use super::*;
    use crate::buffer::Policies;
    use crate::metrics::Metrics;

    fn policy(pace: Option<u64>) -> BufferPolicy {
        let pace = pace.map(|rate| ByteRate(ByteSize::bytes(rate)));
        let side = BufferSide {
            pace,
            pace_burst: Some(ByteSize::bytes(500_000)),
            ..BufferSide::default()
        };
        BufferPolicy { responses: Some(side), ..BufferPolicy::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_the_pace_and_a_change_holds_at_once() {
        let (metrics, policies) = (Metrics::new(), Policies::default());
        let set = |rate| {
            policies.set(&BTreeMap::from([("vod".to_owned(), policy(rate))]), &metrics);
        };
        set(Some(1_000_000));
        let tempo = Tempo::new(&policies.named(Some("vod"), &metrics), Way::Responses);
        assert_eq!(tempo.reserve(400_000), None);
        assert_eq!(tempo.reserve(100_000), None);
        let begun = Instant::now();
        for _ in 0..10 {
            tempo.wait(100_000).await;
        }
        let took = begun.elapsed();
        assert!((Duration::from_millis(850)..=Duration::from_secs(1)).contains(&took), "{took:?}");
        set(None);
        assert_eq!(tempo.reserve(1 << 30), None);
    }
}
