//! Traces: where spans of requests are sent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Percent;

/// OpenTelemetry traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// URL of an OTLP collector.
    pub otlp_endpoint: String,
    /// Part of the requests that is traced, unless the client's `traceparent` decides.
    #[serde(default = "sample")]
    pub sample: Percent,
}

fn sample() -> Percent {
    Percent::whole(1)
}
