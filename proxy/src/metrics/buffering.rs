//! What is counted of bodies that are buffered.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::metrics::family::{Family, Kind};
use crate::metrics::{counter, gauge};

/// `way` is responses or requests.
pub const BUFFER_FAMILIES: &[Family] = &[
    Family {
        name: "forebay_proxy_buffer_bytes",
        kind: Kind::Gauge,
        labels: &["policy", "way", "in"],
        help: "Bytes of bodies that wait under a buffer policy: in is memory or disk.",
    },
    Family {
        name: "forebay_proxy_buffer_bodies",
        kind: Kind::Gauge,
        labels: &["policy", "way"],
        help: "Bodies that are buffered now.",
    },
    Family {
        name: "forebay_proxy_buffered_bytes_total",
        kind: Kind::Counter,
        labels: &["policy", "way"],
        help: "Bytes of bodies that went through a buffer.",
    },
    Family {
        name: "forebay_proxy_buffer_stops_total",
        kind: Kind::Counter,
        labels: &["policy", "way"],
        help: "Times the source of a body had to wait because all that may hold it was full.",
    },
    Family {
        name: "forebay_proxy_buffer_denials_total",
        kind: Kind::Counter,
        labels: &["policy", "way"],
        help: "Times a body was not given memory because its lane's was out; it goes on with what it has.",
    },
    Family {
        name: "forebay_proxy_buffer_paced_bytes_total",
        kind: Kind::Counter,
        labels: &["policy", "way"],
        help: "Bytes of bodies that waited for their turn under pace.",
    },
    Family {
        name: "forebay_proxy_lane_spill_bytes",
        kind: Kind::Gauge,
        labels: &["lane"],
        help: "Disk that bodies of a lane have taken in its spill directory.",
    },
    Family {
        name: "forebay_proxy_lane_spill_max_bytes",
        kind: Kind::Gauge,
        labels: &["lane"],
        help: "What spill.bytes_max allows a lane; 0 when it may not spill.",
    },
    Family {
        name: "forebay_proxy_lane_spilled_bytes_total",
        kind: Kind::Counter,
        labels: &["lane"],
        help: "Bytes of bodies written to the lane's spill directory.",
    },
    Family {
        name: "forebay_proxy_lane_spill_failures_total",
        kind: Kind::Counter,
        labels: &["lane", "what"],
        help: "What did not go as it should: what is full (bytes_max is used up; the source waits), write (the \
               disk refused; the source waits) or read (it cannot be read back; the transfer breaks).",
    },
];

#[derive(Clone)]
pub struct BufferMetrics {
    pub bytes: IntGaugeVec,
    pub bodies: IntGaugeVec,
    pub through: IntCounterVec,
    pub stops: IntCounterVec,
    pub denials: IntCounterVec,
    pub paced: IntCounterVec,
    pub spill_bytes: IntGaugeVec,
    pub spill_max: IntGaugeVec,
    pub spilled_bytes: IntCounterVec,
    pub spill_failures: IntCounterVec,
}

impl BufferMetrics {
    pub(super) fn new(registry: &Registry) -> BufferMetrics {
        BufferMetrics {
            bytes: gauge(registry, "forebay_proxy_buffer_bytes"),
            bodies: gauge(registry, "forebay_proxy_buffer_bodies"),
            through: counter(registry, "forebay_proxy_buffered_bytes_total"),
            stops: counter(registry, "forebay_proxy_buffer_stops_total"),
            denials: counter(registry, "forebay_proxy_buffer_denials_total"),
            paced: counter(registry, "forebay_proxy_buffer_paced_bytes_total"),
            spill_bytes: gauge(registry, "forebay_proxy_lane_spill_bytes"),
            spill_max: gauge(registry, "forebay_proxy_lane_spill_max_bytes"),
            spilled_bytes: counter(registry, "forebay_proxy_lane_spilled_bytes_total"),
            spill_failures: counter(registry, "forebay_proxy_lane_spill_failures_total"),
        }
    }
}
