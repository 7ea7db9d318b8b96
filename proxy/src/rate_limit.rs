//! Rate limits: how often one key may ask, how many of its requests may be in flight and how fast they are answered.
//!
//! Its stops: [`key`] names who asks → [`table`] remembers what the key owes, or [`cluster`] asks
//! Redis → [`gcra`] decides; [`bandwidth`] is what the answers of a key share. All limits of a route apply. One that refuses takes back what the others have counted
//! here; what Redis has counted stays counted, as it is asked last.

pub mod bandwidth;
pub mod cluster;
pub mod enter;
pub mod gcra;
pub mod key;
pub mod quota;
pub mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec};

use proxy_config::facts::Facts;
use proxy_config::rate_limit::{RateLimit, WhenMissing, WhenOver, WhenUnavailable};
use proxy_config::template::{Compiled, Scope};
use thiserror::Error;

use crate::metrics::Metrics;
use crate::rate_limit::bandwidth::Allowance;
use crate::rate_limit::cluster::{Redis, Unavailable};
use crate::rate_limit::gcra::{Pace, Verdict};
use crate::rate_limit::key::{Asking, Key};
use crate::rate_limit::quota::Quota;
use crate::rate_limit::table::{Counts, Place};

const NS_PER_S: u64 = 1_000_000_000;

/// A limit that cannot be applied.
#[derive(Debug, Error)]
#[error("rate_limits.{limit}.cluster.redis: {why}")]
pub struct LimitFault {
    pub limit: String,
    pub why: String,
}

/// One limit of a configuration.
pub struct Limit {
    name: String,
    config: RateLimit,
    text: Option<Compiled>,
    pace: Option<Pace>,
    redis: Option<Redis>,
    counts: Arc<Counts>,
    requests: IntCounterVec,
    paced: IntCounter,
    cluster_failures: IntCounterVec,
}

/// What limits made of one request. Dropping it gives back its places in flight.
#[derive(Default)]
pub struct Passage {
    places: Vec<Place>,
    /// What bounds how fast it is answered.
    pub allowances: Vec<Allowance>,
    /// What the client is told about its limits.
    pub quota: Option<Quota>,
    /// The first limit that the request was over, in a dry run too.
    pub over: Option<String>,
    /// Requests its key has asked too many by then.
    pub excess: f64,
}

impl Passage {
    /// The request is no longer in flight.
    pub fn leave(&mut self) {
        self.places.clear();
    }
}

/// All counts this process has ever kept, by the name of their limit.
#[derive(Default)]
pub struct Limits(Mutex<BTreeMap<String, Arc<Counts>>>);

impl Limits {
    fn named(&self, name: &str, metrics: &Metrics) -> Arc<Counts> {
        let mut all = self.0.lock();
        let counts = all.entry(name.to_owned());
        Arc::clone(counts.or_insert_with(|| Arc::new(Counts::new(name, metrics))))
    }

    /// Puts the sizes of tables into force.
    pub fn set_limits(&self, limits: &BTreeMap<String, RateLimit>, metrics: &Metrics) {
        for (name, limit) in limits {
            let name = limit.zone.as_ref().unwrap_or(name);
            self.named(name, metrics).set_keys_max(limit.keys_max);
        }
    }
}

impl Limit {
    pub fn new(
        name: &str,
        config: &RateLimit,
        scope: &Scope<'_>,
        limits: &Limits,
        metrics: &Metrics,
    ) -> Result<Limit, LimitFault> {
        let fault =
            |why: redis::RedisError| LimitFault { limit: name.to_owned(), why: why.to_string() };
        let delay_max = match config.when_over {
            WhenOver::Reject => Duration::ZERO,
            WhenOver::Delay => config.delay_max.as_std(),
        };
        let results = ["passed", "delayed", "refused", "over_dry_run"];
        for result in results {
            metrics.rate_limit_requests.with_label_values(&[name, result]);
        }
        metrics.rate_limit_cluster_failures.with_label_values(&[name]);
        Ok(Limit {
            name: name.to_owned(),
            pace: config.rate.map(|rate| Pace::new(rate, config.burst, delay_max)),
            redis: config.cluster.as_ref().map(Redis::new).transpose().map_err(fault)?,
            text: config.key_text.as_ref().map(|text| {
                Compiled::new(&text.0, scope)
                    .expect("validation refuses templates that cannot be rendered")
            }),
            config: config.clone(),
            counts: limits.named(config.zone.as_deref().unwrap_or(name), metrics),
            requests: metrics.rate_limit_requests.clone(),
            paced: metrics.rate_limit_paced_bytes.with_label_values(&[name]),
            cluster_failures: metrics.rate_limit_cluster_failures.clone(),
        })
    }

    /// Whether Redis is asked: such limits come last, since only Redis does not take back.
    pub fn is_shared(&self) -> bool {
        self.redis.is_some()
    }

    /// The key of a request; none when it has none and is not limited then.
    fn key(&self, asking: &Asking<'_>, facts: Option<&Facts<'_>>) -> Option<Key> {
        let text = match (&self.text, facts) {
            (Some(text), Some(facts)) => Some(text.render(facts)).filter(|text| !text.is_empty()),
            _ => None,
        };
        let counts = self.config.when_missing == WhenMissing::Share
            || text.is_some()
            || asking.has_any(&self.config.key);
        counts.then(|| asking.key(&self.config.key, text.as_deref()))
    }

    /// `None`: Redis cannot be asked, and the limit says that requests are refused then.
    async fn ask(&self, key: &Key, pace: &Pace) -> Option<Verdict> {
        let Some(redis) = &self.redis else { return Some(self.counts.ask(*key, pace)) };
        let unavailable =
            match redis.ask(self.config.zone.as_deref().unwrap_or(&self.name), key, pace).await {
                Ok(verdict) => return Some(verdict),
                Err(unavailable) => unavailable,
            };
        self.cluster_failures.with_label_values(&[&self.name]).inc();
        if let Unavailable::Failed(error) = &unavailable {
            tracing::warn!(limit = self.name, %error, "the Redis of a rate limit does not answer");
        }
        match redis.when_unavailable {
            WhenUnavailable::Local => Some(self.counts.ask(*key, pace)),
            WhenUnavailable::Allow => Some(Verdict::Passes { wait_ns: 0, debt_ns: 0 }),
            WhenUnavailable::Refuse => None,
        }
    }

    /// What the key may have a second; each proxy counts for itself.
    fn allowance(&self, key: &Key) -> Option<Allowance> {
        let rate = self.config.bandwidth_max.filter(|_| !self.config.dry_run)?;
        let (wire, paced) = (self.counts.wire(*key), self.paced.clone());
        Some(Allowance { wire, rate: rate.as_bytes_per_second().max(1), paced })
    }

    fn give_back(&self, key: &Key) {
        if let (Some(pace), None) = (&self.pace, &self.redis) {
            self.counts.give_back(key, pace);
        }
    }

    fn count(&self, result: &str) {
        self.requests.with_label_values(&[self.name.as_str(), result]).inc();
    }

    fn tell(&self, quota: &mut Quota, left: u64, in_ns: u64) {
        let is_secret = self.config.dry_run || !self.config.told;
        if let (Some(rate), false) = (self.config.rate, is_secret) {
            let (name, seconds) = (&self.name, rate.per.as_millis() / 1000);
            quota.policies.push(format!("\"{name}\";q={};w={seconds}", rate.count));
            quota.left.push(format!("\"{name}\";r={left};t={}", in_ns.div_ceil(NS_PER_S)));
        }
    }
}
