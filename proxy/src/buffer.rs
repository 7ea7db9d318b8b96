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
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use proxy_config::buffer_policy::{BufferPolicy, Buffering, Side, Way};

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
