//! `listen`: an address and what is spoken there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_config::address::ListenAddress;

use crate::tree::Directive;

/// One `listen` that can be translated, or the one nginx assumes where a server has none.
#[derive(Clone, Debug)]
pub struct Listen<'a> {
    pub directive: Option<&'a Directive>,
    pub address: ListenAddress,
    pub tls: bool,
    pub http2: bool,
    pub default_server: bool,
    /// Connections open with a PROXY protocol header.
    pub proxy_protocol: bool,
    pub differences: Vec<String>,
}

/// Where a server without `listen` listens, when nginx is started as root.
pub const ASSUMED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 80);

/// What nginx assumes for a server without `listen`.
pub fn assumed<'a>() -> Listen<'a> {
    Listen {
        directive: None,
        address: ListenAddress::Socket(ASSUMED),
        tls: false,
        http2: false,
        default_server: false,
        proxy_protocol: false,
        differences: Vec::new(),
    }
}

/// Reads a `listen`; the error says what about it cannot be translated.
pub fn parse(directive: &Directive) -> Result<Listen<'_>, String> {
    let mut listen = Listen { directive: Some(directive), ..assumed() };
    let mut words = directive.texts();
    let address = words.next().unwrap_or_default();
    listen.address = self::address(address, &mut listen.differences)?;
    let socket = listen.address.socket();
    let mut only_ipv6 = socket.is_some_and(|address| address.is_ipv6());
    for word in words {
        let name = word.split('=').next().unwrap_or(word);
        match name {
            "default_server" | "default" => listen.default_server = true,
            "ssl" => listen.tls = true,
            "http2" => listen.http2 = true,
            "ipv6only" => only_ipv6 &= word != "ipv6only=off",
            "backlog" | "rcvbuf" | "sndbuf" | "so_keepalive" | "fastopen" | "setfib" => {
                listen.differences.push(format!("{word}: the system's default is used"));
            }
            "deferred" | "bind" | "reuseport" | "accept_filter" => {
                listen.differences.push(format!("{name}: Forebay accepts in its own way"));
            }
            "proxy_protocol" => listen.proxy_protocol = true,
            "quic" | "http3" | "spdy" => {
                return Err(format!("{name} is not served; clients use HTTP/2 over TLS"));
            }
            other => return Err(format!("nginx refuses it: invalid parameter \"{other}\"")),
        }
    }
    if only_ipv6 && socket.is_some_and(|address| address.ip().is_unspecified()) {
        listen.differences.push("Forebay takes IPv4 on this port too".to_owned());
    }
    Ok(listen)
}

fn address(text: &str, differences: &mut Vec<String>) -> Result<ListenAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path.starts_with('/') {
            true => Ok(ListenAddress::Unix(path.into())),
            false => Err(format!("{path:?} is no path from the root")),
        };
    }
    if let Ok(port) = text.parse::<u16>() {
        return with_port(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, "80"),
    };
    let port: u16 =
        port.parse().map_err(|_| format!("nginx refuses it: invalid port in {text:?}"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let ip = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None if host == "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        None if host == "localhost" => {
            differences.push("localhost is taken as 127.0.0.1".to_owned());
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        }
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match ip {
        Some(ip) => with_port(ip, port),
        None => Err(format!("{host:?} is no IP address; names are not looked up for listeners")),
    }
}

fn with_port(ip: IpAddr, port: u16) -> Result<ListenAddress, String> {
    match port {
        0 => Err("nginx refuses it: port 0".to_owned()),
        port => Ok(ListenAddress::Socket(SocketAddr::new(ip, port))),
    }
}

#[cfg(test)]
mod tests {
    use crate::include::Includes;
    use crate::parse::parse_bytes;

    #[test]
    fn forms_of_listen() {
        let cases = [
            ("80", "0.0.0.0:80"),
            ("*:8080 default_server", "0.0.0.0:8080 default"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("127.0.0.1:81", "127.0.0.1:81"),
            ("[::]:443 ssl http2 ipv6only=off", "[::]:443 tls h2"),
            ("[::1]", "[::1]:80"),
            ("[::]:80", "[::]:80; Forebay takes IPv4 on this port too"),
            ("80 reuseport", "0.0.0.0:80; reuseport: Forebay accepts in its own way"),
            ("localhost:80", "127.0.0.1:80; localhost is taken as 127.0.0.1"),
            ("0", "error"),
            ("70000", "error"),
            ("name:80", "error"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("unix:x.sock", "error"),
            ("80 proxy_protocol", "0.0.0.0:80 introduced"),
            ("443 quic", "error"),
            ("80 sll", "error"),
        ];
        for (text, expected) in cases {
            let text = format!("listen {text};");
            let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
            let said = match super::parse(&parsed.document.directives[0]) {
                Err(_) => "error".to_owned(),
                Ok(listen) => {
                    let mut said = listen.address.to_string();
                    let flags = [
                        (listen.default_server, " default"),
                        (listen.tls, " tls"),
                        (listen.http2, " h2"),
                        (listen.proxy_protocol, " introduced"),
                    ];
                    said.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag));
                    listen.differences.iter().for_each(|d| said.extend(["; ", d.as_str()]));
                    said
                }
            };
            assert_eq!(said, expected, "{text}");
        }
    }
}
