//! Fills: one request to the origin, its bytes to every reader as they come, whoever leaves.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::caching::{answer, ask, cached, with_cache};
use crate::client::Client;
use crate::harness::{PATIENCE, Proxy, eventually};
use crate::origin::Origin;

const PARTS: usize = 8;
const PART: usize = 1000;
const GET: &str = "GET /s.m4s HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn part(number: usize) -> Vec<u8> {
    vec![u8::try_from(number).unwrap() + b'a'; PART]
}

fn whole() -> Vec<u8> {
    (0..PARTS).flat_map(part).collect()
}

/// A segment produced part by part, each when the test says so.
fn producing(fields: &'static str) -> (Origin, Sender<()>) {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        let told: &Receiver<()> = &told.lock().unwrap();
        let length = PARTS * PART;
        exchange.write(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n"));
        (0..PARTS).all(|n| told.recv_timeout(PATIENCE).is_ok() && exchange.write(part(n)))
    });
    (origin, go_on)
}

fn reading(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    client.send(GET);
    client
}

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[test]
fn a_cold_herd_is_one_request_and_every_part_reaches_all_before_the_next_is_made() {
    let (origin, go_on) = producing(FRESH);
    let proxy = Proxy::start(&cached(&origin, ""));
    let mut herd: Vec<Client> = (0..64).map(|_| reading(&proxy)).collect();
    for client in &mut herd {
        assert_eq!(client.head().unwrap().0, 200);
    }
    let mut late = Vec::new();
    for number in 0..PARTS {
        go_on.send(()).unwrap();
        // The origin makes nothing more until all have this part.
        for client in &mut herd {
            assert_eq!(client.bytes(PART), part(number));
        }
        let mut client = reading(&proxy);
        assert_eq!(client.head().unwrap().0, 200);
        let so_far: Vec<u8> = (0..=number).flat_map(part).collect();
        assert_eq!(client.bytes(so_far.len()), so_far, "a late reader has all there is, at once");
        late.push((number, client));
    }
    for (number, mut client) in late {
        let rest: Vec<u8> = (number + 1..PARTS).flat_map(part).collect();
        assert_eq!(client.bytes(rest.len()), rest);
    }
    assert_eq!((ask(&proxy, "/s.m4s", "").body, origin.requests()), (whole(), 1));
    let count = |result| {
        let series = "forebay_proxy_cache_requests_total{cache=\"main\",result=";
        proxy.metric(&format!("{series}\"{result}\"}}"))
    };
    // The last of the late ones may have come when all of it was stored.
    assert_eq!(count("collapsed") + count("hit"), 63.0 + PARTS as f64 + 1.0);
    assert!(count("collapsed") >= 63.0 + PARTS as f64 - 1.0 && count("miss") == 1.0);
}

#[test]
fn who_leaves_hurts_nobody() {
    let (origin, go_on) = producing(FRESH);
    let proxy = Proxy::start(&cached(&origin, ", fill: { without_readers: stop }"));
    let mut leader = reading(&proxy);
    leader.head().unwrap();
    let mut follower = reading(&proxy);
    follower.head().unwrap();
    go_on.send(()).unwrap();
    assert_eq!((leader.bytes(PART), follower.bytes(PART)), (part(0), part(0)));
    leader.leave();
    eventually("the leader's line", || (proxy.log().len() == 1).then_some(()));
    (1..PARTS).for_each(|_| go_on.send(()).unwrap());
    assert_eq!(follower.bytes(PART * (PARTS - 1)), whole()[PART..]);
    assert_eq!(proxy.log()[0]["aborted"], true);
    assert_eq!((ask(&proxy, "/s.m4s", "").body, origin.requests()), (whole(), 1));
}

#[test]
fn the_last_reader_leaves_and_the_policy_decides() {
    for (policy, parts_read, finishes) in [
        ("finish", 1, true),
        ("stop", PARTS - 1, false),
        ("finish_when_past, finish_past: 50%", 2, false),
        ("finish_when_past, finish_past: 50%", 6, true),
    ] {
        let (origin, go_on) = producing(FRESH);
        let fill = format!(", fill: {{ without_readers: {policy} }}");
        let proxy = Proxy::start(&cached(&origin, &fill));
        let mut reader = reading(&proxy);
        reader.head().unwrap();
        (0..parts_read).for_each(|_| go_on.send(()).unwrap());
        assert_eq!(reader.bytes(PART * parts_read).len(), PART * parts_read);
        reader.leave();
        let ended = |result| {
            let series = "forebay_proxy_cache_fills_total{cache=\"main\",result=";
            proxy.metric(&format!("{series}\"{result}\"}}")) == 1.0
        };
        eventually("the reader's line", || (proxy.log().len() == 1).then_some(()));
        if finishes {
            (parts_read..PARTS).for_each(|_| go_on.send(()).unwrap());
            eventually("the whole fill", || ended("whole").then_some(()));
            assert_eq!((ask(&proxy, "/s.m4s", "").body, origin.requests()), (whole(), 1));
        } else {
            eventually("the stopped fill", || ended("stopped").then_some(()));
            (parts_read..2 * PARTS).for_each(|_| go_on.send(()).unwrap());
            assert_eq!((ask(&proxy, "/s.m4s", "").body, origin.requests()), (whole(), 2));
        }
    }
}

#[test]
fn a_range_is_answered_as_soon_as_its_bytes_are_there() {
    let (origin, go_on) = producing(FRESH);
    let proxy = Proxy::start(&cached(&origin, ""));
    let mut leader = reading(&proxy);
    leader.head().unwrap();
    let mut ranged = proxy.client();
    let first = 2 * PART;
    ranged.send(format!(
        "GET /s.m4s HTTP/1.1\r\nHost: a.example\r\nRange: bytes={first}-{}\r\n\r\n",
        3 * PART - 1
    ));
    let (status, headers) = ranged.head().unwrap();
    assert_eq!(status, 206);
    let place = format!("bytes {first}-{}/{}", 3 * PART - 1, PARTS * PART);
    assert!(headers.iter().any(|(_, value)| *value == place), "{headers:?}");
    (0..3).for_each(|_| go_on.send(()).unwrap());
    assert_eq!(ranged.bytes(PART), part(2), "and the origin has five more to make");
    (3..PARTS).for_each(|_| go_on.send(()).unwrap());
    assert_eq!(leader.bytes(PART * PARTS), whole());
    assert_eq!(origin.requests(), 1);
}

/// An origin that dies after so many bytes, once; and what it says to who comes back.
fn dying(tag: &'static str, back: &'static str) -> Origin {
    let died = Mutex::new(false);
    Origin::start(move |exchange| {
        let body = whole();
        let (half, length) = (body.len() / 2, body.len());
        if !std::mem::replace(&mut *died.lock().unwrap(), true) {
            exchange
                .write(format!("HTTP/1.1 200 OK\r\n{FRESH}{tag}Content-Length: {length}\r\n\r\n"));
            exchange.write(&body[..half]);
            return false;
        }
        match exchange.header("range").map(str::to_owned) {
            Some(range) if back.starts_with("206") => {
                assert_eq!(range, format!("bytes={half}-"));
                let etag = &back[4..];
                exchange.write(format!(
                    "HTTP/1.1 206 Partial Content\r\nETag: {etag}\r\nContent-Range: bytes {half}-{}/{length}\r\n\
                     Content-Length: {}\r\n\r\n",
                    length - 1,
                    length - half
                ));
                exchange.write(&body[half..])
            }
            _ => {
                let etag = back.split(' ').nth(1).unwrap();
                exchange.write(format!(
                    "HTTP/1.1 200 OK\r\n{FRESH}ETag: {etag}\r\nContent-Length: {length}\r\n\r\n"
                ));
                exchange.write(&body)
            }
        }
    })
}

#[test]
fn a_broken_fill_is_resumed_byte_for_byte() {
    for back in ["206 \"v1\"", "200 \"v1\""] {
        let origin = dying("ETag: \"v1\"\r\n", back);
        let proxy = Proxy::start(&cached(&origin, ""));
        let mut readers: Vec<Client> = (0..16).map(|_| reading(&proxy)).collect();
        for reader in &mut readers {
            let response = reader.response(false).unwrap();
            assert!(response.whole && response.body == whole(), "{back}");
        }
        assert_eq!(origin.requests(), 2, "{back}");
        let if_range = origin.heads()[1].to_ascii_lowercase();
        assert!(if_range.contains("if-range: \"v1\""), "{if_range}");
        assert_eq!((ask(&proxy, "/s.m4s", "").body, origin.requests()), (whole(), 2), "{back}");
    }
}

#[test]
fn what_cannot_be_resumed_breaks_for_everyone_and_is_never_kept() {
    for (tag, back, asked) in [
        ("", "200 \"v1\"", 1),
        ("ETag: W/\"v1\"\r\n", "200 \"v1\"", 1),
        // Another object by now: never mixed with the first.
        ("ETag: \"v1\"\r\n", "206 \"v2\"", 2),
        ("ETag: \"v1\"\r\n", "200 \"v2\"", 2),
    ] {
        let (go_on, told) = channel::<()>();
        let told = Mutex::new(Some(told));
        let inner = dying(tag, back);
        let relayed = inner.address;
        // Holds the first request until all readers are there.
        let origin = Origin::start(move |exchange| {
            if let Some(told) = told.lock().unwrap().take() {
                told.recv_timeout(PATIENCE).unwrap();
            }
            let mut client = std::net::TcpStream::connect(relayed).unwrap();
            client.write_all(exchange.head.as_bytes()).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut client, &mut bytes).unwrap();
            exchange.write(bytes);
            false
        });
        let proxy = Proxy::start(&cached(&origin, ""));
        let mut readers: Vec<Client> = (0..16).map(|_| reading(&proxy)).collect();
        origin.wait_for_requests(1);
        let waiting = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";
        eventually("all readers", || (proxy.metric(waiting) == 16.0).then_some(()));
        go_on.send(()).unwrap();
        for reader in &mut readers {
            let response = reader.response(false).unwrap();
            assert!(!response.whole, "{tag} {back}");
            assert!(whole().starts_with(&response.body), "{tag} {back}: bytes of another object");
        }
        assert_eq!(origin.requests(), asked, "{tag} {back}");
        let next = ask(&proxy, "/s.m4s", "");
        assert!(next.whole && next.body == whole());
        assert_eq!(origin.requests(), asked + 1, "nothing of it was kept");
    }
}

#[test]
fn a_slow_reader_holds_nobody_up() {
    const SIZE: usize = 12 << 20;
    let origin = Origin::start(|exchange| {
        exchange.write(format!("HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {SIZE}\r\n\r\n"));
        exchange.write(vec![7; SIZE])
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let mut slow = reading(&proxy);
    slow.head().unwrap();
    // It reads nothing while others read all.
    for _ in 0..3 {
        assert_eq!(ask(&proxy, "/s.m4s", "").body.len(), SIZE);
    }
    assert_eq!(slow.bytes(SIZE), vec![7; SIZE]);
    assert_eq!(origin.requests(), 1);
}

#[test]
fn what_is_not_kept_flows_through_a_window() {
    const MIB: usize = 1 << 20;
    const SIZE: usize = 96 * MIB;
    for (fields, chunked) in [("Cache-Control: no-store\r\n", false), (FRESH, false), (FRESH, true)]
    {
        let origin = Origin::start(move |exchange| {
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {SIZE}"),
            };
            exchange.write(format!("HTTP/1.1 200 OK\r\n{fields}{framing}\r\n\r\n"));
            let block = match chunked {
                true => [format!("{MIB:x}\r\n").as_bytes(), &vec![7; MIB], b"\r\n"].concat(),
                false => vec![7; MIB],
            };
            (0..SIZE / MIB).all(|_| exchange.write(&block))
                && (!chunked || exchange.write("0\r\n\r\n"))
        });
        let cache = "memory_max: 8MiB, object_memory_max: 2MiB";
        let proxy = Proxy::start(&with_cache(&origin, "", cache));
        let before_kib = crate::streaming::peak_kib(proxy.pid());
        let response = ask(&proxy, "/film", "");
        assert!(response.whole && response.body.len() == SIZE, "{fields} {chunked}");
        let grown_kib = crate::streaming::peak_kib(proxy.pid()) - before_kib;
        assert!(grown_kib < 24 * 1024, "{grown_kib} KiB for {fields} {chunked}");
        let bytes = "forebay_proxy_cache_bytes{cache=\"main\",class=\"large\"}";
        assert_eq!(proxy.metric(bytes), 0.0);
    }
}

#[test]
fn answers_that_are_not_shared_are_not_waited_for_twice() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        answer(exchange, "Cache-Control: no-store\r\n", "yours")
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let mut readers: Vec<Client> = (0..4).map(|_| reading(&proxy)).collect();
    let waiting = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";
    eventually("all readers", || (proxy.metric(waiting) == 4.0).then_some(()));
    origin.wait_for_requests(1);
    assert_eq!(origin.requests(), 1);
    go_on.send(()).unwrap();
    // One is answered; the others ask side by side, not one after the other.
    origin.wait_for_requests(4);
    (0..3).for_each(|_| go_on.send(()).unwrap());
    for reader in &mut readers {
        assert_eq!(reader.response(false).unwrap().text(), "yours");
    }
}

#[test]
fn a_waiting_client_that_leaves_gives_its_place_back() {
    let (origin, go_on) = producing(FRESH);
    let (hold, held) = channel::<()>();
    let held = Mutex::new(held);
    let silent = Origin::start(move |_| held.lock().unwrap().recv().is_ok());
    let proxy = Proxy::start(&cached(&silent, ", fill: { without_readers: stop }"));
    let mut readers: Vec<Client> = (0..2).map(|_| reading(&proxy)).collect();
    let in_flight = "forebay_proxy_lane_requests_in_flight{lane=\"bulk\"}";
    eventually("both", || (proxy.metric(in_flight) == 2.0).then_some(()));
    readers.drain(..).for_each(Client::leave);
    eventually("no reader", || (proxy.metric(in_flight) == 0.0).then_some(()));
    let stopped = "forebay_proxy_cache_fills_total{cache=\"main\",result=\"stopped\"}";
    eventually("no fill", || (proxy.metric(stopped) == 1.0).then_some(()));
    drop((hold, go_on, origin));
}
