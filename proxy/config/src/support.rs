//! What is there and what is not yet. A key of the model whose mechanism is missing is refused at
//! its place, so that nothing a person writes is silently ignored. When a mechanism arrives, its
//! line moves from [`NOT_YET`] to [`SUPPORTED`].
//!
//! In a pattern `*` is any name, `[]` any item of a list and `[1+]` any but the first.

use crate::problem::Problem;
pub use crate::support_values::SUPPORTED_VALUES;
use crate::tree::{Key, Node, Span, Value, push_index, push_key};

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

/// Keys that are read and acted on.
pub const SUPPORTED: &[&str] = &[
    "version",
    "listeners",
    "listeners.*",
    "listeners.*.address",
    "listeners.*.http2",
    "listeners.*.tls",
    "listeners.*.tls.certificates",
    "listeners.*.tls.certificates[]",
    "listeners.*.tls.certificates[].certificate",
    "listeners.*.tls.certificates[].key",
    "listeners.*.tls.minimum_version",
    "listeners.*.trusted_proxies",
    "listeners.*.trusted_proxies[]",
    "listeners.*.client_address_header",
    "listeners.*.connections_max",
    "listeners.*.timeouts",
    "listeners.*.timeouts.head",
    "listeners.*.timeouts.body",
    "listeners.*.timeouts.write",
    "listeners.*.timeouts.idle",
    "listeners.*.timeouts.handshake",
    "upstreams",
    "upstreams.*",
    "upstreams.*.servers",
    "upstreams.*.servers[]",
    "upstreams.*.servers[].address",
    "upstreams.*.servers[].weight",
    "upstreams.*.servers[].backup",
    "upstreams.*.servers[].connections_max",
    "upstreams.*.servers[].slow_start",
    "upstreams.*.balance",
    "upstreams.*.hash_key",
    "upstreams.*.hash_key[]",
    "upstreams.*.hash_key[].header",
    "upstreams.*.hash_key[].cookie",
    "upstreams.*.hash_key[].query",
    "upstreams.*.sticky",
    "upstreams.*.sticky.cookie",
    "upstreams.*.sticky.lifetime",
    "upstreams.*.health_checks",
    "upstreams.*.health_checks.passive",
    "upstreams.*.health_checks.passive.failures_max",
    "upstreams.*.health_checks.passive.statuses",
    "upstreams.*.health_checks.passive.statuses[]",
    "upstreams.*.health_checks.passive.out_for",
    "upstreams.*.health_checks.passive.out_max",
    "upstreams.*.health_checks.active",
    "upstreams.*.health_checks.active.probe",
    "upstreams.*.health_checks.active.probe.http",
    "upstreams.*.health_checks.active.probe.http.path",
    "upstreams.*.health_checks.active.probe.http.host",
    "upstreams.*.health_checks.active.probe.http.statuses",
    "upstreams.*.health_checks.active.probe.http.statuses[]",
    "upstreams.*.health_checks.active.interval",
    "upstreams.*.health_checks.active.timeout",
    "upstreams.*.health_checks.active.failures_max",
    "upstreams.*.health_checks.active.successes_min",
    "upstreams.*.retries",
    "upstreams.*.retries.attempts_max",
    "upstreams.*.retries.budget",
    "upstreams.*.retries.on",
    "upstreams.*.retries.on[]",
    "upstreams.*.retries.idempotency_header",
    "upstreams.*.x_accel",
    "upstreams.*.timeouts",
    "upstreams.*.timeouts.connect",
    "upstreams.*.timeouts.read",
    "upstreams.*.timeouts.write",
    "upstreams.*.timeouts.idle",
    "routes",
    "routes[]",
    "routes[].name",
    "routes[].match",
    "routes[].match.hosts",
    "routes[].match.hosts[]",
    "routes[].match.paths",
    "routes[].match.paths[]",
    "routes[].match.paths[].exact",
    "routes[].match.paths[].prefix",
    "routes[].match.methods",
    "routes[].match.methods[]",
    "routes[].upstream",
    "routes[].lane",
    "routes[].cache_policy",
    "routes[].rate_limits",
    "routes[].rate_limits[]",
    "routes[].match.listeners",
    "routes[].match.listeners[]",
    "routes[].match.hosts[].regex",
    "routes[].match.paths[].regex",
    "routes[].match.headers",
    "routes[].match.headers[]",
    "routes[].match.headers[].name",
    "routes[].match.headers[].value",
    "routes[].match.headers[].value.exact",
    "routes[].match.headers[].value.prefix",
    "routes[].match.headers[].value.regex",
    "routes[].match.headers[].value.network",
    "routes[].match.headers[].absent",
    "routes[].match.query",
    "routes[].match.query[]",
    "routes[].match.query[].name",
    "routes[].match.query[].value",
    "routes[].match.query[].value.exact",
    "routes[].match.query[].value.prefix",
    "routes[].match.query[].value.regex",
    "routes[].match.query[].value.network",
    "routes[].match.query[].absent",
    "routes[].redirect",
    "routes[].redirect.to",
    "routes[].redirect.status",
    "routes[].respond",
    "routes[].respond.status",
    "routes[].respond.body",
    "routes[].respond.headers",
    "routes[].respond.headers.*",
    "routes[].files",
    "routes[].files.root",
    "routes[].files.strip_prefix",
    "routes[].files.index",
    "routes[].files.index[]",
    "routes[].files.precompressed",
    "routes[].files.media_types",
    "routes[].files.hidden",
    "routes[].files.index_anew",
    "media_types",
    "media_types.*",
    "media_types.*.by_ending",
    "media_types.*.by_ending.*",
    "media_types.*.default",
    "routes[].access",
    "routes[].access.rules",
    "routes[].access.rules[]",
    "routes[].access.rules[].allow",
    "routes[].access.rules[].deny",
    "routes[].access.allow",
    "routes[].access.allow[]",
    "routes[].access.deny",
    "routes[].access.deny[]",
    "routes[].access.referers",
    "routes[].access.referers[]",
    "routes[].cors",
    "routes[].cors.origins",
    "routes[].cors.origins[]",
    "routes[].cors.methods",
    "routes[].cors.methods[]",
    "routes[].cors.headers",
    "routes[].cors.headers[]",
    "routes[].cors.expose_headers",
    "routes[].cors.expose_headers[]",
    "routes[].cors.credentials",
    "routes[].cors.max_age",
    "routes[].request_body_max",
    "routes[].auth",
    "routes[].auth.signed_url",
    "routes[].auth.signed_url.format",
    "routes[].auth.signed_url.key_files",
    "routes[].auth.signed_url.key_files[]",
    "routes[].auth.signed_url.cookie",
    "routes[].split",
    "routes[].split.parts",
    "routes[].split.parts[]",
    "routes[].split.parts[].upstream",
    "routes[].split.parts[].share",
    "routes[].split.sticky_by",
    "routes[].split.sticky_by[]",
    "routes[].split.sticky_by[].header",
    "routes[].split.sticky_by[].cookie",
    "routes[].split.sticky_by[].query",
    "routes[].internal",
    "routes[].error_pages",
    "routes[].error_pages[]",
    "routes[].error_pages[].statuses",
    "routes[].error_pages[].statuses[]",
    "routes[].error_pages[].path",
    "routes[].error_pages[].route",
    "routes[].error_pages[].status",
    "routes[].error_pages[].own_status",
    "routes[].error_pages[].upstream_errors",
    "routes[].try",
    "routes[].try[]",
    "routes[].try[].file",
    "routes[].try[].path",
    "routes[].try[].route",
    "routes[].try[].status",
    "routes[].mirror",
    "routes[].mirror.upstream",
    "routes[].mirror.share",
    "routes[].mirror.in_flight_max",
    "routes[].mirror.body_max",
    "routes[].auth.subrequest",
    "routes[].auth.subrequest.upstream",
    "routes[].auth.subrequest.path",
    "routes[].auth.subrequest.copy_headers",
    "routes[].auth.subrequest.copy_headers[]",
    "routes[].steps",
    "routes[].steps[]",
    "routes[].steps[].when",
    "routes[].steps[].when[]",
    "routes[].steps[].when[].of",
    "routes[].steps[].when[].is",
    "routes[].steps[].when[].is.equals",
    "routes[].steps[].when[].is.regex",
    "routes[].steps[].when[].is.path",
    "routes[].steps[].when[].not",
    "routes[].steps[].then",
    "routes[].steps[].then[]",
    "routes[].steps[].then[].set",
    "routes[].steps[].then[].set.name",
    "routes[].steps[].then[].set.to",
    "routes[].steps[].then[].rewrite",
    "routes[].steps[].then[].rewrite.find",
    "routes[].steps[].then[].rewrite.to",
    "routes[].steps[].then[].rewrite.redirect",
    "routes[].steps[].then[].rewrite.after",
    "routes[].steps[].then[].respond",
    "routes[].steps[].then[].respond.status",
    "routes[].steps[].then[].respond.body",
    "routes[].steps[].then[].respond.headers",
    "routes[].steps[].then[].respond.headers.*",
    "routes[].steps[].then[].redirect",
    "routes[].steps[].then[].redirect.to",
    "routes[].steps[].then[].redirect.status",
    "routes[].steps[].then[].route",
    "routes[].match.within",
    "routes[].match.within[]",
    "routes[].match.within[].exact",
    "routes[].match.within[].prefix",
    "routes[].match.within[].regex",
    "routes[].request_headers.replace",
    "routes[].request_headers.replace[]",
    "routes[].request_headers.replace[].name",
    "routes[].request_headers.replace[].find",
    "routes[].request_headers.replace[].with",
    "routes[].request_headers.append",
    "routes[].request_headers.append[]",
    "routes[].request_headers.append[].name",
    "routes[].request_headers.append[].value",
    "routes[].request_headers.append[].always",
    "routes[].request_headers.append[].replace",
    "routes[].response_headers.replace",
    "routes[].response_headers.replace[]",
    "routes[].response_headers.replace[].name",
    "routes[].response_headers.replace[].find",
    "routes[].response_headers.replace[].with",
    "routes[].response_headers.append",
    "routes[].response_headers.append[]",
    "routes[].response_headers.append[].name",
    "routes[].response_headers.append[].value",
    "routes[].response_headers.append[].always",
    "routes[].response_headers.append[].replace",
    "routes[].rewrite",
    "routes[].rewrite.prefix_to",
    "routes[].rewrite.to",
    "routes[].rewrite.regex",
    "routes[].rewrite.regex.find",
    "routes[].rewrite.regex.replace",
    "routes[].forwarded_headers",
    "routes[].request_headers",
    "routes[].request_headers.remove",
    "routes[].request_headers.remove[]",
    "routes[].request_headers.set",
    "routes[].request_headers.set.*",
    "routes[].request_headers.add",
    "routes[].request_headers.add.*",
    "routes[].response_headers",
    "routes[].response_headers.remove",
    "routes[].response_headers.remove[]",
    "routes[].response_headers.set",
    "routes[].response_headers.set.*",
    "routes[].response_headers.add",
    "routes[].response_headers.add.*",
    "cache_policies",
    "cache_policies.*",
    "cache_policies.*.cache",
    "cache_policies.*.key",
    "cache_policies.*.key.query",
    "cache_policies.*.key.query.only",
    "cache_policies.*.key.query.only[]",
    "cache_policies.*.key.query.except",
    "cache_policies.*.key.query.except[]",
    "cache_policies.*.key.query_order",
    "cache_policies.*.key.headers",
    "cache_policies.*.key.headers[]",
    "cache_policies.*.key.cookies",
    "cache_policies.*.key.cookies[]",
    "cache_policies.*.freshness",
    "cache_policies.*.freshness.ttl_override",
    "cache_policies.*.freshness.ttl_default",
    "cache_policies.*.freshness.ttl_by_status",
    "cache_policies.*.freshness.ttl_by_status.*",
    "cache_policies.*.freshness.stale_while_revalidate",
    "cache_policies.*.freshness.stale_if_error",
    "cache_policies.*.freshness.honor_request_cache_control",
    "cache_policies.*.fill",
    "cache_policies.*.fill.collapse",
    "cache_policies.*.fill.collapse_wait_max",
    "cache_policies.*.fill.without_readers",
    "cache_policies.*.fill.finish_past",
    "cache_policies.*.fill.resumes_max",
    "cache_policies.*.body_max",
    "cache_policies.*.tag_headers",
    "cache_policies.*.tag_headers[]",
    "cache_policies.*.video",
    "cache_policies.*.video.playlist_ttl",
    "cache_policies.*.video.multivariant_ttl",
    "cache_policies.*.video.segment_ttl",
    "cache_policies.*.video.prefetch_segments",
    "cache_policies.*.video.blocking_reload",
    "cache_policies.*.video.stalled_after",
    "caches",
    "caches.*",
    "caches.*.memory_max",
    "caches.*.disk",
    "caches.*.disk.path",
    "caches.*.disk.bytes_max",
    "caches.*.object_memory_max",
    "caches.*.large_objects_max",
    "caches.*.large_object_min",
    "rate_limits",
    "rate_limits.*",
    "rate_limits.*.key",
    "rate_limits.*.key[]",
    "rate_limits.*.key[].header",
    "rate_limits.*.key[].cookie",
    "rate_limits.*.key[].query",
    "rate_limits.*.key_text",
    "rate_limits.*.told",
    "rate_limits.*.when_missing",
    "rate_limits.*.status",
    "rate_limits.*.rate",
    "rate_limits.*.burst",
    "rate_limits.*.concurrency_max",
    "rate_limits.*.when_over",
    "rate_limits.*.delay_max",
    "rate_limits.*.delayed_max",
    "rate_limits.*.dry_run",
    "rate_limits.*.cluster",
    "rate_limits.*.cluster.redis",
    "rate_limits.*.cluster.when_unavailable",
    "rate_limits.*.cluster.timeout",
    "rate_limits.*.keys_max",
    "lanes",
    "lanes.transactions",
    "lanes.transactions.requests_max",
    "lanes.transactions.priority",
    "lanes.interactive",
    "lanes.interactive.requests_max",
    "lanes.interactive.priority",
    "lanes.bulk",
    "lanes.bulk.requests_max",
    "lanes.bulk.priority",
    "lanes.upload",
    "lanes.upload.requests_max",
    "lanes.upload.priority",
    "maps",
    "maps.*",
    "maps.*.of",
    "maps.*.cases",
    "maps.*.cases[]",
    "maps.*.cases[].when",
    "maps.*.cases[].when.exact",
    "maps.*.cases[].when.prefix",
    "maps.*.cases[].when.regex",
    "maps.*.cases[].when.network",
    "maps.*.cases[].value",
    "maps.*.default",
    "maps.*.ignore_case",
    "maps.*.shares",
    "maps.*.shares[]",
    "maps.*.shares[].share",
    "maps.*.shares[].value",
    "admin",
    "admin.address",
    "admin.tokens",
    "admin.tokens[]",
    "admin.tokens[].name",
    "admin.tokens[].file",
    "admin.tokens[].role",
    "access_log",
    "access_log.path",
    "protected_paths",
    "protected_paths[]",
    "shutdown",
    "shutdown.drain",
];

const NO_UNIX: &str = "use an IP address and a port";
const ONE_BY_ONE: &str = "remove it; the lane is bounded by `requests_max`";

const LET_UPSTREAM: &str = "remove it, and let the upstream check who asks";

/// What is refused, and what to do meanwhile.
pub const NOT_YET: &[NotYet] = &[
    values("listeners.*.address", &["unix:*"], NO_UNIX),
    key("listeners.*.tls.certificates[1+]", "use one certificate that has all names"),
    key(
        "listeners.*.tls.certificates[].hosts",
        "remove it; there is one certificate for all hosts",
    ),
    key("listeners.*.tls.cipher_suites", "remove it; the suites of rustls are used"),
    key("listeners.*.tls.client_certificates", "remove it; clients are not asked for certificates"),
    key("listeners.*.tls.session_tickets", "remove it; sessions are resumed as rustls does"),
    key("listeners.*.tls.acme", "fetch certificates by other means and name the files"),
    key("listeners.*.tls.ocsp_stapling", "remove it; nothing is stapled"),
    key("listeners.*.proxy_protocol", "remove it, and turn it off in what stands before the proxy"),
    key("listeners.*.backlog_max", "remove it; the system's default is used"),
    key("listeners.*.request_head", "remove it; built-in limits are used"),
    key("listeners.*.keep_alive_requests_max", "remove it; a connection takes any number"),
    values("upstreams.*.servers[].address", &["unix:*"], NO_UNIX),
    key("upstreams.*.protocol", "remove it; HTTP/1.1 is spoken to the servers"),
    key("upstreams.*.tls", "remove it and reach the servers in cleartext, on a private network"),
    key("upstreams.*.hash_key[].claim", "use `client`, `header` or `cookie`"),
    key("upstreams.*.health_checks.active.probe.grpc", "use `tcp`, or `http` on another path"),
    key("upstreams.*.connections", "remove it; built-in limits are used"),
    key("upstreams.*.resolve", "remove it; names are looked up when the document is loaded"),
    key("upstreams.*.proxy_protocol", "remove it, and turn it off on the servers"),
    key("upstreams.*.fastcgi", "put a web server that speaks FastCGI in between"),
    key("routes[].split.sticky_by[].claim", "use `client`, `header` or `cookie`"),
    key("routes[].buffer_policy", "remove it; bodies are streamed"),
    key("routes[].mirror.compare", "remove it; answers to copies are dropped"),
    key("routes[].auth.basic", LET_UPSTREAM),
    key("routes[].auth.jwt", LET_UPSTREAM),
    values("routes[].auth.signed_url.format", &["cloudfront"], "use `hmac`"),
    key("routes[].compression", "remove it; bodies are passed on as they came"),
    key("routes[].timeouts", "set the timeouts of its upstream"),
    key("lanes.*.waiting_max", ONE_BY_ONE),
    key("lanes.*.waiting_time_max", ONE_BY_ONE),
    key("lanes.*.memory_max", ONE_BY_ONE),
    key("lanes.*.connections_max", ONE_BY_ONE),
    key("lanes.*.upstream_connections_max", ONE_BY_ONE),
    key("lanes.*.origin_concurrency_max", ONE_BY_ONE),
    key("lanes.*.bandwidth_max", ONE_BY_ONE),
    key("lanes.*.cpu_share", ONE_BY_ONE),
    key("lanes.*.spill", ONE_BY_ONE),
    key("buffer_policies", "remove it; bodies are streamed"),
    key("cache_policies.*.slices", "remove it; objects are stored whole"),
    key("cache_policies.*.uses_min", "remove it; an object is stored when it is first asked for"),
    key("caches.*.purge_redis", "remove it; each proxy is purged by itself"),
    key("rate_limits.*.key[].claim", "use `client`, `header` or `cookie`"),
    key("rate_limits.*.bandwidth_max", "remove it; only the number of requests is limited"),
    values("admin.address", &["unix:*"], NO_UNIX),
    key("access_log.format", "remove it; lines are JSON"),
    key("access_log.sample", "remove it; every request is logged"),
    key("access_log.redact", "remove it, and redact where the log is read"),
    key("telemetry", "remove it; no traces are sent"),
];

/// Every key of a document that is not supported yet, each at its place. Paths begin with `base`.
pub fn refusals(root: &Node, base: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(root, None, &mut base.to_owned(), &mut Vec::new(), &mut problems);
    problems
}

#[derive(Clone, Copy)]
enum At<'a> {
    Key(&'a str),
    Index(usize),
}

fn walk<'a>(
    node: &'a Node,
    own_key: Option<&'a Key>,
    path: &mut String,
    steps: &mut Vec<At<'a>>,
    problems: &mut Vec<Problem>,
) {
    if let Some(refused) = NOT_YET.iter().find(|entry| refuses(entry, node, steps)) {
        problems.push(refusal(refused, node, own_key.map(|key| key.span), path));
        return;
    }
    let above = path.len();
    match &node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                push_index(path, index);
                steps.push(At::Index(index));
                walk(item, None, path, steps, problems);
                steps.pop();
                path.truncate(above);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                push_key(path, &entry.key.text);
                steps.push(At::Key(&entry.key.text));
                walk(&entry.value, Some(&entry.key), path, steps, problems);
                steps.pop();
                path.truncate(above);
            }
        }
    }
}

fn refuses(entry: &NotYet, node: &Node, steps: &[At<'_>]) -> bool {
    if !matches(entry.pattern, steps) {
        return false;
    }
    let text = node.as_text().unwrap_or("");
    let is_refused = |value: &&str| match value.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == *value,
    };
    entry.values.is_empty() || entry.values.iter().any(is_refused)
}

fn refusal(entry: &NotYet, node: &Node, key: Option<Span>, path: &str) -> Problem {
    let name = if entry.values.is_empty() {
        entry.pattern.rsplit('.').next().unwrap_or(entry.pattern).replace("[1+]", "")
    } else {
        node.as_text().unwrap_or("").to_owned()
    };
    let (message, span) = match key {
        _ if entry.pattern.ends_with("[1+]") => {
            (format!("more than one of `{name}` is not supported yet"), node.span)
        }
        Some(key) if entry.values.is_empty() => (format!("`{name}` is not supported yet"), key),
        _ => (format!("`{name}` is not supported yet"), node.span),
    };
    Problem::new(path, Some(span), message).hint(entry.instead)
}

fn matches(pattern: &str, steps: &[At<'_>]) -> bool {
    let mut parts = pattern_parts(pattern);
    let all = steps.iter().all(|step| match (parts.next(), step) {
        (Some("*"), At::Key(_)) | (Some("[]"), At::Index(_)) => true,
        (Some("[1+]"), At::Index(index)) => *index > 0,
        (Some(part), At::Key(key)) => part == *key,
        _ => false,
    });
    all && parts.next().is_none()
}

/// `routes[].name` → `routes`, `[]`, `name`.
fn pattern_parts(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('.').flat_map(|part| {
        let at = part.find('[').unwrap_or(part.len());
        let (name, index) = part.split_at(at);
        [name, index].into_iter().filter(|part| !part.is_empty())
    })
}

/// Whether a key of the schema, as a pattern, is refused: itself or something it stands in.
pub fn not_yet(pattern: &str) -> Option<&'static NotYet> {
    NOT_YET.iter().filter(|entry| entry.values.is_empty()).find(|entry| {
        let mut parts = pattern_parts(pattern);
        pattern_parts(entry.pattern).all(|wanted| match parts.next() {
            Some(part) => wanted == "*" || wanted == part,
            None => false,
        })
    })
}
