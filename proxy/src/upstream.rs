//! Which server a request goes to, and when it may be tried again.
//!
//! Its stops: [`naming`] says who is asked, where requests do → [`pool`] has a connection to give → [`health`] and [`server`] say which servers are fit →
//! [`balance`] chooses among them → [`transport`] says how it is reached → [`retry`] says whether another
//! is tried. [`patience`] says how long. [`probe`] asks servers how they are, [`resolve`] where they are.

pub mod aim;
pub mod announce;
pub mod attempts;
pub mod balance;
pub mod bounds;
pub mod connector;
pub mod delimited;
pub mod fault;
pub mod health;
pub mod idle;
pub mod lines;
pub mod naming;
pub mod patience;
pub mod pool;
pub mod probe;
pub mod resolve;
pub mod retry;
mod seat;
pub mod server;
pub mod sips;
pub mod transport;
pub mod turn;
mod unverified;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use pingora::protocols::tls::SslDigest;
use prometheus::{Histogram, IntCounter, IntCounterVec};
use proxy_config::address::ServerAddress;
use proxy_config::template::Scope;
use proxy_config::upstream::{Balance, UpstreamTimeouts};
use proxy_config::upstream_health::Retries;
use thiserror::Error;

use crate::fastcgi::Gateway;
use crate::handed_out::named::Folders;
use crate::metrics::Metrics;
use crate::rate_limit::key::{Asking, cookie};
use crate::upstream::aim::Aim;
use crate::upstream::attempts::{Attempts, Wish};
use crate::upstream::balance::{Candidate, Rule};
use crate::upstream::bounds::AT_ONCE;
use crate::upstream::connector::Carries;
use crate::upstream::fault::label;
use crate::upstream::naming::Directory;
use crate::upstream::pool::{Pool, keeps};
use crate::upstream::probe::Watch;
use crate::upstream::resolve::Name;
use crate::upstream::retry::{Budget, Failed};
use crate::upstream::seat::{Seat, fresh, traced};
use crate::upstream::server::Servers;
use crate::upstream::transport::{FileFault, Transport};
use crate::upstream::turn::Turn;

/// An upstream whose servers cannot be reached as it says.
#[derive(Debug, Error)]
pub enum ServerFault {
    /// Its name has no address, or its path cannot be one.
    #[error("upstreams.{upstream}: the server `{server}` cannot be used: {why}")]
    Server { upstream: String, server: String, why: String },
    #[error("upstreams.{upstream}.tls: {fault}")]
    File { upstream: String, fault: FileFault },
}

/// The servers of one upstream, their timeouts and whose turn it is.
pub struct Upstream {
    pub name: String,
    /// Its `X-Accel-Redirect` is obeyed.
    pub x_accel: bool,
    /// Where its `X-Sendfile` is heard.
    pub folders: Option<Arc<Folders>>,
    /// Where requests name the servers.
    pub directory: Option<Arc<Directory>>,
    /// Where FastCGI is spoken.
    pub gateway: Option<Arc<Gateway>>,
    config: Arc<proxy_config::Upstream>,
    transport: Arc<Transport>,
    pool: Arc<Pool>,
    seats: Vec<Seat>,
    turn: Mutex<Vec<i64>>,
    budget: Mutex<Budget>,
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
        scope: &Scope<'_>,
        servers: &Servers,
        metrics: &Metrics,
    ) -> Result<Self, ServerFault> {
        let transport = Transport::new(name, config)
            .map_err(|fault| ServerFault::File { upstream: name.to_owned(), fault })?;
        let seats = config
            .servers
            .iter()
            .map(|server| {
                let fault = |why| ServerFault::Server {
                    upstream: name.to_owned(),
                    server: server.address.to_string(),
                    why,
                };
                let renewed = match (&server.address, &config.resolve) {
                    (ServerAddress::Name { host, port }, Some(resolve)) => {
                        Some(Name::new(name, (host, *port), resolve, metrics).map_err(fault)?)
                    }
                    _ => None,
                };
                let at = renewed.as_ref().map(Name::first);
                let peer = transport.peer(&server.address, at).map_err(fault)?;
                let slow_start = server.slow_start.map(proxy_config::units::Duration::as_millis);
                let known = servers.named(name, &server.address.to_string(), metrics);
                let host = match &server.address {
                    ServerAddress::Unix(_) => "localhost".to_owned(),
                    address => address.to_string(),
                };
                Ok(Seat {
                    aim: traced(peer, &known),
                    name: renewed,
                    host,
                    server: known,
                    weight: server.weight,
                    backup: server.backup,
                    connections_max: server.connections_max.unwrap_or(u32::MAX),
                    attempts_max: usize::try_from(server.attempts_max).unwrap_or(usize::MAX),
                    slow_start_ms: slow_start.unwrap_or(0),
                })
            })
            .collect::<Result<Vec<_>, ServerFault>>()?;
        let directory = config.by_request.as_ref();
        let directory = directory.map(|rules| Directory::new(name, rules, config, metrics));
        Ok(Self {
            name: name.to_owned(),
            x_accel: config.x_accel,
            folders: Folders::of(config),
            directory: directory.map(Arc::new),
            gateway: config
                .fastcgi
                .as_ref()
                .map(|fastcgi| Arc::new(Gateway::new(fastcgi, &config.timeouts, scope))),
            turn: Mutex::new(vec![0; seats.len()]),
            seats,
            budget: Mutex::new(budget(config)),
            config: Arc::new(config.clone()),
            transport: Arc::new(transport),
            pool: servers.pool(name, metrics),
            first_byte_seconds: metrics.upstream_first_byte_seconds.with_label_values(&[name]),
            connects_fresh: metrics.upstream_connects.with_label_values(&[name, "false"]),
            connects_reused: metrics.upstream_connects.with_label_values(&[name, "true"]),
            failures: metrics.upstream_failures.clone(),
            retries: metrics.upstream_retries.clone(),
        })
    }

    /// The same with a server that a request has named: `server` is asked at these addresses, at each as often as
    /// `usize` says.
    ///
    /// Errors: it cannot be reached in the way of this upstream.
    pub fn at(
        &self,
        server: &ServerAddress,
        (host, addresses): (String, &[(Option<SocketAddr>, usize)]),
        (servers, metrics): (&Servers, &Metrics),
    ) -> Result<Upstream, String> {
        let seats = addresses.iter().map(|(address, attempts_max)| {
            let name = address.map_or_else(|| server.to_string(), |address| address.to_string());
            let known = servers.unlisted(&self.name, &name, metrics);
            Ok(Seat {
                aim: traced(self.transport.peer(server, *address)?, &known),
                name: None,
                host: host.clone(),
                server: known,
                weight: 1,
                backup: false,
                connections_max: u32::MAX,
                attempts_max: *attempts_max,
                slow_start_ms: 0,
            })
        });
        let seats = seats.collect::<Result<Vec<_>, String>>()?;
        Ok(Upstream {
            name: self.name.clone(),
            x_accel: self.x_accel,
            folders: self.folders.clone(),
            directory: None,
            gateway: self.gateway.clone(),
            config: Arc::clone(&self.config),
            transport: Arc::clone(&self.transport),
            pool: Arc::clone(&self.pool),
            turn: Mutex::new(vec![0; seats.len()]),
            seats,
            budget: Mutex::new(budget(&self.config)),
            first_byte_seconds: self.first_byte_seconds.clone(),
            connects_fresh: self.connects_fresh.clone(),
            connects_reused: self.connects_reused.clone(),
            failures: self.failures.clone(),
            retries: self.retries.clone(),
        })
    }

    /// What of this request has a say in the choice.
    pub fn wish(&self, asking: &Asking<'_>) -> Wish {
        let hash = (self.config.balance == Balance::ConsistentHash).then(|| {
            let key = asking.key(&self.config.hash_key, None);
            key.iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
        });
        let sticky = self.config.sticky.as_ref();
        let sticky = sticky.and_then(|sticky| given(&asking.head.headers, &sticky.cookie));
        let address = asking.client.filter(|_| self.config.balance == Balance::ClientAddress);
        Wish { hash, sticky, address, client: None }
    }

    /// The server for the next attempt; nothing when none is left that is fit and has room.
    pub fn next(&self, attempts: &mut Attempts) -> Option<Turn> {
        attempts.made += 1;
        if attempts.made == 1 {
            self.budget.lock().pay_in();
            attempts.begun = Some(Instant::now());
        }
        if let (Some(server), true) = (attempts.server, attempts.repeat_fresh) {
            attempts.repeat_fresh = false;
            let seat = &self.seats[server];
            let aim = Aim::of(fresh(seat.aim().peer()));
            let aim = self.transport.announced(aim, attempts.wish.client);
            return Some(Turn { aim, in_use: seat.server.enter() });
        }
        // Held until the place is taken, so that no server is given more than it may have.
        let mut credit = self.turn.lock();
        let candidates = self.candidates(&attempts.failed);
        let sticky = attempts.wish.sticky;
        let stays = candidates.iter().find(|candidate| Some(candidate.id) == sticky);
        let rule = match (self.config.balance, attempts.wish.hash) {
            (Balance::RoundRobin, _) => Rule::InTurn(&mut credit),
            (Balance::LeastConnections, _) => Rule::LeastConnections(&mut credit),
            (Balance::ConsistentHash, hash) => Rule::Hash(hash.unwrap_or(0)),
            (Balance::P2cEwma, _) => Rule::TwoRandom(fastrand::u64(..)),
            (Balance::ClientAddress, _) => {
                let seats = self.seats.iter().filter(|seat| !seat.backup);
                let weights = seats.map(|seat| seat.weight).collect();
                Rule::ClientAddress(attempts.wish.address, weights, &mut credit)
            }
        };
        let chosen = match stays {
            Some(candidate) => candidate.index,
            None => balance::choose(&candidates, rule)?,
        };
        attempts.server = Some(chosen);
        let seat = &self.seats[chosen];
        attempts.tried.ask(Arc::clone(&seat.server.name));
        let mut aim = self.transport.announced(seat.aim(), attempts.wish.client);
        if !self.keeps(seat) {
            aim = aim.but(|peer| peer.options.idle_timeout = Some(AT_ONCE));
        }
        Some(Turn { aim, in_use: seat.server.enter() })
    }

    /// Whether a connection to this server is kept when its request is done. Those of HTTP/2 are
    /// few and carry many requests.
    fn keeps(&self, seat: &Seat) -> bool {
        let Some(limits) = self.config.connections.as_ref().filter(|_| !self.transport.is_http2())
        else {
            return true;
        };
        let connections = self.seats.iter().map(|seat| seat.server.connections()).sum();
        keeps(seat.server.unused(), connections, limits.idle_max)
    }

    /// Servers that are fit, have room, and have not failed this request; backups only where no
    /// other is.
    fn candidates(&self, failed: &[usize]) -> Vec<Candidate> {
        let of = |backup: bool| -> Vec<Candidate> {
            let seats = self.seats.iter().enumerate();
            let fit = seats.filter(|(index, seat)| {
                seat.backup == backup
                    && seat.weight > 0
                    && failed.iter().filter(|at| *at == index).count() < seat.attempts_max
                    && seat.server.is_up()
                    && seat.server.in_flight() < seat.connections_max
            });
            fit.map(|(index, seat)| Candidate {
                index,
                id: seat.server.id,
                weight: u64::from(seat.weight) * seat.server.share(seat.slow_start_ms),
                in_flight: seat.server.in_flight(),
                latency_ns: seat.server.latency_ns(),
            })
            .collect()
        };
        match of(false) {
            none if none.is_empty() => of(true),
            some => some,
        }
    }

    /// Whether the request is to be tried again after this failure: on another server, or, when a
    /// pooled connection was found closed, on a fresh one. `repeatable`: it does no harm twice, and
    /// all of it is at hand.
    pub fn again(&self, attempts: &mut Attempts, failed: Failed, repeatable: bool) -> bool {
        let again = if failed.is_the_connections() {
            repeatable && attempts.after_stale_connection()
        } else {
            attempts.failed.extend(attempts.server);
            let rules = self.config.retries.as_ref();
            let within = rules.and_then(|rules| rules.within);
            let late = within.is_some_and(|within| {
                attempts.begun.is_some_and(|begun| begun.elapsed() >= within.as_std())
            });
            !late
                && retry::allows(rules, failed, repeatable, attempts.failed.len())
                && !self.candidates(&attempts.failed).is_empty()
                && (rules.is_none() || self.budget.lock().take())
        };
        if again {
            self.retries.with_label_values(&[self.name.as_str(), failed.reason()]).inc();
        }
        again
    }

    /// Whether the upstream declares that these requests do no harm twice, whatever their method.
    pub fn declares_repeatable(&self, headers: &HeaderMap) -> bool {
        if self.config.retries.as_ref().is_some_and(|retries| retries.any_method) {
            return true;
        }
        let header = self.config.retries.as_ref().and_then(|r| r.idempotency_header.as_ref());
        // An empty one names no key, and nothing that a server could know a repetition by.
        let has_key = |value: &HeaderValue| !value.as_bytes().trim_ascii().is_empty();
        header.is_some_and(|header| headers.get_all(header.as_str()).iter().any(has_key))
    }

    /// How an answer of this status counts among failures, where another server may be asked in its place.
    pub fn failed_by(&self, status: u16) -> Option<Failed> {
        let named = |retries: &Retries| retries.statuses.contains(&status);
        match self.config.retries.as_ref().is_some_and(named) {
            true => Some(Failed::Status),
            false => (502..=504).contains(&status).then_some(Failed::Gateway),
        }
    }

    /// The server of the current attempt, as written in the document.
    pub fn server_name(&self, attempts: &Attempts) -> Option<&str> {
        attempts.server.map(|server| &*self.seats[server].server.name)
    }

    /// Whether its answers go on as they came, as far as it has a say.
    pub fn leaves_heads_alone(&self) -> bool {
        !self.x_accel && self.folders.is_none() && self.config.sticky.is_none()
    }

    /// The value of `Set-Cookie` for a client that is to come back to this server; nothing when it
    /// knows already.
    pub fn sticky_cookie(&self, attempts: &Attempts, tls: bool) -> Option<String> {
        let sticky = self.config.sticky.as_ref()?;
        let server = &self.seats[attempts.server?].server;
        if attempts.wish.sticky == Some(server.id) {
            return None;
        }
        let lifetime = sticky.lifetime.map(|time| format!("; Max-Age={}", time.as_std().as_secs()));
        let secure = if tls { "; Secure" } else { "" };
        Some(format!(
            "{}={:016x}; Path=/; HttpOnly; SameSite=Lax{secure}{}",
            sticky.cookie,
            server.id,
            lifetime.unwrap_or_default()
        ))
    }

    /// What stands for the server of the current attempt in a Host that the client did not send.
    pub fn host(&self, attempts: &Attempts) -> &str {
        attempts.server.map_or("localhost", |server| &self.seats[server].host)
    }

    /// A connection is put to use; says whether this is the last request it may carry.
    pub fn connected(&self, reused: bool, connection: Option<Carries>) -> bool {
        if reused {
            self.connects_reused.inc();
        } else {
            self.connects_fresh.inc();
        }
        let limits = self.config.connections.as_ref();
        match (limits.and_then(|limits| limits.requests_max), connection) {
            (Some(max), Some(Carries::Requests(count))) => count >= max,
            (Some(max), Some(Carries::Known(connection))) => {
                self.pool.is_last(connection, reused, max)
            }
            _ => false,
        }
    }

    /// Whether the connection is one this upstream allows.
    pub fn accepts(&self, tls: Option<&SslDigest>) -> bool {
        self.transport.accepts(tls)
    }

    pub fn timeouts(&self) -> &UpstreamTimeouts {
        &self.config.timeouts
    }

    /// It speaks HTTP/1 and is told nothing but requests.
    pub fn is_plain(&self) -> bool {
        self.gateway.is_none() && self.folders.is_none() && self.transport.is_plain()
    }

    /// How its servers are reached.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The head of an answer came after this time.
    pub fn answered(&self, attempts: &mut Attempts, status: u16, took: Duration) {
        attempts.tried.said(status);
        let Some(seat) = attempts.server.map(|server| &self.seats[server]) else { return };
        let passive = self.config.health_checks.as_ref().and_then(|checks| checks.passive.as_ref());
        match passive {
            Some(rules) if rules.statuses.contains(&status) => {
                seat.server.measured(took, true);
                seat.server.failed(rules, self.one_more_may_go_out(rules.out_max));
            }
            _ => {
                seat.server.measured(took, false);
                seat.server.answered();
            }
        }
    }

    /// An attempt failed; `kind` is one of `upstream::fault::failure_kind`. A pooled connection that was
    /// closed already says nothing about the server.
    pub fn failed(&self, attempts: &mut Attempts, kind: &str, stale: bool) {
        if !stale {
            let server = self.server_name(attempts).unwrap_or_default().to_owned();
            attempts.failures.push((server, kind.to_owned()));
            attempts.tried.said(if kind.ends_with("timeout") { 504 } else { 502 });
        }
        self.failures.with_label_values(&[self.name.as_str(), label(kind)]).inc();
        let seat = attempts.server.map(|server| &self.seats[server]);
        let Some(seat) = seat.filter(|_| !stale) else { return };
        seat.server.measured(Duration::ZERO, true);
        let checks = self.config.health_checks.as_ref();
        if let Some(rules) = checks.and_then(|checks| checks.passive.as_ref()) {
            seat.server.failed(rules, self.one_more_may_go_out(rules.out_max));
        }
    }

    fn one_more_may_go_out(&self, out_max: proxy_config::units::Percent) -> bool {
        let out = self.seats.iter().filter(|seat| !seat.server.is_up()).count();
        (out + 1) * 10_000 <= self.seats.len() * usize::from(out_max.hundredths())
    }

    /// Names that are looked up again.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.seats.iter().filter_map(|seat| seat.name.clone())
    }

    /// What is to be probed.
    pub fn watches(&self) -> impl Iterator<Item = Watch> {
        let checks = self.config.health_checks.as_ref().and_then(|checks| checks.active.as_ref());
        checks.into_iter().flat_map(|checks| {
            self.seats.iter().map(|seat| {
                let aim = seat.aim.but(|peer| peer.options.tracer = None);
                let peer = *self.transport.announced(aim, None).into_peer();
                let (server, host) = (Arc::clone(&seat.server), seat.host.clone());
                let transport = Arc::clone(&self.transport);
                let addresses = seat.name.as_ref().map(|name| Arc::clone(&name.addresses));
                Watch { server, host, peer, addresses, transport, checks: checks.clone() }
            })
        })
    }
}

fn budget(config: &proxy_config::Upstream) -> Budget {
    Budget::new(config.retries.as_ref().map_or(0, |retries| retries.budget.hundredths()))
}

/// The server named by a sticky cookie.
fn given(headers: &HeaderMap, name: &str) -> Option<u64> {
    let value = std::str::from_utf8(cookie(headers, name)?).ok()?;
    u64::from_str_radix(value, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(servers: u16, change: impl FnOnce(&mut proxy_config::Upstream)) -> Upstream {
        let addresses = (1..=servers).map(|port| format!("127.0.0.1:{port}").parse().unwrap());
        let mut config = proxy_config::Upstream::of(addresses);
        change(&mut config);
        Upstream::new("u", &config, &Scope::default(), &Servers::default(), &Metrics::new())
            .unwrap()
    }

    #[test]
    fn attempts_are_bounded() {
        let upstream = upstream(5, |_| {});
        let mut attempts = Attempts::default();
        let mut tried = Vec::new();
        loop {
            upstream.next(&mut attempts).unwrap();
            tried.push(upstream.server_name(&attempts).unwrap().to_owned());
            if !upstream.again(&mut attempts, Failed::Connect, false) {
                break;
            }
        }
        assert_eq!(tried, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        assert!(upstream.again(&mut attempts, Failed::Stale, true));
        assert!(!upstream.again(&mut attempts, Failed::Stale, true));
    }

    #[test]
    fn backups_wait_and_a_full_server_gets_no_more() {
        let upstream = upstream(3, |config| {
            config.servers[0].connections_max = Some(1);
            config.servers[1].connections_max = Some(3);
            config.servers[2].backup = true;
        });
        let server = |attempts: &mut Attempts| {
            let turn = upstream.next(attempts);
            (turn, upstream.server_name(attempts).map(str::to_owned))
        };
        let mut all = [(); 4].map(|()| server(&mut Attempts::default()));
        let names: Vec<_> = all.iter().filter_map(|(_, name)| name.as_deref()).collect();
        assert_eq!(names, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:2", "127.0.0.1:2"]);
        all[0].0 = None;
        assert_eq!(
            server(&mut Attempts::default()).1.as_deref(),
            Some("127.0.0.1:1"),
            "it has room"
        );
        let mut attempts = Attempts { failed: vec![0, 1], ..Attempts::default() };
        assert_eq!(server(&mut attempts).1.as_deref(), Some("127.0.0.1:3"), "the backup");
    }

    #[test]
    fn at_most_a_part_of_the_servers_goes_out() {
        let upstream = upstream(4, |config| {
            let passive = proxy_config::upstream_health::PassiveChecks {
                failures_max: 1,
                ..Default::default()
            };
            let checks = proxy_config::upstream_health::HealthChecks {
                passive: Some(passive),
                active: None,
            };
            config.health_checks = Some(checks);
        });
        for server in 0..4 {
            let mut attempts = Attempts { server: Some(server), ..Attempts::default() };
            upstream.failed(&mut attempts, "connect", false);
        }
        let up: Vec<_> = upstream.seats.iter().map(|seat| seat.server.is_up()).collect();
        assert_eq!(up, [false, false, true, true]);
        let mut attempts = Attempts::default();
        upstream.next(&mut attempts).unwrap();
        assert_eq!(upstream.server_name(&attempts), Some("127.0.0.1:3"));
    }

    #[test]
    fn a_fresh_peer_shares_no_pool() {
        use pingora::upstreams::peer::Peer;
        let peer = upstream(1, |_| {}).seats[0].aim.peer().clone();
        let hashes = [peer.reuse_hash(), fresh(&peer).reuse_hash(), fresh(&peer).reuse_hash()];
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
    }
}
