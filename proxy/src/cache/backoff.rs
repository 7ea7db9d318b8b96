//! How long an origin is left alone that has failed, where something stored answers in its place: every viewer would ask it
//! anew, as fast as it fails.

use std::num::NonZeroUsize;

use lru::LruCache;

/// Failures remembered at once; those that were longest ago are forgotten first.
const FAILURES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// The first wait is as long as an answer is fresh, within these.
const FIRST_MS_MIN: u64 = 50;
const FIRST_MS_MAX: u64 = 1000;
/// It doubles up to the same time, within these.
const LAST_MS_MIN: u64 = 1000;
const LAST_MS_MAX: u64 = 10_000;

/// How long nobody asks after so many failures in a row for what is fresh for `fresh_ms`.
pub fn wait_ms(failures: u32, fresh_ms: u64) -> u64 {
    let first = fresh_ms.clamp(FIRST_MS_MIN, FIRST_MS_MAX);
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(fresh_ms.clamp(LAST_MS_MIN, LAST_MS_MAX))
}

#[derive(Clone, Copy)]
struct Failed {
    count: u32,
    until_ms: u64,
}

/// Failures by the hash of what was asked for.
pub struct Failures(LruCache<u64, Failed>);

impl Default for Failures {
    fn default() -> Failures {
        Failures(LruCache::new(FAILURES_MAX))
    }
}

impl Failures {
    pub fn note(&mut self, hash: u64, fresh_ms: u64, now_ms: u64) {
        let count = self.0.peek(&hash).map_or(0, |failed| failed.count).saturating_add(1);
        self.0.put(hash, Failed { count, until_ms: now_ms + wait_ms(count, fresh_ms) });
    }

    /// It has answered.
    pub fn forget(&mut self, hash: u64) {
        self.0.pop(&hash);
    }

    pub fn is_waited_for(&self, hash: u64, now_ms: u64) -> bool {
        self.0.peek(&hash).is_some_and(|failed| now_ms < failed.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_what_is_fresh_for_a_moment_to_what_is_for_long() {
        let waits = |fresh_ms| [1, 2, 3, 4, 5, 6, 40].map(|failures| wait_ms(failures, fresh_ms));
        assert_eq!(waits(0), [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(waits(100), [100, 200, 400, 800, 1000, 1000, 1000]);
        assert_eq!(waits(4000), [1000, 2000, 4000, 4000, 4000, 4000, 4000]);
        assert_eq!(waits(3_600_000), [1000, 2000, 4000, 8000, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn an_answer_ends_the_wait() {
        let mut failures = Failures::default();
        assert!(!failures.is_waited_for(1, 0));
        failures.note(1, 100, 1000);
        assert!(failures.is_waited_for(1, 1099) && !failures.is_waited_for(1, 1100));
        assert!(!failures.is_waited_for(2, 1000));
        failures.note(1, 100, 1100);
        assert!(failures.is_waited_for(1, 1299));
        failures.forget(1);
        assert!(!failures.is_waited_for(1, 1200));
        failures.note(1, 100, 1200);
        assert!(!failures.is_waited_for(1, 1300));
    }
}
