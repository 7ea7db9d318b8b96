//! How failing servers of an upstream are found out, and when a request is tried on another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Duration, Percent};

/// How a failing server is found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthChecks {
    /// From the requests that pass through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<PassiveChecks>,
    /// By probes of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveChecks>,
}

/// Failures of real requests that take a server out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PassiveChecks {
    /// Failures in a row that take a server out.
    pub failures_max: u32,
    /// Statuses that count as failures.
    pub statuses: Vec<u16>,
    /// How long a server stays out the first time; doubles each time after.
    pub out_for: Duration,
    /// Largest part of the servers that may be out at once.
    pub out_max: Percent,
}

impl Default for PassiveChecks {
    fn default() -> PassiveChecks {
        PassiveChecks {
            failures_max: 5,
            statuses: vec![502, 503, 504],
            out_for: Duration::secs(10),
            out_max: Percent::whole(50),
        }
    }
}

/// Probes sent to each server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActiveChecks {
    /// What a probe is.
    pub probe: Probe,
    /// Time between two probes of one server.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Failed probes in a row that take a server out.
    pub failures_max: u32,
    /// Good probes in a row that bring it back.
    pub successes_min: u32,
}

impl Default for ActiveChecks {
    fn default() -> ActiveChecks {
        ActiveChecks {
            probe: Probe::Tcp,
            interval: Duration::secs(5),
            timeout: Duration::secs(2),
            failures_max: 3,
            successes_min: 2,
        }
    }
}

/// What a probe is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// A connection is accepted.
    Tcp,
    /// A GET is answered with an expected status.
    Http(HttpProbe),
    /// The gRPC health service answers SERVING for this service name.
    Grpc(String),
}

/// A probe by HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// Path to ask for.
    pub path: String,
    /// `Host` to send; without it, the server's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Statuses that mean healthy.
    #[serde(default = "ok_statuses")]
    pub statuses: Vec<u16>,
}

fn ok_statuses() -> Vec<u16> {
    vec![200, 204]
}

/// Attempts a request may make at most, whatever is configured.
pub const ATTEMPTS_MAX: u32 = 10;

/// When a request is tried on another server. Without it, only one that could not be connected to
/// is passed over, at most twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Attempts in all, the first included; at most 10.
    pub attempts_max: u32,
    /// Retries at most, as a part of all requests; ten are saved up for bad moments.
    pub budget: Percent,
    /// What makes a request be tried again.
    pub on: Vec<RetryOn>,
    /// Further statuses that do: `404`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<u16>,
    /// Whether requests of every method are repeated. An order may then be placed twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub any_method: bool,
    /// Time after which no further attempt is begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
    /// Header that makes any method safe to repeat, such as `Idempotency-Key`, where it is not empty. Without it
    /// only GET, HEAD, OPTIONS, TRACE, PUT and DELETE are repeated (RFC 9110 section 9.2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries {
            attempts_max: 2,
            budget: Percent::whole(10),
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset],
            statuses: Vec::new(),
            any_method: false,
            within: None,
            idempotency_header: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection could be made.
    ConnectFailure,
    /// The connection broke before the response's head.
    Reset,
    /// The response's head did not come in time.
    Timeout,
    /// Status 502, 503 or 504.
    GatewayError,
}
