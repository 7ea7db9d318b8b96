//! The metric series of the video in a cache.

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use crate::metrics::Metrics;
use crate::video::cmcd::Report;

/// Results of asking for a segment before a player does.
pub const PREFETCHES: [&str; 3] = ["begun", "known", "full"];
/// What became of manifests.
const MANIFESTS: [&str; 4] = ["hls_multivariant", "hls_media", "dash", "unreadable"];

pub struct Series {
    cache: String,
    manifests: IntCounterVec,
    streams: IntGaugeVec,
    stalled: IntGaugeVec,
    stalls: IntCounterVec,
    reloads: IntCounterVec,
    prefetches: IntCounterVec,
    reports: IntCounterVec,
    viewers: IntGaugeVec,
    requests: IntCounterVec,
    starved: IntCounterVec,
    buffer_seconds: HistogramVec,
    start_seconds: HistogramVec,
    bitrate: HistogramVec,
    throughput: HistogramVec,
}

impl Series {
    pub fn new(cache: &str, metrics: &Metrics) -> Series {
        for kind in MANIFESTS {
            metrics.video_manifests.with_label_values(&[cache, kind]);
        }
        for result in PREFETCHES {
            metrics.video_prefetches.with_label_values(&[cache, result]);
        }
        for result in ["held", "refused"] {
            metrics.video_reloads.with_label_values(&[cache, result]);
        }
        for result in ["read", "malformed"] {
            metrics.video_reports.with_label_values(&[cache, result]);
        }
        metrics.video_stalls.with_label_values(&[cache]);
        Series {
            cache: cache.to_owned(),
            manifests: metrics.video_manifests.clone(),
            streams: metrics.video_streams.clone(),
            stalled: metrics.video_streams_stalled.clone(),
            stalls: metrics.video_stalls.clone(),
            reloads: metrics.video_reloads.clone(),
            prefetches: metrics.video_prefetches.clone(),
            reports: metrics.video_reports.clone(),
            viewers: metrics.video_viewers.clone(),
            requests: metrics.video_requests.clone(),
            starved: metrics.video_starved.clone(),
            buffer_seconds: metrics.video_buffer_seconds.clone(),
            start_seconds: metrics.video_start_seconds.clone(),
            bitrate: metrics.video_bitrate.clone(),
            throughput: metrics.video_throughput.clone(),
        }
    }

    pub fn manifest(&self, kind: &str) {
        self.manifests.with_label_values(&[self.cache.as_str(), kind]).inc();
    }

    pub fn streams(&self, live: usize, stalled: usize) {
        let labels = [self.cache.as_str()];
        self.streams.with_label_values(&labels).set(gauged(live));
        self.stalled.with_label_values(&labels).set(gauged(stalled));
    }

    pub fn stalled(&self) {
        self.stalls.with_label_values(&[self.cache.as_str()]).inc();
    }

    pub fn reload(&self, result: &str) {
        self.reloads.with_label_values(&[self.cache.as_str(), result]).inc();
    }

    pub fn prefetch(&self, result: &str) {
        self.prefetches.with_label_values(&[self.cache.as_str(), result]).inc();
    }

    pub fn malformed_report(&self) {
        self.reports.with_label_values(&[self.cache.as_str(), "malformed"]).inc();
    }

    pub fn viewers(&self, title: &str, count: usize) {
        self.viewers.with_label_values(&[self.cache.as_str(), title]).set(gauged(count));
    }

    pub fn report(&self, title: &str, report: &Report) {
        self.reports.with_label_values(&[self.cache.as_str(), "read"]).inc();
        let labels = [self.cache.as_str(), title];
        self.requests.with_label_values(&labels).inc();
        self.starved.with_label_values(&labels).inc_by(u64::from(report.starved));
        let thousandth = |value: u64| value as f64 / 1000.0;
        if let Some(buffer_ms) = report.buffer_ms {
            self.buffer_seconds.with_label_values(&labels).observe(thousandth(buffer_ms));
        }
        if let Some(delay_ms) = report.start_delay_ms {
            self.start_seconds.with_label_values(&labels).observe(thousandth(delay_ms));
        }
        if let Some(kbps) = report.bitrate_kbps {
            self.bitrate.with_label_values(&labels).observe(kbps as f64 * 1000.0);
        }
        if let Some(kbps) = report.throughput_kbps {
            self.throughput.with_label_values(&labels).observe(kbps as f64 * 1000.0);
        }
    }

    /// Takes away the series of a title that nobody watches any more.
    pub fn forget_title(&self, title: &str) {
        let labels = [self.cache.as_str(), title];
        // A title without reports of one kind has no series of that kind.
        let _ = self.viewers.remove_label_values(&labels);
        let _ = self.requests.remove_label_values(&labels);
        let _ = self.starved.remove_label_values(&labels);
        for family in [&self.buffer_seconds, &self.start_seconds, &self.bitrate, &self.throughput] {
            let _ = family.remove_label_values(&labels);
        }
    }
}

fn gauged(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
