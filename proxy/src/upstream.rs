//! Which server a request goes to, and when it may be tried again.
//!
//! Retry rules: a server that could not be connected to has seen nothing, so another server is
//! tried, whatever the method. A pooled connection that the server had closed already is replaced by
//! a fresh one to the same server, once, and only for idempotent methods (RFC 9110 section 9.2.2)
//! whose body is still at hand. Everything else is the client's to decide.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use prometheus::{Histogram, IntCounter, IntCounterVec};
use proxy_config::address::ServerAddress;
use thiserror::Error;

use crate::metrics::Metrics;

/// Servers one request may fail to connect to, the first included.
const CONNECTS_MAX: usize = 3;
/// Pooled connections one request may find closed.
const STALE_MAX: usize = 1;
/// Upper bound pingora puts on attempts of one request (its default is 16).
pub const ATTEMPTS_MAX: usize = CONNECTS_MAX + STALE_MAX;
/// Idle connections kept to all servers of a listener together.
pub const POOL_CONNECTIONS_MAX: usize = 1024;

/// A server's name has no address.
#[derive(Debug, Error)]
#[error("upstreams.{upstream}: the server `{server}` cannot be used: {why}")]
pub struct ServerFault {
    pub upstream: String,
    pub server: String,
    pub why: String,
}

struct Server {
    name: String,
    weight: u32,
    peer: HttpPeer,
}

/// The servers of one upstream, their timeouts and whose turn it is.
pub struct Upstream {
    pub name: String,
    servers: Vec<Server>,
    turn: Mutex<Vec<i64>>,
    pub first_byte_seconds: Histogram,
    connects_fresh: IntCounter,
    connects_reused: IntCounter,
    failures: IntCounterVec,
    retries: IntCounterVec,
}

impl Upstream {
    /// Looks names of servers up, once per load. Blocks.
    pub fn new(
        name: &str,
        config: &proxy_config::Upstream,
        metrics: &Metrics,
    ) -> Result<Self, ServerFault> {
        let servers = config
            .servers
            .iter()
            .map(|server| {
                let address = resolve(name, &server.address)?;
                Ok(Server {
                    name: server.address.to_string(),
                    weight: server.weight,
                    peer: peer(address, &config.timeouts),
                })
            })
            .collect::<Result<Vec<_>, ServerFault>>()?;
        Ok(Self {
            name: name.to_owned(),
            turn: Mutex::new(vec![0; servers.len()]),
            servers,
            first_byte_seconds: metrics.upstream_first_byte_seconds.with_label_values(&[name]),
            connects_fresh: metrics.upstream_connects.with_label_values(&[name, "false"]),
            connects_reused: metrics.upstream_connects.with_label_values(&[name, "true"]),
            failures: metrics.upstream_failures.clone(),
            retries: metrics.upstream_retries.clone(),
        })
    }

    /// The peer for the next attempt, or nothing when no server is left to try.
    pub fn next_peer(&self, attempts: &mut Attempts) -> Option<HttpPeer> {
        attempts.made += 1;
        if let (Some(server), true) = (attempts.server, attempts.repeat_fresh) {
            attempts.repeat_fresh = false;
            return Some(fresh(&self.servers[server].peer));
        }
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let weights = self.servers.iter().map(|server| server.weight);
        let chosen = next_turn(weights, &mut turn, &attempts.failed)?;
        drop(turn);
        attempts.server = Some(chosen);
        Some(self.servers[chosen].peer.clone())
    }

    /// Whether another server is to be tried now that the current one could not be connected to.
    pub fn try_another(&self, attempts: &mut Attempts) -> bool {
        attempts.failed.extend(attempts.server);
        let is_left =
            |(at, server): (usize, &Server)| server.weight > 0 && !attempts.failed.contains(&at);
        attempts.failed.len() < CONNECTS_MAX && self.servers.iter().enumerate().any(is_left)
    }

    /// The server of the current attempt, as written in the document.
    pub fn server_name(&self, attempts: &Attempts) -> Option<&str> {
        attempts.server.map(|server| self.servers[server].name.as_str())
    }

    pub fn connected(&self, reused: bool) {
        if reused { self.connects_reused.inc() } else { self.connects_fresh.inc() }
    }

    /// `kind` is one of `respond::failure_kind`.
    pub fn count_failure(&self, kind: &str) {
        self.failures.with_label_values(&[self.name.as_str(), kind]).inc();
    }

    pub fn count_retry(&self, reason: &str) {
        self.retries.with_label_values(&[self.name.as_str(), reason]).inc();
    }
}

/// What one request has tried so far.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// Index of the server of the current attempt.
    server: Option<usize>,
    failed: Vec<usize>,
    made: u32,
    stale: usize,
    repeat_fresh: bool,
}

impl Attempts {
    /// Attempts beyond the first.
    pub fn retries(&self) -> u32 {
        self.made.saturating_sub(1)
    }

    /// Whether the same server may be tried again after a pooled connection turned out closed.
    pub fn after_stale_connection(&mut self) -> bool {
        self.stale += 1;
        self.repeat_fresh = self.stale <= STALE_MAX;
        self.repeat_fresh
    }
}

/// Smooth weighted round robin: each server's credit grows by its weight, the largest credit is
/// served and pays the sum of all. Spreads evenly, and exactly by weight over each full cycle.
/// `failed` takes no part. Weight 0 takes nothing.
fn next_turn(
    weights: impl Iterator<Item = u32>,
    credit: &mut [i64],
    failed: &[usize],
) -> Option<usize> {
    let mut chosen: Option<usize> = None;
    let mut sum = 0;
    for (at, weight) in weights.enumerate() {
        if weight == 0 || failed.contains(&at) {
            continue;
        }
        credit[at] += i64::from(weight);
        sum += i64::from(weight);
        if chosen.is_none_or(|best| credit[at] > credit[best]) {
            chosen = Some(at);
        }
    }
    credit[chosen?] -= sum;
    chosen
}

fn resolve(upstream: &str, server: &ServerAddress) -> Result<SocketAddr, ServerFault> {
    let fault = |why: String| ServerFault {
        upstream: upstream.to_owned(),
        server: server.to_string(),
        why,
    };
    match server {
        ServerAddress::Socket(address) => Ok(*address),
        ServerAddress::Name { host, port } => (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(|error| fault(format!("its name was not found: {error}")))?
            .next()
            .ok_or_else(|| fault("its name has no address".to_owned())),
        ServerAddress::Unix(_) => Err(fault("Unix sockets are not supported yet".to_owned())),
    }
}

fn peer(address: SocketAddr, timeouts: &proxy_config::upstream::UpstreamTimeouts) -> HttpPeer {
    let mut peer = HttpPeer::new(address, false, String::new());
    peer.options.connection_timeout = Some(timeouts.connect.as_std());
    peer.options.total_connection_timeout = Some(timeouts.connect.as_std());
    peer.options.read_timeout = Some(timeouts.read.as_std());
    peer.options.write_timeout = Some(timeouts.write.as_std());
    peer.options.idle_timeout = Some(timeouts.idle.as_std());
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    peer
}

/// The same server on a connection that cannot come from the pool: pingora has no switch for it,
/// but connections are only shared within a group, and this group has one member.
fn fresh(peer: &HttpPeer) -> HttpPeer {
    static GROUP: AtomicU64 = AtomicU64::new(1);
    let mut peer = peer.clone();
    peer.group_key = GROUP.fetch_add(1, Ordering::Relaxed);
    peer.options.idle_timeout = Some(Duration::from_millis(1));
    peer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], count: usize) -> Vec<usize> {
        let mut credit = vec![0; weights.len()];
        (0..count).filter_map(|_| next_turn(weights.iter().copied(), &mut credit, &[])).collect()
    }

    #[test]
    fn turns_follow_weights_exactly_and_evenly() {
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[1, 1], 4), [0, 1, 0, 1]);
        assert_eq!(turns(&[0, 3], 3), [1, 1, 1]);
        assert!(turns(&[0, 0], 1).is_empty() && turns(&[], 1).is_empty());
        let many = turns(&[7, 2, 1], 1000);
        let count = |server| many.iter().filter(|at| **at == server).count();
        assert_eq!((count(0), count(1), count(2)), (700, 200, 100));
    }

    #[test]
    fn failed_servers_are_left_out() {
        let mut credit = vec![0; 3];
        assert_eq!(next_turn([9, 1, 1].into_iter(), &mut credit, &[0]), Some(1));
        assert_eq!(next_turn([9, 1, 1].into_iter(), &mut credit, &[0, 1, 2]), None);
    }

    #[test]
    fn attempts_are_bounded() {
        let addresses = (1..=5).map(|port| format!("127.0.0.1:{port}").parse().unwrap());
        let config = proxy_config::Upstream::of(addresses);
        let upstream = Upstream::new("u", &config, &Metrics::new()).unwrap();
        let mut attempts = Attempts::default();
        let mut tried = Vec::new();
        loop {
            upstream.next_peer(&mut attempts).unwrap();
            tried.push(upstream.server_name(&attempts).unwrap().to_owned());
            if !upstream.try_another(&mut attempts) {
                break;
            }
        }
        assert_eq!(tried, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        assert!(attempts.after_stale_connection());
        assert!(!attempts.after_stale_connection());
    }

    #[test]
    fn a_fresh_peer_shares_no_pool() {
        use pingora::upstreams::peer::Peer;
        let address = "127.0.0.1:1".parse().unwrap();
        let peer = peer(address, &proxy_config::upstream::UpstreamTimeouts::default());
        let hashes = [peer.reuse_hash(), fresh(&peer).reuse_hash(), fresh(&peer).reuse_hash()];
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    }
}
