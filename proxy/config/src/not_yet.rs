//! Keys and values of the model whose mechanism is missing.

/// A key, or some of its values, that is refused.
#[derive(Debug)]
pub struct NotYet {
    pub pattern: &'static str,
    /// Values that are refused, `unix:*` meaning all that begin so; empty when the key itself is.
    pub values: &'static [&'static str],
    /// What to do meanwhile.
    pub instead: &'static str,
}

const fn key(pattern: &'static str, instead: &'static str) -> NotYet {
    NotYet { pattern, values: &[], instead }
}

const fn values(
    pattern: &'static str,
    values: &'static [&'static str],
    instead: &'static str,
) -> NotYet {
    NotYet { pattern, values, instead }
}

const NO_UNIX: &str = "use an IP address and a port";
const ONE_BY_ONE: &str = "remove it; the lane is bounded by `requests_max`";

/// What is refused, and what to do meanwhile.
pub const NOT_YET: &[NotYet] = &[
    key(
        "lanes.*.connections_max",
        "remove it; `requests_max` bounds the lane, `listeners.*.connections_max` connections",
    ),
    key("lanes.*.upstream_connections_max", "use `origin_concurrency_max`"),
    key("lanes.*.cpu_share", ONE_BY_ONE),
    values("admin.address", &["unix:*"], NO_UNIX),
    key("telemetry", "remove it; no traces are sent"),
];
