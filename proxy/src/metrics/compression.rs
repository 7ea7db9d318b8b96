//! What is counted of compressed responses.

use prometheus::{IntCounterVec, Registry};

use crate::metrics::counter;

#[derive(Clone)]
pub struct CompressionMetrics {
    pub responses: IntCounterVec,
    pub bytes: IntCounterVec,
    pub left_out: IntCounterVec,
}

impl CompressionMetrics {
    pub(super) fn new(registry: &Registry) -> CompressionMetrics {
        CompressionMetrics {
            responses: counter(registry, "forebay_proxy_compressed_responses_total"),
            bytes: counter(registry, "forebay_proxy_compression_bytes_total"),
            left_out: counter(registry, "forebay_proxy_compressions_left_out_total"),
        }
    }
}
