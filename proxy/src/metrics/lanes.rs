//! What is known of lanes: what each holds, what it may hold, who waits and who was shed.

use crate::metrics::family::{Family, Kind, family};

pub(super) const LANE_FAMILIES: &[Family] = &[
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
        "Requests answered 503 because their lane had no place or no memory, or none in time.",
    ),
    family(
        "forebay_proxy_lane_waiting",
        Kind::Gauge,
        &["lane", "for"],
        "Requests that wait now: for is place (in the lane), origin (to ask one), connection (connections_max) \
         or upstream (upstream_connections_max).",
    ),
    family(
        "forebay_proxy_lane_waits_total",
        Kind::Counter,
        &["lane", "for", "result"],
        "Requests that waited: result is admitted, timed_out (waiting_time_max, then shed) or left \
         (the client did).",
    ),
    family(
        "forebay_proxy_lane_connections",
        Kind::Gauge,
        &["lane"],
        "Client connections that count in a lane: those that carry a request of it, and those that wait for one and \
         carried one of it last; connections_max bounds them.",
    ),
    family(
        "forebay_proxy_lane_connections_max",
        Kind::Gauge,
        &["lane"],
        "What connections_max allows a lane; 0 when it is not limited.",
    ),
    family(
        "forebay_proxy_lane_upstream_connections",
        Kind::Gauge,
        &["lane"],
        "Connections to servers that a lane has in use, those being made and those of tunnels included; \
         upstream_connections_max bounds them.",
    ),
    family(
        "forebay_proxy_lane_upstream_connections_max",
        Kind::Gauge,
        &["lane"],
        "What upstream_connections_max allows a lane; 0 when it is not limited.",
    ),
    family(
        "forebay_proxy_lane_connections_shed_total",
        Kind::Counter,
        &["lane", "side"],
        "Of the requests shed, those for want of a connection: side is client (connections_max) or upstream \
         (upstream_connections_max).",
    ),
    family(
        "forebay_proxy_lane_origin_requests",
        Kind::Gauge,
        &["lane"],
        "Requests of a lane at origins now; origin_concurrency_max bounds them.",
    ),
    family(
        "forebay_proxy_lane_memory_bytes",
        Kind::Gauge,
        &["lane"],
        "Memory reserved for bodies under way, kernel socket buffers included.",
    ),
    family(
        "forebay_proxy_lane_memory_max_bytes",
        Kind::Gauge,
        &["lane"],
        "What memory_max allows a lane; 0 when it is not limited.",
    ),
    family(
        "forebay_proxy_lane_paced_bytes_total",
        Kind::Counter,
        &["lane"],
        "Response body bytes that waited for their turn under bandwidth_max.",
    ),
];
