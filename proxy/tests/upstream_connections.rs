use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use crate::harness::{PATIENCE, Proxy, eventually};
use crate::origin::Origin;

fn limited(origin: &Origin, connections: &str, more: &str) -> Proxy {
    let address = origin.address;
    Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{address}' }} ], connections: {{ {connections} }}, {more} }} }}\nroutes: [ {{ name: all, upstream: u }} ]"
    ))
}

/// An origin that answers `/held` when it is told to.
fn holding() -> (Origin, Sender<()>) {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::start(move |exchange| {
        if exchange.target() == "/held" {
            released.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        exchange.answer("ok")
    });
    (origin, release)
}

#[test]
fn requests_beyond_the_connections_wait_and_no_more_than_may() {
    let (origin, release) = holding();
    let limits = "connections_max: 1, idle_max: 1, waiting_max: 1";
    let proxy = limited(&origin, limits, "timeouts: { connect: 20s }");
    let mut held = proxy.client();
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    let mut waiting = proxy.client();
    waiting.send("GET /waiting HTTP/1.1\r\nHost: a\r\n\r\n");
    let gauge = "forebay_proxy_upstream_connections_waiting{upstream=\"u\"}";
    eventually("one that waits", || (proxy.metric(gauge) == 1.0).then_some(()));
    let refused = proxy.get("/refused");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.log_of("/refused")["error"], "no_server");
    assert_eq!(origin.requests(), 1);
    release.send(()).unwrap();
    assert_eq!(held.response(false).unwrap().status, 200);
    assert_eq!(waiting.response(false).unwrap().status, 200);
    assert_eq!(origin.connections(), 1, "the connection is handed on");
    let count = "forebay_proxy_upstream_connections_refused_total{upstream=\"u\"}";
    assert_eq!((proxy.metric(gauge), proxy.metric(count)), (0.0, 1.0));
}

#[test]
fn nobody_waits_longer_than_a_connection_may_take() {
    let (origin, release) = holding();
    let limits = "connections_max: 1, idle_max: 1";
    let proxy = limited(&origin, limits, "timeouts: { connect: 50ms }");
    let mut held = proxy.client();
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    assert_eq!(proxy.get("/late").status, 503);
    release.send(()).unwrap();
    assert_eq!(held.response(false).unwrap().status, 200);
    // The connection is given back a moment after the answer's last byte, for which nobody may wait long here.
    eventually("a connection", || (proxy.get("/after").status == 200).then_some(()));
}

#[test]
fn a_connection_is_closed_after_its_last_request() {
    let origin = Origin::start(|exchange| {
        let last = exchange.header("connection") == Some("close");
        let field = if last { "Connection: close\r\n" } else { "" };
        exchange.write(format!("HTTP/1.1 200 OK\r\n{field}Content-Length: 2\r\n\r\nok")) && !last
    });
    let proxy = limited(&origin, "requests_max: 2", "");
    // On one connection: a request is read when the one before has given its server's back.
    let mut client = proxy.client();
    for path in ["/1", "/2", "/3", "/4", "/5"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(client.ask(&request).status, 200, "{path}");
    }
    let closes: Vec<bool> = origin
        .heads()
        .iter()
        .map(|head| head.to_ascii_lowercase().contains("connection: close"))
        .collect();
    assert_eq!(closes, [false, true, false, true, false]);
    assert_eq!(origin.connections(), 3);
}

#[test]
fn unused_connections_are_kept_only_up_to_their_number() {
    // On one connection: a request is read when the one before has given its server's back.
    let ask = |client: &mut crate::client::Client| {
        client.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").status
    };
    let origin = Origin::saying("ok");
    let proxy = limited(&origin, "idle_max: 1", "");
    let mut client = proxy.client();
    (0..3).for_each(|_| assert_eq!(ask(&mut client), 200));
    assert_eq!(origin.connections(), 1);

    let origin = Origin::saying("ok");
    let proxy = limited(&origin, "idle_max: 0", "");
    let mut client = proxy.client();
    // The connection is closed a moment after its answer.
    eventually("three connections", || {
        assert_eq!(ask(&mut client), 200);
        (origin.connections() == 3).then_some(())
    });
}

/// Requests asked one after another, each on a connection of its own, and the share of connections to the server that were
/// used again.
fn share_kept(proxy: &Proxy, request: &dyn Fn(usize) -> String) -> f64 {
    let connects = |reused| {
        proxy.metric(&format!(
            "forebay_proxy_upstream_connects_total{{reused=\"{reused}\",upstream=\"u\"}}"
        ))
    };
    let before = (connects(true), connects(false));
    for number in 0..200 {
        assert_eq!(proxy.client().ask(&request(number)).status, 200);
    }
    let (kept, new) = (connects(true) - before.0, connects(false) - before.1);
    assert_eq!(kept + new, 200.0);
    kept / 200.0
}

#[test]
fn connections_are_kept_whatever_clients_speak() {
    let kinds: [(&str, &dyn Fn(usize) -> String); 5] = [
        ("HTTP/1.0", &|n| format!("GET /{n} HTTP/1.0\r\nHost: a.example\r\n\r\n")),
        ("close", &|n| {
            format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        }),
        ("a body", &|n| {
            let body = "x".repeat(1 + n * 300);
            let length = body.len();
            format!(
                "POST /{n} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        }),
        ("a large body", &|n| {
            let body = "x".repeat(100_000);
            format!(
                "POST /{n} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n{body}"
            )
        }),
        ("a body in HTTP/1.0", &|n| {
            format!("POST /{n} HTTP/1.0\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody")
        }),
    ];
    for door in ["on", "off"] {
        let origin = Origin::start(|exchange| exchange.body().is_some() && exchange.answer("ok"));
        let address = origin.address;
        let proxy = Proxy::with_door(
            door,
            "",
            &format!(
                "upstreams: {{ u: {{ servers: [ {{ address: '{address}' }} ] }} }}\nroutes: [ {{ name: all, upstream: u }} ]"
            ),
        );
        for (kind, request) in &kinds {
            let share = share_kept(&proxy, request);
            assert!(share >= 0.99, "{kind}, door {door}: {share}");
        }
        assert_eq!(origin.requests(), 1000);
        assert!(!proxy.stderr().contains("ERROR"), "{}", proxy.stderr());
    }
}
