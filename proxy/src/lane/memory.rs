//! What the bodies under way in a lane may hold (`memory_max`). Nothing is measured while they move:
//! everything a request's bodies can lie in has a fixed size, so each reserves its worst, and where that
//! does not fit it is not let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::IntGauge;

use crate::listen::UNSENT_BYTES;
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::upstream::bounds::RECEIVE_BYTES;

const QUANTUM: u64 = QUANTUM_BYTES as u64;
/// In the kernel for a client that does not read: what may wait unsent, and the write that went over.
pub const TO_CLIENT: u64 = UNSENT_BYTES as u64 + QUANTUM;
/// Of a request that passes through: the kernel's buffer from the upstream, and in pingora a channel of
/// four parts and one in each hand, in both directions.
pub const PASSING: u64 = RECEIVE_BYTES as u64 + 2 * (4 + 1) * QUANTUM;
/// Of a fill: the kernel's buffer and the part that was just read. Its body is the cache's.
pub const FILLING: u64 = RECEIVE_BYTES as u64 + QUANTUM;

/// Bytes of one lane.
#[derive(Debug)]
pub struct Memory {
    max: AtomicU64,
    held: AtomicU64,
    held_gauge: IntGauge,
    max_gauge: IntGauge,
}

/// Bytes reserved; dropping it gives them back, exactly once.
#[derive(Debug)]
pub struct Reserved {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Reserved {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes so many more, if there is room for them.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let Some(mut more) = self.memory.reserve(bytes) else { return false };
        self.bytes += std::mem::take(&mut more.bytes);
        true
    }
}

impl Memory {
    /// No limit yet.
    pub fn new(held_gauge: IntGauge, max_gauge: IntGauge) -> Arc<Memory> {
        let (max, held) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        Arc::new(Memory { max, held, held_gauge, max_gauge })
    }

    /// `None` for no limit. What is held already stays.
    pub fn set_max(&self, max: Option<u64>) {
        self.max.store(max.unwrap_or(u64::MAX), Ordering::Release);
        self.max_gauge.set(max.map_or(0, gauge));
    }

    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        let max = self.max.load(Ordering::Acquire);
        let took = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            held.checked_add(bytes).filter(|sum| *sum <= max)
        });
        took.ok()?;
        self.held_gauge.add(gauge(bytes));
        Some(Reserved { memory: Arc::clone(self), bytes })
    }
}

fn gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.memory.held_gauge.sub(gauge(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_config::lane::BODIES_AT_WORST;

    use super::*;
    use crate::metrics::Metrics;

    fn memory() -> Arc<Memory> {
        let metrics = Metrics::new();
        let gauge = |family: &prometheus::IntGaugeVec| family.with_label_values(&["bulk"]);
        Memory::new(gauge(&metrics.lane_memory), gauge(&metrics.lane_memory_max))
    }

    #[test]
    fn a_document_cannot_give_less_than_one_request_needs() {
        assert_eq!(BODIES_AT_WORST.as_bytes(), TO_CLIENT + PASSING);
        const { assert!(FILLING < PASSING) };
    }

    #[test]
    fn without_a_limit_everything_fits_and_a_limit_holds_for_what_comes() {
        let memory = memory();
        let held = memory.reserve(1 << 40).unwrap();
        memory.set_max(Some(10));
        assert!(memory.reserve(1).is_none());
        drop(held);
        assert!(memory.reserve(10).is_some());
        assert_eq!((memory.held_gauge.get(), memory.max_gauge.get()), (0, 10));
        let mut grows = memory.reserve(3).unwrap();
        assert!(grows.grow(7) && !grows.grow(1));
        assert_eq!((grows.bytes(), memory.held_gauge.get()), (10, 10));
        drop(grows);
        assert_eq!(memory.held_gauge.get(), 0);
    }

    proptest! {
        /// Whatever is taken and given back in which order: never more than the limit, and everything
        /// comes back.
        #[test]
        fn never_more_than_the_limit(steps in proptest::collection::vec((0..50_u64, any::<bool>()), 1..100)) {
            let (memory, mut all) = (memory(), Vec::new());
            memory.set_max(Some(100));
            for (bytes, gives_back) in steps {
                if gives_back && !all.is_empty() {
                    drop(all.remove(0));
                } else {
                    all.extend(memory.reserve(bytes));
                }
                let held: u64 = all.iter().map(|reserved: &Reserved| reserved.bytes).sum();
                prop_assert!(held <= 100);
                prop_assert_eq!(memory.held_gauge.get(), gauge(held));
            }
            drop(all);
            prop_assert_eq!(memory.held.load(Ordering::Acquire), 0);
        }
    }
}
