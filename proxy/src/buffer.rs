//! Buffering of bodies that pass through: how much of one waits here between a fast side and a slow one, and
//! where. [`machine`] decides, purely; [`body`] holds the bytes and obeys; [`spill`] is the disk; [`tempo`] paces.
//!
//! A route with a policy that holds anything is asked for by the proxy itself: [`pass`] takes in what the
//! client sends, asks, and hands back what comes, each through a body of its own, so that neither side is
//! held up by the other for longer than the policy says. Without a policy, or with one that is `off` both
//! ways, bodies stream through pingora.
//!
//! A policy belongs to the process, like a lane: what is changed holds for bodies under way.

pub mod body;
pub mod intake;
pub mod machine;
pub mod pass;
pub mod spill;
pub mod tempo;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE, UPGRADE};
use parking_lot::Mutex;
use pingora::proxy::Session;
use prometheus::{IntCounter, IntGauge};
use proxy_config::buffer_policy::{BufferPolicy, Buffering, Side, Way};

use crate::exchange::Exchange;
use crate::headers;
use crate::metrics::Metrics;

/// The policy label of routes without one.
const NONE: &str = "none";

/// What is counted of one way of a policy.
#[derive(Clone)]
pub struct Series {
    pub in_memory: IntGauge,
    pub on_disk: IntGauge,
    pub bodies: IntGauge,
    pub through: IntCounter,
    pub stops: IntCounter,
    pub denials: IntCounter,
    pub paced: IntCounter,
}

impl Series {
    fn new(policy: &str, way: &str, metrics: &Metrics) -> Series {
        let labels = &[policy, way];
        let bytes = |at| metrics.buffers.bytes.with_label_values(&[policy, way, at]);
        Series {
            in_memory: bytes("memory"),
            on_disk: bytes("disk"),
            bodies: metrics.buffers.bodies.with_label_values(labels),
            through: metrics.buffers.through.with_label_values(labels),
            stops: metrics.buffers.stops.with_label_values(labels),
            denials: metrics.buffers.denials.with_label_values(labels),
            paced: metrics.buffers.paced.with_label_values(labels),
        }
    }
}

/// A buffer policy in force.
pub struct Policy {
    values: ArcSwap<Buffering>,
    responses: Series,
    requests: Series,
}

impl Policy {
    fn new(name: &str, metrics: &Metrics) -> Policy {
        Policy {
            values: ArcSwap::from_pointee(Buffering::default()),
            responses: Series::new(name, "responses", metrics),
            requests: Series::new(name, "requests", metrics),
        }
    }

    /// The values as they are now.
    pub fn side(&self, way: Way) -> Side {
        let values = self.values.load();
        match way {
            Way::Responses => values.responses,
            Way::Requests => values.requests,
        }
    }

    pub fn series(&self, way: Way) -> &Series {
        match way {
            Way::Responses => &self.responses,
            Way::Requests => &self.requests,
        }
    }
}

/// All policies this process has ever known, by name.
#[derive(Default)]
pub struct Policies(Mutex<BTreeMap<String, Arc<Policy>>>);

impl Policies {
    /// The policy of that name, made when new; `None` names that of routes without one. Its values are
    /// set by whoever puts a configuration into force.
    pub fn named(&self, name: Option<&str>, metrics: &Metrics) -> Arc<Policy> {
        let name = name.unwrap_or(NONE);
        let mut policies = self.0.lock();
        let policy = policies.entry(name.to_owned());
        Arc::clone(policy.or_insert_with(|| Arc::new(Policy::new(name, metrics))))
    }

    /// What a configuration says holds from now on, for bodies under way too.
    pub fn set(&self, policies: &BTreeMap<String, BufferPolicy>, metrics: &Metrics) {
        for (name, written) in policies {
            let policy = self.named(Some(name), metrics);
            policy.values.store(Arc::new(written.resolved()));
        }
    }
}

/// Whether the proxy asks by itself for what it is about to hold. What is no exchange of one body for another
/// is left to pingora: upgrades, and calls of gRPC, which end in trailers.
pub fn applies(session: &mut Session, exchange: &Exchange) -> bool {
    let Some(policy) = exchange.route.as_ref().map(|route| &route.buffering) else { return false };
    let holds = |way| !policy.side(way).is_off();
    let fields = &session.req_header().headers;
    let grpc = fields
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let two_way = fields.contains_key(UPGRADE)
        || grpc
        || (fields.contains_key(TE) && headers::takes_trailers(fields) && session.is_http2());
    let has_request = !session.is_body_empty() && !exchange.trail.without_body;
    !two_way && (holds(Way::Responses) || (has_request && holds(Way::Requests)))
}

/// Whether a script is asked by [`pass`] too. It must be told the length of its body: what is gathered first has
/// one, and what the client says has one.
pub fn suits_scripts(session: &Session, exchange: &Exchange) -> bool {
    let route = exchange.route.as_ref();
    let spools = route.is_some_and(|route| route.buffering.side(Way::Requests).spool);
    spools || session.req_header().headers.contains_key(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_the_processs_and_follows_the_document() {
        let (metrics, policies) = (Metrics::new(), Policies::default());
        let policy = policies.named(Some("live"), &metrics);
        assert!(policy.side(Way::Responses).is_off());
        let written =
            BufferPolicy { responses: Some(Default::default()), ..BufferPolicy::default() };
        policies.set(&BTreeMap::from([("live".to_owned(), written)]), &metrics);
        assert!(!policy.side(Way::Responses).is_off() && policy.side(Way::Requests).is_off());
        assert!(policies.named(None, &metrics).side(Way::Responses).is_off());
    }
}
