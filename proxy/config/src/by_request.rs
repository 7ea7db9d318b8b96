//! Upstreams whose server each request names (`by_request`), and the text that names one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::IpNetwork;
use crate::dns_name::name_fault;
use crate::units::{Duration, UnitError, unit_error};

/// Servers that are not listed: each request names its own, by `server` of its route. What a request is made of may be
/// anybody's word, so nothing is asked that is not allowed here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ByRequest {
    /// Servers that may be asked: a name, `*.` and a name for all below it, an address, a network, each with `:PORT`
    /// or for every port; or `unix:` and the path of a socket, or of a directory with `/` at its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowedServer>,
    /// Whether any server at all may be asked. Whoever can write what `server` is made of then reaches whatever this
    /// machine reaches, its own services and those of its cloud included.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub any_server: bool,
    /// Networks that the addresses of names must be in. Without it, names that lead to this machine, to link-local
    /// addresses (where clouds keep credentials) or to multicast are not asked, unless `any_server` says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNetwork>,
    /// Names that stand for upstreams of the document: what is written in `server`, and the upstream.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub upstreams: BTreeMap<String, String>,
    /// Which Host a server is asked with, unless the route sets one.
    pub host: HostAsked,
    /// Servers known at once; beyond it, what was asked longest ago is forgotten.
    pub servers_max: u32,
    /// Names looked up at once; above it the answer is 503. 0: none is looked up, servers are addresses.
    pub lookups_max: u32,
    /// How long a name may be looked up.
    pub lookup_timeout: Duration,
}

impl Default for ByRequest {
    fn default() -> ByRequest {
        ByRequest {
            allow: Vec::new(),
            any_server: false,
            networks: Vec::new(),
            upstreams: BTreeMap::new(),
            host: HostAsked::default(),
            servers_max: 256,
            lookups_max: 64,
            lookup_timeout: Duration::secs(5),
        }
    }
}

/// Which Host a server is asked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostAsked {
    /// The client's.
    #[default]
    Client,
    /// What names the server.
    Server,
}

/// A server, or several, that requests may name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllowedServer {
    which: Which,
    /// None: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Which {
    Name(String),
    /// `.example.com` for `*.example.com`.
    Below(String),
    Network(IpNetwork),
    Unix(PathBuf),
    UnixBelow(PathBuf),
}

impl AllowedServer {
    /// The one port it may be asked at; none: every port, or a socket.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name, `*.` and a name, or the network; none for a socket.
    pub fn host(&self) -> Option<String> {
        match &self.which {
            Which::Unix(_) | Which::UnixBelow(_) => None,
            which => Some(AllowedServer { which: which.clone(), port: None }.to_string()),
        }
    }

    fn allows(&self, server: &Named) -> bool {
        let (host, port) = match (&self.which, &server.place) {
            (Which::Unix(path), Place::Unix(is)) => return path == is,
            (Which::UnixBelow(directory), Place::Unix(is)) => return is_below(is, directory),
            (_, Place::Unix(_)) => return false,
            (_, Place::Host { host, port }) => (host, *port),
        };
        if self.port.is_some_and(|only| only != port) {
            return false;
        }
        match (&self.which, host) {
            (Which::Name(name), Host::Name(is)) => name == is,
            (Which::Below(suffix), Host::Name(is)) => {
                is.len() > suffix.len() && is.ends_with(suffix.as_str())
            }
            (Which::Network(network), Host::Address(is)) => network.contains(*is),
            _ => false,
        }
    }
}

/// Whether a path that names nothing above itself is in a directory.
fn is_below(path: &Path, directory: &Path) -> bool {
    use std::path::Component;
    let climbs = path.components().any(|part| part == Component::ParentDir);
    !climbs && path != directory && path.starts_with(directory)
}

impl fmt::Display for AllowedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.which {
            Which::Name(name) => f.write_str(name)?,
            Which::Below(suffix) => write!(f, "*{suffix}")?,
            Which::Network(network) => {
                let text = network.to_string();
                match (self.port, text.contains(':')) {
                    (Some(_), true) => write!(f, "[{text}]")?,
                    _ => f.write_str(&text)?,
                }
            }
            Which::Unix(path) => write!(f, "unix:{}", path.display())?,
            Which::UnixBelow(path) => write!(f, "unix:{}/", path.display())?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for AllowedServer {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<AllowedServer, UnitError> {
        let fault = |hint: &str| unit_error(format!("`{text}` names no server"), hint.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let which = match path.strip_suffix('/').filter(|path| !path.is_empty()) {
                Some(directory) => Which::UnixBelow(directory.into()),
                None => Which::Unix(path.into()),
            };
            return match path.starts_with('/') && path.len() > 1 {
                true => Ok(AllowedServer { which, port: None }),
                false => Err(fault("write an absolute path: `unix:/run/app.sock`")),
            };
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(""))),
            None => match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port)) if port > 0 => Some(port),
            Some(_) => return Err(fault("ports go from 1 to 65535")),
        };
        if let Ok(network) = host.parse() {
            return Ok(AllowedServer { which: Which::Network(network), port });
        }
        let name = host.to_ascii_lowercase();
        let below = name.strip_prefix("*.");
        match name_fault(below.unwrap_or(&name)) {
            Some(hint) => Err(fault(&hint)),
            None if below.is_some() => {
                Ok(AllowedServer { which: Which::Below(name[1..].to_owned()), port })
            }
            None => Ok(AllowedServer { which: Which::Name(name), port }),
        }
    }
}

crate::written::written_as_text!(AllowedServer, "AllowedServer", {
    "description": "A name, `*.` and a name, an address or a network, with or without a port; or `unix:` and a path.",
    "type": "string",
    "examples": ["*.svc.internal:8080", "10.0.0.0/8", "unix:/run/apps/"]
});

/// What a request names: a server, and what it is asked for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// As it was written, without scheme and path: what `upstreams` are looked up by.
    pub authority: String,
    pub place: Place,
    /// Path and query that take the place of the request's.
    pub target: Option<String>,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Host { host: Host, port: u16 },
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

impl Named {
    /// Reads what a request names: `host`, `host:port`, `unix:/path` or `unix:/path:`, with a path behind it or not,
    /// and with the scheme that is spoken or none. Nothing where it names no server.
    pub fn read(text: &str, tls: bool) -> Option<Named> {
        let (scheme, usual) = if tls { ("https://", 443) } else { ("http://", 80) };
        let rest = match text.get(..scheme.len()) {
            Some(start) if start.eq_ignore_ascii_case(scheme) => &text[scheme.len()..],
            _ if text.contains("://") && !text.starts_with("unix:") => return None,
            _ => text,
        };
        if let Some(path) = rest.strip_prefix("unix:") {
            let (path, target) = path.split_once(':').unwrap_or((path, ""));
            let is_fine = path.starts_with('/') && !path.contains('\0');
            return is_fine.then(|| Named {
                authority: format!("unix:{path}"),
                place: Place::Unix(path.into()),
                target: whole(target),
            });
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.parse::<SocketAddr>() {
            Ok(address) => (Host::Address(address.ip()), address.port()),
            Err(_) => {
                let bare = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                match (bare, authority.split_once(':')) {
                    (Some(bare), _) => (Host::Address(IpAddr::V6(bare.parse().ok()?)), usual),
                    (None, Some((host, port))) => (host_of(host)?, port.parse().ok()?),
                    (None, None) => (host_of(authority)?, usual),
                }
            }
        };
        let place = (port > 0).then_some(Place::Host { host, port })?;
        Some(Named { authority: authority.to_owned(), place, target: whole(target) })
    }

    /// What it is called, without its port.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Host { host: Host::Name(name), .. } => name.clone(),
            Place::Host { host: Host::Address(address), .. } => address.to_string(),
            Place::Unix(_) => self.authority.clone(),
        }
    }

    /// What stands for it in a Host: without the port that is usual.
    pub fn host(&self, tls: bool) -> String {
        let usual = if tls { 443 } else { 80 };
        match &self.place {
            Place::Unix(_) => "localhost".to_owned(),
            Place::Host { host, port } => {
                let host = match host {
                    Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
                    Host::Address(address) => address.to_string(),
                    Host::Name(name) => name.clone(),
                };
                if *port == usual { host } else { format!("{host}:{port}") }
            }
        }
    }
}

fn host_of(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse() {
        return Some(Host::Address(address));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    name_fault(&name).is_none().then_some(Host::Name(name))
}

/// A target, where there is one: a query alone is one of `/`.
fn whole(text: &str) -> Option<String> {
    match text.starts_with('?') {
        true => Some(format!("/{text}")),
        false => Some(text.to_owned()).filter(|text| text.starts_with('/')),
    }
}

/// What becomes of what a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It stands for this upstream of the document.
    Upstream(&'a str, Named),
    Server(Named),
    /// It may not be asked.
    Refused,
    /// It names no server.
    Malformed,
}

impl ByRequest {
    /// What becomes of a request that names this.
    pub fn decide(&self, text: &str, tls: bool) -> Decision<'_> {
        let Some(named) = Named::read(text, tls) else { return Decision::Malformed };
        let upstream = self.upstreams.get(&named.authority);
        match upstream.or_else(|| self.upstreams.get(&named.authority.to_ascii_lowercase())) {
            Some(upstream) => Decision::Upstream(upstream, named),
            None if self.allows(&named) => Decision::Server(named),
            None => Decision::Refused,
        }
    }

    /// Whether this server may be asked. Of a name, its addresses have a say too: see [`ByRequest::allows_address`].
    pub fn allows(&self, server: &Named) -> bool {
        self.any_server || self.allow.iter().any(|allowed| allowed.allows(server))
    }

    /// Whether a name may lead to this address.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if !self.networks.is_empty() {
            return self.networks.iter().any(|network| network.contains(address));
        }
        let is_link_local = match address {
            IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let is_own = address.is_loopback() || address.is_unspecified();
        self.any_server || !(is_own || is_link_local || address.is_multicast())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(text: &str) -> Named {
        Named::read(text, false).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_requests_name_is_read_whole_or_not_at_all() {
        for (text, authority, host, target) in [
            ("a.example", "a.example", "a.example", None),
            ("A.example.:8080/x?y", "A.example.:8080", "a.example:8080", Some("/x?y")),
            ("http://10.0.0.1:80?q", "10.0.0.1:80", "10.0.0.1", Some("/?q")),
            ("[::1]:81/", "[::1]:81", "[::1]:81", Some("/")),
            ("[::1]", "[::1]", "[::1]", None),
            ("unix:/run/a.sock", "unix:/run/a.sock", "localhost", None),
            ("http://unix:/run/a.sock:/x", "unix:/run/a.sock", "localhost", Some("/x")),
            ("pool_1", "pool_1", "pool_1", None),
        ] {
            let found = named(text);
            assert_eq!(
                (found.authority.as_str(), found.host(false).as_str(), found.target.as_deref()),
                (authority, host, target),
                "{text}"
            );
        }
        for wrong in [
            "",
            "/",
            ":80",
            "a b",
            "a:0",
            "a:x",
            "a:99999",
            "https://a",
            "ftp://a",
            "u@a",
            "a:1:2",
            "::1",
            "unix:",
            "unix:x",
            "unix:/a\0",
            "-a",
            "a..b",
            "1.2.3",
            "0x7f.1",
        ] {
            assert_eq!(Named::read(wrong, false), None, "{wrong}");
        }
        assert_eq!(Named::read("https://a", true).unwrap().host(true), "a");
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        let rules = |allow: &[&str]| ByRequest {
            allow: allow.iter().map(|text| text.parse().expect(text)).collect(),
            ..ByRequest::default()
        };
        let some = rules(&[
            "*.svc.internal:8080",
            "app.example",
            "10.0.0.0/8",
            "[fd00::/8]:81",
            "unix:/run/apps/",
        ]);
        for text in [
            "a.svc.internal:8080",
            "b.a.SVC.internal:8080",
            "app.example:99",
            "10.1.2.3:5",
            "[fd00::1]:81",
            "unix:/run/apps/a.sock",
            "[::ffff:10.0.0.1]:80",
        ] {
            assert!(some.allows(&named(text)), "{text}");
        }
        for text in [
            "svc.internal:8080",
            "a.svc.internal",
            "xsvc.internal:8080",
            "11.0.0.1",
            "[fd00::1]",
            "unix:/run/apps",
            "unix:/run/apps/../x.sock",
            "unix:/run/other.sock",
            "169.254.169.254",
            "localhost",
        ] {
            assert!(!some.allows(&named(text)), "{text}");
            assert!(!rules(&[]).allows(&named(text)), "{text}");
        }
        let any = ByRequest { any_server: true, ..ByRequest::default() };
        assert!(any.allows(&named("localhost")) && any.allows_address([127, 0, 0, 1].into()));
    }

    #[test]
    fn names_lead_to_no_place_of_this_machines_own() {
        let rules = ByRequest::default();
        for address in [
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!rules.allows_address(address.parse().unwrap()), "{address}");
        }
        assert!(rules.allows_address("10.0.0.1".parse().unwrap()));
        let only = ByRequest { networks: vec!["127.0.0.0/8".parse().unwrap()], ..rules };
        assert!(only.allows_address("127.0.0.1".parse().unwrap()));
        assert!(!only.allows_address("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_allowed_is_written_as_it_is_read() {
        for text in [
            "a.example",
            "*.a.example:80",
            "10.0.0.0/8",
            "10.0.0.1:81",
            "[fd00::/8]:81",
            "fd00::/8",
            "unix:/run/a.sock",
            "unix:/run/apps/",
        ] {
            assert_eq!(text.parse::<AllowedServer>().expect(text).to_string(), text);
        }
        for wrong in ["", "*", "a:0", "a b", "unix:", "unix:/", "unix:a", "http://a", "*.*.a"] {
            wrong.parse::<AllowedServer>().expect_err(wrong);
        }
    }

    proptest! {
        /// Whatever a client writes is no server, or one whose host and port read the same again.
        #[test]
        fn reading_is_total_and_stable(text in "[ -~]{0,40}", tls in any::<bool>()) {
            if let Some(found) = Named::read(&text, tls) {
                let again = Named::read(&found.authority, tls).unwrap();
                prop_assert_eq!(&again.place, &found.place);
                prop_assert!(found.target.is_none_or(|target| target.starts_with('/')));
            }
        }
    }
}
