//! What is remembered of keys: one bounded table of debts, the longest unused forgotten first, and
//! the requests in flight, which are as many as there are requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use lru::LruCache;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use crate::metrics::Metrics;
use crate::rate_limit::bandwidth::Wire;
use crate::rate_limit::gcra::{Pace, Verdict};
use crate::rate_limit::key::Key;

/// The counts of one limit. They belong to the process: a reload keeps them.
pub struct Counts {
    begun: Instant,
    debts: Mutex<Debts>,
    in_flight: Mutex<HashMap<Key, u32>>,
    held: AtomicU32,
    keys: IntGauge,
    held_gauge: IntGauge,
    evictions: IntCounter,
}

struct Debts {
    /// Key to the time, in ns since `begun`, at which it is paid back.
    paid_ns: LruCache<Key, u64>,
    /// What each key's responses have reserved.
    wires: LruCache<Key, Arc<Wire>>,
    keys_max: usize,
}

impl Debts {
    /// Keys remembered: as a rule the same for both.
    fn keys(&self) -> i64 {
        i64::try_from(self.paid_ns.len().max(self.wires.len())).unwrap_or(i64::MAX)
    }
}

/// One request in flight under a key.
pub struct Place {
    counts: Arc<Counts>,
    key: Key,
}

/// One request that waits for its turn.
pub struct Held(Arc<Counts>);

impl Counts {
    pub fn new(name: &str, metrics: &Metrics) -> Counts {
        Counts {
            begun: Instant::now(),
            debts: Mutex::new(Debts {
                paid_ns: LruCache::unbounded(),
                wires: LruCache::unbounded(),
                keys_max: 1,
            }),
            in_flight: Mutex::default(),
            held: AtomicU32::new(0),
            keys: metrics.rate_limit_keys.with_label_values(&[name]),
            held_gauge: metrics.rate_limit_held.with_label_values(&[name]),
            evictions: metrics.rate_limit_evictions.with_label_values(&[name]),
        }
    }

    /// Takes effect with the next request of a new key.
    pub fn set_keys_max(&self, keys_max: u32) {
        self.debts.lock().keys_max = usize::try_from(keys_max.max(1)).unwrap_or(usize::MAX);
    }

    /// Asks for one request now.
    pub fn ask(&self, key: Key, pace: &Pace) -> Verdict {
        self.ask_at(key, pace, self.now_ns())
    }

    fn ask_at(&self, key: Key, pace: &Pace, now_ns: u64) -> Verdict {
        let mut debts = self.debts.lock();
        let (verdict, paid_ns) = pace.ask(debts.paid_ns.get(&key).copied().unwrap_or(0), now_ns);
        debts.paid_ns.put(key, paid_ns);
        while debts.paid_ns.len() > debts.keys_max {
            // One that is paid back already is as good as never seen.
            let forgotten = debts.paid_ns.pop_lru();
            self.evictions.inc_by(u64::from(forgotten.is_some_and(|(_, paid)| paid > now_ns)));
        }
        self.keys.set(debts.keys());
        verdict
    }

    /// What the responses of this key share.
    pub fn wire(&self, key: Key) -> Arc<Wire> {
        let mut debts = self.debts.lock();
        let wire = Arc::clone(debts.wires.get_or_insert(key, Arc::default));
        while debts.wires.len() > debts.keys_max {
            let forgotten = debts.wires.pop_lru();
            self.evictions.inc_by(u64::from(forgotten.is_some_and(|(_, wire)| !wire.is_free())));
        }
        self.keys.set(debts.keys());
        wire
    }

    /// Takes back a request that another limit refused.
    pub fn give_back(&self, key: &Key, pace: &Pace) {
        if let Some(paid_ns) = self.debts.lock().paid_ns.peek_mut(key) {
            *paid_ns = paid_ns.saturating_sub(pace.interval_ns);
        }
    }

    /// A place among at most `max` requests of this key in flight.
    pub fn enter(self: &Arc<Self>, key: Key, max: u32) -> Option<Place> {
        let mut in_flight = self.in_flight.lock();
        let count = in_flight.entry(key).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { counts: Arc::clone(self), key })
    }

    /// A place among at most `max` requests that wait.
    pub fn hold(self: &Arc<Self>, max: u32) -> Option<Held> {
        let took = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            (held < max).then_some(held + 1)
        });
        took.ok()?;
        self.held_gauge.inc();
        Some(Held(Arc::clone(self)))
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut in_flight = self.counts.in_flight.lock();
        if let Some(count) = in_flight.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&self.key);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
        self.0.held_gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys_max: u32) -> Arc<Counts> {
        let counts = Counts::new("l", &Metrics::new());
        counts.set_keys_max(keys_max);
        Arc::new(counts)
    }

    fn passes(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Passes { .. })
    }

    const ONE_A_SECOND: Pace = Pace { interval_ns: 1_000_000_000, burst: 1, delay_max_ns: 0 };

    #[test]
    fn the_table_is_bounded_and_the_longest_unused_goes() {
        let counts = counts(2);
        let ask = |key: u8, now| passes(counts.ask_at([key; 16], &ONE_A_SECOND, now));
        assert!(ask(1, 10) && ask(2, 10) && !ask(1, 10));
        assert!(ask(3, 10), "evicts 2");
        assert!(!ask(1, 10) && !ask(3, 10), "both are remembered");
        assert!(ask(2, 10), "it was forgotten");
        assert_eq!((counts.keys.get(), counts.evictions.get()), (2, 2));
        assert!(ask(4, 5_000_000_000) && ask(5, 5_000_000_000));
        assert_eq!(counts.evictions.get(), 2, "those were paid back");
    }

    #[test]
    fn what_responses_reserve_is_remembered_within_bounds() {
        let counts = counts(2);
        let first = counts.wire([1; 16]);
        assert!(Arc::ptr_eq(&first, &counts.wire([1; 16])));
        counts.wire([2; 16]);
        assert!(Arc::ptr_eq(&first, &counts.wire([1; 16])));
        counts.wire([3; 16]);
        assert!(Arc::ptr_eq(&first, &counts.wire([1; 16])), "the longest unused goes");
        assert_eq!((counts.keys.get(), counts.evictions.get()), (2, 0));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let counts = counts(10);
        assert!(passes(counts.ask_at([1; 16], &ONE_A_SECOND, 10)));
        counts.give_back(&[1; 16], &ONE_A_SECOND);
        assert!(passes(counts.ask_at([1; 16], &ONE_A_SECOND, 10)));
        assert!(!passes(counts.ask_at([1; 16], &ONE_A_SECOND, 10)));
    }

    #[test]
    fn places_are_per_key_and_leave_nothing_behind() {
        let counts = counts(1);
        let first = counts.enter([1; 16], 1);
        assert!(first.is_some() && counts.enter([1; 16], 1).is_none());
        assert!(counts.enter([2; 16], 1).is_some());
        drop(first);
        assert!(counts.enter([1; 16], 1).is_some());
        assert!(counts.in_flight.lock().is_empty());
        let held = counts.hold(1);
        assert!(held.is_some() && counts.hold(1).is_none());
        drop(held);
        assert!(counts.hold(1).is_some());
    }
}
