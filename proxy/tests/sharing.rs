//! Answers for which there is no room: who waits for one shares it as it passes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use crate::caching::{ask, status, with_cache};
use crate::client::Client;
use crate::harness::{PATIENCE, Proxy, eventually};
use crate::origin::{Exchange, Origin};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const IN_FLIGHT: &str = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";
/// Objects above 64 KiB find no place in it.
const SMALL: &str = "memory_max: 64MiB, object_memory_max: 64KiB";

fn bytes(first: usize, end: usize) -> Vec<u8> {
    (first..end).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap()).collect()
}

/// Answers with so many of those bytes, or from where it is asked for the rest of them.
fn film(exchange: &mut Exchange<'_>, length: usize, fields: &str) -> bool {
    let first = exchange.header("range").map_or(0, |range| {
        assert_eq!(exchange.header("if-range"), Some("\"a\""));
        range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap()
    });
    let line = match first {
        0 => "200 OK\r\n".to_owned(),
        _ => format!(
            "206 Partial Content\r\nContent-Range: bytes {first}-{}/{length}\r\n",
            length - 1
        ),
    };
    let head = format!("HTTP/1.1 {line}Cache-Control: max-age=600\r\n{fields}");
    exchange.write(format!("{head}Content-Length: {}\r\n\r\n", length - first));
    (first..length)
        .step_by(64 * KIB)
        .all(|at| exchange.write(bytes(at, (at + 64 * KIB).min(length))))
}

/// One that waits for a word before each answer.
fn gated(length: usize, fields: &'static str) -> (Origin, Sender<()>) {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        film(exchange, length, fields)
    });
    (origin, go_on)
}

fn asking(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.send("GET /f HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    let all = |proxy: &Proxy| proxy.metric(IN_FLIGHT) == count as f64;
    eventually("all who ask", || all(proxy).then_some(()));
    clients
}

#[test]
fn those_who_wait_for_what_is_too_large_share_it() {
    let (origin, go_on) = gated(2 * MIB, "ETag: \"a\"\r\n");
    let proxy = Proxy::start(&with_cache(&origin, "", SMALL));
    let clients = asking(&proxy, 12);
    go_on.send(()).unwrap();
    let reading = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || client.response(false).unwrap()));
    let reading: Vec<_> = reading.collect();
    let whole = bytes(0, 2 * MIB);
    let mut collapsed = 0;
    for reader in reading {
        let response = reader.join().unwrap();
        assert!(response.body == whole, "{}", status(&response));
        assert!(status(&response).contains("detail=too_large"), "{}", status(&response));
        collapsed += usize::from(status(&response).contains("collapsed"));
    }
    assert_eq!((collapsed, origin.requests()), (11, 1));
}

#[test]
fn who_could_not_prove_the_rest_asks_by_himself() {
    // The answer has no strong validator: readers of one that passes could never be left behind.
    let (origin, go_on) = gated(MIB, "ETag: W/\"a\"\r\n");
    let proxy = Proxy::start(&with_cache(&origin, "", SMALL));
    let clients = asking(&proxy, 3);
    (0..3).for_each(|_| go_on.send(()).unwrap());
    let reading = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || client.response(false).unwrap().body));
    let reading: Vec<_> = reading.collect();
    let whole = bytes(0, MIB);
    assert!(reading.into_iter().all(|reader| reader.join().unwrap() == whole));
    assert_eq!(origin.requests(), 3);
}

#[test]
fn who_does_not_read_holds_nobody_up_and_misses_nothing() {
    // More than the kernel holds for a client that does not read.
    const LENGTH: usize = 24 * MIB;
    let (origin, go_on) = gated(LENGTH, "ETag: \"a\"\r\n");
    let proxy = Proxy::start(&with_cache(&origin, "", SMALL));
    let mut clients = asking(&proxy, 3);
    let mut idle = clients.pop().unwrap();
    go_on.send(()).unwrap();
    let reading = clients
        .into_iter()
        .map(|mut client| std::thread::spawn(move || client.response(false).unwrap().body));
    let reading: Vec<_> = reading.collect();
    let whole = bytes(0, LENGTH);
    for reader in reading {
        assert!(reader.join().unwrap() == whole);
    }
    assert_eq!(origin.requests(), 1, "both had it of the first");
    go_on.send(()).unwrap();
    assert!(idle.response(false).unwrap().body == whole);
    assert_eq!(origin.requests(), 2, "the rest was asked for");
    let left_behind =
        "forebay_proxy_cache_fill_resumes_total{cache=\"main\",result=\"left_behind\"}";
    assert_eq!(proxy.metric(left_behind), 1.0);
}

#[test]
fn a_moment_without_room_says_nothing_of_the_next() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: \"a\"\r\n";
        if exchange.target() == "/first" {
            exchange.write(format!("{head}Content-Length: {}\r\n\r\n", 3 * MIB));
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            return exchange.write(vec![b'x'; 3 * MIB]);
        }
        exchange.write(format!("{head}Content-Length: {}\r\n\r\n", 2 * MIB));
        exchange.write(vec![b'y'; 2 * MIB])
    });
    // Half of it is for what is large.
    let proxy = Proxy::start(&with_cache(&origin, "", "memory_max: 8MiB, object_memory_max: 4MiB"));
    let mut first = proxy.client();
    first.send("GET /first HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(first.head().unwrap().0, 200);
    let crowded = ask(&proxy, "/second", "");
    assert_eq!(
        (crowded.body.len(), status(&crowded)),
        (2 * MIB, "forebay; fwd=uri-miss; detail=no_room")
    );
    go_on.send(()).unwrap();
    assert_eq!(first.bytes(3 * MIB).len(), 3 * MIB);
    // The first keeps its room until the last of it is out.
    eventually("room for the second", || {
        status(&ask(&proxy, "/second", "")).ends_with("; stored").then_some(())
    });
    assert!(status(&ask(&proxy, "/second", "")).starts_with("forebay; hit"));
}

#[test]
fn what_finds_no_room_leaves_the_stale_answer_for_a_failing_origin() {
    let (fails, holds) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let (failing, holding) = (fails.clone(), holds.clone());
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        if exchange.target() == "/large" {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n";
            exchange.write(format!("{head}Content-Length: {}\r\n\r\n", 11 * MIB / 4));
            holding.store(true, Ordering::SeqCst);
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            return exchange.write(vec![b'x'; 11 * MIB / 4]);
        }
        if failing.load(Ordering::SeqCst) {
            return false;
        }
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=0, stale-if-error=600\r\n";
        exchange.write(format!("{head}Content-Length: {MIB}\r\n\r\n"));
        exchange.write(vec![b'y'; MIB])
    });
    let cache = "memory_max: 8MiB, object_memory_max: 4MiB";
    let proxy = Proxy::start(&with_cache(&origin, "", cache));
    assert_eq!(status(&ask(&proxy, "/s", "")), "forebay; fwd=uri-miss; stored");
    let mut large = proxy.client();
    large.send("GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(large.head().unwrap().0, 200);
    eventually("the large one", || holds.load(Ordering::SeqCst).then_some(()));
    assert_eq!(status(&ask(&proxy, "/s", "")), "forebay; fwd=stale; detail=no_room");
    fails.store(true, Ordering::SeqCst);
    let kept = ask(&proxy, "/s", "");
    assert_eq!((kept.status, kept.body.len()), (200, MIB), "{}", status(&kept));
    go_on.send(()).unwrap();
    assert_eq!(large.bytes(11 * MIB / 4).len(), 11 * MIB / 4);
}
