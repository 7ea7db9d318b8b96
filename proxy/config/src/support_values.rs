//! Which values of supported keys are acted on.

/// Values of supported keys that are acted on, where a key has a fixed set of them.
pub const SUPPORTED_VALUES: &[(&str, &[&str])] = &[
    ("listeners.*.tls.minimum_version", &["1.2", "1.3"]),
    ("upstreams.*.balance", &["round_robin", "least_connections", "consistent_hash", "p2c_ewma"]),
    (
        "upstreams.*.hash_key[]",
        &["client", "route", "host", "path", "{header: ...}", "{cookie: ...}", "{query: ...}"],
    ),
    ("upstreams.*.health_checks.active.probe", &["tcp", "{http: ...}"]),
    ("upstreams.*.retries.on[]", &["connect_failure", "reset", "timeout", "gateway_error"]),
    ("routes[].lane", &["transactions", "interactive", "bulk", "upload"]),
    ("lanes.transactions.priority", &["normal", "low"]),
    ("lanes.interactive.priority", &["normal", "low"]),
    ("lanes.bulk.priority", &["normal", "low"]),
    ("lanes.upload.priority", &["normal", "low"]),
    (
        "rate_limits.*.key[]",
        &["client", "route", "host", "path", "{header: ...}", "{cookie: ...}", "{query: ...}"],
    ),
    ("rate_limits.*.when_missing", &["share", "pass"]),
    ("rate_limits.*.when_over", &["reject", "delay"]),
    ("rate_limits.*.cluster.when_unavailable", &["local", "allow", "refuse"]),
    ("routes[].match.paths[]", &["{exact: ...}", "{prefix: ...}", "{regex: ...}"]),
    (
        "routes[].match.headers[].value",
        &["{exact: ...}", "{prefix: ...}", "{regex: ...}", "{network: ...}"],
    ),
    (
        "routes[].match.query[].value",
        &["{exact: ...}", "{prefix: ...}", "{regex: ...}", "{network: ...}"],
    ),
    (
        "routes[].split.sticky_by[]",
        &["client", "route", "host", "path", "{header: ...}", "{cookie: ...}", "{query: ...}"],
    ),
    ("routes[].auth", &["{signed_url: ...}", "{subrequest: ...}"]),
    ("routes[].try[]", &["{file: ...}", "{path: ...}", "{route: ...}", "{status: ...}"]),
    ("routes[].auth.signed_url.format", &["hmac"]),
    ("routes[].match.within[]", &["{exact: ...}", "{prefix: ...}", "{regex: ...}"]),
    ("routes[].steps[].when[].is", &["{equals: ...}", "{regex: ...}", "{path: ...}"]),
    ("routes[].steps[].when[].is.path", &["file", "directory", "anything", "executable"]),
    (
        "routes[].steps[].then[]",
        &[
            "{set: ...}",
            "{rewrite: ...}",
            "{respond: ...}",
            "{redirect: ...}",
            "{route: ...}",
            "stop",
            "close",
        ],
    ),
    ("routes[].steps[].then[].rewrite.after", &["go_on", "again", "stay"]),
    ("routes[].forwarded_headers", &["add", "pass_on"]),
    ("routes[].access.rules[]", &["{allow: ...}", "{deny: ...}"]),
    ("routes[].rewrite", &["{prefix_to: ...}", "{to: ...}", "{regex: ...}"]),
    ("maps.*.cases[].when", &["{exact: ...}", "{prefix: ...}", "{regex: ...}", "{network: ...}"]),
    ("cache_policies.*.key.query", &["all", "none", "{only: ...}", "{except: ...}"]),
    ("admin.tokens[].role", &["viewer", "operator"]),
    ("cache_policies.*.fill.without_readers", &["finish", "stop", "finish_when_past"]),
];
