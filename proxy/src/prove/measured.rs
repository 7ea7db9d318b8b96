//! What is measured.

use proxy_load::latency::Latency;
use serde::Serialize;

use super::subject::Used;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub seconds: f64,
    pub transactions: Latency,
    pub video_bytes: u64,
    pub video_responses: u64,
    /// Answered, but not 2xx: the lane was full.
    pub video_refused: u64,
    pub video_failures: u64,
    pub proxy: Used,
    /// Of the kernel for TCP, both ends of every connection on this machine; the most seen.
    pub tcp_buffers_peak_bytes: Option<u64>,
    /// By anybody, on the block devices of the ledger's data; `None` when there are none to watch.
    pub ledger_mount_written_bytes: Option<u64>,
}

impl Measured {
    /// Bytes of video a second.
    pub fn video_rate(&self) -> f64 {
        self.video_bytes as f64 / self.seconds
    }
}

/// Transactions alone, then beside viewers, under one document.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    pub alone: Measured,
    pub overloaded: Measured,
}

impl Pair {
    /// How many times the quiet 99th percentile the loaded one is.
    pub fn ratio(&self) -> f64 {
        let micros = |measured: &Measured| measured.transactions.p99_us.max(1) as f64;
        micros(&self.overloaded) / micros(&self.alone)
    }
}
