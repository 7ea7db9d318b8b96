//! The slowest requests of this minute and the last, for whoever looks (`forebay-proxy top`). Most requests are
//! not among them and take no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Requests kept of a minute.
const KEPT_MAX: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Milliseconds with microseconds as decimals.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A request that took long.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Slow {
    pub duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    pub request_id: String,
    pub method: String,
    /// Without the query, which may hold what is nobody's business.
    pub path: String,
    pub status: Option<u16>,
    pub route: String,
    pub lane: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

#[derive(Default)]
struct Lists {
    minute: u64,
    this: Vec<Slow>,
    last: Vec<Slow>,
}

impl Lists {
    fn turn(&mut self, minute: u64) {
        if minute != self.minute {
            let this = std::mem::take(&mut self.this);
            self.last = if minute == self.minute + 1 { this } else { Vec::new() };
            self.minute = minute;
        }
    }
}

pub struct Slowest {
    since: Instant,
    /// The minute counted, in the upper half, and the milliseconds a request must take to be kept.
    floor: AtomicU64,
    lists: Mutex<Lists>,
}

impl Default for Slowest {
    fn default() -> Slowest {
        Slowest { since: Instant::now(), floor: AtomicU64::new(0), lists: Mutex::default() }
    }
}

impl Slowest {
    fn minute(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.since).as_secs() / MINUTE.as_secs()
    }

    /// A request has ended now; what it was is only asked for where it is kept.
    pub fn ended(&self, now: Instant, took: Duration, what: impl FnOnce() -> Slow) {
        self.ended_at(self.minute(now), took, what);
    }

    fn ended_at(&self, minute: u64, took: Duration, what: impl FnOnce() -> Slow) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let floor = self.floor.load(Ordering::Relaxed);
        if floor >> 32 == minute && took_ms < floor & 0xffff_ffff {
            return;
        }
        let mut lists = self.lists.lock();
        lists.turn(minute);
        let place = lists.this.partition_point(|slow| slow.duration_ms >= took.as_secs_f64() * 1e3);
        if place < KEPT_MAX {
            lists.this.insert(place, what());
            lists.this.truncate(KEPT_MAX);
        }
        let is_full = lists.this.len() == KEPT_MAX;
        let least = lists.this.last().filter(|_| is_full).map_or(0.0, |slow| slow.duration_ms);
        // Milliseconds below 2^32, from above.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
        let least = least as u64;
        self.floor.store((minute << 32) | least.min(u64::from(u32::MAX)), Ordering::Relaxed);
    }

    /// The slowest first.
    pub fn shown(&self) -> Vec<Slow> {
        self.shown_at(self.minute(Instant::now()))
    }

    fn shown_at(&self, minute: u64) -> Vec<Slow> {
        let mut lists = self.lists.lock();
        lists.turn(minute);
        let mut all: Vec<Slow> = lists.this.iter().chain(&lists.last).cloned().collect();
        drop(lists);
        all.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms));
        all.truncate(KEPT_MAX);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(ms: u32) -> Slow {
        Slow {
            duration_ms: f64::from(ms),
            first_byte_ms: None,
            request_id: String::new(),
            method: "GET".to_owned(),
            path: format!("/{ms}"),
            status: Some(200),
            route: "all".to_owned(),
            lane: "bulk".to_owned(),
            upstream: None,
        }
    }

    #[test]
    fn the_slowest_of_two_minutes_are_kept() {
        let slowest = Slowest::default();
        let mut asked = 0;
        for ms in (1..=100).chain(1..=50) {
            slowest.ended_at(7, Duration::from_millis(u64::from(ms)), || {
                asked += 1;
                slow(ms)
            });
        }
        assert_eq!(asked, 100, "what is too fast is not looked at");
        let shown = |minute| -> Vec<String> {
            slowest.shown_at(minute).into_iter().map(|slow| slow.path).collect()
        };
        assert_eq!(
            (shown(7).len(), shown(7)[0].as_str(), shown(7)[9].as_str()),
            (10, "/100", "/91")
        );
        slowest.ended_at(8, Duration::from_millis(5), || slow(5));
        assert_eq!(shown(8).len(), 10);
        slowest.ended_at(9, Duration::from_millis(3), || slow(3));
        assert_eq!(shown(9), ["/5", "/3"]);
        assert!(shown(12).is_empty());
    }
}
