//! Listeners: the addresses of the servers that are translated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use proxy_config::address::ListenAddress;
use proxy_config::listener::{Listener, ListenerTls, ProxyProtocolIn};

use crate::place::Files;
use crate::translate::host::Open;
use crate::translate::listen::Listen;
use crate::translate::scope::Scope;
use crate::translate::site::Site;
use crate::translate::value::slug;
use crate::translate::{certificates, client, patience};
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
    let listens = || live.iter().flat_map(|site| site.listens.iter().map(move |l| (*site, l)));
    let addresses: BTreeSet<SocketAddr> =
        listens().filter_map(|(_, listen)| listen.address.socket()).collect();
    let addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    let where_one = |says: &dyn Fn(&Site<'_>, &Listen<'_>) -> bool| -> BTreeSet<String> {
        let told = listens().filter(|(site, listen)| says(site, listen));
        told.map(|(_, listen)| name(&opened(&listen.address, &addresses))).collect()
    };
    // Where one server of an address speaks TLS, HTTP/2 or the PROXY protocol, all do.
    let tls = where_one(&|site, listen| listen.tls || switched_on(&site.scope, "ssl"));
    let introduced = where_one(&|_, listen| listen.proxy_protocol);
    // Without one that says so, the first server of an address is its default.
    let chosen = where_one(&|_, listen| listen.default_server);
    for (index, site) in sites.iter().enumerate() {
        if !site.is_live() {
            share(site, index, &addresses, &mut found);
            continue;
        }
        for listen in &site.listens {
            let mut differences = listen.differences.clone();
            let address = opened(&listen.address, &addresses);
            if address != listen.address {
                differences.push(format!("taken by the listener on {address}"));
            }
            let name = name(&address);
            let here = found.sites.entry(name.clone()).or_default();
            let is_first = here.is_empty() && !chosen.contains(&name);
            here.push((index, listen.default_server));
            let listener = found
                .listeners
                .entry(name.clone())
                .or_insert_with(|| Listener { http2: false, ..Listener::at(address) });
            listener.http2 |= listen.http2 || switched_on(&site.scope, "http2");
            if listen.proxy_protocol {
                listener.proxy_protocol = Some(ProxyProtocolIn::Read);
            }
            if let Some(line) = site.scope.one("http2") {
                verdicts.add(line, Verdict::exact());
            }
            client::client(&site.scope, listener, introduced.contains(&name), verdicts);
            patience::patience(&site.scope, listener, verdicts);
            let outcome = match tls.contains(&name) {
                true => {
                    certificates::tls(listener, site, (listen.default_server, is_first), verdicts)
                }
                false => Ok(()),
            };
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
    found.listeners.retain(|name, listener| {
        !tls.contains(name) || listener.tls.as_ref().is_some_and(is_spoken)
    });
    let open = &found.listeners;
    found.origins.retain(|name, _| open.contains_key(name));
    found.sites.retain(|name, _| open.contains_key(name));
    found
}

/// Whether anything is shown to anybody, or all are refused.
fn is_spoken(tls: &ListenerTls) -> bool {
    !tls.certificates.is_empty() || tls.refused.as_ref().is_some_and(|refused| refused.unknown)
}

/// A site that is not translated keeps its hosts where others are open.
fn share(site: &Site<'_>, index: usize, addresses: &[SocketAddr], found: &mut Listeners) {
    for listen in &site.listens {
        let address = opened(&listen.address, addresses);
        if address.socket().is_some_and(|address| addresses.contains(&address)) {
            let here = found.sites.entry(name(&address)).or_default();
            here.push((index, listen.default_server));
        }
    }
}

/// The address a listener is opened for, where another takes it.
fn opened(own: &ListenAddress, addresses: &[SocketAddr]) -> ListenAddress {
    let Some(socket) = own.socket() else { return own.clone() };
    let wide = addresses.iter().copied().filter(|other| covers(*other, socket));
    ListenAddress::Socket(
        wide.max_by_key(|address| (address.is_ipv6(), *address)).unwrap_or(socket),
    )
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

fn name(address: &ListenAddress) -> String {
    let Some(address) = address.socket() else { return slug(&address.to_string()) };
    let port = address.port();
    match address.ip() {
        ip if ip.is_unspecified() => format!("port-{port}"),
        ip => format!("{}-{port}", slug(&ip.to_string())),
    }
}
