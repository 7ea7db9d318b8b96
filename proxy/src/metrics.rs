//! Every metric the proxy exports, as one table. The registry, the handles and the generated
//! METRICS.md are all made from it, so what is documented is what is exported.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// What kind of series a family holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

/// One metric family. Label values come from the configuration or from a fixed set, never from a
/// request, so the number of series is bounded by the document.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Upper bounds in seconds: sub-millisecond for transactions, minutes for video.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, labels, help }
}

/// The table. `route` and `lane` are `none` for a request that matched no route.
pub const FAMILIES: &[Family] = &[
    family("forebay_proxy_build_info", Kind::Gauge, &["version"], "Always 1; the version runs."),
    family(
        "forebay_proxy_config_generation",
        Kind::Gauge,
        &[],
        "Number of the configuration in force; 1 at start, one more per reload that succeeded.",
    ),
    family(
        "forebay_proxy_config_reloads_total",
        Kind::Counter,
        &["result"],
        "Reloads asked for: result is ok, or refused when the document was wrong or needs a restart.",
    ),
    family("forebay_proxy_draining", Kind::Gauge, &[], "1 while a graceful stop is under way."),
    family(
        "forebay_proxy_downstream_connections",
        Kind::Gauge,
        &["listener"],
        "Open client connections.",
    ),
    family(
        "forebay_proxy_downstream_connections_total",
        Kind::Counter,
        &["listener"],
        "Client connections accepted.",
    ),
    family(
        "forebay_proxy_downstream_connections_refused_total",
        Kind::Counter,
        &["listener"],
        "Client connections closed at once because connections_max were open.",
    ),
    family(
        "forebay_proxy_downstream_timeouts_total",
        Kind::Counter,
        &["listener", "what"],
        "HTTP/1 connections closed on slow clients: what is head (a request head took too long to \
         arrive) or write (the client did not read).",
    ),
    family(
        "forebay_proxy_tls_handshake_failures_total",
        Kind::Counter,
        &["listener"],
        "Client connections whose TLS handshake failed or took too long.",
    ),
    family(
        "forebay_proxy_requests_total",
        Kind::Counter,
        &["listener", "route", "lane", "code"],
        "Requests finished, by status sent; code is other for an unregistered status and aborted \
         when the client left before a status was sent.",
    ),
    family(
        "forebay_proxy_requests_aborted_total",
        Kind::Counter,
        &["route", "lane"],
        "Requests that ended before the response was whole, by the client or the upstream.",
    ),
    family(
        "forebay_proxy_request_duration_seconds",
        Kind::Histogram(SECONDS),
        &["route", "lane"],
        "From the request head to the end of the response.",
    ),
    family(
        "forebay_proxy_first_byte_seconds",
        Kind::Histogram(SECONDS),
        &["route", "lane"],
        "From the request head to the response head.",
    ),
    family(
        "forebay_proxy_request_body_bytes_total",
        Kind::Counter,
        &["route", "lane"],
        "Request body bytes read from clients.",
    ),
    family(
        "forebay_proxy_response_body_bytes_total",
        Kind::Counter,
        &["route", "lane"],
        "Response body bytes written to clients.",
    ),
    family(
        "forebay_proxy_lane_requests_in_flight",
        Kind::Gauge,
        &["lane"],
        "Requests a lane holds now.",
    ),
    family(
        "forebay_proxy_lane_requests_max",
        Kind::Gauge,
        &["lane"],
        "Requests a lane may hold at once.",
    ),
    family(
        "forebay_proxy_lane_shed_total",
        Kind::Counter,
        &["lane"],
        "Requests answered 503 because their lane was full.",
    ),
    family(
        "forebay_proxy_rate_limit_requests_total",
        Kind::Counter,
        &["limit", "result"],
        "Requests held against a limit: result is passed, delayed, refused or over_dry_run.",
    ),
    family("forebay_proxy_rate_limit_keys", Kind::Gauge, &["limit"], "Keys remembered."),
    family(
        "forebay_proxy_rate_limit_evictions_total",
        Kind::Counter,
        &["limit"],
        "Keys forgotten while they still counted, because keys_max were remembered.",
    ),
    family(
        "forebay_proxy_rate_limit_delayed",
        Kind::Gauge,
        &["limit"],
        "Requests that wait for their turn now.",
    ),
    family(
        "forebay_proxy_rate_limit_cluster_failures_total",
        Kind::Counter,
        &["limit"],
        "Requests for which Redis could not be asked, so that when_unavailable decided.",
    ),
    family(
        "forebay_proxy_bulk_nice_steps",
        Kind::Gauge,
        &[],
        "Steps of nice by which threads that move bodies of lanes of low priority run below the \
         process; 0 when the system refused, and turns alone bound what bulk does to others.",
    ),
    family(
        "forebay_proxy_upstream_connects_total",
        Kind::Counter,
        &["upstream", "reused"],
        "Upstream connections put to use: reused is true for one from the pool.",
    ),
    family(
        "forebay_proxy_upstream_failures_total",
        Kind::Counter,
        &["upstream", "kind"],
        "Failed attempts: kind is connect, connect_timeout, read, read_timeout, write, \
         write_timeout or response.",
    ),
    family(
        "forebay_proxy_upstream_retries_total",
        Kind::Counter,
        &["upstream", "reason"],
        "Attempts made again: reason is connect, reset, timeout or gateway_error (another server), or \
         stale_connection (a pooled connection the server had closed).",
    ),
    family(
        "forebay_proxy_upstream_server_up",
        Kind::Gauge,
        &["upstream", "server"],
        "1 while a server is fit to take requests; one that was out is back with the next request.",
    ),
    family(
        "forebay_proxy_upstream_server_in_flight",
        Kind::Gauge,
        &["upstream", "server"],
        "Requests in flight at a server.",
    ),
    family(
        "forebay_proxy_upstream_ejections_total",
        Kind::Counter,
        &["upstream", "server"],
        "Times a server was taken out because requests failed (health_checks.passive).",
    ),
    family(
        "forebay_proxy_upstream_probes_total",
        Kind::Counter,
        &["upstream", "server", "result"],
        "Probes of a server (health_checks.active): result is good or failed.",
    ),
    family(
        "forebay_proxy_upstream_first_byte_seconds",
        Kind::Histogram(SECONDS),
        &["upstream"],
        "From the upstream connection being at hand to its response head.",
    ),
    family(
        "forebay_proxy_cache_bytes",
        Kind::Gauge,
        &["cache", "class"],
        "Memory that answers hold, those being sent after their eviction and those on their way \
         included: class is small or large (`large_object_min`).",
    ),
    family(
        "forebay_proxy_cache_bytes_max",
        Kind::Gauge,
        &["cache"],
        "Memory that answers may hold (`memory_max`).",
    ),
    family("forebay_proxy_cache_objects", Kind::Gauge, &["cache", "class"], "Answers stored."),
    family(
        "forebay_proxy_cache_requests_total",
        Kind::Counter,
        &["cache", "result"],
        "Requests on routes with a cache policy: result is hit, stale, stale_on_error, revalidated, \
         miss, collapsed (shared another's miss), pass (beside the cache), not_cached \
         (only-if-cached) or failed.",
    ),
    family(
        "forebay_proxy_cache_evictions_total",
        Kind::Counter,
        &["cache", "class"],
        "Answers evicted to make room.",
    ),
    family(
        "forebay_proxy_cache_refusals_total",
        Kind::Counter,
        &["cache", "reason"],
        "Answers not stored: reason is no_store, private, authorization, set_cookie, vary_all, \
         status, no_freshness, unframed (its end cannot be told from a break), tags (more than can \
         be purged by), too_large or no_room.",
    ),
    family(
        "forebay_proxy_cache_invalidations_total",
        Kind::Counter,
        &["cache"],
        "Answers forgotten because a request may have changed what they show.",
    ),
    family(
        "forebay_proxy_cache_purges_total",
        Kind::Counter,
        &["cache", "scope", "kind"],
        "Purges done: scope is all, url, prefix or tag; kind is hard, or soft (made stale).",
    ),
    family(
        "forebay_proxy_cache_purged_objects_total",
        Kind::Counter,
        &["cache"],
        "Answers that purges took out or made stale.",
    ),
    family(
        "forebay_proxy_cache_fills_total",
        Kind::Counter,
        &["cache", "result"],
        "Fills ended: result is whole, revalidated, broken, failed (no answer) or stopped (nobody \
         left to read).",
    ),
    family(
        "forebay_proxy_cache_fills_in_progress",
        Kind::Gauge,
        &["cache"],
        "Fills that requests may join now.",
    ),
    family(
        "forebay_proxy_cache_fill_bytes_total",
        Kind::Counter,
        &["cache"],
        "Body bytes that fills read from origins.",
    ),
    family(
        "forebay_proxy_cache_fill_resumes_total",
        Kind::Counter,
        &["cache", "result"],
        "Broken fills asked for their rest: result is resumed, changed (other bytes now) or failed.",
    ),
    family(
        "forebay_proxy_cache_disk_ready",
        Kind::Gauge,
        &["cache"],
        "1 once the directory of `disk` belongs to this process; what is in it is found as it is indexed.",
    ),
    family(
        "forebay_proxy_cache_disk_bytes",
        Kind::Gauge,
        &["cache"],
        "Bytes of answers on disk, in whole blocks.",
    ),
    family(
        "forebay_proxy_cache_disk_bytes_max",
        Kind::Gauge,
        &["cache"],
        "Bytes of answers there may be on disk (`disk.bytes_max`).",
    ),
    family("forebay_proxy_cache_disk_objects", Kind::Gauge, &["cache"], "Answers on disk."),
    family(
        "forebay_proxy_cache_disk_evictions_total",
        Kind::Counter,
        &["cache"],
        "Answers evicted from disk to make room.",
    ),
    family(
        "forebay_proxy_cache_disk_reads_total",
        Kind::Counter,
        &["cache", "result"],
        "Answers looked for on disk: result is loaded, gone, corrupt (a checksum), failed or no_room (in memory).",
    ),
    family(
        "forebay_proxy_cache_disk_writes_total",
        Kind::Counter,
        &["cache", "result"],
        "Answers to be written to disk: result is written, dropped (the disk is slow, pausing, or not there yet), cancelled (by a purge), too_large or failed.",
    ),
    family(
        "forebay_proxy_cache_disk_remove_failures_total",
        Kind::Counter,
        &["cache"],
        "Answers that could not be removed from disk.",
    ),
    family(
        "forebay_proxy_admin_refused_total",
        Kind::Counter,
        &["reason"],
        "Changes refused by the admin API: reason is no_tokens (none configured), token (missing or \
         wrong) or role.",
    ),
    family(
        "forebay_proxy_access_log_dropped_total",
        Kind::Counter,
        &[],
        "Access log lines dropped because the queue to the writer was full.",
    ),
    family(
        "forebay_proxy_access_log_write_errors_total",
        Kind::Counter,
        &[],
        "Failed writes to the access log, or failed attempts to reopen it.",
    ),
];

/// Handles to the families, made once per process.
pub struct Metrics {
    registry: Registry,
    pub build_info: IntGaugeVec,
    pub config_generation: IntGaugeVec,
    pub config_reloads: IntCounterVec,
    pub draining: IntGaugeVec,
    pub connections: IntGaugeVec,
    pub connections_total: IntCounterVec,
    pub connections_refused: IntCounterVec,
    pub client_timeouts: IntCounterVec,
    pub tls_handshake_failures: IntCounterVec,
    pub requests: IntCounterVec,
    pub requests_aborted: IntCounterVec,
    pub request_seconds: HistogramVec,
    pub first_byte_seconds: HistogramVec,
    pub request_bytes: IntCounterVec,
    pub response_bytes: IntCounterVec,
    pub lane_in_flight: IntGaugeVec,
    pub lane_requests_max: IntGaugeVec,
    pub lane_shed: IntCounterVec,
    pub rate_limit_requests: IntCounterVec,
    pub rate_limit_keys: IntGaugeVec,
    pub rate_limit_evictions: IntCounterVec,
    pub rate_limit_held: IntGaugeVec,
    pub rate_limit_cluster_failures: IntCounterVec,
    pub bulk_nice: IntGaugeVec,
    pub upstream_connects: IntCounterVec,
    pub upstream_failures: IntCounterVec,
    pub upstream_retries: IntCounterVec,
    pub upstream_server_up: IntGaugeVec,
    pub upstream_server_in_flight: IntGaugeVec,
    pub upstream_ejections: IntCounterVec,
    pub upstream_probes: IntCounterVec,
    pub upstream_first_byte_seconds: HistogramVec,
    pub cache_bytes: IntGaugeVec,
    pub cache_bytes_max: IntGaugeVec,
    pub cache_objects: IntGaugeVec,
    pub cache_requests: IntCounterVec,
    pub cache_evictions: IntCounterVec,
    pub cache_refusals: IntCounterVec,
    pub cache_invalidations: IntCounterVec,
    pub cache_purges: IntCounterVec,
    pub cache_purged_objects: IntCounterVec,
    pub cache_fills: IntCounterVec,
    pub cache_fills_in_progress: IntGaugeVec,
    pub cache_fill_bytes: IntCounterVec,
    pub cache_fill_resumes: IntCounterVec,
    pub cache_disk_ready: IntGaugeVec,
    pub cache_disk_bytes: IntGaugeVec,
    pub cache_disk_bytes_max: IntGaugeVec,
    pub cache_disk_objects: IntGaugeVec,
    pub cache_disk_evictions: IntCounterVec,
    pub cache_disk_reads: IntCounterVec,
    pub cache_disk_writes: IntCounterVec,
    pub cache_disk_remove_failures: IntCounterVec,
    pub admin_refused: IntCounterVec,
    pub access_log_dropped: IntCounterVec,
    pub access_log_write_errors: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name| counter(&registry, name);
        let gauge = |name| gauge(&registry, name);
        let histogram = |name| histogram(&registry, name);
        let metrics = Self {
            build_info: gauge("forebay_proxy_build_info"),
            config_generation: gauge("forebay_proxy_config_generation"),
            config_reloads: counter("forebay_proxy_config_reloads_total"),
            draining: gauge("forebay_proxy_draining"),
            connections: gauge("forebay_proxy_downstream_connections"),
            connections_total: counter("forebay_proxy_downstream_connections_total"),
            connections_refused: counter("forebay_proxy_downstream_connections_refused_total"),
            client_timeouts: counter("forebay_proxy_downstream_timeouts_total"),
            tls_handshake_failures: counter("forebay_proxy_tls_handshake_failures_total"),
            requests: counter("forebay_proxy_requests_total"),
            requests_aborted: counter("forebay_proxy_requests_aborted_total"),
            request_seconds: histogram("forebay_proxy_request_duration_seconds"),
            first_byte_seconds: histogram("forebay_proxy_first_byte_seconds"),
            request_bytes: counter("forebay_proxy_request_body_bytes_total"),
            response_bytes: counter("forebay_proxy_response_body_bytes_total"),
            lane_in_flight: gauge("forebay_proxy_lane_requests_in_flight"),
            lane_requests_max: gauge("forebay_proxy_lane_requests_max"),
            lane_shed: counter("forebay_proxy_lane_shed_total"),
            rate_limit_requests: counter("forebay_proxy_rate_limit_requests_total"),
            rate_limit_keys: gauge("forebay_proxy_rate_limit_keys"),
            rate_limit_evictions: counter("forebay_proxy_rate_limit_evictions_total"),
            rate_limit_held: gauge("forebay_proxy_rate_limit_delayed"),
            rate_limit_cluster_failures: counter("forebay_proxy_rate_limit_cluster_failures_total"),
            bulk_nice: gauge("forebay_proxy_bulk_nice_steps"),
            upstream_connects: counter("forebay_proxy_upstream_connects_total"),
            upstream_failures: counter("forebay_proxy_upstream_failures_total"),
            upstream_retries: counter("forebay_proxy_upstream_retries_total"),
            upstream_server_up: gauge("forebay_proxy_upstream_server_up"),
            upstream_server_in_flight: gauge("forebay_proxy_upstream_server_in_flight"),
            upstream_ejections: counter("forebay_proxy_upstream_ejections_total"),
            upstream_probes: counter("forebay_proxy_upstream_probes_total"),
            upstream_first_byte_seconds: histogram("forebay_proxy_upstream_first_byte_seconds"),
            cache_bytes: gauge("forebay_proxy_cache_bytes"),
            cache_bytes_max: gauge("forebay_proxy_cache_bytes_max"),
            cache_objects: gauge("forebay_proxy_cache_objects"),
            cache_requests: counter("forebay_proxy_cache_requests_total"),
            cache_evictions: counter("forebay_proxy_cache_evictions_total"),
            cache_refusals: counter("forebay_proxy_cache_refusals_total"),
            cache_invalidations: counter("forebay_proxy_cache_invalidations_total"),
            cache_purges: counter("forebay_proxy_cache_purges_total"),
            cache_purged_objects: counter("forebay_proxy_cache_purged_objects_total"),
            cache_fills: counter("forebay_proxy_cache_fills_total"),
            cache_fills_in_progress: gauge("forebay_proxy_cache_fills_in_progress"),
            cache_fill_bytes: counter("forebay_proxy_cache_fill_bytes_total"),
            cache_fill_resumes: counter("forebay_proxy_cache_fill_resumes_total"),
            cache_disk_ready: gauge("forebay_proxy_cache_disk_ready"),
            cache_disk_bytes: gauge("forebay_proxy_cache_disk_bytes"),
            cache_disk_bytes_max: gauge("forebay_proxy_cache_disk_bytes_max"),
            cache_disk_objects: gauge("forebay_proxy_cache_disk_objects"),
            cache_disk_evictions: counter("forebay_proxy_cache_disk_evictions_total"),
            cache_disk_reads: counter("forebay_proxy_cache_disk_reads_total"),
            cache_disk_writes: counter("forebay_proxy_cache_disk_writes_total"),
            cache_disk_remove_failures: counter("forebay_proxy_cache_disk_remove_failures_total"),
            admin_refused: counter("forebay_proxy_admin_refused_total"),
            access_log_dropped: counter("forebay_proxy_access_log_dropped_total"),
            access_log_write_errors: counter("forebay_proxy_access_log_write_errors_total"),
            registry: registry.clone(),
        };
        metrics.start_at_zero();
        metrics
    }

    /// Series whose labels are known in advance exist from the start, so that a rate over a
    /// first event is not lost.
    fn start_at_zero(&self) {
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.config_reloads.with_label_values(&["ok"]);
        self.config_reloads.with_label_values(&["refused"]);
        self.draining.with_label_values::<&str>(&[]).set(0);
        for reason in ["no_tokens", "token", "role"] {
            self.admin_refused.with_label_values(&[reason]);
        }
        self.access_log_dropped.with_label_values::<&str>(&[]);
        self.access_log_write_errors.with_label_values::<&str>(&[]);
    }

    /// The Prometheus text exposition (version 0.0.4).
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to a Vec cannot fail");
        text
    }

    /// Names of the families that have series now.
    pub fn exported(&self) -> Vec<String> {
        self.registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }
}

fn look_up(name: &str) -> &'static Family {
    FAMILIES.iter().find(|family| family.name == name).expect("every handle is in the table")
}

fn counter(registry: &Registry, name: &str) -> IntCounterVec {
    let family = look_up(name);
    let vec = IntCounterVec::new(Opts::new(family.name, family.help), family.labels)
        .expect("the table holds valid names");
    registry.register(Box::new(vec.clone())).expect("names in the table are unique");
    vec
}

fn gauge(registry: &Registry, name: &str) -> IntGaugeVec {
    let family = look_up(name);
    let vec = IntGaugeVec::new(Opts::new(family.name, family.help), family.labels)
        .expect("the table holds valid names");
    registry.register(Box::new(vec.clone())).expect("names in the table are unique");
    vec
}

fn histogram(registry: &Registry, name: &str) -> HistogramVec {
    let family = look_up(name);
    let Kind::Histogram(buckets) = family.kind else {
        unreachable!("{name} is used as a histogram, so the table says so")
    };
    let options = HistogramOpts::new(family.name, family.help).buckets(buckets.to_vec());
    let vec = HistogramVec::new(options, family.labels).expect("the table holds valid names");
    registry.register(Box::new(vec.clone())).expect("names in the table are unique");
    vec
}

/// The `code` label for a status: registered codes as they are, all others together.
pub fn code_label(status: u16) -> String {
    match http::StatusCode::from_u16(status) {
        Ok(code) if code.canonical_reason().is_some() => status.to_string(),
        _ => "other".to_owned(),
    }
}

/// METRICS.md's table of this binary.
pub fn markdown() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels =
            family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("| `{}` | {kind} | {labels} | {} |\n", family.name, family.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_in_the_table_has_a_handle_and_a_line() {
        // A family without a handle would not be registered; a second registration would panic.
        let metrics = Metrics::new();
        let registered = FAMILIES
            .iter()
            .filter(|family| {
                let again: Box<dyn prometheus::core::Collector> = Box::new(
                    IntCounterVec::new(Opts::new(family.name, family.help), family.labels).unwrap(),
                );
                metrics.registry.register(again).is_err()
            })
            .count();
        assert_eq!(registered, FAMILIES.len());
        for family in FAMILIES {
            assert!(markdown().contains(&format!("| `{}` |", family.name)));
        }
    }

    #[test]
    fn counters_end_in_total_and_histograms_in_seconds() {
        for family in FAMILIES {
            match family.kind {
                Kind::Counter => assert!(family.name.ends_with("_total"), "{}", family.name),
                Kind::Histogram(_) => assert!(family.name.ends_with("_seconds"), "{}", family.name),
                Kind::Gauge => assert!(!family.name.ends_with("_total"), "{}", family.name),
            }
        }
    }

    #[test]
    fn unregistered_statuses_share_a_label() {
        assert_eq!(code_label(204), "204");
        assert_eq!(code_label(799), "other");
    }
}
