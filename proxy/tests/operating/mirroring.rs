//! Copies of requests, over the wire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{Proxy, dead_address, eventually};
use crate::origin::Origin;

fn document(origin: &Origin, shadow: std::net::SocketAddr, settings: &str) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }}, shadow: {{ servers: [ {{ address: '{shadow}' }} ] }} }}\n\
         routes: [ {{ name: all, upstream: u, request_headers: {{ set: {{ x-edited: yes }} }}, mirror: {{ upstream: shadow{settings} }} }} ]",
        origin.address,
    )
}

fn count(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric(&format!(
        "forebay_proxy_mirror_requests_total{{result=\"{result}\",route=\"all\"}}"
    ))
}

#[test]
fn another_upstream_gets_a_copy_of_each_request() {
    let origin = Origin::saying("real");
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&bodies);
    let shadow = Origin::start(move |exchange| {
        let Some(body) = exchange.body() else { return false };
        let line = exchange.head.lines().next().unwrap().to_owned();
        let edited = exchange.header("x-edited").unwrap_or("no").to_owned();
        kept.lock().unwrap().push(format!("{line} {} {edited}", String::from_utf8_lossy(&body)));
        exchange.write("HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad")
    });
    let proxy = Proxy::start(&document(&origin, shadow.address, ", body_max: 10B"));
    assert_eq!(proxy.get("/a?b").text(), "real");
    let mut client = proxy.client();
    let post = |length: usize, body: &str| {
        format!("POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    assert_eq!(client.ask(&post(5, "hello")).text(), "real");
    assert_eq!(client.ask(&post(11, "hello there")).text(), "real");
    let chunked = "POST /c HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).text(), "real");
    eventually("copies", || (count(&proxy, "answered") >= 3.0).then_some(()));
    let mut seen = bodies.lock().unwrap().clone();
    seen.sort();
    assert_eq!(
        seen,
        ["GET /a?b HTTP/1.1  yes", "POST /c HTTP/1.1 hi yes", "POST /p HTTP/1.1 hello yes"]
    );
    assert_eq!(count(&proxy, "body_too_large"), 1.0);
}

#[test]
fn several_upstreams_get_copies_with_or_without_bodies() {
    for (settings, kept) in [("", "hello"), (", body: false", "")] {
        let (origin, shadow) = (Origin::saying("real"), Origin::saying("shadow"));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let of_other = Arc::clone(&seen);
        let other = Origin::start(move |exchange| {
            let Some(body) = exchange.body() else { return false };
            let line = exchange.head.lines().next().unwrap().to_owned();
            of_other.lock().unwrap().push(format!("{line} {}", String::from_utf8_lossy(&body)));
            exchange.answer("other")
        });
        let more =
            format!(", others: [ {{ upstream: other, path: '/copy$request_uri' }} ]{settings}");
        let text = document(&origin, shadow.address, &more).replace(
            "upstreams: {",
            &format!("upstreams: {{ other: {{ servers: [ {{ address: '{}' }} ] }},", other.address),
        );
        let proxy = Proxy::start(&text);
        let ask = "POST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(proxy.client().ask(ask).text(), "real");
        eventually("copies", || (count(&proxy, "answered") >= 2.0).then_some(()));
        assert_eq!(shadow.requests(), 1);
        assert_eq!(*seen.lock().unwrap(), [format!("POST /copy/p?q HTTP/1.1 {kept}")]);
    }
}

#[test]
fn a_mirror_that_hangs_or_is_gone_costs_the_client_nothing() {
    let origin = Origin::saying("real");
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let shadow = Origin::start(move |exchange| {
        eventually("release", || released.load(Ordering::SeqCst).then_some(()));
        exchange.answer("late")
    });
    let proxy = Proxy::start(&document(&origin, shadow.address, ", in_flight_max: 2"));
    for _ in 0..5 {
        assert_eq!(proxy.get("/").text(), "real");
    }
    assert_eq!(count(&proxy, "left_out"), 3.0);
    let in_flight = "forebay_proxy_mirror_requests_in_flight{route=\"all\"}";
    eventually("copies under way", || (proxy.metric(in_flight) == 2.0).then_some(()));
    release.store(true, Ordering::SeqCst);
    eventually("copies", || (count(&proxy, "answered") >= 2.0).then_some(()));

    let proxy = Proxy::start(&document(&origin, dead_address(), ""));
    assert_eq!(proxy.get("/").text(), "real");
    eventually("a copy that failed", || (count(&proxy, "failed") >= 1.0).then_some(()));
}

#[test]
fn copies_take_the_memory_of_their_lane_and_come_to_nothing_where_it_has_none() {
    let (origin, shadow) = (Origin::saying("same"), Origin::saying("same"));
    let settings = ", body_max: 64MiB, compare: true";
    let sections = document(&origin, shadow.address, settings);
    let proxy = Proxy::start(&format!("lanes: {{ bulk: {{ memory_max: 1MiB }} }}\n{sections}"));
    let large = "x".repeat(3 << 20);
    let post = |body: &str| {
        let length = body.len();
        let ask = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        assert_eq!(proxy.client().ask(&ask).text(), "same");
    };
    post(&large);
    eventually("a copy given up", || (count(&proxy, "no_memory") == 1.0).then_some(()));
    let compared = |result: &str| {
        proxy.metric(&format!(
            "forebay_proxy_mirror_comparisons_total{{result=\"{result}\",route=\"all\"}}"
        ))
    };
    eventually("half a comparison", || (compared("incomplete") == 1.0).then_some(()));
    let held = "forebay_proxy_lane_memory_bytes{lane=\"bulk\"}";
    eventually("what was held", || (proxy.metric(held) == 0.0).then_some(()));
    assert_eq!(shadow.requests(), 0);
    post("small");
    eventually("a copy", || (count(&proxy, "answered") == 1.0).then_some(()));
    eventually("a comparison", || (compared("same") == 1.0).then_some(()));
}

#[test]
fn a_copy_may_be_asked_for_another_path() {
    let (origin, shadow) = (Origin::saying("real"), Origin::saying("copy"));
    let settings = ", path: '/copies$request_uri'";
    let proxy = Proxy::start(&document(&origin, shadow.address, settings));
    assert_eq!(proxy.get("/a?b").text(), "real");
    shadow.wait_for_requests(1);
    let heads = [origin.heads(), shadow.heads()].concat();
    let lines: Vec<_> = heads.iter().map(|head| head.lines().next().unwrap()).collect();
    assert_eq!(lines, ["GET /a?b HTTP/1.1", "GET /copies/a?b HTTP/1.1"]);
}

#[test]
fn what_is_no_path_is_no_copy_and_counts_as_failed() {
    let (origin, shadow) = (Origin::saying("real"), Origin::saying("copy"));
    let proxy = Proxy::start(&document(&origin, shadow.address, ", path: '$header_x_copy'"));
    assert_eq!(proxy.get("/a").text(), "real");
    eventually("a copy that failed", || (count(&proxy, "failed") >= 1.0).then_some(()));
    assert_eq!(shadow.requests(), 0);
}

#[test]
fn answers_to_copies_are_held_against_those_of_clients() {
    // Each says what the path says.
    let saying = |which: usize| {
        Origin::start(move |exchange| {
            exchange.body();
            let target = exchange.target().to_owned();
            let path = target.split('?').next().unwrap().trim_start_matches('/');
            let word = path.split('-').nth(which).unwrap_or_default();
            match word.parse::<u16>() {
                Ok(status) => {
                    exchange.write(format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nsame"))
                }
                Err(_) => exchange.answer(word),
            }
        })
    };
    let (origin, shadow) = (saying(0), saying(1));
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "a-viewers-long-token").unwrap();
    let sections = document(&origin, shadow.address, ", compare: true");
    let admin = format!("tokens: [ {{ name: look, file: '{}', role: viewer }} ]", token.display());
    let proxy = Proxy::with_admin(&admin, &sections);
    let compared = |result: &str| {
        proxy.metric(&format!(
            "forebay_proxy_mirror_comparisons_total{{result=\"{result}\",route=\"all\"}}"
        ))
    };
    for path in ["/one-one", "/one-two?token=secret", "/200-503"] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        proxy.client().ask(&request);
    }
    eventually("three comparisons", || {
        let found = (compared("same"), compared("body"), compared("status"));
        (found == (1.0, 1.0, 1.0)).then_some(())
    });
    // What was found outlives a reload: shares are shifted by reloads.
    proxy.rewrite(&document(&origin, shadow.address, ", compare: true, share: 50%"));
    assert!(proxy.reload());
    let told = std::process::Command::new(crate::harness::BINARY)
        .args(["mirrors", "proxy.yaml", "--admin", &proxy.admin.to_string()])
        .current_dir(proxy.dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let head = "all: 1 the same, 1 of another status, 1 of another body, 0 incomplete\n";
    assert!(told.starts_with(head), "{told}");
    assert!(told.contains("POST /one-two: 200 with 3 bytes, mirrored 200 with 3 bytes"), "{told}");
    assert!(told.contains("POST /200-503: 200 with 4 bytes, mirrored 503 with 4 bytes"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    assert_eq!(proxy.admin_get("/mirrors").status, 401);
}
