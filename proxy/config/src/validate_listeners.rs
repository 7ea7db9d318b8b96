//! Rules for listeners and the admin listener.

use std::net::{IpAddr, SocketAddr};

use crate::address::{ListenAddress, ServerAddress};
use crate::config::Config;
use crate::findings::{Findings, child, item};
use crate::listener::{
    CIPHER_SUITES, CIPHER_SUITES_1_3, ClientCertificateMode, Listener, ListenerTimeouts,
    ListenerTls, ProxyProtocolIn, TlsVersion,
};
use crate::suggest;

/// Header lines that pingora's parser has room for.
const HEADERS_MAX: u32 = 256;

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    if config.listeners.is_empty() {
        findings.add(
            "listeners",
            "there is no listener, so no request can come in",
            "add one: `public: { address: 127.0.0.1:8080 }`",
        );
    }
    findings.names("listeners", &config.listeners, "a listener");
    for (name, listener) in &config.listeners {
        let path = child("listeners", name);
        if let Some(tls) = &listener.tls {
            check_tls(tls, &format!("{path}.tls"), findings);
        }
        check_timeouts(&listener.timeouts, &format!("{path}.timeouts"), findings);
        let limits = [
            ("connections_max", Some(listener.connections_max)),
            ("backlog_max", listener.backlog_max),
            ("keep_alive_requests_max", listener.keep_alive_requests_max),
        ];
        for (key, limit) in limits {
            if let Some(limit) = limit {
                findings.not_zero(format!("{path}.{key}"), limit);
            }
        }
        let head = &listener.request_head;
        findings.not_zero(format!("{path}.request_head.bytes_max"), head.bytes_max.as_bytes());
        findings.not_zero(format!("{path}.request_head.uri_max"), head.uri_max.as_bytes());
        findings.not_zero(format!("{path}.request_head.headers_max"), head.headers_max);
        if head.headers_max > HEADERS_MAX {
            let message = format!("heads of more than {HEADERS_MAX} lines are never read");
            let hint = format!("write {HEADERS_MAX} at most");
            findings.add(format!("{path}.request_head.headers_max"), message, hint);
        }
        for (index, method) in listener.methods_refused.iter().enumerate() {
            let path = item(format!("{path}.methods_refused"), index);
            crate::validate_routes::check_method(method, &path, findings);
        }
        check_belief(listener, &path, findings);
    }
    check_access(config, findings);
    check_clashes(config, findings);
}

fn check_belief(listener: &Listener, path: &str, findings: &mut Findings<'_>) {
    let reads = listener.proxy_protocol == Some(ProxyProtocolIn::Read);
    let believes =
        reads || listener.proxy_protocol.is_some() || listener.client_address_header.is_some();
    let is_unix = listener.address.socket().is_none();
    let needs_trust = believes && !(reads && listener.client_address_header.is_none());
    if needs_trust && listener.trusted_proxies.is_empty() && !is_unix {
        findings.add(
            path,
            "a client's address is taken from what it says, but no proxy is trusted",
            "add `trusted_proxies` with the networks of the proxies in front",
        );
    }
    if !believes && !listener.trusted_proxies.is_empty() {
        findings.add(
            format!("{path}.trusted_proxies"),
            "proxies are trusted, but nothing they say is read",
            "add `client_address_header: x-forwarded-for`",
        );
    }
    if let Some(name) = &listener.client_address_header
        && http::HeaderName::from_bytes(name.as_bytes()).is_err()
    {
        let message = format!("`{name}` cannot be the name of a header");
        findings.add(format!("{path}.client_address_header"), message, "write `x-forwarded-for`");
    }
}

fn check_tls(tls: &ListenerTls, path: &str, findings: &mut Findings<'_>) {
    let refuses_all = tls.refused.as_ref().is_some_and(|refused| refused.unknown);
    if tls.certificates.is_empty() && tls.acme.is_none() && !refuses_all {
        findings.add(
            path,
            "TLS needs a certificate",
            "add `certificates: [ { certificate: /path/cert.pem, key: /path/key.pem } ]`",
        );
    }
    check_suites(tls, path, findings);
    if let Some(asked) = &tls.client_certificates {
        let path = format!("{path}.client_certificates");
        match &asked.authorities {
            Some(file) if file.as_os_str().is_empty() => {
                findings.add(format!("{path}.authorities"), "the path is empty", "name a PEM file");
            }
            None if asked.mode != ClientCertificateMode::Asked => {
                let message = "certificates cannot be verified without authorities";
                findings.add(path, message, "add `authorities: /path/ca.pem`");
            }
            _ => {}
        }
    }
    if let Some(tickets) = &tls.session_tickets {
        findings.time_not_zero(format!("{path}.session_tickets.lifetime"), tickets.lifetime);
    }
    for (index, files) in tls.certificates.iter().enumerate() {
        let path = item(format!("{path}.certificates"), index);
        for (key, file) in [("certificate", &files.certificate), ("key", &files.key)] {
            if file.as_os_str().is_empty() {
                findings.add(format!("{path}.{key}"), "the path is empty", "name a PEM file");
            }
        }
        if files.certificate == files.key && !files.key.as_os_str().is_empty() {
            findings.add_related(
                &format!("{path}.key"),
                "certificate and key are the same file",
                "name the file of the private key",
                (&format!("{path}.certificate"), "the certificate"),
            );
        }
    }
}

fn check_suites(tls: &ListenerTls, path: &str, findings: &mut Findings<'_>) {
    let number = |name: &String| {
        // rustls has names of its own for the suites of TLS 1.3.
        let name = name.replacen("TLS13_", "TLS_", 1);
        CIPHER_SUITES.iter().position(|suite| *suite == name)
    };
    for (index, name) in tls.cipher_suites.iter().enumerate() {
        if number(name).is_none() {
            let hint = match suggest::closest(name, CIPHER_SUITES) {
                Some(closest) => format!("did you mean `{closest}`?"),
                None => format!("there are {}", suggest::list(&CIPHER_SUITES)),
            };
            let message = format!("there is no cipher suite `{name}`");
            findings.add(item(format!("{path}.cipher_suites"), index), message, hint);
        }
    }
    let mut known = tls.cipher_suites.iter().filter_map(number).peekable();
    if known.peek().is_some()
        && tls.minimum_version == TlsVersion::V1_3
        && !known.any(|number| number < CIPHER_SUITES_1_3)
    {
        let hint = format!("add `{}`", CIPHER_SUITES[0]);
        findings.add(format!("{path}.cipher_suites"), "none of them is one of TLS 1.3", hint);
    }
}

fn check_timeouts(timeouts: &ListenerTimeouts, path: &str, findings: &mut Findings<'_>) {
    let all = [
        ("head", timeouts.head),
        ("body", timeouts.body),
        ("write", timeouts.write),
        ("idle", timeouts.idle),
        ("handshake", timeouts.handshake),
    ];
    for (key, time) in all {
        findings.time_not_zero(format!("{path}.{key}"), time);
    }
}

/// Only a Unix socket has a file that may be open to few.
fn check_access(config: &Config, findings: &mut Findings<'_>) {
    if config.admin.socket_access.is_some() && config.admin.address.socket().is_some() {
        let message = format!("`{}` is no Unix socket: nothing has a mode", config.admin.address);
        let hint = "take it out, or write `address: unix:/run/forebay/admin.sock`";
        findings.add("admin.socket_access", message, hint);
    }
}

/// Two listeners cannot share an address, nor one take all addresses of a port and another one.
fn check_clashes(config: &Config, findings: &mut Findings<'_>) {
    let admin = ("admin.address".to_owned(), &config.admin.address);
    let listeners = config.listeners.iter().map(|(name, listener)| {
        (format!("{}.address", child("listeners", name)), &listener.address)
    });
    let mut all: Vec<(String, &ListenAddress)> = listeners.collect();
    let admin_is_written = findings.is_written("admin.address");
    // What is written is reported, not the default it clashes with.
    all.insert(if admin_is_written { all.len() } else { 0 }, admin);
    for (index, (path, address)) in all.iter().enumerate() {
        let Some((earlier, other)) = all[..index].iter().find(|(_, other)| clash(address, other))
        else {
            continue;
        };
        let message = if address == other {
            format!("`{address}` is taken twice")
        } else {
            format!("`{address}` and `{other}` cannot both be listened on")
        };
        if earlier == "admin.address" && !admin_is_written {
            let hint = format!("the admin listener is at `{other}` unless `admin.address` is set");
            findings.add(path, message, hint);
        } else {
            let hint = "give each listener a port of its own";
            findings.add_related(path, message, hint, (earlier, "taken here"));
        }
    }
}

fn clash(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one.socket(), other.socket()) {
        // Port 0 is a different one each time.
        (Some(one), _) if one.port() == 0 => false,
        (Some(one), Some(other)) => {
            // Port 0 is any free one, another each time.
            one.port() != 0
                && one.port() == other.port()
                && (covers(one, other) || covers(other, one))
        }
        (None, None) => one == other,
        _ => false,
    }
}

/// `[::]` takes IPv4 too unless the system says otherwise.
fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    match wide.ip() {
        ip if ip == narrow.ip() => true,
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    }
}

/// Whether a server at this address is the listener itself.
pub(crate) fn is_own(listener: &ListenAddress, server: &ServerAddress) -> bool {
    match (listener, server) {
        (ListenAddress::Socket(own), ServerAddress::Socket(server)) => {
            let all_of_this_machine = own.ip().is_unspecified() && server.ip().is_loopback();
            own.port() == server.port() && (own.ip() == server.ip() || all_of_this_machine)
        }
        (ListenAddress::Unix(own), ServerAddress::Unix(server)) => own == server,
        _ => false,
    }
}
