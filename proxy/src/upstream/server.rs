//! What is known of one server: requests in flight, latency, health. It belongs to the process: a reload
//! keeps it, so that a server that is down stays down and one that is full stays full.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use proxy_config::upstream_health::{ActiveChecks, PassiveChecks};

use crate::guard::key_set::KeySet;
use crate::lane::conduit::Conduit;
use crate::metrics::Metrics;
use crate::metrics::lease::Lease;
use crate::mirror::compare::Report;
use crate::places::Permit;
use crate::upstream::balance::moving_average;
use crate::upstream::health::Health;
use crate::upstream::pool::{Open, Pool};

/// Latency that a failure counts as, at least: failing fast must not look like being fast.
const FAILURE_NS: u64 = 1_000_000_000;

/// The label of all servers that requests have named.
const BY_REQUEST: &str = "by_request";

pub struct Server {
    upstream: String,
    /// As written in the document.
    pub name: Arc<str>,
    /// Made from upstream and name: names the server for good.
    pub id: u64,
    in_flight: AtomicU32,
    /// Connections to it, in use or not.
    pub open: Open,
    latency: Mutex<(u64, Instant)>,
    health: Mutex<Health>,
    was_up: AtomicBool,
    /// None of a server that a request has named: there is no end of them.
    up: Option<IntGauge>,
    in_flight_gauge: IntGauge,
    ejections: IntCounter,
    probes: IntCounterVec,
    /// Takes its series away with it.
    _lease: Option<Lease>,
}

/// One request in flight at a server; dropping it counts it off.
pub struct InUse {
    server: Arc<Server>,
    /// The connection it may use, where their number is limited.
    place: Option<Permit>,
    /// The same among those of its lane.
    conduit: Option<Conduit>,
}

/// Milliseconds since the first time anybody asked, by a clock that nobody sets: for how long a server is out does not depend
/// on what time it is, as what the [cache's](crate::cache::clock) clock is for does.
pub fn now_ms() -> u64 {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let begun = BEGUN.get_or_init(|| {
        Instant::now().checked_sub(Duration::from_millis(1)).unwrap_or_else(Instant::now)
    });
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Takes the series of a server away.
fn end_of_series(
    labels: [&str; 2],
    metrics: &Metrics,
) -> impl Fn() + Send + Sync + 'static + use<> {
    let [upstream, server] = labels.map(str::to_owned);
    let gauges = [metrics.upstream_server_up.clone(), metrics.upstream_server_in_flight.clone()];
    let (ejections, probes) = (metrics.upstream_ejections.clone(), metrics.upstream_probes.clone());
    move || {
        let labels = [upstream.as_str(), &server];
        gauges.iter().for_each(|gauge| drop(gauge.remove_label_values(&labels)));
        let _ = ejections.remove_label_values(&labels);
        // One that was never probed has none of these.
        for result in ["good", "failed"] {
            let _ = probes.remove_label_values(&[upstream.as_str(), &server, result]);
        }
    }
}

impl Server {
    fn new(upstream: &str, name: &str, listed: bool, metrics: &Metrics) -> Server {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(format!("{upstream}/{name}"));
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        let labels = [upstream, if listed { name } else { BY_REQUEST }];
        let make = || {
            let up = listed.then(|| metrics.upstream_server_up.with_label_values(&labels));
            let in_flight = metrics.upstream_server_in_flight.with_label_values(&labels);
            (up, in_flight, metrics.upstream_ejections.with_label_values(&labels))
        };
        let ((up, in_flight_gauge, ejections), lease) = match listed {
            true => {
                let end = end_of_series(labels, metrics);
                let (made, lease) = metrics.leases.hold(["server", upstream, name], make, end);
                (made, Some(lease))
            }
            false => (make(), None),
        };
        let server = Server {
            upstream: upstream.to_owned(),
            name: name.into(),
            id: u64::from_be_bytes(id),
            in_flight: AtomicU32::new(0),
            open: Open::default(),
            latency: Mutex::new((0, Instant::now())),
            health: Mutex::default(),
            was_up: AtomicBool::new(true),
            up,
            in_flight_gauge,
            ejections,
            probes: metrics.upstream_probes.clone(),
            _lease: lease,
        };
        server.up.iter().for_each(|up| up.set(1));
        server
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Connections that carry no request, where each carries one at a time.
    pub fn unused(&self) -> u32 {
        self.open.count().saturating_sub(self.in_flight())
    }

    /// Connections, those that are being made included.
    pub fn connections(&self) -> u32 {
        self.open.count().max(self.in_flight())
    }

    /// Nanoseconds; 0 when nothing was measured.
    pub fn latency_ns(&self) -> u64 {
        self.latency.lock().0
    }

    pub fn share(&self, slow_start_ms: u64) -> u64 {
        self.health.lock().share(slow_start_ms, now_ms())
    }

    /// Whether it is fit to take requests; tells when that has changed.
    pub fn is_up(&self) -> bool {
        let is_up = self.health.lock().is_up(now_ms());
        if self.was_up.swap(is_up, Ordering::AcqRel) != is_up {
            self.up.iter().for_each(|up| up.set(i64::from(is_up)));
            let (upstream, server) = (&self.upstream, &*self.name);
            match is_up {
                true => tracing::info!(upstream, server, "the server takes requests again"),
                false => tracing::warn!(upstream, server, "the server is out"),
            }
        }
        is_up
    }

    pub fn enter(self: &Arc<Self>) -> InUse {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.in_flight_gauge.inc();
        InUse { server: Arc::clone(self), place: None, conduit: None }
    }

    /// A request was answered in this time, well or badly.
    pub fn measured(&self, took: Duration, failed: bool) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let sample_ns = if failed { took_ns.max(FAILURE_NS) } else { took_ns.max(1) };
        let mut latency = self.latency.lock();
        let since_ns = u64::try_from(latency.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
        *latency = (moving_average(latency.0, sample_ns, since_ns), Instant::now());
    }

    pub fn answered(&self) {
        self.health.lock().answered();
    }

    pub fn failed(&self, rules: &PassiveChecks, may_go_out: bool) {
        let out_for_ms = self.health.lock().failed(rules, may_go_out, now_ms());
        if out_for_ms.is_some() {
            self.ejections.inc();
            self.is_up();
        }
    }

    pub fn probed(&self, rules: &ActiveChecks, good: bool) {
        let result = if good { "good" } else { "failed" };
        self.probes.with_label_values(&[self.upstream.as_str(), &self.name, result]).inc();
        if self.health.lock().probed(rules, good, now_ms()).is_some() {
            self.is_up();
        }
    }
}

impl InUse {
    /// Keeps these as long as the request is at the server.
    pub fn hold(&mut self, place: Option<Permit>, conduit: Option<Conduit>) {
        (self.place, self.conduit) = (place, conduit);
    }

    /// Keeps its part of a connection that others use too.
    pub fn share(&mut self, conduit: Conduit) {
        self.conduit = Some(conduit);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // Last, so that whoever waits finds room at the server.
        let (_place, _conduit) = (self.place.take(), self.conduit.take());
        self.server.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.server.in_flight_gauge.dec();
    }
}

/// All servers that a configuration in use knows, by upstream and name, the pools of upstreams, the keys that are
/// fetched, by URL, and what was found of answers that are compared, by route.
#[derive(Default)]
pub struct Servers {
    servers: Mutex<BTreeMap<(String, String), Weak<Server>>>,
    pools: Mutex<BTreeMap<String, Weak<Pool>>>,
    key_sets: Mutex<BTreeMap<String, Weak<KeySet>>>,
    reports: Mutex<BTreeMap<String, Weak<Report>>>,
}

impl Servers {
    pub fn named(&self, upstream: &str, name: &str, metrics: &Metrics) -> Arc<Server> {
        self.known(upstream, name, true, metrics)
    }

    /// One that a request has named.
    pub fn unlisted(&self, upstream: &str, name: &str, metrics: &Metrics) -> Arc<Server> {
        self.known(upstream, name, false, metrics)
    }

    fn known(&self, upstream: &str, name: &str, listed: bool, metrics: &Metrics) -> Arc<Server> {
        let mut all = self.servers.lock();
        all.retain(|_, server| server.strong_count() > 0);
        let key = (upstream.to_owned(), name.to_owned());
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let server = Arc::new(Server::new(upstream, name, listed, metrics));
        all.insert(key, Arc::downgrade(&server));
        server
    }

    /// The keys at this URL.
    pub fn key_set(&self, url: &str, metrics: &Metrics) -> Arc<KeySet> {
        let mut all = self.key_sets.lock();
        all.retain(|_, set| set.strong_count() > 0);
        if let Some(known) = all.get(url).and_then(Weak::upgrade) {
            return known;
        }
        let set = Arc::new(KeySet::new(url, metrics.key_fetches.clone()));
        all.insert(url.to_owned(), Arc::downgrade(&set));
        set
    }

    /// What was found of answers to this route's copies.
    pub fn report(&self, route: &str, metrics: &Metrics) -> Arc<Report> {
        let mut all = self.reports.lock();
        all.retain(|_, report| report.strong_count() > 0);
        if let Some(known) = all.get(route).and_then(Weak::upgrade) {
            return known;
        }
        let report = Arc::new(Report::new(route, metrics));
        all.insert(route.to_owned(), Arc::downgrade(&report));
        report
    }

    /// The connections of this upstream.
    pub fn pool(&self, upstream: &str, metrics: &Metrics) -> Arc<Pool> {
        let mut all = self.pools.lock();
        all.retain(|_, pool| pool.strong_count() > 0);
        if let Some(known) = all.get(upstream).and_then(Weak::upgrade) {
            return known;
        }
        let pool = Arc::new(Pool::new(upstream, metrics));
        all.insert(upstream.to_owned(), Arc::downgrade(&pool));
        pool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_server_go_with_it() {
        let (servers, metrics) = (Servers::default(), Metrics::new());
        let told = |name: &str| {
            let text = String::from_utf8(metrics.render()).unwrap();
            text.lines().filter(|line| line.contains(&format!("server=\"{name}\""))).count()
        };
        let first = servers.named("u", "127.0.0.1:1", &metrics);
        let (second, request) = (servers.named("u", "127.0.0.1:2", &metrics), first.enter());
        let active = ActiveChecks::default();
        second.probed(&active, true);
        second.probed(&active, false);
        assert_eq!((told("127.0.0.1:1"), told("127.0.0.1:2")), (3, 5));
        drop((first, second));
        assert_eq!((told("127.0.0.1:1"), told("127.0.0.1:2")), (3, 0), "one has a request");
        let known = servers.named("u", "127.0.0.1:1", &metrics);
        drop(request);
        assert_eq!(told("127.0.0.1:1"), 3, "it was taken in again");
        drop(known);
        assert_eq!(told("127.0.0.1:1"), 0);
        drop(servers.unlisted("u", "127.0.0.1:3", &metrics));
        assert_eq!(told(BY_REQUEST), 2, "there is always the next");
    }
}
