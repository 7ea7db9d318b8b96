//! Bounds of a page that is put together.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use proxy_config::units::ByteSize;

use crate::failure::Failure;

/// What is left of what one page may include, however deep: pages in it have no limits of their own.
#[derive(Debug)]
pub struct Bounds {
    parts: AtomicU32,
    bytes: AtomicU64,
}

impl Bounds {
    pub fn new(parts: u32, bytes: ByteSize) -> Bounds {
        Bounds { parts: AtomicU32::new(parts), bytes: AtomicU64::new(bytes.as_bytes()) }
    }

    /// Whether there may be one more part.
    pub fn take_part(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.parts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Errors: a page of more bytes than it may have breaks off.
    pub fn take_bytes(&self, count: usize) -> Result<(), Failure> {
        let take = |left: u64| left.checked_sub(count as u64);
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(drop).map_err(|_| Failure::Internal)
    }
}
