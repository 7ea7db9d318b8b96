use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};

use crate::authority::{Authority, Pair};
use crate::harness::{Proxy, eventually, to};
use crate::http2::run;
use crate::origin::Origin;

fn proxy(origin: &Origin, tls: &str) -> Proxy {
    Proxy::with_listener(&format!(", tls: {{ {tls} }}"), &to(&[origin.address]))
}

pub fn client(
    authority: &Authority,
    identity: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(authority.roots());
    Arc::new(match identity {
        Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private()).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

pub async fn connect(
    proxy: &Proxy,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(proxy.public).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// The status of a GET on this connection; none when it does not get that far.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        answer.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn the_certificate_is_chosen_by_name_and_a_reload_drops_no_connection() {
    let authority = Authority::new();
    let origin = Origin::saying("ok");
    let one = authority.issue("one", &["one.example"]);
    let two = authority.issue("two", &["two.example", "*.two.example"]);
    let certificates = format!("certificates: [ {}, {} ]", one.yaml(), two.yaml());
    let proxy = proxy(&origin, &certificates);
    let config = client(&authority, None, &[&TLS13]);
    run(async {
        let mut kept = connect(&proxy, &config, "one.example").await.unwrap();
        assert_eq!(shown(&kept), one.chain()[0]);
        for name in ["two.example", "a.two.example"] {
            assert_eq!(shown(&connect(&proxy, &config, name).await.unwrap()), two.chain()[0]);
        }
        assert!(connect(&proxy, &config, "three.example").await.is_err(), "the first is shown");
        assert_eq!(get(&mut kept, "/before").await, Some(200));
        let new = authority.issue("one", &["one.example", "three.example"]);
        assert!(proxy.reload());
        assert_eq!(
            shown(&connect(&proxy, &config, "three.example").await.unwrap()),
            new.chain()[0]
        );
        assert_eq!(get(&mut kept, "/after").await, Some(200), "on the connection from before");
    });
}

#[test]
fn a_clients_certificate_is_asked_for_verified_and_told() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = Origin::saying("ok");
    let server = authority.issue("server", &["a.example"]);
    let tells = "request_headers: { set: { x-subject: $client_subject, x-fingerprint: $client_fingerprint } }";
    for mode in ["required", "optional"] {
        let asks = format!(
            ", tls: {{ certificates: [ {} ], client_certificates: {{ authorities: {}, mode: {mode} }} }}",
            server.yaml(),
            authority.file().display()
        );
        let sections =
            to(&[origin.address]).replace("upstream: u }", &format!("upstream: u, {tells} }}"));
        let proxy = Proxy::with_listener(&asks, &sections);
        let ask = |identity: Option<&Pair>| {
            let config = client(&authority, identity, &[&TLS13]);
            run(async {
                let mut stream = connect(&proxy, &config, "a.example").await.ok()?;
                get(&mut stream, "/").await
            })
        };
        let own = authority.issue("client of a test", &["client.example"]);
        let before = origin.requests();
        assert_eq!(ask(Some(&own)), Some(200), "{mode}");
        let head = origin.heads()[before].to_ascii_lowercase();
        assert!(head.contains("x-subject: cn=client of a test\r\n"), "{head}");
        assert_eq!(ask(Some(&stranger.issue("x", &["x.example"]))), None, "{mode}");
        let without = ask(None);
        assert_eq!(without, (mode == "optional").then_some(200), "{mode}");
        if mode == "optional" {
            let head = origin.heads()[before + 1].to_ascii_lowercase();
            assert!(head.contains("x-subject: \r\n") || !head.contains("x-subject: cn"), "{head}");
        }
    }
}

async fn kind(proxy: &Proxy, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut stream = connect(proxy, config, "a.example").await.unwrap();
    // Tickets of TLS 1.3 come with the first bytes of an answer.
    assert_eq!(get(&mut stream, "/").await, Some(200));
    stream.get_ref().1.handshake_kind().unwrap()
}

#[test]
fn sessions_are_resumed_after_a_reload_and_by_a_proxy_that_shares_the_secret() {
    let authority = Authority::new();
    let origin = Origin::saying("ok");
    let server = authority.issue("server", &["a.example"]);
    let secret = authority.path("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let certificates = format!("certificates: [ {} ]", server.yaml());
    let shared = format!("{certificates}, session_tickets: {{ key_file: {} }}", secret.display());
    for version in [&TLS12, &TLS13] {
        let own = proxy(&origin, &certificates);
        let (one, other) = (proxy(&origin, &shared), proxy(&origin, &shared));
        run(async {
            let config = client(&authority, None, &[version]);
            assert_eq!(kind(&own, &config).await, HandshakeKind::Full);
            assert_eq!(kind(&own, &config).await, HandshakeKind::Resumed);
            assert!(own.reload());
            assert_eq!(kind(&own, &config).await, HandshakeKind::Resumed);
            assert_eq!(kind(&one, &config).await, HandshakeKind::Full);
            assert_eq!(kind(&other, &config).await, HandshakeKind::Resumed);
        });
    }
}

#[test]
fn only_the_suites_of_the_document_are_spoken() {
    let authority = Authority::new();
    let origin = Origin::saying("ok");
    let server = authority.issue("server", &["a.example"]);
    let suites = "cipher_suites: [ TLS_CHACHA20_POLY1305_SHA256 ]";
    let proxy = proxy(&origin, &format!("certificates: [ {} ], {suites}", server.yaml()));
    run(async {
        let config = client(&authority, None, &[&TLS13]);
        let stream = connect(&proxy, &config, "a.example").await.unwrap();
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(format!("{suite:?}"), "TLS13_CHACHA20_POLY1305_SHA256");
        let old = client(&authority, None, &[&TLS12]);
        assert!(connect(&proxy, &old, "a.example").await.is_err());
    });
    let failures = "forebay_proxy_tls_handshake_failures_total{listener=\"public\"}";
    eventually("the failure counted", || (proxy.metric(failures) == 1.0).then_some(()));
}

#[test]
fn names_are_refused_in_the_handshake() {
    let authority = Authority::new();
    let (good, origin) = (authority.issue("good", &["*.shop.example"]), Origin::saying("ok"));
    let certificates = format!("certificates: [ {} ]", good.yaml());
    let tls = format!("{certificates}, refused: {{ unknown: true, hosts: [ bad.shop.example ] }}");
    let proxy = proxy(&origin, &tls);
    let config = client(&authority, None, &[&TLS13, &TLS12]);
    run(async {
        let mut stream = connect(&proxy, &config, "good.shop.example").await.unwrap();
        assert_eq!(get(&mut stream, "/").await, Some(200));
        for name in ["bad.shop.example", "other.test"] {
            let fault = connect(&proxy, &config, name).await.unwrap_err().to_string();
            assert!(fault.contains("AccessDenied"), "{fault}");
        }
    });
    let failures = "forebay_proxy_tls_handshake_failures_total{listener=\"public\"}";
    eventually("both failures counted", || (proxy.metric(failures) >= 2.0).then_some(()));
}
