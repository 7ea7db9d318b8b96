//! Names of servers, looked up again while they are in use (`resolve`): when the record's TTL is over, within
//! the bounds the document gives. A look-up that fails changes nothing: the last known addresses stay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use parking_lot::Mutex;
use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::upstreams::peer::HttpPeer;
use prometheus::{IntCounter, IntGauge};
use proxy_config::upstream::Resolve;
use tokio::task::AbortHandle;

use crate::metrics::Metrics;
use crate::metrics::lease::Lease;

/// Addresses of one name that are used.
pub(super) const ADDRESSES_MAX: usize = 64;
/// How long a look-up may take, all attempts at all servers included.
const LOOK_UP_MAX: Duration = Duration::from_secs(10);

/// What a name stands for now; requests take the addresses in turn.
pub struct Addresses {
    current: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Addresses {
    fn new(addresses: Vec<SocketAddr>) -> Addresses {
        Addresses { current: ArcSwap::from_pointee(addresses), turn: AtomicUsize::new(0) }
    }

    /// Sends a peer to the address whose turn it is.
    pub fn place(&self, peer: &mut HttpPeer) {
        let current = self.current.load();
        if current.is_empty() {
            return;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        peer._address = Address::Inet(current[turn % current.len()]);
    }
}

/// A name that is looked up again and again.
#[derive(Clone)]
pub struct Name {
    resolver: Arc<TokioResolver>,
    host: String,
    port: u16,
    bounds: (Duration, Duration),
    pub addresses: Arc<Addresses>,
    upstream: String,
    kept: IntCounter,
    changed: IntCounter,
    failed: IntCounter,
    known: IntGauge,
    /// Takes that gauge's series away with the last of these.
    _lease: Arc<Lease>,
}

impl Name {
    /// Looks the name up for the first time. Blocks.
    pub fn new(
        upstream: &str,
        (host, port): (&str, u16),
        config: &Resolve,
        metrics: &Metrics,
    ) -> Result<Name, String> {
        let count = |result| metrics.traffic.lookups.with_label_values(&[upstream, result]);
        let server = format!("{host}:{port}");
        let gauges = metrics.traffic.addresses.clone();
        let labels = [upstream.to_owned(), server.clone()];
        let (known, lease) = metrics.leases.hold(
            ["addresses", upstream, &server],
            || gauges.with_label_values(&[upstream, &server]),
            {
                let gauges = gauges.clone();
                move || drop(gauges.remove_label_values(&labels))
            },
        );
        let resolver = resolver(config).map_err(|error| format!("no resolver: {error}"))?;
        let name = Name {
            resolver: Arc::new(resolver),
            host: host.to_owned(),
            port,
            bounds: (config.interval_min.as_std(), config.interval_max.as_std()),
            addresses: Arc::new(Addresses::new(Vec::new())),
            upstream: upstream.to_owned(),
            kept: count("same"),
            changed: count("changed"),
            failed: count("failed"),
            known,
            _lease: Arc::new(lease),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (found, _) = runtime.block_on(name.look_up())?;
        name.known.set(i64::try_from(found.len()).unwrap_or(i64::MAX));
        name.addresses.current.store(Arc::new(found));
        // Its sockets belong to the runtime that ends here.
        let resolver = self::resolver(config).map_err(|error| error.to_string())?;
        Ok(Name { resolver: Arc::new(resolver), ..name })
    }

    /// One of its addresses.
    pub fn first(&self) -> SocketAddr {
        let any = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), self.port);
        self.addresses.current.load().first().copied().unwrap_or(any)
    }

    /// The addresses in order, and how long they may be used.
    async fn look_up(&self) -> Result<(Vec<SocketAddr>, Duration), String> {
        let looking = self.resolver.lookup_ip(self.host.as_str());
        let found = tokio::time::timeout(LOOK_UP_MAX, looking).await;
        let found = found.map_err(|_| "nobody answered in time".to_owned())?;
        let found = found.map_err(|error| format!("its name was not found: {error}"))?;
        let lasts = found.valid_until().saturating_duration_since(Instant::now());
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err("its name has no address".to_owned());
        }
        let with_port = addresses.into_iter().map(|address| SocketAddr::new(address, self.port));
        Ok((with_port.collect(), lasts))
    }

    /// Looks it up once more; says when to do so again.
    async fn renew(&self) -> Duration {
        let (min, max) = self.bounds;
        match self.look_up().await {
            Ok((found, lasts)) => {
                if *self.addresses.current.load_full() == found {
                    self.kept.inc();
                } else {
                    let (upstream, name) = (&self.upstream, &self.host);
                    tracing::info!(upstream, name, addresses = ?found, "a server's addresses changed");
                    self.known.set(i64::try_from(found.len()).unwrap_or(i64::MAX));
                    self.addresses.current.store(Arc::new(found));
                    self.changed.inc();
                }
                lasts.clamp(min, max)
            }
            Err(why) => {
                let (upstream, name) = (&self.upstream, &self.host);
                tracing::warn!(
                    upstream,
                    name,
                    why,
                    "a name was looked up in vain; its last addresses stay"
                );
                self.failed.inc();
                min
            }
        }
    }
}

/// Those the document names, or those of the machine; they remember nothing, since the TTL is kept here.
fn resolver(config: &Resolve) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let runtime = TokioRuntimeProvider::default();
    let mut builder = if config.servers.is_empty() {
        TokioResolver::builder(runtime)?
    } else {
        let servers = config.servers.iter().map(|server| {
            let mut of = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut of.connections {
                connection.port = server.port();
            }
            of
        });
        let servers = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(servers, runtime)
    };
    builder.options_mut().cache_size = 0;
    // As many machines have no way to any IPv6 address.
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
    builder.build()
}

/// The names of the configuration in force.
#[derive(Default)]
pub struct Renewals(Mutex<Vec<AbortHandle>>);

impl Renewals {
    /// Ends all look-ups and begins these. Must be called on a runtime.
    pub fn replace(&self, names: impl Iterator<Item = Name>) {
        let mut running = self.0.lock();
        running.drain(..).for_each(|task| task.abort());
        running.extend(names.map(|name| {
            let renewing = async move {
                // It has just been looked up.
                let mut next = name.bounds.0;
                loop {
                    tokio::time::sleep(next).await;
                    next = name.renew().await;
                }
            };
            tokio::spawn(renewing).abort_handle()
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_turn() {
        let all: Vec<SocketAddr> =
            ["127.0.0.1:1", "127.0.0.2:1"].map(|a| a.parse().unwrap()).into();
        let addresses = Addresses::new(all.clone());
        let mut peer = HttpPeer::new("127.0.0.9:9", false, String::new());
        let seen: Vec<_> = (0..3)
            .map(|_| {
                addresses.place(&mut peer);
                *peer._address.as_inet().unwrap()
            })
            .collect();
        assert_eq!(seen, [all[0], all[1], all[0]]);
    }
}
