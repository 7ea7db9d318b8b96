use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Proxy, eventually, to};
use crate::http2::{http2, run};
use crate::origin::Origin;

fn late(what: &str) -> String {
    format!("forebay_proxy_downstream_timeouts_total{{listener=\"public\",what=\"{what}\"}}")
}

fn nobody_is_in_a_lane(proxy: &Proxy) {
    let held = "forebay_proxy_lane_requests_in_flight{lane=\"interactive\"}";
    eventually("an empty lane", || (proxy.metric(held) == 0.0).then_some(()));
}

#[test]
fn a_head_that_drips_is_cut_off_as_a_whole() {
    let origin = Origin::saying("ok");
    let proxy =
        Proxy::with_listener(", timeouts: { head: 300ms, idle: 1h }", &to(&[origin.address]));
    let mut client = TcpStream::connect(proxy.public).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let begun = Instant::now();
    // No pause is ever as long as the time for the whole head.
    while !matches!(client.read(&mut [0]), Ok(0)) {
        assert!(begun.elapsed() < PATIENCE, "the head may drip for ever");
        if client.write_all(b"X: y\r\n").is_err() {
            break;
        }
    }
    eventually("a head that is late", || (proxy.metric(&late("head")) == 1.0).then_some(()));
    assert_eq!(origin.requests(), 0);
    assert_eq!(proxy.get("/").status, 200);
}

#[test]
fn a_body_that_stops_gives_its_place_back() {
    let origin = Origin::start(|exchange| exchange.body().is_some() && exchange.answer("whole"));
    let proxy = Proxy::with_listener(", timeouts: { body: 200ms }", &to(&[origin.address]));
    let mut client = proxy.client();
    client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(client.response(false).unwrap().status, 408);
    run(async {
        let mut sender = http2(tokio::net::TcpStream::connect(proxy.public).await.unwrap()).await;
        let request = http::Request::post("http://a/slow").body(()).unwrap();
        let (response, mut upload) = sender.send_request(request, false).unwrap();
        upload.send_data("hello".into(), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
    });
    nobody_is_in_a_lane(&proxy);
}

#[test]
fn a_client_that_reads_nothing_gives_its_place_back() {
    let origin = Origin::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while exchange.write([0; 65536]) {}
        false
    });
    let proxy = Proxy::with_listener(", timeouts: { write: 200ms }", &to(&[origin.address]));
    let mut client = proxy.client();
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(proxy.log_of("/big")["aborted"], true);
    assert_eq!(proxy.metric(&late("write")), 1.0);
    nobody_is_in_a_lane(&proxy);
}

#[test]
fn connections_above_the_limit_are_closed_and_counted() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::with_listener(", connections_max: 2", &to(&[origin.address]));
    let mut open = [proxy.client(), proxy.client()];
    for client in &mut open {
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    }
    let mut third = TcpStream::connect(proxy.public).unwrap();
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)));
    let refused = "forebay_proxy_downstream_connections_refused_total{listener=\"public\"}";
    eventually("the refusal counted", || (proxy.metric(refused) == 1.0).then_some(()));
    drop(open);
    eventually("room for another", || {
        let mut client = TcpStream::connect(proxy.public).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).ok().filter(|()| &answer == b"HTTP/1.1 200")
    });
}

#[test]
fn a_small_body_that_drips_takes_nobodys_place() {
    drips_beside_others("");
}

/// The same where the proxy reads the body itself.
#[test]
fn nor_where_a_policy_holds_bodies() {
    drips_beside_others(", buffer_policy: whole");
}

fn drips_beside_others(more: &str) {
    let origin = Origin::start(|exchange| {
        let Some(body) = exchange.body() else { return false };
        exchange.answer(&format!("{} {}", exchange.target(), String::from_utf8_lossy(&body)))
    });
    let proxy = Proxy::start(&format!(
        "{}\nlanes: {{ interactive: {{ requests_max: 1, waiting_max: 0 }} }}\nbuffer_policies: {{ whole: {{ preset: api }} }}",
        to(&[origin.address]).replace("upstream: u }", &format!("upstream: u{more} }}"))
    ));
    let mut slow: Vec<_> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut slow {
        client.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    }
    let gathered = "forebay_proxy_gathered_bodies_bytes";
    eventually("what has come so far", || (proxy.metric(gathered) == 100.0).then_some(()));
    let post = "POST /quick HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.client().ask(post).text(), "/quick hi");
    nobody_is_in_a_lane(&proxy);
    assert_eq!(origin.requests(), 1, "nothing is asked for what has not come");
    for client in &mut slow {
        client.send("world");
        assert_eq!(client.response(false).unwrap().text(), "/slow helloworld");
        nobody_is_in_a_lane(&proxy);
    }
    eventually("nothing held", || (proxy.metric(gathered) == 0.0).then_some(()));
}
