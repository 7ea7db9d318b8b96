//! The metric series of a cache.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::cache::purge::SCOPES;
use crate::cache::{Cache, answer, disk, fan_out, freshness, sliced};
use crate::metrics::Metrics;

/// The series of one cache.
pub struct Series {
    pub bytes: IntGaugeVec,
    pub bytes_max: IntGauge,
    pub objects: IntGaugeVec,
    pub paged_bodies: IntGauge,
    pub requests: IntCounterVec,
    pub evictions: IntCounterVec,
    pub refusals: IntCounterVec,
    pub invalidations: IntCounterVec,
    pub refreshes_held: IntCounter,
    pub purges: IntCounterVec,
    pub purged_objects: IntCounterVec,
    pub fills: IntCounterVec,
    pub fills_in_progress: IntGauge,
    pub fill_bytes: IntCounterVec,
    pub resumes: IntCounterVec,
    pub slices: IntCounterVec,
    pub disk_bytes: IntGauge,
    pub disk_objects: IntGauge,
}

impl Series {
    /// Every series exists from the start, so that a rate over a first event is not lost.
    pub fn new(cache: &str, metrics: &Metrics) -> Series {
        let known: [(&IntCounterVec, &[&str]); 7] = [
            (&metrics.cache_requests, &answer::VERDICTS),
            (&metrics.cache_evictions, &["small", "large"]),
            (&metrics.cache_refusals, &freshness::REFUSALS),
            (
                &metrics.cache_fills,
                &["whole", "revalidated", "refused", "broken", "failed", "stopped"],
            ),
            (&metrics.cache_fill_resumes, &["resumed", "changed", "failed", "left_behind"]),
            (&metrics.cache_slices, &sliced::RESULTS),
            (&metrics.cache_purge_messages, &fan_out::RESULTS),
        ];
        for (family, values) in known {
            for value in values {
                family.with_label_values(&[cache, value]);
            }
        }
        for scope in SCOPES {
            for kind in ["hard", "soft"] {
                metrics.cache_purges.with_label_values(&[cache, scope, kind]);
            }
        }
        disk::Series::new(cache, metrics);
        metrics.cache_disk_bytes_max.with_label_values(&[cache]);
        metrics.cache_purged_objects.with_label_values(&[cache]);
        metrics.cache_purge_redis_connected.with_label_values(&[cache]);
        metrics.cache_invalidations.with_label_values(&[cache]);
        metrics.cache_fill_bytes.with_label_values(&[cache]);
        Series {
            bytes: metrics.cache_bytes.clone(),
            bytes_max: metrics.cache_bytes_max.with_label_values(&[cache]),
            objects: metrics.cache_objects.clone(),
            paged_bodies: metrics.cache_paged_bodies.with_label_values(&[cache]),
            requests: metrics.cache_requests.clone(),
            evictions: metrics.cache_evictions.clone(),
            refusals: metrics.cache_refusals.clone(),
            invalidations: metrics.cache_invalidations.clone(),
            refreshes_held: metrics.cache_refreshes_held.with_label_values(&[cache]),
            purges: metrics.cache_purges.clone(),
            purged_objects: metrics.cache_purged_objects.clone(),
            fills: metrics.cache_fills.clone(),
            fills_in_progress: metrics.cache_fills_in_progress.with_label_values(&[cache]),
            fill_bytes: metrics.cache_fill_bytes.clone(),
            resumes: metrics.cache_fill_resumes.clone(),
            slices: metrics.cache_slices.clone(),
            disk_bytes: metrics.cache_disk_bytes.with_label_values(&[cache]),
            disk_objects: metrics.cache_disk_objects.with_label_values(&[cache]),
        }
    }
}

impl Cache {
    pub fn count_request(&self, result: &str) {
        self.series.requests.with_label_values(&[self.name.as_str(), result]).inc();
    }

    pub fn count_refusal(&self, reason: &str) {
        self.series.refusals.with_label_values(&[self.name.as_str(), reason]).inc();
    }

    pub fn count_fill(&self, result: &str, bytes: u64) {
        self.series.fills.with_label_values(&[self.name.as_str(), result]).inc();
        self.series.fill_bytes.with_label_values(&[self.name.as_str()]).inc_by(bytes);
    }

    pub fn count_slice(&self, result: &str) {
        self.series.slices.with_label_values(&[self.name.as_str(), result]).inc();
    }

    pub fn count_resume(&self, result: &str) {
        self.series.resumes.with_label_values(&[self.name.as_str(), result]).inc();
    }
}
