//! What is counted of spans on their way to a collector.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use crate::metrics::family::{Family, Kind, family};
use crate::metrics::{counter, gauge};

pub(super) const FAMILIES: &[Family] = &[
    family(
        "forebay_proxy_spans_waiting",
        Kind::Gauge,
        &[],
        "Spans that wait to be sent to the collector (telemetry); 4096 at most.",
    ),
    family(
        "forebay_proxy_spans_sent_total",
        Kind::Counter,
        &[],
        "Spans that the collector has taken.",
    ),
    family(
        "forebay_proxy_spans_dropped_total",
        Kind::Counter,
        &["reason"],
        "Spans that were not sent: reason is queue_full, unavailable (the collector cannot be reached, or answers 429, \
         502, 503 or 504, and went on doing so), refused (any other answer), rejected (it took a batch but for these), \
         off (a reload has taken telemetry out) or closed (the proxy sends none any more).",
    ),
];

const REASONS: [&str; 6] = ["queue_full", "unavailable", "refused", "rejected", "off", "closed"];

#[derive(Clone)]
pub struct TelemetryMetrics {
    pub waiting: IntGauge,
    pub sent: IntCounter,
    dropped: IntCounterVec,
}

impl TelemetryMetrics {
    pub(super) fn new(registry: &Registry) -> TelemetryMetrics {
        let dropped = counter(registry, "forebay_proxy_spans_dropped_total");
        REASONS.iter().for_each(|reason| drop(dropped.with_label_values(&[*reason])));
        TelemetryMetrics {
            waiting: gauge(registry, "forebay_proxy_spans_waiting").with_label_values::<&str>(&[]),
            sent: counter(registry, "forebay_proxy_spans_sent_total")
                .with_label_values::<&str>(&[]),
            dropped,
        }
    }

    pub fn dropped(&self, reason: &str) -> IntCounter {
        self.dropped.with_label_values(&[reason])
    }
}
