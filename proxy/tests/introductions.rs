use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::harness::{Proxy, eventually, to};
use crate::origin::Origin;

const EXPECTS: &str = ", trusted_proxies: [ 127.0.0.0/8 ], proxy_protocol";
const HEADER: &str = "PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn a_trusted_peer_says_who_the_client_is() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::with_listener(&format!("{EXPECTS}: required"), &to(&[origin.address]));
    let mut client = proxy.client();
    client.send(HEADER);
    for path in ["/1", "/2"] {
        assert_eq!(client.ask(&get(path)).status, 200);
        assert_eq!(proxy.log_of(path)["client"], "192.0.2.1");
    }
    let mut version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    version_2.extend([203, 0, 113, 5, 198, 51, 100, 1, 3, 232, 1, 187]);
    let mut client = proxy.client();
    client.send(&version_2);
    assert_eq!(client.ask(&get("/3")).status, 200);
    assert_eq!(proxy.log_of("/3")["client"], "203.0.113.5");
    let head = origin.heads()[2].to_ascii_lowercase();
    assert!(head.contains("\r\nx-forwarded-for: 203.0.113.5\r\n"), "{head}");

    let mut without = proxy.client();
    without.send(get("/4"));
    assert!(without.is_closed());
    assert_eq!(origin.requests(), 3);
    let refused = "forebay_proxy_proxy_protocol_refused_total{listener=\"public\"}";
    eventually("the refusal counted", || (proxy.metric(refused) == 1.0).then_some(()));
}

#[test]
fn others_are_not_believed() {
    let origin = Origin::saying("ok");
    let untrusted = ", trusted_proxies: [ 10.0.0.0/8 ], proxy_protocol";
    let required = Proxy::with_listener(&format!("{untrusted}: required"), &to(&[origin.address]));
    let mut client = required.client();
    client.send(format!("{HEADER}{}", get("/1")));
    assert!(client.is_closed());
    let optional = Proxy::with_listener(&format!("{untrusted}: optional"), &to(&[origin.address]));
    let mut client = optional.client();
    client.send(format!("{HEADER}{}", get("/1")));
    assert_eq!(client.response(false).unwrap().status, 400);
    assert_eq!(origin.requests(), 0);
    assert_eq!(optional.get("/2").status, 200);
}

#[test]
fn a_header_is_optional_and_what_it_says_may_be_a_proxy_again() {
    let origin = Origin::saying("ok");
    let chain = ", client_address_header: x-forwarded-for, trusted_proxies: [ 127.0.0.0/8, 192.0.2.0/24 ], proxy_protocol: optional";
    let proxy = Proxy::with_listener(chain, &to(&[origin.address]));
    assert_eq!(proxy.get("/1").status, 200);
    assert_eq!(proxy.log_of("/1")["client"], "127.0.0.1");
    let mut client = proxy.client();
    client.send(HEADER);
    client.ask("GET /2 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert_eq!(proxy.log_of("/2")["client"], "203.0.113.9");
}

/// A listener at a Unix socket beside the usual one.
fn with_socket(path: &std::path::Path, settings: &str, sections: &str) -> Proxy {
    let both = format!(" }}, local: {{ address: 'unix:{}'{settings}", path.display());
    Proxy::with_listener(&both, sections)
}

fn ask(path: &std::path::Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_listener_at_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forebay.sock");
    let origin = Origin::saying("ok");
    // Left over from one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut proxy =
        with_socket(&path, ", client_address_header: x-real-ip", &to(&[origin.address]));
    let plain = ask(&path, "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.1 200") && plain.ends_with("ok"), "{plain}");
    let line = proxy.log_of("/1");
    assert_eq!((line.get("client"), &line["listener"]), (None, &"local".into()));
    assert!(!origin.heads()[0].to_ascii_lowercase().contains("x-forwarded-for"));
    ask(&path, "GET /2 HTTP/1.1\r\nHost: a\r\nX-Real-IP: 203.0.113.9\r\nConnection: close\r\n\r\n");
    assert_eq!(proxy.log_of("/2")["client"], "203.0.113.9");
    let addresses = std::fs::read_to_string(proxy.path("addresses.json")).unwrap();
    assert!(addresses.contains(&format!("unix:{}", path.display())), "{addresses}");
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success());
    assert!(!path.exists(), "the file goes with the proxy");
}

#[test]
fn a_proxy_at_a_unix_socket_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forebay.sock");
    let origin = Origin::saying("ok");
    let proxy = with_socket(&path, ", proxy_protocol: required", &to(&[origin.address]));
    let request = format!("{HEADER}GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(ask(&path, &request).ends_with("ok"));
    assert_eq!(proxy.log_of("/1")["client"], "192.0.2.1");
}

#[test]
fn a_connection_carries_as_many_requests_as_it_may() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::with_listener(
        ", keep_alive_requests_max: 2, backlog_max: 16",
        &to(&[origin.address]),
    );
    let mut client = proxy.client();
    let first = client.ask(&get("/1"));
    assert_ne!(first.header("connection"), Some("close"));
    assert_eq!(client.ask(&get("/2")).header("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(proxy.get("/3").status, 200);
}

#[test]
fn heads_beyond_their_limits_are_refused() {
    let origin = Origin::saying("ok");
    let limits = ", request_head: { bytes_max: 1KiB, headers_max: 4, uri_max: 100B }";
    let proxy = Proxy::with_listener(limits, &to(&[origin.address]));
    let long = "x".repeat(100);
    let large = format!("X: {}\r\n", "y".repeat(1000));
    for (path, fields, status, error) in [
        ("/1".to_owned(), "A: 1\r\nB: 2\r\nC: 3\r\n", 200, None),
        ("/2".to_owned(), "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n", 431, Some("head_too_large")),
        ("/3".to_owned(), &large, 431, Some("head_too_large")),
        (format!("/{long}"), "", 414, Some("target_too_long")),
    ] {
        let mut client = proxy.client();
        let answer = client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(proxy.log_of(&path)["error"].as_str(), error);
    }
    assert_eq!(origin.requests(), 1);
}
