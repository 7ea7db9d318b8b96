//! What is counted of tunnels, of where servers are, and of answers that are compared.

use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use crate::metrics::family::{Family, Kind, family};
use crate::metrics::{counter, gauge};
use crate::tunnel::carry::{Counts, EndedBy};

pub(super) const FAMILIES: &[Family] = &[
    family(
        "forebay_proxy_tunnels",
        Kind::Gauge,
        &["route", "lane"],
        "Connections that were upgraded (WebSockets) and are open.",
    ),
    family(
        "forebay_proxy_tunnels_ended_total",
        Kind::Counter,
        &["route", "lane", "by"],
        "Tunnels that ended: by is client or upstream (whoever ended first or broke off), idle \
         (timeouts.tunnel) or stop (of the proxy).",
    ),
    family(
        "forebay_proxy_tunnel_bytes_total",
        Kind::Counter,
        &["route", "lane", "direction"],
        "Bytes carried by tunnels, counted as they pass: direction is in (from clients) or out. They are \
         not among the bytes of bodies.",
    ),
    family(
        "forebay_proxy_upstream_lookups_total",
        Kind::Counter,
        &["upstream", "result"],
        "Names of servers looked up again (resolve): result is same, changed or failed (the last known \
         addresses stay); and those that requests name (by_request): found or not_found.",
    ),
    family(
        "forebay_proxy_upstream_named_servers",
        Kind::Gauge,
        &["upstream"],
        "Servers that requests have named and that are remembered (by_request.servers_max).",
    ),
    family(
        "forebay_proxy_upstream_naming_refused_total",
        Kind::Counter,
        &["upstream", "reason"],
        "Requests that were not let to the server they name: reason is malformed (it is none), not_allowed \
         (by_request.allow), address (by_request.networks) or lookups (by_request.lookups_max).",
    ),
    family(
        "forebay_proxy_mirror_comparisons_total",
        Kind::Counter,
        &["route", "result"],
        "Answers to copies held against those of clients (mirror.compare): result is same, status or body \
         (what differs), or incomplete (one of the two was not whole).",
    ),
    family(
        "forebay_proxy_upstream_addresses",
        Kind::Gauge,
        &["upstream", "server"],
        "Addresses that a server's name stands for (resolve).",
    ),
];

pub struct TrafficMetrics {
    pub tunnels: IntGaugeVec,
    tunnels_ended: IntCounterVec,
    tunnel_bytes: IntCounterVec,
    pub lookups: IntCounterVec,
    pub addresses: IntGaugeVec,
    pub named_servers: IntGaugeVec,
    pub naming_refused: IntCounterVec,
    pub comparisons: IntCounterVec,
}

impl TrafficMetrics {
    pub(super) fn new(registry: &Registry) -> TrafficMetrics {
        TrafficMetrics {
            tunnels: gauge(registry, "forebay_proxy_tunnels"),
            tunnels_ended: counter(registry, "forebay_proxy_tunnels_ended_total"),
            tunnel_bytes: counter(registry, "forebay_proxy_tunnel_bytes_total"),
            lookups: counter(registry, "forebay_proxy_upstream_lookups_total"),
            addresses: gauge(registry, "forebay_proxy_upstream_addresses"),
            named_servers: gauge(registry, "forebay_proxy_upstream_named_servers"),
            naming_refused: counter(registry, "forebay_proxy_upstream_naming_refused_total"),
            comparisons: counter(registry, "forebay_proxy_mirror_comparisons_total"),
        }
    }

    /// Where a tunnel of this route is counted.
    pub fn tunnel(&self, route: &str, lane: &str) -> Counts {
        for by in EndedBy::ALL {
            self.tunnels_ended.with_label_values(&[route, lane, by.name()]);
        }
        let bytes = |direction| self.tunnel_bytes.with_label_values(&[route, lane, direction]);
        Counts {
            open: self.tunnels.with_label_values(&[route, lane]),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
            ended: self.tunnels_ended.clone(),
            labels: [route.to_owned(), lane.to_owned()],
        }
    }
}
