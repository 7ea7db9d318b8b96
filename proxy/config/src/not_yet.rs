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

const ONE_BY_ONE: &str = "remove it; the lane is bounded by `requests_max`";

/// What is refused, and what to do meanwhile.
pub const NOT_YET: &[NotYet] = &[
    key("listeners.*.tls.acme", "fetch certificates by other means and name the files"),
    key("listeners.*.tls.ocsp_stapling", "remove it; nothing is stapled"),
    key(
        "lanes.*.connections_max",
        "remove it; `requests_max` bounds the lane, `listeners.*.connections_max` connections",
    ),
    key("lanes.*.upstream_connections_max", "use `origin_concurrency_max`"),
    key("lanes.*.cpu_share", ONE_BY_ONE),
    key("telemetry", "remove it; no traces are sent"),
];
