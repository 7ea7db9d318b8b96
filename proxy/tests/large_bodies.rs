//! Bodies of which the kernel moves the most: to the byte what was sent, in order, and broken where their origin's are.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use crate::caching::cached;
use crate::client::Client;
use crate::harness::{PATIENCE, Proxy, eventually};
use crate::origin::Origin;

const LENGTH: usize = 3_000_000;

/// Bytes whose place shows.
fn body() -> Vec<u8> {
    (0..LENGTH).map(|at| u8::try_from(at * 7 / 3 % 251).unwrap()).collect()
}

fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nETag: \"v\"\r\n{fields}Content-Length: {LENGTH}\r\n\r\n")
}

fn whole(fields: &'static str) -> Origin {
    Origin::start(move |exchange| exchange.write(head(fields)) && exchange.write(body()))
}

/// An origin that waits between the parts of its body until it is told to go on.
fn halting(parts: &'static [usize]) -> (Origin, Sender<()>) {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write(head(""));
        for bounds in parts.windows(2) {
            exchange.write(&body()[bounds[0]..bounds[1]]);
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        // A body that is not whole is broken off.
        parts.last() == Some(&LENGTH)
    });
    (origin, go_on)
}

fn through(origin: &Origin, lane: &str) -> Proxy {
    Proxy::start(&format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ], retries: {{ attempts_max: 1 }} }} }}
routes: [ {{ name: all, upstream: u, lane: {lane} }} ]",
        origin.address
    ))
}

fn get(client: &mut Client, rest: &str) {
    client.send(format!("GET /film HTTP/1.1\r\nHost: a.example\r\n{rest}\r\n"));
}

#[test]
fn a_body_passed_through_arrives_as_it_was_sent_on_connections_that_go_on() {
    for lane in ["bulk", "transactions"] {
        let origin = whole("");
        let proxy = through(&origin, lane);
        let mut client = proxy.client();
        for _ in 0..3 {
            // The second request is there while the first is being answered.
            get(&mut client, "");
            get(&mut client, "");
            for _ in 0..2 {
                assert!(client.response(false).unwrap().body == body(), "{lane}");
            }
        }
        assert_eq!((origin.requests(), origin.connections()), (6, 1), "{lane}");
    }
}

#[test]
fn what_came_is_sent_before_more_comes() {
    let (origin, go_on) = halting(&[0, 10, 200_000, 200_001, LENGTH]);
    let proxy = through(&origin, "bulk");
    let mut client = proxy.client();
    get(&mut client, "");
    assert_eq!(client.head().unwrap().0, 200);
    for bounds in [0, 10, 200_000, 200_001, LENGTH].windows(2) {
        let count = bounds[1] - bounds[0];
        assert!(client.bytes(count) == body()[bounds[0]..bounds[1]], "{bounds:?}");
        go_on.send(()).unwrap();
    }
}

#[test]
fn what_breaks_off_at_the_origin_breaks_off_at_the_client() {
    let (origin, go_on) = halting(&[0, 1_000_000]);
    let proxy = through(&origin, "bulk");
    let mut client = proxy.client();
    get(&mut client, "");
    assert_eq!(client.head().unwrap().0, 200);
    assert!(client.bytes(1_000_000) == body()[..1_000_000]);
    go_on.send(()).unwrap();
    assert!(client.is_closed());
    let line = proxy.log_of("/film");
    assert_eq!(
        (&line["error"], &line["bytes_out"]),
        (&"upstream_broken".into(), &1_000_000.into())
    );
}

#[test]
fn a_client_that_leaves_frees_its_place_though_the_origin_says_nothing() {
    let (origin, go_on) = halting(&[0, 1_000_000, LENGTH]);
    let proxy = through(&origin, "bulk");
    let mut client = proxy.client();
    get(&mut client, "");
    assert_eq!(client.head().unwrap().0, 200);
    client.bytes(1_000_000);
    client.leave();
    let in_flight = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";
    eventually("an empty lane", || (proxy.metric(in_flight) == 0.0).then_some(()));
    assert_eq!(proxy.log_of("/film")["error"], "client_gone");
    go_on.send(()).unwrap();
}

#[test]
fn a_stored_body_is_sent_from_its_pages_and_they_go_with_it() {
    let origin = whole("Cache-Control: max-age=600\r\n");
    let proxy = Proxy::start(&cached(&origin, ""));
    let pages = || proxy.metric("forebay_proxy_cache_paged_bodies{cache=\"main\"}");
    let mut client = proxy.client();
    for _ in 0..3 {
        get(&mut client, "");
        get(&mut client, "Range: bytes=1000-2500000\r\n");
        assert!(client.response(false).unwrap().body == body());
        assert!(client.response(false).unwrap().body == body()[1000..=2_500_000]);
        assert_eq!(pages(), 1.0);
    }
    assert_eq!(origin.requests(), 1);
    proxy.rewrite(&cached(&origin, "").replace("64MiB", "1MiB, object_memory_max: 1MiB"));
    assert!(proxy.reload());
    eventually("pages given back", || (pages() == 0.0).then_some(()));
}
