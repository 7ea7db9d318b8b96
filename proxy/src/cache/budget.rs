//! Bytes of a cache's memory: who holds how many. What is leased comes back when the lease is
//! dropped, so an answer that was evicted while it is still being sent goes on being counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Small answers are the live window, large ones are films.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Small,
    Large,
}

impl Class {
    pub const ALL: [Class; 2] = [Class::Small, Class::Large];

    pub fn name(self) -> &'static str {
        match self {
            Class::Small => "small",
            Class::Large => "large",
        }
    }
}

/// Bytes in use, by class. Only [`super::store::Store`] adds, under its lock; anyone may give back.
#[derive(Debug, Default)]
pub struct Budget([AtomicU64; 2]);

impl Budget {
    pub fn used(&self, class: Class) -> u64 {
        self.0[class as usize].load(Ordering::Acquire)
    }

    pub fn total(&self) -> u64 {
        Class::ALL.iter().map(|class| self.used(*class)).sum()
    }

    pub(super) fn lease(self: &Arc<Self>, class: Class, bytes: u64) -> Lease {
        self.0[class as usize].fetch_add(bytes, Ordering::AcqRel);
        Lease { budget: Arc::clone(self), class, bytes }
    }
}

/// A number of bytes held.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    class: Class,
    bytes: u64,
}

impl Lease {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn class(&self) -> Class {
        self.class
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.budget.0[self.class as usize].fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
    }

    /// Gives back what is above this many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.budget.0[self.class as usize].fetch_sub(surplus, Ordering::AcqRel);
        self.bytes -= surplus;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
