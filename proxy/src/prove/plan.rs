//! What is to be proved, and how.

use std::path::PathBuf;
use std::time::Duration;

use proxy_config::lane::Lanes;
use serde::Serialize;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Length of each of the four measurements.
    pub duration: Duration,
    pub transactions_per_second: u32,
    pub viewers: usize,
    pub video_bytes: u64,
    /// Video passes through instead of coming from the cache.
    pub uncached: bool,
    /// The budgets that are put to the proof.
    pub lanes: Lanes,
    /// Directories on file systems of a ledger's data, to be watched for writes.
    pub ledger_data: Vec<PathBuf>,
    pub bounds: Bounds,
}

/// What must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Bounds {
    /// The 99th percentile beside viewers, in multiples of the one alone.
    pub ratio_max: f64,
    /// The 99th percentile beside viewers.
    pub p99_max_us: u64,
    /// Video beside transactions, bytes a second; `None` for any.
    pub video_rate_min: Option<u64>,
}
