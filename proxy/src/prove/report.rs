//! What the proof came to: the figures, and each part of the promise with what was measured.

use proxy_config::lane::Lanes;
use serde::Serialize;

use super::measured::Pair;
use super::plan::{Bounds, Plan};
use super::subject::CACHE_BYTES;

/// Memory a proxy may use beside its caches: itself, and what every viewer's connection needs.
const OWN_BYTES: u64 = 64 << 20;
const VIEWER_BYTES: u64 = 256 << 10;

/// One part of the promise.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    pub what: &'static str,
    pub must: String,
    pub measured: String,
    pub held: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub forebay_proxy: &'static str,
    pub processors: String,
    pub seconds_each: f64,
    pub transactions_per_second: u32,
    pub viewers: usize,
    pub video_bytes: u64,
    pub video_from: &'static str,
    /// The budgets that were put to the proof.
    pub lanes: Lanes,
    pub held: bool,
    pub promises: Vec<Promise>,
    pub ratio_with_lanes: f64,
    pub ratio_without_lanes: f64,
    pub memory_budget_bytes: u64,
    pub with_lanes: Pair,
    pub without_lanes: Pair,
}

impl Report {
    pub fn new(plan: &Plan, processors: String, with_lanes: Pair, without_lanes: Pair) -> Report {
        let memory_budget_bytes = CACHE_BYTES + OWN_BYTES + plan.viewers as u64 * VIEWER_BYTES;
        let promises = promises(&plan.bounds, &with_lanes, memory_budget_bytes);
        Report {
            forebay_proxy: env!("CARGO_PKG_VERSION"),
            processors,
            seconds_each: plan.duration.as_secs_f64(),
            transactions_per_second: plan.transactions_per_second,
            viewers: plan.viewers,
            video_bytes: plan.video_bytes,
            video_from: if plan.uncached { "the origin" } else { "the cache" },
            lanes: plan.lanes.clone(),
            held: promises.iter().all(|promise| promise.held),
            promises,
            ratio_with_lanes: with_lanes.ratio(),
            ratio_without_lanes: without_lanes.ratio(),
            memory_budget_bytes,
            with_lanes,
            without_lanes,
        }
    }
}

fn promises(bounds: &Bounds, pair: &Pair, memory_budget_bytes: u64) -> Vec<Promise> {
    let loaded = &pair.overloaded;
    let ratio = pair.ratio();
    let failures = pair.alone.transactions.failures + loaded.transactions.failures;
    let p99 = loaded.transactions.p99_us;
    let mut promises = vec![
        Promise {
            what: "transactions that failed",
            must: "0".to_owned(),
            measured: failures.to_string(),
            held: failures == 0,
        },
        Promise {
            what: "p99 beside video, of the p99 alone",
            must: format!("≤ {:.2} ×", bounds.ratio_max),
            measured: format!("{ratio:.2} ×"),
            held: ratio <= bounds.ratio_max,
        },
        Promise {
            what: "p99 beside video",
            must: format!("≤ {} ms", millis(bounds.p99_max_us)),
            measured: format!("{} ms", millis(p99)),
            held: p99 <= bounds.p99_max_us,
        },
        Promise {
            what: "videos that broke off or were not the origin's",
            must: "0".to_owned(),
            measured: loaded.video_failures.to_string(),
            held: loaded.video_failures == 0,
        },
    ];
    if let Some(min) = bounds.video_rate_min {
        promises.push(Promise {
            what: "video beside transactions",
            must: format!("≥ {:.2} GB/s", min as f64 / 1e9),
            measured: format!("{:.2} GB/s", loaded.video_rate() / 1e9),
            held: loaded.video_rate() >= min as f64,
        });
    }
    if let Some(peak) = loaded.proxy.memory_peak_bytes {
        promises.push(Promise {
            what: "memory of the proxy at its peak",
            must: format!("≤ {} MiB", memory_budget_bytes >> 20),
            measured: format!("{} MiB", peak >> 20),
            held: peak <= memory_budget_bytes,
        });
    }
    if let Some(written) = loaded.proxy.written_bytes {
        promises.push(Promise {
            what: "bytes the proxy wrote to storage",
            must: "0".to_owned(),
            measured: written.to_string(),
            held: written == 0,
        });
    }
    promises
}

/// Microseconds as milliseconds with two places.
pub fn millis(micros: u64) -> String {
    format!("{:.2}", micros as f64 / 1000.0)
}
