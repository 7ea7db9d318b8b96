//! Bytes of responses a second under one key (`bandwidth_max`), shared by all the key's responses. What a key has
//! reserved outlasts its requests: many small answers are no faster than a large one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::time::Instant;

use crate::pace::{BURST, reserved};

/// When everything that one key has reserved has been sent.
pub struct Wire(Mutex<Instant>);

impl Default for Wire {
    fn default() -> Wire {
        Wire(Mutex::new(Instant::now()))
    }
}

impl Wire {
    /// Whether forgetting it forgets nothing.
    pub fn is_free(&self) -> bool {
        *self.0.lock() <= Instant::now()
    }
}

/// What a response may have of its key's bytes.
#[derive(Clone)]
pub struct Allowance {
    pub wire: Arc<Wire>,
    /// Bytes per second, not 0.
    pub rate: u64,
    pub paced: IntCounter,
}

impl Allowance {
    /// Reserves time for these bytes; says how long to wait before they are sent.
    pub fn reserve(&self, bytes: usize) -> Duration {
        let mut free = self.wire.0.lock();
        let (delay, until) = reserved(*free, Instant::now(), bytes as u64, self.rate, BURST);
        *free = until;
        drop(free);
        if !delay.is_zero() {
            self.paced.inc_by(bytes as u64);
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_of_one_key_share_its_bytes_one_after_the_other_too() {
        let paced = IntCounter::new("paced", "bytes").unwrap();
        let wire = Arc::new(Wire::default());
        let allowance = || Allowance { wire: Arc::clone(&wire), rate: 1000, paced: paced.clone() };
        let (one, other) = (allowance(), allowance());
        assert_eq!(one.reserve(100), Duration::ZERO, "the burst");
        assert!(wire.is_free());
        assert_eq!(other.reserve(1000), Duration::ZERO);
        assert!(!wire.is_free());
        assert_eq!(one.reserve(500), Duration::from_secs(1));
        drop((one, other));
        assert_eq!(allowance().reserve(1), Duration::from_millis(1500), "it is remembered");
        assert_eq!(paced.get(), 501);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(allowance().reserve(1), Duration::ZERO);
    }
}
