//! Servers that requests name (`by_request`): which of them may be asked, where they are, and the upstream that is made
//! of each. As many are remembered as the document says; names are looked up by one question at a time each.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::HOST;
use lru::LruCache;
use parking_lot::Mutex;
use pingora::proxy::Session;
use prometheus::{IntCounterVec, IntGauge};
use proxy_config::address::ServerAddress;
use proxy_config::by_request::{ByRequest, Decision, Host, HostAsked, Named, Place};
use proxy_config::upstream::Resolve;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::dns::stub::Stub;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::operator_log::Moderation;
use crate::state::State;
use crate::upstream::Upstream;
use crate::upstream::resolve::ADDRESSES_MAX;
use crate::{rules, runtimes};

/// What a look-up found, and until when that may be used.
type Found = Result<(Vec<IpAddr>, Instant), String>;
/// Why a request is not let to what it names: the `reason` label.
const REASONS: [&str; 4] = ["malformed", "not_allowed", "address", "lookups"];

type Heard = watch::Receiver<Option<Found>>;

/// The servers that requests have named.
pub struct Directory {
    upstream: String,
    rules: ByRequest,
    resolve: Resolve,
    /// Upstreams of the document that have a name here, by their own.
    upstreams: OnceLock<BTreeMap<String, Arc<Upstream>>>,
    known: Mutex<LruCache<Place, Known>>,
    /// Names that are being looked up.
    looking: Mutex<HashMap<String, Heard>>,
    resolver: OnceLock<Result<Stub, String>>,
    /// Of names that are not found.
    moderation: Moderation,
    servers: IntGauge,
    lookups: IntCounterVec,
    refused: IntCounterVec,
}

struct Known {
    upstream: Arc<Upstream>,
    /// None: for as long as it is remembered.
    until: Option<Instant>,
}

impl Directory {
    pub fn new(
        upstream: &str,
        rules: &ByRequest,
        config: &proxy_config::Upstream,
        metrics: &Metrics,
    ) -> Directory {
        for reason in REASONS {
            metrics.traffic.naming_refused.with_label_values(&[upstream, reason]);
        }
        let servers_max = usize::try_from(rules.servers_max).unwrap_or(usize::MAX);
        let servers_max = NonZeroUsize::new(servers_max).unwrap_or(NonZeroUsize::MIN);
        Directory {
            upstream: upstream.to_owned(),
            rules: rules.clone(),
            resolve: config.resolve.clone().unwrap_or_default(),
            upstreams: OnceLock::new(),
            known: Mutex::new(LruCache::new(servers_max)),
            looking: Mutex::default(),
            resolver: OnceLock::new(),
            moderation: Moderation::default(),
            servers: metrics.traffic.named_servers.with_label_values(&[upstream]),
            lookups: metrics.traffic.lookups.clone(),
            refused: metrics.traffic.naming_refused.clone(),
        }
    }

    /// Makes the upstreams known that requests may name.
    pub fn introduce(&self, upstreams: &BTreeMap<&str, Arc<Upstream>>) {
        let all = self.rules.upstreams.values();
        let known =
            all.filter_map(|name| Some((name.clone(), upstreams.get(name.as_str())?.clone())));
        // Once per load, before any request.
        let _ = self.upstreams.set(known.collect());
    }

    fn refuse(&self, reason: &str, failure: Failure) -> Failure {
        self.refused.with_label_values(&[self.upstream.as_str(), reason]).inc();
        failure
    }

    /// The upstream for a server that was named.
    async fn upstream_of(
        self: &Arc<Self>,
        base: &Upstream,
        named: &Named,
        state: &State,
    ) -> Result<Arc<Upstream>, Failure> {
        let now = Instant::now();
        if let Some(known) = self.known.lock().get(&named.place)
            && known.until.is_none_or(|until| now < until)
        {
            return Ok(Arc::clone(&known.upstream));
        }
        let (server, addresses, until) = match &named.place {
            Place::Unix(path) => (ServerAddress::Unix(path.clone()), vec![(None, 1)], None),
            Place::Host { host: Host::Address(address), port } => {
                let address = SocketAddr::new(*address, *port);
                (ServerAddress::Socket(address), vec![(Some(address), 1)], None)
            }
            Place::Host { host: Host::Name(name), port } => {
                let (found, until) = self.look_up(name, state).await?;
                let allowed = found.iter().filter(|address| self.rules.allows_address(**address));
                let mut addresses: Vec<(Option<SocketAddr>, usize)> = Vec::new();
                for address in allowed.map(|address| SocketAddr::new(*address, *port)) {
                    match addresses.iter_mut().find(|(known, _)| *known == Some(address)) {
                        // An address that is told twice may be tried twice.
                        Some((_, attempts)) => *attempts += 1,
                        None => addresses.push((Some(address), 1)),
                    }
                }
                if addresses.is_empty() {
                    let why = "the server that is named is where none may be asked";
                    return Err(self.refuse("address", Failure::Forbidden(why)));
                }
                let server = ServerAddress::Name { host: name.clone(), port: *port };
                (server, addresses, Some(until))
            }
        };
        let host = named.host(base.transport().is_tls());
        let made = base.at(&server, (host, &addresses), (&state.standing.servers, &state.metrics));
        let made = Arc::new(made.map_err(|why| {
            tracing::debug!(why, "a server that was named cannot be asked");
            Failure::UpstreamUnreachable
        })?);
        let mut all = self.known.lock();
        all.put(named.place.clone(), Known { upstream: Arc::clone(&made), until });
        self.servers.set(i64::try_from(all.len()).unwrap_or(i64::MAX));
        Ok(made)
    }

    /// The addresses of a name, by a question of one's own or one that is under way.
    async fn look_up(
        self: &Arc<Self>,
        name: &str,
        state: &State,
    ) -> Result<(Vec<IpAddr>, Instant), Failure> {
        let mut heard = {
            let mut looking = self.looking.lock();
            match looking.get(name) {
                Some(heard) => heard.clone(),
                None => {
                    let max = usize::try_from(self.rules.lookups_max).unwrap_or(usize::MAX);
                    if looking.len() >= max {
                        let failure = match max {
                            0 => Failure::UpstreamUnreachable,
                            _ => Failure::NoServer,
                        };
                        return Err(self.refuse("lookups", failure));
                    }
                    let (tell, heard) = watch::channel(None);
                    looking.insert(name.to_owned(), heard.clone());
                    let (directory, name) = (Arc::clone(self), name.to_owned());
                    // It goes on when whoever asked first has left: others wait for it.
                    state.runtimes.of(runtimes::Place::Latency).spawn(async move {
                        let found = directory.ask(&name).await;
                        directory.looking.lock().remove(&name);
                        tell.send_replace(Some(found));
                    });
                    heard
                }
            }
        };
        let found = heard.wait_for(Option::is_some).await;
        let found = found.map_err(|_| Failure::Internal)?.clone();
        found.unwrap_or(Err(String::new())).map_err(|_| Failure::UpstreamUnreachable)
    }

    async fn ask(&self, name: &str) -> Found {
        let found = self.ask_in_time(name).await;
        let result = if found.is_ok() { "found" } else { "not_found" };
        self.lookups.with_label_values(&[self.upstream.as_str(), result]).inc();
        if let Err(why) = &found
            && self.moderation.may_tell()
        {
            let upstream = &self.upstream;
            tracing::warn!(upstream, name, why, "a server that was named was not found");
        }
        found
    }

    async fn ask_in_time(&self, name: &str) -> Found {
        let stub = self.resolver.get_or_init(|| Stub::new(&self.resolve.servers));
        let stub = stub.as_ref().map_err(Clone::clone)?;
        let found = timeout(self.rules.lookup_timeout.as_std(), stub.look_up(name)).await;
        let found = found.map_err(|_| "nobody answered in time".to_owned())?;
        let (mut addresses, ttl_s) = found.map_err(|fault| fault.to_string())?;
        addresses.truncate(ADDRESSES_MAX);
        let (min, max) = (self.resolve.interval_min.as_std(), self.resolve.interval_max.as_std());
        let lasts = Duration::from_secs(u64::from(ttl_s)).clamp(min, max);
        Ok((addresses, Instant::now() + lasts))
    }
}

/// Lets a request go to the server it names, where its upstream leaves that to it.
///
/// Errors: it names none, one that may not be asked, or one that is not found.
pub async fn direct(
    state: &State,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let Some(base) = exchange.upstream.clone() else { return Ok(()) };
    let Some(directory) = base.directory.clone() else { return Ok(()) };
    let text = exchange.ruled.texts.server.clone().unwrap_or_default();
    let tls = base.transport().is_tls();
    let (upstream, named) = match directory.rules.decide(&text, tls) {
        Decision::Malformed => {
            tracing::debug!(text, "a request names no server");
            return Err(directory.refuse("malformed", Failure::UpstreamUnreachable));
        }
        Decision::Refused => {
            let why = "the server that is named may not be asked";
            return Err(directory.refuse("not_allowed", Failure::Forbidden(why)));
        }
        Decision::Upstream(name, named) => {
            let known = directory.upstreams.get().and_then(|all| all.get(name)).cloned();
            (known.ok_or(Failure::Internal)?, named)
        }
        Decision::Server(named) => {
            let found = directory.upstream_of(&base, &named, state).await;
            if found.is_err() {
                // Who is told of the servers that were tried is told of this one, too.
                exchange.attempts.tried.ask(named.name().into());
                exchange.attempts.tried.said(502);
            }
            (found?, named)
        }
    };
    let edits = &mut exchange.ruled.to_upstream;
    let has_own = edits.set.iter().any(|(name, _)| *name == HOST);
    if directory.rules.host == HostAsked::Server && !has_own {
        let host = match directory.rules.upstreams.contains_key(&named.authority) {
            true => named.authority.clone(),
            false => named.host(tls),
        };
        let host = HeaderValue::from_str(&host).map_err(|_| Failure::Internal)?;
        edits.set.push((HOST, host));
    }
    if let Some(target) = named.target {
        rules::go_to(session, exchange, &target)?;
    }
    exchange.upstream = Some(upstream);
    Ok(())
}
