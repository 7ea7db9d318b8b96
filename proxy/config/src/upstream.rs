//! Upstreams: the servers behind the proxy and how they are chosen, spoken to and watched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ServerAddress;
use crate::by_request::ByRequest;
use crate::listener::TlsVersion;
use crate::pattern::Template;
use crate::rate_limit::RequestKey;
use crate::units::Duration;
use crate::upstream_health::{HealthChecks, Retries};

/// A group of servers that answer the same requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers, at least one with a weight above zero, unless requests name them (`by_request`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<Server>,
    /// Servers that requests name, in place of `servers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_request: Option<ByRequest>,
    /// How a server is chosen for a request.
    #[serde(default)]
    pub balance: Balance,
    /// How long a server may take.
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    /// What is spoken to the servers; without it, HTTP/1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<UpstreamProtocol>,
    /// TLS to the servers; without it, cleartext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// What of the request chooses the server, for `balance: consistent_hash`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hash_key: Vec<RequestKey>,
    /// Keeps a client with the server it was first given, by a cookie. What the cache answers sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// How a server that fails is found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_checks: Option<HealthChecks>,
    /// When a request is tried on another server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Limits of the pool of connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<ConnectionPool>,
    /// How names of servers are looked up again while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Resolve>,
    /// PROXY protocol header sent at the start of each connection, which then serves one client only.
    /// Where the proxy asks for itself (probes, fills of a cache) it names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolOut>,
    /// Parameters for `protocol: fastcgi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fastcgi: Option<FastCgi>,
    /// Obeys `X-Accel-Redirect` of its servers: the path it names is answered in place of what they said,
    /// internal routes included, and no client sees an `X-Accel-` field. Only for servers that may choose
    /// what a client gets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub x_accel: bool,
    /// Directories whose files the servers may hand out: one that `X-Sendfile` names by its path is sent in place of what
    /// they said, with their other fields. Any other path is 500. Without it the field is 500 from FastCGI servers and
    /// with `x_accel`, and goes on to the client from others. Frameworks that look for `X-Sendfile-Type` are told by
    /// `fastcgi.params: { HTTP_X_SENDFILE_TYPE: X-Sendfile }`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub x_sendfile: Vec<PathBuf>,
}

impl Upstream {
    /// An upstream of these servers, equally weighted, with every default.
    pub fn of(addresses: impl IntoIterator<Item = ServerAddress>) -> Upstream {
        Upstream {
            servers: addresses.into_iter().map(Server::at).collect(),
            by_request: None,
            balance: Balance::default(),
            timeouts: UpstreamTimeouts::default(),
            protocol: None,
            tls: None,
            hash_key: Vec::new(),
            sticky: None,
            health_checks: None,
            retries: None,
            connections: None,
            resolve: None,
            proxy_protocol: None,
            fastcgi: None,
            x_accel: false,
            x_sendfile: Vec::new(),
        }
    }
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// IP address or name, and port, or `unix:/path/socket`. A name is looked up when the document is
    /// loaded; with `resolve` again and again, and all its addresses are used in turn.
    pub address: ServerAddress,
    /// Share of the requests relative to the other servers; 0 takes none.
    #[serde(default = "one")]
    pub weight: u32,
    /// Used only when every other server is down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// Requests in flight at this server at once, each on a connection of its own with HTTP/1.1. Above it
    /// other servers are chosen; when there is none, the answer is 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections_max: Option<u32>,
    /// Time over which a server that came back grows to its full weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Duration>,
    /// How often one request may be sent here, where the upstream's `retries` allow as many attempts.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempts_max: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

fn one() -> u32 {
    1
}

impl Server {
    pub fn at(address: ServerAddress) -> Server {
        Server {
            address,
            weight: 1,
            backup: false,
            connections_max: None,
            slow_start: None,
            attempts_max: 1,
        }
    }
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, by weight, evenly spread.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// By a hash of `hash_key`, so that few keys move when servers change.
    ConsistentHash,
    /// The better of two at random, by a moving average of latency.
    P2cEwma,
    /// By the client's address (of IPv4 its first three bytes), as nginx's `ip_hash` has it: whoever moves over from
    /// there comes to the same server.
    ClientAddress,
}

/// How long a server may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTimeouts {
    /// To accept a connection, TLS handshake included.
    pub connect: Duration,
    /// From a request having been sent to the head of its response; without it, `read`. For requests with a body it takes
    /// the place of `read` as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Duration>,
    /// Between two reads of a response.
    pub read: Duration,
    /// Between two writes of a request.
    pub write: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// How long a tunnel (a connection that was upgraded, such as a WebSocket's) may carry nothing either way.
    pub tunnel: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> UpstreamTimeouts {
        UpstreamTimeouts {
            connect: Duration::secs(1),
            first_byte: None,
            read: Duration::secs(30),
            write: Duration::secs(30),
            idle: Duration::secs(60),
            tunnel: Duration::secs(600),
        }
    }
}

/// What is spoken to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    Http1,
    /// By prior knowledge in cleartext, by ALPN with `tls`: a server that does not agree to it is
    /// spoken to in HTTP/1.1.
    Http2,
    /// FastCGI, as php-fpm speaks it.
    Fastcgi,
}

/// TLS to the servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// Name asked for (SNI) and verified; without it, the host of the server's address. Servers at a Unix
    /// socket have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
    /// PEM file with the authorities to trust; without it, those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// Certificate and key shown to the server (mutual TLS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientIdentity>,
    /// Oldest TLS version accepted.
    pub minimum_version: TlsVersion,
}

impl Default for UpstreamTls {
    fn default() -> UpstreamTls {
        UpstreamTls {
            server_name: None,
            verify: true,
            authorities: None,
            client_certificate: None,
            minimum_version: TlsVersion::default(),
        }
    }
}

/// Certificate and key shown to a server, as PEM files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientIdentity {
    /// PEM file with the certificate and its chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// File with pass phrases, one a line, of which one opens the key, where it is encrypted (PKCS #8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// A cookie that keeps a client with its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// Name of the cookie.
    pub cookie: String,
    /// How long the client stays; without it, as long as the browser is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Duration>,
}

/// Limits of the pool of connections to the servers. With HTTP/1.1 a request has a connection of its own;
/// with HTTP/2 they share a few, and `connections_max` is the number of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionPool {
    /// Unused connections kept in all; those of HTTP/2 are kept.
    pub idle_max: u32,
    /// Connections in use at all servers at once.
    pub connections_max: u32,
    /// Requests waiting for a connection, each for at most `timeouts.connect`. Above it the answer is 503.
    pub waiting_max: u32,
    /// Requests on one connection before it is closed; without it, no limit. Not for HTTP/2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_max: Option<u32>,
}

impl Default for ConnectionPool {
    fn default() -> ConnectionPool {
        ConnectionPool {
            idle_max: 128,
            connections_max: 1024,
            waiting_max: 1024,
            requests_max: None,
        }
    }
}

/// How names of servers are looked up again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resolve {
    /// Shortest time between two lookups, whatever the record's TTL.
    pub interval_min: Duration,
    /// Longest time between two lookups, whatever the record's TTL.
    pub interval_max: Duration,
    /// DNS servers that are asked, IP address and port; without it, those of the machine (`/etc/resolv.conf`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<SocketAddr>,
}

impl Default for Resolve {
    fn default() -> Resolve {
        Resolve {
            interval_min: Duration::secs(5),
            interval_max: Duration::secs(300),
            servers: Vec::new(),
        }
    }
}

/// PROXY protocol sent to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocolOut {
    V1,
    V2,
}

/// Parameters of a FastCGI upstream. Scripts are told how long a body is before it comes: one of unknown length is taken in first, up to
/// 1 MiB. A larger one is refused (411), unless the route holds bodies: with a `buffer_policy` whose `requests` have `spool`, or a
/// `kept_body` with a `folder`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FastCgi {
    /// Directory of the scripts, as the FastCGI server sees it.
    pub root: PathBuf,
    /// Script asked for where a path ends in `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// What names of scripts end in: what follows such a name and a slash is `PATH_INFO`.
    #[serde(default = "scripts")]
    pub split: Vec<String>,
    /// Further parameters, or others in place of the usual ones: name to value. Maps and what steps have set are known
    /// here, captures of a route's expressions are not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Template>,
    /// Unused connections kept to each server. Each holds a process of php-fpm; without it, a connection
    /// is closed after its request.
    #[serde(default)]
    pub idle_max: u32,
}

fn scripts() -> Vec<String> {
    vec![".php".to_owned()]
}
