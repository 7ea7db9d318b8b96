//! Rate limits: how often, how many at once and how fast one key may ask.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::Template;
use crate::severity::Severity;
use crate::units::{ByteRate, Duration, Rate};

/// A limit per key. A request without the key shares one limit with all others without it, unless
/// `when_missing` says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// What is counted together; several parts make one key.
    #[serde(default)]
    pub key: Vec<RequestKey>,
    /// Text with variables as one more part of the key; missing when it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_text: Option<Template>,
    /// Limits of the same zone count together: what a key has taken under one of them it has taken under all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How often, on average (GCRA).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Requests that may come at once before `rate` is enforced.
    #[serde(default = "one")]
    pub burst: u32,
    /// Requests in flight at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_max: Option<u32>,
    /// Bytes of responses per second, of all the key's requests together; what comes faster waits. Each proxy counts for
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth_max: Option<ByteRate>,
    /// What happens above the limit.
    #[serde(default)]
    pub when_over: WhenOver,
    /// How long a request is held with `when_over: delay` before it is refused.
    #[serde(default = "delay_max")]
    pub delay_max: Duration,
    /// Requests held at once with `when_over: delay`; above it they are refused.
    #[serde(default = "delayed_max")]
    pub delayed_max: u32,
    /// Count and report, but let everything pass.
    #[serde(default)]
    pub dry_run: bool,
    /// Count together with other proxies; without it, each counts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterCounter>,
    /// Keys remembered at most; the longest unused are forgotten.
    #[serde(default = "keys_max")]
    pub keys_max: u32,
    /// Whether clients are told of it, by `RateLimit` and `RateLimit-Policy`.
    #[serde(default = "yes")]
    pub told: bool,
    /// What becomes of requests without any part of the key.
    #[serde(default)]
    pub when_missing: WhenMissing,
    /// Status of a refusal.
    #[serde(default = "status")]
    pub status: u16,
    /// How grave a refusal is in error logs; a delay is one level less.
    #[serde(default, skip_serializing_if = "crate::written::is_default")]
    pub log_level: Severity,
}

fn yes() -> bool {
    true
}

fn status() -> u16 {
    429
}

/// What becomes of requests without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenMissing {
    /// They share one limit.
    #[default]
    Share,
    /// They are not limited.
    Pass,
}

fn one() -> u32 {
    1
}

fn delay_max() -> Duration {
    Duration::secs(1)
}

fn delayed_max() -> u32 {
    1_000
}

fn keys_max() -> u32 {
    100_000
}

/// A part of a request to count or hash by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestKey {
    /// The client's address; of an IPv6 address its network of 64 bits, which one client may have whole.
    Client,
    /// The route's name.
    Route,
    /// The host asked for.
    Host,
    /// The path asked for.
    Path,
    /// The value of this header.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
    /// The value of this query parameter.
    Query(String),
    /// This claim of the verified token.
    Claim(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenOver {
    /// 429 with `Retry-After`.
    #[default]
    Reject,
    /// Held until its turn.
    Delay,
}

/// Counting together with other proxies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterCounter {
    /// Redis that counts: `redis://host:port`.
    pub redis: String,
    /// What happens while Redis cannot be reached.
    pub when_unavailable: WhenUnavailable,
    /// How long Redis may take.
    #[serde(default = "timeout")]
    pub timeout: Duration,
}

fn timeout() -> Duration {
    Duration::millis(50)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnavailable {
    /// Each proxy counts for itself.
    Local,
    /// Requests pass.
    Allow,
    /// Requests are refused.
    Refuse,
}
