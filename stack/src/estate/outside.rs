//! What the proxy document has the edge ask that stands on no instance of ours: servers of upstreams, a Redis,
//! keys of tokens, collectors of traces and of logs, name servers. Certificates of its own (ACME, OCSP) are none
//! of them: on AWS the proxy has no `tls` that could name them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proxy_config::Config;
use proxy_config::access_log::LogTarget;
use proxy_config::address::ServerAddress;
use proxy_config::route_access::Auth;
use proxy_config::telemetry::Endpoint;

use super::flows::{Protocol, port_of};
use crate::environment::{CACHE_URL, Environment, LEDGER, ORIGIN};

/// Something beyond the estate that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Where it is written, in the proxy document.
    pub path: String,
    /// A name or an address, IPv6 in brackets.
    pub host: String,
    pub port: u16,
    pub protocol: Protocol,
}

impl Outside {
    fn at(path: String, (host, port): (String, u16)) -> Self {
        Self { path, host, port, protocol: Protocol::Tcp }
    }

    fn by_udp(path: String, (host, port): (String, u16)) -> Self {
        Self { path, host, port, protocol: Protocol::Udp }
    }

    fn address(&self) -> Option<IpAddr> {
        let host = self.host.split('/').next().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether it may be one of a network that is peered with ours.
    pub fn is_private(&self) -> bool {
        match self.address() {
            Some(IpAddr::V4(address)) => address.is_private(),
            Some(IpAddr::V6(address)) => address.is_unique_local(),
            None => false,
        }
    }

    /// Whether the instance itself answers there, or its host: no security group stands between.
    fn is_here(&self) -> bool {
        match self.address() {
            Some(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
            Some(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local(),
            None => self.host == "localhost",
        }
    }
}

/// All of it, in the order of the document; `provided` are upstreams that the environment provides.
pub fn of(proxy: &Config, provided: &dyn Fn(&str) -> bool) -> Vec<Outside> {
    let mut found = servers(proxy, provided);
    found.extend(name_servers(proxy, provided));
    for (index, route) in proxy.routes.iter().enumerate() {
        if let Some(Auth::Jwt(jwt)) = &route.auth
            && let Some(at) = jwt.jwks_url.as_deref().and_then(host_and_port)
        {
            found.push(Outside::at(format!("routes[{index}].auth.jwt.jwks_url"), at));
        }
    }
    for (name, cache) in &proxy.caches {
        let redis = cache.purge_redis.as_deref().filter(|url| *url != CACHE_URL);
        let at = redis.and_then(host_and_port);
        found.extend(at.map(|at| Outside::at(format!("caches.{name}.purge_redis"), at)));
    }
    for (name, limit) in &proxy.rate_limits {
        let redis = limit.cluster.as_ref().map(|cluster| cluster.redis.as_str());
        let at = redis.filter(|url| *url != CACHE_URL).and_then(host_and_port);
        found.extend(at.map(|at| Outside::at(format!("rate_limits.{name}.cluster.redis"), at)));
    }
    // `access_log` itself is a file on AWS, whatever the document says.
    let logs = proxy.access_logs.iter().map(|(name, log)| ("access_logs", name, &log.path));
    let failures = proxy.error_logs.iter().map(|(name, log)| ("error_logs", name, &log.path));
    for (section, name, target) in logs.chain(failures) {
        if let LogTarget::Syslog(syslog) = target
            && let Some(at) = split(&syslog.server)
        {
            found.push(Outside::by_udp(format!("{section}.{name}.path"), at));
        }
    }
    if let Some(telemetry) = &proxy.telemetry
        && let Some(Endpoint { host, port, .. }) = Endpoint::parse(&telemetry.otlp_endpoint)
    {
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        found.push(Outside::at("telemetry.otlp_endpoint".to_owned(), (host, port)));
    }
    found.retain(|it| !it.is_here());
    found
}

fn servers(proxy: &Config, provided: &dyn Fn(&str) -> bool) -> Vec<Outside> {
    let mut found = Vec::new();
    for (name, upstream) in proxy.upstreams.iter().filter(|(name, _)| !provided(name)) {
        for (number, server) in upstream.servers.iter().enumerate() {
            if !matches!(server.address, ServerAddress::Unix(_)) {
                let text = server.address.to_string();
                let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
                let at = (host.to_owned(), port_of(&server.address));
                let path = format!("upstreams.{name}.servers[{number}].address");
                found.push(Outside::at(path, at));
            }
        }
        let Some(by_request) = &upstream.by_request else { continue };
        let usual = if upstream.tls.is_some() { 443 } else { 80 };
        for (number, allowed) in by_request.allow.iter().enumerate() {
            let path = format!("upstreams.{name}.by_request.allow[{number}]");
            let at = allowed.host().map(|host| (host, allowed.port().unwrap_or(usual)));
            found.extend(at.map(|at| Outside::at(path, at)));
        }
        if by_request.any_server {
            let path = format!("upstreams.{name}.by_request.any_server");
            found.push(Outside::at(path, ("any server".to_owned(), usual)));
        }
    }
    found
}

/// Who is asked for addresses, which may be by TCP where an answer is long.
fn name_servers(proxy: &Config, provided: &dyn Fn(&str) -> bool) -> Vec<Outside> {
    let mut found = Vec::new();
    for (name, upstream) in proxy.upstreams.iter().filter(|(name, _)| !provided(name)) {
        let servers = upstream.resolve.iter().flat_map(|it| &it.servers).enumerate();
        for (number, server) in servers {
            let path = format!("upstreams.{name}.resolve.servers[{number}]");
            let Some(at) = split(&server.to_string()) else { continue };
            found.push(Outside::by_udp(path.clone(), at.clone()));
            found.push(Outside::at(path, at));
        }
    }
    found
}

/// Host and port of a URL, with the port that is usual where it names none.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let usual = match scheme {
        "https" => 443,
        "redis" | "rediss" => 6379,
        _ => 80,
    };
    split(place).or_else(|| (!place.is_empty()).then(|| (place.to_owned(), usual)))
}

/// `host:port`; none without a port.
fn split(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let whole = !host.is_empty() && (!host.contains(':') || host.ends_with(']'));
    Some((host.to_owned(), port.parse().ok().filter(|_| whole)?))
}

/// The ports that the edge's group has to let out, each once.
pub(super) fn ports(environment: &Environment) -> Vec<(Protocol, u16)> {
    let Some(estate) = &environment.estate else { return Vec::new() };
    let provided =
        |name: &str| name == LEDGER || name == ORIGIN || estate.workers.contains_key(name);
    let all = of(&environment.proxy, &provided);
    let ports: BTreeSet<(Protocol, u16)> = all.iter().map(|it| (it.protocol, it.port)).collect();
    ports.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proxy_config::Source;

    use super::*;

    const DOCUMENT: &str = r#"
version: 1
listeners: { public: { address: "127.0.0.1:8080" } }
upstreams:
  shop:
    servers: [{ address: "shop.example.com:8443" }, { address: "127.0.0.1:81" }, { address: "[fd00::1]:82" }]
    resolve: { servers: ["10.0.0.2:53", "169.254.169.253:53"] }
  named: { by_request: { allow: ["*.apps.example.com:8444", "10.0.0.0/8", "unix:/run/apps/"] } }
caches: { hot: { memory_max: 64MiB, purge_redis: "rediss://purges.example.com" } }
rate_limits:
  far: { key: [client], rate: 1/s, cluster: { redis: "redis://limits.example.com:6380/2", when_unavailable: local } }
  own: { key: [client], rate: 1/s, cluster: { redis: "redis://cache:6379", when_unavailable: local } }
error_logs:
  far: { path: "syslog:server=logs.example.com" }
  near: { path: "syslog:server=unix:/dev/log" }
telemetry: { otlp_endpoint: "http://[2001:db8::1]:4318" }
routes:
  - name: shop
    match: { paths: [{ prefix: / }] }
    upstream: shop
    auth: { jwt: { jwks_url: "https://keys.example.com:9443/jwks", issuer: a, audiences: [b] } }
"#;

    #[test]
    fn whatever_the_document_asks_is_found_with_its_port() {
        let config = Config::load(Source::new("proxy.yaml", DOCUMENT))
            .unwrap_or_else(|problems| panic!("{problems}"));
        let told: Vec<String> = of(&config, &|_| false)
            .into_iter()
            .map(|it| format!("{} {} {}:{}", it.path, it.protocol.word(), it.host, it.port))
            .collect();
        let expected = [
            "upstreams.named.by_request.allow[0] tcp *.apps.example.com:8444",
            "upstreams.named.by_request.allow[1] tcp 10.0.0.0/8:80",
            "upstreams.shop.servers[0].address tcp shop.example.com:8443",
            "upstreams.shop.servers[2].address tcp [fd00::1]:82",
            "upstreams.shop.resolve.servers[0] udp 10.0.0.2:53",
            "upstreams.shop.resolve.servers[0] tcp 10.0.0.2:53",
            "routes[0].auth.jwt.jwks_url tcp keys.example.com:9443",
            "caches.hot.purge_redis tcp purges.example.com:6379",
            "rate_limits.far.cluster.redis tcp limits.example.com:6380",
            "error_logs.far.path udp logs.example.com:514",
            "telemetry.otlp_endpoint tcp [2001:db8::1]:4318",
        ];
        assert_eq!(told, expected);
    }
}
