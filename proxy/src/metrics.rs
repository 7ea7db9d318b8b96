//! Every metric the proxy exports, as one table ([`family`]). The registry, the handles and the
//! generated METRICS.md are all made from it, so what is documented is what is exported.

pub mod buffering;
pub mod certificates;
pub mod compression;
pub mod family;
pub mod lanes;
pub mod lease;
pub mod logs;
pub mod telemetry;
pub mod traffic;

use http::StatusCode;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::metrics::buffering::{BUFFER_FAMILIES, BufferMetrics};
use crate::metrics::certificates::CertificateMetrics;
use crate::metrics::compression::CompressionMetrics;
use crate::metrics::family::{FAMILIES, Family, Kind};
use crate::metrics::lanes::LANE_FAMILIES;
use crate::metrics::lease::Leases;
use crate::metrics::logs::LOG_FAMILIES;
use crate::metrics::telemetry::TelemetryMetrics;
use crate::metrics::traffic::TrafficMetrics;

/// Every family, each in one table.
fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES
        .iter()
        .chain(LANE_FAMILIES)
        .chain(BUFFER_FAMILIES)
        .chain(traffic::FAMILIES)
        .chain(certificates::FAMILIES)
        .chain(LOG_FAMILIES)
        .chain(telemetry::FAMILIES)
}

/// Handles to the families, made once per process.
pub struct Metrics {
    registry: Registry,
    /// Who holds series that go when nobody does.
    pub leases: Leases,
    pub build_info: IntGaugeVec,
    pub config_generation: IntGaugeVec,
    pub config_reloads: IntCounterVec,
    pub draining: IntGaugeVec,
    pub connections: IntGaugeVec,
    pub connections_total: IntCounterVec,
    pub connections_refused: IntCounterVec,
    pub client_timeouts: IntCounterVec,
    pub http2_given_up: IntCounterVec,
    pub lingering: IntGaugeVec,
    pub lingered: IntCounterVec,
    pub front_door_requests: IntCounterVec,
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
    pub lane_waiting: IntGaugeVec,
    pub lane_waits: IntCounterVec,
    pub lane_origin_requests: IntGaugeVec,
    pub lane_connections: IntGaugeVec,
    pub lane_connections_max: IntGaugeVec,
    pub lane_upstream_connections: IntGaugeVec,
    pub lane_upstream_connections_max: IntGaugeVec,
    pub lane_connections_shed: IntCounterVec,
    /// Bytes of small bodies whose requests wait for the rest of them, or have what came before their place.
    pub gathered: IntGauge,
    /// Bytes of bodies that are kept until their requests have ended.
    pub kept_bodies: IntGaugeVec,
    pub kept_folder_bytes: IntGaugeVec,
    pub kept_folder_refused: IntCounterVec,
    pub lane_memory: IntGaugeVec,
    pub lane_memory_max: IntGaugeVec,
    pub lane_paced_bytes: IntCounterVec,
    pub rate_limit_requests: IntCounterVec,
    pub rate_limit_keys: IntGaugeVec,
    pub rate_limit_evictions: IntCounterVec,
    pub rate_limit_paced_bytes: IntCounterVec,
    pub rate_limit_held: IntGaugeVec,
    pub rate_limit_cluster_failures: IntCounterVec,
    pub auth_requests: IntCounterVec,
    pub buffers: BufferMetrics,
    pub certificates: CertificateMetrics,
    pub compression: CompressionMetrics,
    pub traffic: TrafficMetrics,
    pub telemetry: TelemetryMetrics,
    pub includes: IntCounterVec,
    pub mirror_requests: IntCounterVec,
    pub mirror_in_flight: IntGaugeVec,
    pub bulk_nice: IntGaugeVec,
    pub upstream_connects: IntCounterVec,
    pub upstream_failures: IntCounterVec,
    pub upstream_retries: IntCounterVec,
    pub upstream_server_up: IntGaugeVec,
    pub upstream_server_in_flight: IntGaugeVec,
    pub upstream_ejections: IntCounterVec,
    pub upstream_probes: IntCounterVec,
    pub introductions_refused: IntCounterVec,
    pub key_fetches: IntCounterVec,
    pub upstream_idle: IntGauge,
    pub upstream_in_use: IntGaugeVec,
    pub upstream_waiting: IntGaugeVec,
    pub upstream_waits: IntCounterVec,
    pub upstream_refused: IntCounterVec,
    pub upstream_first_byte_seconds: HistogramVec,
    pub cache_bytes: IntGaugeVec,
    pub cache_bytes_max: IntGaugeVec,
    pub cache_objects: IntGaugeVec,
    pub cache_paged_bodies: IntGaugeVec,
    pub cache_requests: IntCounterVec,
    pub cache_evictions: IntCounterVec,
    pub cache_refusals: IntCounterVec,
    pub cache_invalidations: IntCounterVec,
    pub cache_refreshes_held: IntCounterVec,
    pub cache_purges: IntCounterVec,
    pub cache_purged_objects: IntCounterVec,
    pub cache_fills: IntCounterVec,
    pub cache_fills_in_progress: IntGaugeVec,
    pub cache_fill_bytes: IntCounterVec,
    pub cache_fill_resumes: IntCounterVec,
    pub cache_slices: IntCounterVec,
    pub cache_purge_messages: IntCounterVec,
    pub cache_purge_redis_connected: IntGaugeVec,
    pub cache_disk_ready: IntGaugeVec,
    pub cache_disk_bytes: IntGaugeVec,
    pub cache_disk_bytes_max: IntGaugeVec,
    pub cache_disk_objects: IntGaugeVec,
    pub cache_disk_evictions: IntCounterVec,
    pub cache_disk_reads: IntCounterVec,
    pub cache_disk_writes: IntCounterVec,
    pub cache_disk_remove_failures: IntCounterVec,
    pub video_manifests: IntCounterVec,
    pub video_streams: IntGaugeVec,
    pub video_streams_stalled: IntGaugeVec,
    pub video_stalls: IntCounterVec,
    pub video_reloads: IntCounterVec,
    pub video_prefetches: IntCounterVec,
    pub video_reports: IntCounterVec,
    pub video_viewers: IntGaugeVec,
    pub video_requests: IntCounterVec,
    pub video_starved: IntCounterVec,
    pub video_buffer_seconds: HistogramVec,
    pub video_start_seconds: HistogramVec,
    pub video_bitrate: HistogramVec,
    pub video_throughput: HistogramVec,
    pub admin_refused: IntCounterVec,
    pub access_log_dropped: IntCounterVec,
    pub access_log_waiting: IntGaugeVec,
    pub access_log_write_errors: IntCounterVec,
    pub error_log_dropped: IntCounterVec,
    pub error_log_waiting: IntGaugeVec,
    pub error_log_write_errors: IntCounterVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    #[expect(clippy::too_many_lines, reason = "a line for each family")]
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
            http2_given_up: counter("forebay_proxy_downstream_http2_given_up_total"),
            lingering: gauge("forebay_proxy_downstream_lingering"),
            lingered: counter("forebay_proxy_downstream_lingered_total"),
            front_door_requests: counter("forebay_proxy_front_door_requests_total"),
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
            lane_waiting: gauge("forebay_proxy_lane_waiting"),
            lane_waits: counter("forebay_proxy_lane_waits_total"),
            lane_origin_requests: gauge("forebay_proxy_lane_origin_requests"),
            lane_connections: gauge("forebay_proxy_lane_connections"),
            lane_connections_max: gauge("forebay_proxy_lane_connections_max"),
            lane_upstream_connections: gauge("forebay_proxy_lane_upstream_connections"),
            lane_upstream_connections_max: gauge("forebay_proxy_lane_upstream_connections_max"),
            lane_connections_shed: counter("forebay_proxy_lane_connections_shed_total"),
            gathered: gauge("forebay_proxy_gathered_bodies_bytes").with_label_values::<&str>(&[]),
            kept_bodies: gauge("forebay_proxy_kept_bodies_bytes"),
            kept_folder_bytes: gauge("forebay_proxy_kept_bodies_folder_bytes"),
            kept_folder_refused: counter("forebay_proxy_kept_bodies_refused_total"),
            lane_memory: gauge("forebay_proxy_lane_memory_bytes"),
            lane_memory_max: gauge("forebay_proxy_lane_memory_max_bytes"),
            lane_paced_bytes: counter("forebay_proxy_lane_paced_bytes_total"),
            rate_limit_requests: counter("forebay_proxy_rate_limit_requests_total"),
            rate_limit_keys: gauge("forebay_proxy_rate_limit_keys"),
            rate_limit_evictions: counter("forebay_proxy_rate_limit_evictions_total"),
            rate_limit_paced_bytes: counter("forebay_proxy_rate_limit_paced_bytes_total"),
            rate_limit_held: gauge("forebay_proxy_rate_limit_delayed"),
            rate_limit_cluster_failures: counter("forebay_proxy_rate_limit_cluster_failures_total"),
            auth_requests: counter("forebay_proxy_auth_subrequests_total"),
            buffers: BufferMetrics::new(&registry),
            certificates: CertificateMetrics::new(&registry),
            compression: CompressionMetrics::new(&registry),
            traffic: TrafficMetrics::new(&registry),
            telemetry: TelemetryMetrics::new(&registry),
            includes: counter("forebay_proxy_includes_total"),
            mirror_requests: counter("forebay_proxy_mirror_requests_total"),
            mirror_in_flight: gauge("forebay_proxy_mirror_requests_in_flight"),
            bulk_nice: gauge("forebay_proxy_bulk_nice_steps"),
            upstream_connects: counter("forebay_proxy_upstream_connects_total"),
            upstream_failures: counter("forebay_proxy_upstream_failures_total"),
            upstream_retries: counter("forebay_proxy_upstream_retries_total"),
            upstream_server_up: gauge("forebay_proxy_upstream_server_up"),
            upstream_server_in_flight: gauge("forebay_proxy_upstream_server_in_flight"),
            upstream_ejections: counter("forebay_proxy_upstream_ejections_total"),
            upstream_probes: counter("forebay_proxy_upstream_probes_total"),
            key_fetches: counter("forebay_proxy_key_fetches_total"),
            introductions_refused: counter("forebay_proxy_proxy_protocol_refused_total"),
            upstream_idle: gauge("forebay_proxy_upstream_connections_idle")
                .with_label_values::<&str>(&[]),
            upstream_in_use: gauge("forebay_proxy_upstream_connections_in_use"),
            upstream_waits: counter("forebay_proxy_upstream_connection_waits_total"),
            upstream_waiting: gauge("forebay_proxy_upstream_connections_waiting"),
            upstream_refused: counter("forebay_proxy_upstream_connections_refused_total"),
            upstream_first_byte_seconds: histogram("forebay_proxy_upstream_first_byte_seconds"),
            cache_bytes: gauge("forebay_proxy_cache_bytes"),
            cache_bytes_max: gauge("forebay_proxy_cache_bytes_max"),
            cache_objects: gauge("forebay_proxy_cache_objects"),
            cache_paged_bodies: gauge("forebay_proxy_cache_paged_bodies"),
            cache_requests: counter("forebay_proxy_cache_requests_total"),
            cache_evictions: counter("forebay_proxy_cache_evictions_total"),
            cache_refusals: counter("forebay_proxy_cache_refusals_total"),
            cache_invalidations: counter("forebay_proxy_cache_invalidations_total"),
            cache_refreshes_held: counter("forebay_proxy_cache_refreshes_held_total"),
            cache_purges: counter("forebay_proxy_cache_purges_total"),
            cache_purged_objects: counter("forebay_proxy_cache_purged_objects_total"),
            cache_fills: counter("forebay_proxy_cache_fills_total"),
            cache_fills_in_progress: gauge("forebay_proxy_cache_fills_in_progress"),
            cache_fill_bytes: counter("forebay_proxy_cache_fill_bytes_total"),
            cache_fill_resumes: counter("forebay_proxy_cache_fill_resumes_total"),
            cache_slices: counter("forebay_proxy_cache_slices_total"),
            cache_purge_messages: counter("forebay_proxy_cache_purge_messages_total"),
            cache_purge_redis_connected: gauge("forebay_proxy_cache_purge_redis_connected"),
            cache_disk_ready: gauge("forebay_proxy_cache_disk_ready"),
            cache_disk_bytes: gauge("forebay_proxy_cache_disk_bytes"),
            cache_disk_bytes_max: gauge("forebay_proxy_cache_disk_bytes_max"),
            cache_disk_objects: gauge("forebay_proxy_cache_disk_objects"),
            cache_disk_evictions: counter("forebay_proxy_cache_disk_evictions_total"),
            cache_disk_reads: counter("forebay_proxy_cache_disk_reads_total"),
            cache_disk_writes: counter("forebay_proxy_cache_disk_writes_total"),
            cache_disk_remove_failures: counter("forebay_proxy_cache_disk_remove_failures_total"),
            video_manifests: counter("forebay_proxy_video_manifests_total"),
            video_streams: gauge("forebay_proxy_video_streams_live"),
            video_streams_stalled: gauge("forebay_proxy_video_streams_stalled"),
            video_stalls: counter("forebay_proxy_video_stream_stalls_total"),
            video_reloads: counter("forebay_proxy_video_blocking_reloads_total"),
            video_prefetches: counter("forebay_proxy_video_prefetches_total"),
            video_reports: counter("forebay_proxy_video_player_reports_total"),
            video_viewers: gauge("forebay_proxy_video_viewers"),
            video_requests: counter("forebay_proxy_video_player_requests_total"),
            video_starved: counter("forebay_proxy_video_player_stalls_total"),
            video_buffer_seconds: histogram("forebay_proxy_video_player_buffer_seconds"),
            video_start_seconds: histogram("forebay_proxy_video_player_start_seconds"),
            video_bitrate: histogram("forebay_proxy_video_player_bitrate_bits_per_second"),
            video_throughput: histogram("forebay_proxy_video_player_throughput_bits_per_second"),
            admin_refused: counter("forebay_proxy_admin_refused_total"),
            access_log_dropped: counter("forebay_proxy_access_log_dropped_total"),
            access_log_waiting: gauge("forebay_proxy_access_log_waiting"),
            access_log_write_errors: counter("forebay_proxy_access_log_write_errors_total"),
            error_log_dropped: counter("forebay_proxy_error_log_dropped_total"),
            error_log_waiting: gauge("forebay_proxy_error_log_waiting"),
            error_log_write_errors: counter("forebay_proxy_error_log_write_errors_total"),
            registry: registry.clone(),
            leases: Leases::default(),
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
        self.kept_bodies.with_label_values(&["memory"]);
        self.kept_bodies.with_label_values(&["file"]);
        self.key_fetches.with_label_values(&["ok"]);
        self.key_fetches.with_label_values(&["failed"]);
        self.draining.with_label_values::<&str>(&[]).set(0);
        for reason in ["no_tokens", "token", "role"] {
            self.admin_refused.with_label_values(&[reason]);
        }
        self.access_log_dropped.with_label_values::<&str>(&[]);
        self.access_log_write_errors.with_label_values::<&str>(&[]);
        self.error_log_dropped.with_label_values::<&str>(&[]);
        self.error_log_write_errors.with_label_values::<&str>(&[]);
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
    families().find(|family| family.name == name).expect("every handle is in the table")
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
pub fn code_label(status: &StatusCode) -> &str {
    match status.canonical_reason() {
        Some(_) => status.as_str(),
        None => "other",
    }
}

/// METRICS.md's table of this binary.
pub fn markdown() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in families() {
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
        let registered = families()
            .filter(|family| {
                let again: Box<dyn prometheus::core::Collector> = Box::new(
                    IntCounterVec::new(Opts::new(family.name, family.help), family.labels).unwrap(),
                );
                metrics.registry.register(again).is_err()
            })
            .count();
        assert_eq!(registered, families().count());
        for family in families() {
            assert!(markdown().contains(&format!("| `{}` |", family.name)));
        }
    }

    #[test]
    fn counters_end_in_total_and_histograms_in_a_base_unit() {
        for family in families() {
            match family.kind {
                Kind::Counter => assert!(family.name.ends_with("_total"), "{}", family.name),
                Kind::Histogram(_) => {
                    let base = ["_seconds", "_bits_per_second"];
                    assert!(base.iter().any(|unit| family.name.ends_with(unit)), "{}", family.name);
                }
                Kind::Gauge => assert!(!family.name.ends_with("_total"), "{}", family.name),
            }
        }
    }

    #[test]
    fn unregistered_statuses_share_a_label() {
        assert_eq!(code_label(&StatusCode::NO_CONTENT), "204");
        assert_eq!(code_label(&StatusCode::from_u16(799).unwrap()), "other");
    }
}
