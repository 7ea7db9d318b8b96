//! The proxy document as the edge's instances run it: the file's own, with AWS's addresses, and told by
//! whichever balancer stands before it who the client is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use proxy_config::access_log::LogTarget;
use proxy_config::address::{ListenAddress, ServerAddress};
use proxy_config::listener::{
    CertificateFiles, Listener, ListenerTls, ProxyProtocolIn, TlsVersion,
};
use proxy_config::{Config, Route, Upstream};
use serde_json::json;

use super::{LEDGER_PORT, PROXY_ADMIN_PORT, PROXY_PLAIN_PORT, PROXY_PORT, services};
use crate::environment::aws::Balancer;
use crate::environment::{Environment, Estate, LEDGER, ORIGIN};

/// What a network balancer asks to learn whether an instance is ready.
pub const READY_PATH: &str = "/.forebay/ready";
/// The listener that sends those to TLS who come without it.
const PLAIN: &str = "forebay-plain";
/// Where an instance writes what it reads of the certificate's secret.
pub const CERTIFICATE: &str = "/run/forebay-proxy/certificate.pem";
pub const CERTIFICATE_KEY: &str = "/run/forebay-proxy/key.pem";

pub(super) fn of(environment: &Environment, estate: &Estate) -> String {
    let mut config = environment.proxy.clone();
    for listener in config.listeners.values_mut() {
        listener.address = everywhere(PROXY_PORT);
        told_who_asks(listener, estate);
        if estate.edge.balancer == Balancer::Passthrough {
            listener.tls = Some(tls());
        }
    }
    if estate.edge.balancer != Balancer::Application {
        to_be_asked_by_connections(&mut config, estate);
    }
    config.admin.address = everywhere(PROXY_ADMIN_PORT);
    config.access_log.path = LogTarget::File("/var/log/forebay/access.log".into());
    upstreams(&mut config, environment, estate);
    config.to_yaml()
}

fn everywhere(port: u16) -> ListenAddress {
    ListenAddress::Socket(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
}

/// Only the balancer reaches a listener: whoever that names is the client.
fn told_who_asks(listener: &mut Listener, estate: &Estate) {
    let Ok(network) = estate.network.cidr.parse() else { return };
    listener.trusted_proxies = vec![network];
    if estate.edge.balancer == Balancer::Application {
        listener.client_address_header = Some("x-forwarded-for".to_owned());
    } else {
        listener.client_address_header = None;
        listener.proxy_protocol = Some(ProxyProtocolIn::Required);
    }
}

fn tls() -> ListenerTls {
    ListenerTls {
        refused: None,
        certificates: vec![CertificateFiles {
            certificate: PathBuf::from(CERTIFICATE),
            key: PathBuf::from(CERTIFICATE_KEY),
            password_file: None,
            hosts: Vec::new(),
        }],
        minimum_version: TlsVersion::default(),
        cipher_suites: Vec::new(),
        client_certificates: None,
        session_tickets: None,
        acme: None,
        ocsp_stapling: None,
    }
}

/// A network balancer passes connections on and answers nothing itself: the proxy says that it is ready
/// where requests come in, and sends those to TLS who come without it.
fn to_be_asked_by_connections(config: &mut Config, estate: &Estate) {
    let mut plain = Listener::at(everywhere(PROXY_PLAIN_PORT));
    told_who_asks(&mut plain, estate);
    config.listeners.insert(PLAIN.to_owned(), plain);
    let own = [
        json!({
            "name": PLAIN,
            "match": { "listeners": [PLAIN] },
            "redirect": { "to": "https://$host$request_uri", "status": 301 },
        }),
        json!({
            "name": "forebay-ready",
            "match": { "paths": [{ "exact": READY_PATH }] },
            "respond": { "status": 200 },
            "access_logs": [],
        }),
    ];
    let own: Vec<Route> =
        own.into_iter().filter_map(|it| serde_json::from_value(it).ok()).collect();
    debug_assert_eq!(own.len(), 2, "routes of our own are routes");
    config.routes.splice(0..0, own);
}

/// The upstreams the environment provides, at the addresses AWS has for them.
fn upstreams(config: &mut Config, environment: &Environment, estate: &Estate) {
    match &estate.edge.origin {
        Some(address) => {
            config.upstreams.insert(ORIGIN.to_owned(), Upstream::of([address.clone()]));
        }
        // No route names it; its address would be this machine's.
        None => {
            config.upstreams.remove(ORIGIN);
        }
    }
    let mut provide = |name: &str, host: &str, port: u16| {
        let host = format!("{host}.{}.internal:{port}", environment.name);
        if let Ok(address) = host.parse::<ServerAddress>() {
            config.upstreams.insert(name.to_owned(), Upstream::of([address]));
        }
    };
    if estate.ledger.is_some() {
        provide(LEDGER, "ledger", LEDGER_PORT);
    }
    for (name, port) in services(estate) {
        provide(name, "services", port);
    }
}
