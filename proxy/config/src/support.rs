//! What is there and what is not yet. A key of the model whose mechanism is missing is refused at
//! its place, so that nothing a person writes is silently ignored. When a mechanism arrives, its
//! line moves from [`NOT_YET`] to [`SUPPORTED`].
//!
//! In a pattern `*` is any name and `[]` any item of a list.

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
    "listeners.*.tls.certificates[].hosts",
    "listeners.*.tls.certificates[].hosts[]",
    "listeners.*.tls.minimum_version",
    "listeners.*.tls.cipher_suites",
    "listeners.*.tls.cipher_suites[]",
    "listeners.*.tls.client_certificates",
    "listeners.*.tls.client_certificates.authorities",
    "listeners.*.tls.client_certificates.mode",
    "listeners.*.tls.client_certificates.revocations",
    "listeners.*.tls.session_tickets",
    "listeners.*.tls.session_tickets.lifetime",
    "listeners.*.tls.session_tickets.key_file",
    "listeners.*.proxy_protocol",
    "listeners.*.backlog_max",
    "listeners.*.request_head",
    "listeners.*.request_head.bytes_max",
    "listeners.*.request_head.headers_max",
    "listeners.*.request_head.uri_max",
    "listeners.*.keep_alive_requests_max",
    "listeners.*.trusted_proxies",
    "listeners.*.trusted_proxies[]",
    "listeners.*.client_address_header",
    "listeners.*.connections_max",
    "listeners.*.bare_line_feeds",
    "listeners.*.methods_refused",
    "listeners.*.methods_refused[]",
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
    "upstreams.*.hash_key[].claim",
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
    "upstreams.*.health_checks.active.probe.grpc",
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
    "upstreams.*.protocol",
    "upstreams.*.x_accel",
    "upstreams.*.fastcgi",
    "upstreams.*.fastcgi.root",
    "upstreams.*.fastcgi.index",
    "upstreams.*.fastcgi.split",
    "upstreams.*.fastcgi.split[]",
    "upstreams.*.fastcgi.params",
    "upstreams.*.fastcgi.params.*",
    "upstreams.*.fastcgi.idle_max",
    "upstreams.*.timeouts",
    "upstreams.*.timeouts.connect",
    "upstreams.*.timeouts.read",
    "upstreams.*.timeouts.write",
    "upstreams.*.timeouts.idle",
    "upstreams.*.protocol",
    "upstreams.*.tls",
    "upstreams.*.tls.server_name",
    "upstreams.*.tls.verify",
    "upstreams.*.tls.authorities",
    "upstreams.*.tls.client_certificate",
    "upstreams.*.tls.client_certificate.certificate",
    "upstreams.*.tls.client_certificate.key",
    "upstreams.*.tls.minimum_version",
    "upstreams.*.connections",
    "upstreams.*.connections.idle_max",
    "upstreams.*.connections.connections_max",
    "upstreams.*.connections.waiting_max",
    "upstreams.*.connections.requests_max",
    "upstreams.*.proxy_protocol",
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
    "routes[].match.headers[].absent",
    "routes[].match.query",
    "routes[].match.query[]",
    "routes[].match.query[].name",
    "routes[].match.query[].value",
    "routes[].match.query[].value.exact",
    "routes[].match.query[].value.prefix",
    "routes[].match.query[].value.regex",
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
    "routes[].access",
    "routes[].access.allow",
    "routes[].access.allow[]",
    "routes[].access.deny",
    "routes[].access.deny[]",
    "routes[].access.satisfy",
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
    "routes[].auth.basic",
    "routes[].auth.basic.users_file",
    "routes[].auth.basic.realm",
    "routes[].auth.jwt",
    "routes[].auth.jwt.jwks_url",
    "routes[].auth.jwt.jwks_file",
    "routes[].auth.jwt.issuer",
    "routes[].auth.jwt.audiences",
    "routes[].auth.jwt.audiences[]",
    "routes[].auth.jwt.leeway",
    "routes[].auth.jwt.cookie",
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
    "routes[].compression",
    "routes[].compression.codings",
    "routes[].compression.codings[]",
    "routes[].compression.types",
    "routes[].compression.types[]",
    "routes[].compression.body_min",
    "routes[].compression.levels",
    "routes[].compression.levels.gzip",
    "routes[].compression.levels.brotli",
    "routes[].compression.levels.zstd",
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
    "routes[].rewrite",
    "routes[].rewrite.prefix_to",
    "routes[].rewrite.to",
    "routes[].rewrite.regex",
    "routes[].rewrite.regex.find",
    "routes[].rewrite.regex.replace",
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
    "cache_policies.*.slices",
    "cache_policies.*.slices.size",
    "cache_policies.*.slices.read_ahead",
    "cache_policies.*.slices.object_min",
    "cache_policies.*.freshness.set_cookie",
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
    "caches.*.purge_redis",
    "caches.*.large_objects_max",
    "caches.*.large_object_min",
    "rate_limits",
    "rate_limits.*",
    "rate_limits.*.key",
    "rate_limits.*.key[]",
    "rate_limits.*.key[].header",
    "rate_limits.*.key[].cookie",
    "rate_limits.*.key[].query",
    "rate_limits.*.key[].claim",
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
    "lanes.transactions.waiting_max",
    "lanes.transactions.waiting_time_max",
    "lanes.transactions.memory_max",
    "lanes.transactions.origin_concurrency_max",
    "lanes.transactions.bandwidth_max",
    "lanes.transactions.priority",
    "lanes.interactive",
    "lanes.interactive.requests_max",
    "lanes.interactive.waiting_max",
    "lanes.interactive.waiting_time_max",
    "lanes.interactive.memory_max",
    "lanes.interactive.origin_concurrency_max",
    "lanes.interactive.bandwidth_max",
    "lanes.interactive.priority",
    "lanes.bulk",
    "lanes.bulk.requests_max",
    "lanes.bulk.waiting_max",
    "lanes.bulk.waiting_time_max",
    "lanes.bulk.memory_max",
    "lanes.bulk.origin_concurrency_max",
    "lanes.bulk.bandwidth_max",
    "lanes.bulk.priority",
    "lanes.upload",
    "lanes.upload.requests_max",
    "lanes.upload.waiting_max",
    "lanes.upload.waiting_time_max",
    "lanes.upload.memory_max",
    "lanes.upload.origin_concurrency_max",
    "lanes.upload.bandwidth_max",
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
    "maps.*.cases[].value",
    "maps.*.default",
    "admin",
    "admin.address",
    "admin.tokens",
    "admin.tokens[]",
    "admin.tokens[].name",
    "admin.tokens[].file",
    "admin.tokens[].role",
    "error_answers",
    "access_log",
    "access_log.path",
    "access_log.format",
    "access_log.format.template",
    "access_log.escape",
    "access_log.when",
    "access_logs",
    "access_logs.*",
    "access_logs.*.path",
    "access_logs.*.format",
    "access_logs.*.format.template",
    "access_logs.*.escape",
    "access_logs.*.when",
    "routes[].access_logs",
    "routes[].access_logs[]",
    "protected_paths",
    "protected_paths[]",
    "shutdown",
    "shutdown.drain",
];

const NO_UNIX: &str = "use an IP address and a port";
const ONE_BY_ONE: &str = "remove it; the lane is bounded by `requests_max`";

/// What is refused, and what to do meanwhile.
pub const NOT_YET: &[NotYet] = &[
    key("listeners.*.tls.acme", "fetch certificates by other means and name the files"),
    key("listeners.*.tls.ocsp_stapling", "remove it; nothing is stapled"),
    key("upstreams.*.resolve", "remove it; names are looked up when the document is loaded"),
    key("routes[].split.sticky_by[].claim", "use `client`, `header` or `cookie`"),
    key("routes[].buffer_policy", "remove it; bodies are streamed"),
    key("routes[].mirror.compare", "remove it; answers to copies are dropped"),
    key("routes[].timeouts", "set the timeouts of its upstream"),
    key(
        "lanes.*.connections_max",
        "remove it; `requests_max` bounds the lane, `listeners.*.connections_max` connections",
    ),
    key("lanes.*.upstream_connections_max", "use `origin_concurrency_max`"),
    key("lanes.*.cpu_share", ONE_BY_ONE),
    key("lanes.*.spill", ONE_BY_ONE),
    key("buffer_policies", "remove it; bodies are streamed"),
    key("cache_policies.*.uses_min", "remove it; an object is stored when it is first asked for"),
    key("rate_limits.*.bandwidth_max", "remove it; only the number of requests is limited"),
    values("admin.address", &["unix:*"], NO_UNIX),
    key("access_log.sample", "remove it; every request is logged"),
    key("access_log.redact", "remove it, and redact where the log is read"),
    key("access_logs.*.sample", "remove it; every request is logged"),
    key("access_logs.*.redact", "remove it, and redact where the log is read"),
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
    Index,
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
                steps.push(At::Index);
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
        entry.pattern.rsplit('.').next().unwrap_or(entry.pattern).to_owned()
    } else {
        node.as_text().unwrap_or("").to_owned()
    };
    let (message, span) = match key {
        Some(key) if entry.values.is_empty() => (format!("`{name}` is not supported yet"), key),
        _ => (format!("`{name}` is not supported yet"), node.span),
    };
    Problem::new(path, Some(span), message).hint(entry.instead)
}

fn matches(pattern: &str, steps: &[At<'_>]) -> bool {
    let mut parts = pattern_parts(pattern);
    let all = steps.iter().all(|step| match (parts.next(), step) {
        (Some("*"), At::Key(_)) | (Some("[]"), At::Index) => true,
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
