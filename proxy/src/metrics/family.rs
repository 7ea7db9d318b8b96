//! The table of metric families: names, kinds, labels and what each means.

/// What kind of series a family holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

/// One metric family. Label values come from the configuration or from a fixed set, so the number of
/// series is bounded by the document. Only `title` comes from requests; its values are bounded too.
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

pub(super) const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, labels, help }
}

/// Bits per second, from audio alone to 8K video.
const BITRATES: &[f64] = &[1e5, 3e5, 6e5, 1e6, 2e6, 3e6, 5e6, 8e6, 1.2e7, 2e7, 4e7, 1e8];

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
        "forebay_proxy_downstream_http2_given_up_total",
        Kind::Counter,
        &["listener", "reason"],
        "HTTP/2 connections ended for what their client did: reason is the error code it was told (protocol_error, \
         flow_control_error, frame_size_error, compression_error, enhance_your_calm, other), or late (it did not begin to speak \
         HTTP/2 within timeouts.head).",
    ),
    family(
        "forebay_proxy_downstream_lingering",
        Kind::Gauge,
        &["listener"],
        "HTTP/1 connections that are over but for what their client is still sending: it is read and dropped, \
         so that the client sees its answer. They are not among the open ones.",
    ),
    family(
        "forebay_proxy_downstream_lingered_total",
        Kind::Counter,
        &["listener", "end"],
        "Such connections by their end: closed (by the client), silent (for 5 s), late (after 30 s), too_much (64 MiB came) or \
         refused (1000 lingered at the listener; closed at once).",
    ),
    family(
        "forebay_proxy_front_door_requests_total",
        Kind::Counter,
        &["listener", "outcome"],
        "HTTP/1 requests by who took them: answered at the front door from memory, passed_through there to \
         their upstream, or handed_on. Those of listeners without a route for the door are not counted.",
    ),
    family(
        "forebay_proxy_key_fetches_total",
        Kind::Counter,
        &["result"],
        "Fetches of keys that tokens are verified with (auth.jwt.jwks_url): result is ok or failed.",
    ),
    family(
        "forebay_proxy_proxy_protocol_refused_total",
        Kind::Counter,
        &["listener"],
        "Connections closed for their PROXY protocol header: absent, malformed, late, or from a peer that is not trusted.",
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
        "forebay_proxy_gathered_bodies_bytes",
        Kind::Gauge,
        &[],
        "Small request bodies taken in before their request had its place in a lane; 64 MiB at most.",
    ),
    family(
        "forebay_proxy_kept_bodies_bytes",
        Kind::Gauge,
        &["at"],
        "Request bodies that routes keep whole (`kept_body`), in memory and as files.",
    ),
    family(
        "forebay_proxy_kept_bodies_folder_bytes",
        Kind::Gauge,
        &["folder"],
        "Bytes of bodies that lie in a folder (`kept_body.folder`), those that stay included; what somebody has removed is \
         noticed within a minute of the next body.",
    ),
    family(
        "forebay_proxy_kept_bodies_refused_total",
        Kind::Counter,
        &["folder"],
        "Request bodies that a folder had no room for (`kept_body.bytes_max`).",
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
        "forebay_proxy_rate_limit_paced_bytes_total",
        Kind::Counter,
        &["limit"],
        "Response body bytes that waited for their turn under a limit's bandwidth_max.",
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
        "forebay_proxy_auth_subrequests_total",
        Kind::Counter,
        &["route", "result"],
        "Questions to the service that says who may ask: result is allowed, refused, or failed (no \
         answer, or one that says neither).",
    ),
    family(
        "forebay_proxy_compressed_responses_total",
        Kind::Counter,
        &["coding"],
        "Responses compressed: coding is gzip, br or zstd.",
    ),
    family(
        "forebay_proxy_compression_bytes_total",
        Kind::Counter,
        &["coding", "side"],
        "Bytes of bodies that were compressed: side is before or after.",
    ),
    family(
        "forebay_proxy_compressions_left_out_total",
        Kind::Counter,
        &[],
        "Responses sent as they were, because 256 others were being compressed.",
    ),
    family(
        "forebay_proxy_includes_total",
        Kind::Counter,
        &["route", "result"],
        "Parts of pages with server-side includes: result is included, failed (it was answered with an error) or \
         left_out (includes.parts_max or depth_max).",
    ),
    family(
        "forebay_proxy_mirror_requests_total",
        Kind::Counter,
        &["route", "result"],
        "Copies of requests for another upstream: result is answered, failed, left_out (too many \
         under way), no_memory (memory_max of the lane bulk, in which they are asked) or body_too_large.",
    ),
    family(
        "forebay_proxy_mirror_requests_in_flight",
        Kind::Gauge,
        &["route"],
        "Copies of requests under way.",
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
        "forebay_proxy_upstream_connections_idle",
        Kind::Gauge,
        &[],
        "Connections to HTTP/1 servers kept for the next request this proxy asks by itself; 1024 at most.",
    ),
    family(
        "forebay_proxy_upstream_connections_in_use",
        Kind::Gauge,
        &["upstream"],
        "Connections in use at an upstream that limits them (connections.connections_max).",
    ),
    family(
        "forebay_proxy_upstream_connections_waiting",
        Kind::Gauge,
        &["upstream"],
        "Requests waiting for one of the upstream's connections (connections.waiting_max).",
    ),
    family(
        "forebay_proxy_upstream_connection_waits_total",
        Kind::Counter,
        &["upstream", "result"],
        "Requests that waited for one of the upstream's connections: result is admitted, timed_out or left (the \
         client was gone).",
    ),
    family(
        "forebay_proxy_upstream_connections_refused_total",
        Kind::Counter,
        &["upstream"],
        "Requests that got none of the upstream's connections: too many waited, or for too long.",
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
        "Attempts made again: reason is connect, reset, timeout or gateway_error (another server), \
         stale_connection (a pooled connection the server had closed) or unprocessed (the server says that it has \
         not looked at a stream of HTTP/2).",
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
    family("forebay_proxy_cache_paged_bodies", Kind::Gauge, &["cache"], "Bodies in memory files."),
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
         status, no_freshness, unframed (its end cannot be told from a break, and nobody said to keep it), tags (more than can \
         be purged by), too_large or no_room.",
    ),
    family(
        "forebay_proxy_cache_invalidations_total",
        Kind::Counter,
        &["cache"],
        "Answers forgotten because a request may have changed what they show.",
    ),
    family(
        "forebay_proxy_cache_refreshes_held_total",
        Kind::Counter,
        &["cache"],
        "Requests answered with what is stale without the origin being asked, since it has just failed.",
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
        "Fills ended: result is whole, revalidated, refused (asked for in part, and not to be stored), \
         broken, failed (no answer) or stopped (nobody left to read).",
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
        "Rests that were asked for, of fills that broke: result is resumed, changed (other bytes now) or failed; and left_behind, for readers who held up others where there was no room.",
    ),
    family(
        "forebay_proxy_cache_purge_messages_total",
        Kind::Counter,
        &["cache", "result"],
        "Purges shared with other proxies: result is sent, unsent (Redis did not take it), received, \
         skipped (not understood) or missed (lost while this proxy was cut off; everything became stale).",
    ),
    family(
        "forebay_proxy_cache_purge_redis_connected",
        Kind::Gauge,
        &["cache"],
        "1 while purges of other proxies are heard.",
    ),
    family(
        "forebay_proxy_cache_slices_total",
        Kind::Counter,
        &["cache", "result"],
        "Slices of large objects: result is stored (it was there), joined (on its way already), \
         fetched, read_ahead, changed (the object is another now), refused (the origin failed), \
         no_room (not fetched ahead) or unfit (an object that cannot be kept in slices).",
    ),
    family(
        "forebay_proxy_cache_disk_ready",
        Kind::Gauge,
        &["cache"],
        "1 while the directory of `disk` belongs to this process and can be used; what is in it is found as it is \
         indexed. Caches without one have no such series.",
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
        "Answers looked for on disk: result is loaded, gone, corrupt (a checksum), failed (at the start too, where records are indexed) or no_room (in memory).",
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
        "forebay_proxy_video_manifests_total",
        Kind::Counter,
        &["cache", "kind"],
        "HLS and DASH manifests fetched on routes that understand video: kind is hls_multivariant, \
         hls_media, dash, or unreadable (malformed, compressed or too large; kept, but not understood).",
    ),
    family(
        "forebay_proxy_video_streams_live",
        Kind::Gauge,
        &["cache"],
        "Live streams whose playlists are being asked for.",
    ),
    family(
        "forebay_proxy_video_streams_stalled",
        Kind::Gauge,
        &["cache"],
        "Those of them whose playlists have brought nothing new for stalled_after.",
    ),
    family(
        "forebay_proxy_video_stream_stalls_total",
        Kind::Counter,
        &["cache"],
        "Times that a live stream has begun to stand still.",
    ),
    family(
        "forebay_proxy_video_blocking_reloads_total",
        Kind::Counter,
        &["cache", "result"],
        "LL-HLS requests for what is not there yet: result is held, or refused (400: malformed, or too \
         far ahead of the playlist).",
    ),
    family(
        "forebay_proxy_video_prefetches_total",
        Kind::Counter,
        &["cache", "result"],
        "Segments about to be asked for: result is begun (fetched before that), known (there, or on its \
         way) or full (too many fills under way).",
    ),
    family(
        "forebay_proxy_video_player_reports_total",
        Kind::Counter,
        &["cache", "result"],
        "Requests in which a player told something (CMCD): result is read or malformed.",
    ),
    family(
        "forebay_proxy_video_viewers",
        Kind::Gauge,
        &["cache", "title"],
        "Players (CMCD sessions) that asked for something in the last minute. title is the content id, or \
         the folder without one; at most 100, further ones are other.",
    ),
    family(
        "forebay_proxy_video_player_requests_total",
        Kind::Counter,
        &["cache", "title"],
        "Requests of players that tell something.",
    ),
    family(
        "forebay_proxy_video_player_stalls_total",
        Kind::Counter,
        &["cache", "title"],
        "Requests in which a player said that its buffer had run empty (CMCD bs).",
    ),
    family(
        "forebay_proxy_video_player_buffer_seconds",
        Kind::Histogram(SECONDS),
        &["cache", "title"],
        "Media in players' buffers (CMCD bl).",
    ),
    family(
        "forebay_proxy_video_player_start_seconds",
        Kind::Histogram(SECONDS),
        &["cache", "title"],
        "Time from the wish to play to the first frame (CMCD version 2, msd).",
    ),
    family(
        "forebay_proxy_video_player_bitrate_bits_per_second",
        Kind::Histogram(BITRATES),
        &["cache", "title"],
        "Encoded bitrate of what players ask for (CMCD br).",
    ),
    family(
        "forebay_proxy_video_player_throughput_bits_per_second",
        Kind::Histogram(BITRATES),
        &["cache", "title"],
        "Throughput as players measure it (CMCD mtp).",
    ),
    family(
        "forebay_proxy_admin_refused_total",
        Kind::Counter,
        &["reason"],
        "Changes refused by the admin API: reason is no_tokens (none configured), token (missing or \
         wrong) or role.",
    ),
];
