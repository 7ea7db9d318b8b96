//! Figures of the whole process, for texts that name them. They are asked for only then.

use std::fmt;

/// Connections and requests of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections open.
    pub open: u64,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Those of them that were not refused.
    pub handled: u64,
    /// Requests so far, those under way included.
    pub requests: u64,
    /// Requests under way.
    pub under_way: u64,
}

impl Load {
    /// Connections that wait for a request.
    pub fn waiting(&self) -> u64 {
        self.open.saturating_sub(self.under_way)
    }
}

/// Who knows the figures.
pub trait Knows: Sync {
    fn load(&self) -> Load;
}

/// Whom to ask for them.
#[derive(Clone, Copy)]
pub struct Figures<'a>(pub &'a dyn Knows);

impl fmt::Debug for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}
