use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::harness::{Proxy, eventually};
use crate::origin::Origin;

const IN_FLIGHT: &str = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";

fn start(origin: &Origin, requests_max: u32) -> Proxy {
    Proxy::start(&sections(origin, requests_max))
}

fn sections(origin: &Origin, requests_max: u32) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
routes:
  - {{ name: films, match: {{ paths: [ {{ prefix: /film/ }} ] }}, upstream: u, lane: bulk }}
  - {{ name: pay, upstream: u, lane: transactions }}
lanes: {{ bulk: {{ requests_max: {requests_max} }} }}",
        origin.address
    )
}

/// Requests for films are held until the test says so; everything else is answered at once.
fn holding() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |exchange| {
        if exchange.target().starts_with("/film/") {
            let _ = held.lock().unwrap().recv();
        }
        exchange.answer("ok")
    });
    (origin, release)
}

#[test]
fn a_full_lane_sheds_and_takes_nothing_from_another() {
    let (origin, release) = holding();
    let proxy = start(&origin, 2);
    let mut held: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut held {
        client.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    origin.wait_for_requests(2);
    let shed = proxy.get("/film/2");
    assert_eq!((shed.status, shed.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.get("/pay").status, 200, "the lane of transactions has room");
    assert_eq!(proxy.metric(IN_FLIGHT), 2.0);
    assert_eq!(proxy.metric("forebay_proxy_lane_shed_total{lane=\"bulk\"}"), 1.0);
    let line = proxy.log_of("/film/2");
    assert_eq!((line["error"].as_str(), line["lane"].as_str()), (Some("lane_full"), Some("bulk")));
    drop(release);
    for client in &mut held {
        assert_eq!(client.response(false).unwrap().status, 200);
    }
    eventually("an empty lane", || (proxy.metric(IN_FLIGHT) == 0.0).then_some(()));
    assert_eq!(proxy.get("/film/3").status, 200);
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    let (origin, _release) = holding();
    let proxy = start(&origin, 1);
    for round in 1..=3 {
        let mut client = proxy.client();
        client.send(format!("GET /film/{round} HTTP/1.1\r\nHost: a\r\n\r\n"));
        origin.wait_for_requests(round);
        client.leave();
        eventually("the place back", || (proxy.metric(IN_FLIGHT) == 0.0).then_some(()));
        let line = proxy.log_of(&format!("/film/{round}"));
        assert_eq!((line["aborted"].as_bool(), line["status"].as_u64()), (Some(true), None));
        assert_eq!(line["error"], "client_gone");
    }
}

#[test]
fn a_client_that_leaves_mid_body_closes_the_upstream_connection() {
    let (told, closed) = channel::<bool>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        told.lock().unwrap().send(exchange.is_closed()).unwrap();
        false
    });
    let proxy = start(&origin, 1);
    let mut client = proxy.client();
    client.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.chunk().unwrap(), b"hi");
    client.leave();
    assert!(closed.recv_timeout(crate::harness::PATIENCE).unwrap());
    eventually("the place back", || (proxy.metric(IN_FLIGHT) == 0.0).then_some(()));
    let line = proxy.log_of("/film/1");
    assert_eq!((line["aborted"].as_bool(), line["status"].as_u64()), (Some(true), Some(200)));
}

#[test]
fn a_reload_keeps_the_count_and_changes_the_limit() {
    let (origin, release) = holding();
    let proxy = start(&origin, 1);
    let mut held = proxy.client();
    held.send("GET /film/1 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    assert!(proxy.reload());
    assert_eq!(proxy.get("/film/2").status, 503, "the request of the old generation still counts");
    proxy.rewrite(&sections(&origin, 2));
    assert!(proxy.reload());
    assert_eq!(proxy.metric("forebay_proxy_lane_requests_max{lane=\"bulk\"}"), 2.0);
    let mut second = proxy.client();
    second.send("GET /film/3 HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(2);
    drop(release);
    assert_eq!(held.response(false).unwrap().status, 200);
    assert_eq!(second.response(false).unwrap().status, 200);
}
