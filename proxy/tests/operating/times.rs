//! How long things may take: the times of upstreams and routes, and names that are looked up again.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Proxy, eventually, upstream};
use crate::origin::Origin;

/// Answers as slowly as the path says.
fn slow() -> Origin {
    Origin::start(|exchange| {
        exchange.body();
        let target = exchange.target().to_owned();
        if target.starts_with("/late") {
            return exchange.is_closed();
        }
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        if target.starts_with("/stops") {
            return exchange.is_closed();
        }
        // No pause is long, and it would take ten seconds.
        for _ in 0..1000 {
            if !exchange.write("x") {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    })
}

#[test]
fn a_routes_times_stand_in_place_of_its_upstreams() {
    let origin = slow();
    // Long where something is to come at once before it is late: a busy machine takes its time for that.
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {} }}\nroutes:\n\
         - {{ name: first, match: {{ paths: [ {{ prefix: /late }} ] }}, upstream: u, timeouts: {{ first_byte: 150ms }} }}\n\
         - {{ name: read, match: {{ paths: [ {{ prefix: /stops }} ] }}, upstream: u, timeouts: {{ read: 2s }} }}\n\
         - {{ name: total, upstream: u, timeouts: {{ total: 3s }} }}",
        upstream(&[origin.address]),
    ));
    let begun = Instant::now();
    assert_eq!(proxy.get("/late").status, 504);
    let late =
        proxy.client().ask("POST /late/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(late.status, 504);
    let stopped = proxy.get("/stops");
    assert_eq!((stopped.status, stopped.whole), (200, false));
    let dripped = proxy.get("/drips");
    assert_eq!((dripped.status, dripped.whole), (200, false));
    assert!(!dripped.body.is_empty() && dripped.body.len() < 1000);
    assert!(begun.elapsed() < PATIENCE, "not the times of the upstream");
    assert_eq!(proxy.log_of("/drips")["error"], "upstream_timeout");
    assert_eq!(proxy.log_of("/late")["error"], "upstream_timeout");
}

/// A DNS server that knows one name, and answers or not.
struct Dns {
    address: SocketAddr,
    is: Arc<Mutex<Vec<Ipv4Addr>>>,
    silent: Arc<AtomicBool>,
}

impl Dns {
    fn start(is: &[Ipv4Addr]) -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = Dns {
            address: socket.local_addr().unwrap(),
            is: Arc::new(Mutex::new(is.to_vec())),
            silent: Arc::default(),
        };
        let (is, silent) = (Arc::clone(&dns.is), Arc::clone(&dns.silent));
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let answer = answer(&query[..length], &is.lock().unwrap());
                let answer = match silent.load(Ordering::SeqCst) {
                    // SERVFAIL
                    true => [&query[..2], &[0x81, 0x82][..], &answer[4..]].concat(),
                    false => answer,
                };
                let _ = socket.send_to(&answer, from);
            }
        });
        dns
    }
}

/// An answer with these addresses that may be kept for a second (RFC 1035 section 4).
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..name_end + 4];
    let is_a = query[name_end..name_end + 2] == [0, 1];
    let addresses = if is_a { addresses } else { &[] };
    let count = u8::try_from(addresses.len()).unwrap();
    let mut answer = [&query[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for address in addresses {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

#[test]
fn a_name_is_looked_up_again_and_its_last_addresses_outlive_its_server() {
    // The same port at two addresses.
    let one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = one.local_addr().unwrap().port();
    let two = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    for (listener, body) in [(one, "one"), (two, "two")] {
        Origin::on(listener, move |exchange| exchange.body().is_some() && exchange.answer(body));
    }
    let (first, second) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let dns = Dns::start(&[first]);
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: 'app.example:{port}' }} ], \
         resolve: {{ interval_min: 100ms, interval_max: 200ms, servers: ['{}'] }} }} }}\n\
         routes: [ {{ name: all, upstream: u }} ]",
        dns.address
    ));
    let counted = |result| {
        proxy.metric(&format!(
            "forebay_proxy_upstream_lookups_total{{result=\"{result}\",upstream=\"u\"}}"
        ))
    };
    assert_eq!(proxy.get("/").text(), "one");
    *dns.is.lock().unwrap() = vec![first, second];
    eventually("the second address", || (proxy.get("/").text() == "two").then_some(()));
    let server =
        format!("forebay_proxy_upstream_addresses{{server=\"app.example:{port}\",upstream=\"u\"}}");
    assert_eq!(proxy.metric(&server), 2.0);
    let both: std::collections::BTreeSet<_> = (0..4).map(|_| proxy.get("/").text()).collect();
    assert_eq!(both.len(), 2, "they take turns");
    *dns.is.lock().unwrap() = vec![second];
    // Counted last: by then it is in force.
    eventually("the first is gone", || (counted("changed") >= 2.0).then_some(()));
    assert_eq!(proxy.metric(&server), 1.0);
    assert_eq!(proxy.get("/").text(), "two");
    dns.silent.store(true, Ordering::SeqCst);
    eventually("a look-up in vain", || (counted("failed") >= 1.0).then_some(()));
    assert_eq!(proxy.get("/").text(), "two", "the last known address stays");
    assert!(counted("changed") >= 2.0 && counted("same") >= 0.0);
    assert!(!proxy.reload(), "a document whose names cannot be found is not taken");
    assert_eq!(proxy.get("/").text(), "two");
}
