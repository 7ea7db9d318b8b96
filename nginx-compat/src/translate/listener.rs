//! Listeners: the addresses of the servers that are translated, with one certificate each.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use proxy_config::address::ListenAddress;
use proxy_config::listener::{CertificateFiles, Listener, ListenerTls, TlsVersion};

use crate::place::Files;
use crate::translate::client;
use crate::translate::host::Open;
use crate::translate::scope::Scope;
use crate::translate::site::Site;
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// The listeners by name, and for each the lines of the comment above it.
#[derive(Debug, Default)]
pub struct Listeners {
    pub listeners: BTreeMap<String, Listener>,
    pub origins: BTreeMap<String, Vec<String>>,
    pub sites: Open,
}

/// Opens the addresses of all live sites. A specific address beside the same port on all
/// addresses is taken by the latter, as the system allows no other way.
pub fn open(sites: &[Site<'_>], files: &Files, verdicts: &mut Verdicts) -> Listeners {
    let mut found = Listeners::default();
    let live: Vec<&Site<'_>> = sites.iter().filter(|site| site.is_live()).collect();
    let addresses: Vec<SocketAddr> =
        live.iter().flat_map(|site| &site.listens).map(|listen| listen.address).collect();
    for (index, site) in sites.iter().enumerate() {
        if !site.is_live() {
            share(site, index, &addresses, &mut found);
            continue;
        }
        for listen in &site.listens {
            let mut differences = listen.differences.clone();
            let address = opened(listen.address, &addresses);
            if address != listen.address {
                differences.push(format!("taken by the listener on {address}"));
            }
            let name = name(address);
            let here = found.sites.entry(name.clone()).or_default();
            here.push((index, listen.default_server));
            let listener = found.listeners.entry(name.clone()).or_insert_with(|| Listener {
                http2: false,
                ..Listener::at(ListenAddress::Socket(address))
            });
            listener.http2 |= listen.http2 || switched_on(&site.scope, "http2");
            if let Some(line) = site.scope.one("http2") {
                verdicts.add(line, Verdict::exact());
            }
            client::client(&site.scope, listener, verdicts);
            let wants_tls = listen.tls || switched_on(&site.scope, "ssl");
            let outcome = if wants_tls { tls(listener, site, verdicts) } else { Ok(()) };
            if let Some(line) = listen.directive {
                let verdict = match outcome {
                    Ok(()) => Verdict::with_differences(&differences),
                    Err(why) => Verdict::unsupported(why),
                };
                verdicts.add(line, verdict);
                let origin = format!("{}: {}", files.line(line.start), line.heading());
                found.origins.entry(name).or_default().push(origin);
            } else {
                let origin = format!("{}: server without listen", files.line(site.directive.start));
                found.origins.entry(name).or_default().push(origin);
            }
        }
    }
    // A listener that was to speak TLS and has no certificate must not speak cleartext instead.
    found
        .listeners
        .retain(|_, listener| listener.tls.as_ref().is_none_or(|tls| !tls.certificates.is_empty()));
    let open = &found.listeners;
    found.origins.retain(|name, _| open.contains_key(name));
    found.sites.retain(|name, _| open.contains_key(name));
    found
}

/// A site that is not translated keeps its hosts where others are open.
fn share(site: &Site<'_>, index: usize, addresses: &[SocketAddr], found: &mut Listeners) {
    for listen in &site.listens {
        let address = opened(listen.address, addresses);
        if addresses.contains(&address) {
            let here = found.sites.entry(name(address)).or_default();
            here.push((index, listen.default_server));
        }
    }
}

/// The address a listener is opened for, where another takes it.
fn opened(own: SocketAddr, addresses: &[SocketAddr]) -> SocketAddr {
    let wide = addresses.iter().copied().filter(|other| covers(*other, own));
    wide.max_by_key(|address| (address.is_ipv6(), *address)).unwrap_or(own)
}

fn switched_on(scope: &Scope<'_>, name: &str) -> bool {
    scope.one(name).is_some_and(|directive| directive.has("on"))
}

/// `[::]` takes IPv4 too.
fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let all = match wide.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && narrow.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    all && wide.port() == narrow.port() && wide != narrow
}

fn name(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("port-{port}"),
        ip => format!("{}-{port}", crate::translate::value::slug(&ip.to_string())),
    }
}

fn tls(listener: &mut Listener, site: &Site<'_>, verdicts: &mut Verdicts) -> Result<(), String> {
    let tls = listener.tls.get_or_insert_with(empty_tls);
    if let Some(line) = site.scope.one("ssl") {
        verdicts.add(line, Verdict::exact());
    }
    minimum_version(tls, &site.scope, verdicts);
    let certificates = site.scope.effective("ssl_certificate");
    let keys = site.scope.effective("ssl_certificate_key");
    if certificates.is_empty() || certificates.len() != keys.len() {
        return Err("nginx refuses it: there is no ssl_certificate with its key".to_owned());
    }
    for (certificate, key) in certificates.iter().zip(keys) {
        let verdict = add_certificate(tls, certificate, key);
        verdicts.add(certificate, verdict.clone());
        verdicts.add(key, verdict);
    }
    match tls.certificates.is_empty() {
        true => Err("it has no certificate Forebay can load; it is not opened".to_owned()),
        false => Ok(()),
    }
}

fn empty_tls() -> ListenerTls {
    ListenerTls {
        certificates: Vec::new(),
        minimum_version: TlsVersion::V1_2,
        cipher_suites: Vec::new(),
        client_certificates: None,
        session_tickets: None,
        acme: None,
        ocsp_stapling: None,
    }
}

fn add_certificate(tls: &mut ListenerTls, certificate: &Directive, key: &Directive) -> Verdict {
    let (Some(chain), Some(private)) = (certificate.argument(0), key.argument(0)) else {
        return Verdict::unsupported("it names no file");
    };
    let foreign = |text: &str| text.contains('$') || text.contains(':');
    if foreign(chain) || foreign(private) {
        return Verdict::unsupported("certificates are loaded from files only");
    }
    if chain == private {
        return Verdict::unsupported("put the key into a file of its own");
    }
    let (certificate, key) = (PathBuf::from(chain), PathBuf::from(private));
    let relative = certificate.is_relative() || key.is_relative();
    let files = CertificateFiles { certificate, key, hosts: Vec::new() };
    match tls.certificates.first() {
        Some(first) if *first != files => {
            return Verdict::unsupported(
                "a listener shows one certificate as yet; use one that has all names",
            );
        }
        Some(_) => {}
        None => tls.certificates.push(files),
    }
    match relative {
        true => Verdict::approximate(
            "nginx starts relative paths at its own directory, Forebay where it is started",
        ),
        false => Verdict::exact(),
    }
}

fn minimum_version(tls: &mut ListenerTls, scope: &Scope<'_>, verdicts: &mut Verdicts) {
    let Some(line) = scope.one("ssl_protocols") else { return };
    let mut differences = Vec::new();
    let old: Vec<&str> =
        line.texts().filter(|version| !["TLSv1.2", "TLSv1.3"].contains(version)).collect();
    if !old.is_empty() {
        differences.push(format!("clients that speak only {} cannot connect", old.join(", ")));
    }
    match (line.has("TLSv1.2"), line.has("TLSv1.3")) {
        (_, true) if !line.has("TLSv1.2") && old.is_empty() => {
            tls.minimum_version = TlsVersion::V1_3;
        }
        (true, true) => {}
        _ => differences.push("Forebay speaks TLS 1.3 too".to_owned()),
    }
    verdicts.add(line, Verdict::with_differences(&differences));
}
