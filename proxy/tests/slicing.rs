//! Large objects in slices, before an origin that counts the bytes it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::caching::{ask, cached, status, with_cache};
use crate::client::Response;
use crate::harness::{Proxy, eventually};
use crate::origin::{Exchange, Origin};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// A film, far larger than the memory of most caches here.
const FILM: u64 = 200 * MIB;
const SLICES: &str = ", slices: { size: 1MiB, read_ahead: 0, object_min: 8MiB }";

/// A byte of version `version`, by its place.
fn byte(version: u8, at: u64) -> u8 {
    u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).unwrap() ^ version
}

fn bytes(version: u8, first: u64, end: u64) -> Vec<u8> {
    (first..end).map(|at| byte(version, at)).collect()
}

/// An origin of one object that answers ranges as a file server does.
struct Film {
    origin: Origin,
    sent: Arc<AtomicU64>,
    version: Arc<AtomicUsize>,
    breaks: Arc<AtomicBool>,
}

impl Film {
    fn of(length: u64, fields: &'static str) -> Film {
        let (sent, version, breaks) =
            <(Arc<AtomicU64>, Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (count, current, cut) = (sent.clone(), version.clone(), breaks.clone());
        let origin = Origin::start(move |exchange| {
            let version = u8::try_from(current.load(Ordering::SeqCst)).unwrap();
            answer(exchange, version, length, fields, &count, &cut)
        });
        Film { origin, sent, version, breaks }
    }

    fn ranges(&self) -> Vec<String> {
        let heads = self.origin.heads();
        let range = |head: &String| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("range:"));
            line.map_or_else(|| "whole".to_owned(), |line| line[6..].trim().to_owned())
        };
        heads.iter().map(range).collect()
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Bytes are counted when they have been written, so a client may be ahead of the count.
    fn has_sent(&self, bytes: u64) {
        eventually("bytes of the origin", || (self.sent() >= bytes).then_some(()));
        assert_eq!(self.sent(), bytes, "{:?}", self.ranges());
    }
}

fn answer(
    exchange: &mut Exchange<'_>,
    version: u8,
    length: u64,
    fields: &str,
    sent: &AtomicU64,
    breaks: &AtomicBool,
) -> bool {
    if exchange.head.starts_with("POST") {
        return exchange.answer("");
    }
    let fields = format!("{fields}ETag: \"v{version}\"\r\nAccept-Ranges: bytes\r\n");
    if exchange.header("if-none-match") == Some(&format!("\"v{version}\"")) {
        return exchange.write(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
    }
    let range =
        exchange.header("range").map(|range| range.strip_prefix("bytes=").unwrap().to_owned());
    let (first, end) = match range.as_deref().and_then(|range| range.split_once('-')) {
        None => (0, length),
        Some(("", suffix)) => (length - suffix.parse::<u64>().unwrap().min(length), length),
        Some((first, last)) => (
            first.parse().unwrap(),
            last.parse::<u64>().map_or(length, |last| (last + 1).min(length)),
        ),
    };
    if first >= end {
        let place = format!("Content-Range: bytes */{length}\r\nContent-Length: 0\r\n");
        return exchange.write(format!("HTTP/1.1 416 Range Not Satisfiable\r\n{place}\r\n"));
    }
    let line = if range.is_some() {
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{}/{length}\r\n",
            end - 1
        )
    } else {
        "HTTP/1.1 200 OK\r\n".to_owned()
    };
    exchange.write(format!("{line}{fields}Content-Length: {}\r\n\r\n", end - first));
    let broken = breaks.swap(false, Ordering::SeqCst);
    let stop = if broken { first + (end - first) / 2 } else { end };
    let mut at = first;
    while at < stop {
        let next = (at + 64 * KIB).min(stop);
        if !exchange.write(bytes(version, at, next)) {
            return false;
        }
        sent.fetch_add(next - at, Ordering::SeqCst);
        at = next;
    }
    !broken
}

const FRESH: &str = "Cache-Control: max-age=600\r\n";

fn part(proxy: &Proxy, first: u64, last: u64) -> Response {
    ask(proxy, "/film", &format!("Range: bytes={first}-{last}\r\n"))
}

fn slices(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric(&format!("forebay_proxy_cache_slices_total{{cache=\"main\",result=\"{result}\"}}"))
}

#[test]
fn a_range_into_a_cold_film_costs_a_slice_once() {
    let film = Film::of(FILM, FRESH);
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    let (first, last) = (100 * MIB + 1000, 100 * MIB + 1999);
    let cold = part(&proxy, first, last);
    assert_eq!((cold.status, &cold.body), (206, &bytes(0, first, last + 1)));
    let place = format!("bytes {first}-{last}/{FILM}");
    assert_eq!(cold.header("content-range"), Some(place.as_str()));
    assert_eq!(status(&cold), "forebay; fwd=uri-miss; stored");
    eventually("the slice is stored", || {
        let warm = part(&proxy, first - 500, last);
        status(&warm).starts_with("forebay; hit").then_some(warm)
    });
    film.has_sent(MIB);
    assert_eq!(film.ranges(), ["bytes=104857600-105906175"]);
    // The object is known now, other bytes of it are not.
    let tail = ask(&proxy, "/film", "Range: bytes=-65536\r\n");
    assert_eq!((tail.status, &tail.body), (206, &bytes(0, FILM - 64 * KIB, FILM)));
    assert_eq!(status(&tail), "forebay; fwd=partial; stored");
    film.has_sent(2 * MIB);
    let beyond = part(&proxy, FILM, FILM + 5);
    let place = format!("bytes */{FILM}");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(place.as_str())));
    let same = ask(&proxy, "/film", "If-None-Match: \"v0\"\r\n");
    let head = proxy.client().ask("HEAD /film HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((same.status, head.header("content-length")), (304, Some("209715200")));
    film.has_sent(2 * MIB);
    assert_eq!(film.origin.requests(), 2);
}

#[test]
fn the_tail_of_a_cold_film_costs_a_slice_without_its_length_being_known() {
    // Not a whole number of slices, so what comes for the tail begins within the one before the last.
    let length = FILM - 5000;
    let film = Film::of(length, FRESH);
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    for _ in 0..2 {
        let tail = ask(&proxy, "/film", "Range: bytes=-65536\r\n");
        assert_eq!((tail.status, tail.body), (206, bytes(0, length - 64 * KIB, length)));
    }
    film.has_sent(MIB);
    assert_eq!(film.ranges(), ["bytes=-1048576"]);
    // A suffix longer than a slice: the rest of it is asked for.
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    let tail = ask(&proxy, "/film", "Range: bytes=-1500000\r\n");
    assert_eq!(tail.body, bytes(0, length - 1_500_000, length));
    assert!(film.sent() <= 4 * MIB, "{:?}", film.ranges());
    // Beyond the end, when that is not known either.
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    assert_eq!(part(&proxy, FILM * 2, FILM * 3).status, 416);
}

#[test]
fn a_whole_film_is_served_slice_by_slice_within_the_memory_there_is() {
    let length = 24 * MIB + 17;
    let film = Film::of(length, FRESH);
    let memory = "memory_max: 8MiB, object_memory_max: 1MiB";
    let policy = ", slices: { size: 1MiB, read_ahead: 2 }";
    let proxy = Proxy::start(&with_cache(&film.origin, policy, memory));
    let whole = ask(&proxy, "/film", "");
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("25165841")));
    assert!(whole.whole && whole.body == bytes(0, 0, length));
    // Each slice once, or twice where there was no room to fetch it ahead. A client may be ahead of the count.
    eventually("bytes of the origin", || (film.sent() >= length).then_some(()));
    assert!(film.sent() <= length + 4 * MIB, "{}", film.sent());
    assert!(slices(&proxy, "read_ahead") > 10.0, "{}", proxy.metrics());
    let bytes_of = |class| {
        proxy.metric(&format!("forebay_proxy_cache_bytes{{cache=\"main\",class=\"{class}\"}}"))
    };
    assert!(bytes_of("large") <= 4.0 * MIB as f64, "films keep to their share");
    assert!(bytes_of("large") + bytes_of("small") <= 8.0 * MIB as f64);
}

#[test]
fn what_is_read_next_is_fetched_meanwhile_and_no_more() {
    let film = Film::of(FILM, FRESH);
    let proxy = Proxy::start(&cached(&film.origin, ", slices: { size: 1MiB, read_ahead: 3 }"));
    assert_eq!(part(&proxy, 0, 4 * MIB - 1).body, bytes(0, 0, 4 * MIB));
    // Not beyond what the client asked for.
    film.has_sent(4 * MIB);
    let mut client = proxy.client();
    client.send("GET /film HTTP/1.1\r\nHost: a.example\r\nRange: bytes=50000000-\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 206);
    let expected = bytes(0, 50_000_000, 50_000_100);
    assert_eq!(client.bytes(100), expected);
    // Of a client that goes on reading nothing: the slices that fit into sockets, and those ahead.
    eventually("slices ahead", || (slices(&proxy, "read_ahead") >= 6.0).then_some(()));
    client.leave();
    eventually("its line", || (proxy.log().len() == 2).then_some(()));
    assert!(film.sent() < 40 * MIB, "{}", film.sent());
}

#[test]
fn versions_are_told_apart_and_never_mixed() {
    let film = Film::of(FILM, FRESH);
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    assert_eq!(part(&proxy, 0, 99).body, bytes(0, 0, 100));
    film.version.store(1, Ordering::SeqCst);
    // Into a slice that is not there: what comes is of another film. Nothing of it is sent.
    let mixed = ask(&proxy, "/film", &format!("Range: bytes=0-{}\r\n", 2 * MIB));
    assert!(!mixed.whole && mixed.body == bytes(0, 0, mixed.body.len() as u64), "{}", mixed.status);
    assert!(mixed.body.len() as u64 <= MIB);
    assert_eq!(slices(&proxy, "changed"), 1.0);
    let next = part(&proxy, MIB, MIB + 99);
    assert_eq!(
        (next.status, next.body),
        (206, bytes(1, MIB, MIB + 100)),
        "the new one, from its start"
    );
    assert_eq!(part(&proxy, 0, 99).body, bytes(1, 0, 100), "and nothing of the old one");
}

#[test]
fn a_stale_film_is_asked_about_and_keeps_its_slices() {
    let film = Film::of(FILM, "Cache-Control: max-age=0\r\n");
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    for _ in 0..3 {
        assert_eq!(part(&proxy, 10, 99).body, bytes(0, 10, 100));
    }
    film.has_sent(MIB);
    assert_eq!(film.origin.requests(), 3);
    film.version.store(1, Ordering::SeqCst);
    assert_eq!(part(&proxy, 10, 99).body, bytes(1, 10, 100));
    film.has_sent(2 * MIB);
}

#[test]
fn a_slice_that_breaks_off_is_resumed_and_a_herd_shares_it() {
    let film = Film::of(FILM, FRESH);
    film.breaks.store(true, Ordering::SeqCst);
    let proxy = Arc::new(Proxy::start(&cached(&film.origin, SLICES)));
    let herd: Vec<_> = (0..16)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            std::thread::spawn(move || part(&proxy, 5000, 900_000).body == bytes(0, 5000, 900_001))
        })
        .collect();
    assert!(herd.into_iter().all(|reader| reader.join().unwrap()));
    assert_eq!(film.ranges(), ["bytes=0-1048575", "bytes=524288-1048575"]);
    film.has_sent(MIB);
}

#[test]
fn what_is_not_large_or_cannot_be_told_apart_is_not_sliced() {
    let small = Film::of(40 * KIB, FRESH);
    let proxy = Proxy::start(&cached(&small.origin, SLICES));
    for _ in 0..2 {
        let whole = ask(&proxy, "/small", "");
        assert_eq!((whole.status, whole.body), (200, bytes(0, 0, 40 * KIB)));
        assert_eq!(part(&proxy, 0, 9).status, 206);
    }
    assert_eq!(small.ranges(), ["bytes=0-1048575"; 2], "one for each of two paths");
    // Between a slice and `object_min`: the whole is fetched after all.
    let middling = Film::of(3 * MIB, FRESH);
    // Even when its first reader is gone before it is there.
    let finished = format!("{SLICES}, fill: {{ without_readers: finish }}");
    let proxy = Proxy::start(&cached(&middling.origin, &finished));
    assert_eq!(part(&proxy, MIB, MIB + 9).body, bytes(0, MIB, MIB + 10));
    assert_eq!(ask(&proxy, "/film", "").body, bytes(0, 0, 3 * MIB));
    assert_eq!(middling.ranges(), ["bytes=1048576-2097151", "whole"]);
    assert_eq!(slices(&proxy, "unfit"), 1.0);
}

/// A range of it costs a slice at most, and that once: nobody asks for the whole that did not want it.
#[test]
fn what_may_not_be_stored_passes_through_as_it_was_asked_for() {
    let authorized = "Authorization: Basic eDp5\r\n";
    for (length, fields, asked, reason) in [
        (FILM, "Cache-Control: private\r\n", "", "private"),
        (FILM, FRESH, authorized, "authorization"),
        (3 * MIB, "Cache-Control: no-store\r\n", "", "no_store"),
    ] {
        let film = Film::of(length, fields);
        let proxy = Proxy::start(&cached(&film.origin, SLICES));
        for (first, last) in [(10, 19), (2 * MIB, 2 * MIB + 9)] {
            let range = format!("{asked}Range: bytes={first}-{last}\r\n");
            let got = ask(&proxy, "/film", &range);
            assert_eq!((got.status, &got.body), (206, &bytes(0, first, last + 1)));
            let reason = if first == 10 { reason } else { "uncacheable" };
            assert_eq!(status(&got), format!("forebay; fwd=bypass; detail={reason}"));
        }
        assert_eq!(film.ranges(), ["bytes=0-1048575", "bytes=10-19", "bytes=2097152-2097161"]);
        assert!(film.sent() <= MIB + 20, "{}", film.sent());
        let refused = "forebay_proxy_cache_fills_total{cache=\"main\",result=\"refused\"}";
        assert_eq!(proxy.metric(refused), 1.0);
        let whole = ask(&proxy, "/film", asked);
        assert!(whole.whole && whole.body.len() as u64 == length, "{}", whole.status);
        assert_eq!(film.ranges()[3..], ["whole"]);
        if !asked.is_empty() {
            // Who does not name himself is not kept from it.
            assert_eq!(status(&part(&proxy, 10, 19)), "forebay; fwd=uri-miss; stored");
        }
    }
}

#[test]
fn an_origin_without_ranges_is_served_as_ever() {
    let origin = Origin::start(|exchange| crate::caching::answer(exchange, FRESH, "0123456789"));
    let proxy = Proxy::start(&cached(&origin, SLICES));
    assert_eq!(ask(&proxy, "/", "Range: bytes=2-3\r\n").text(), "23");
    assert_eq!(ask(&proxy, "/", "").text(), "0123456789");
    assert_eq!(origin.requests(), 1);
    // One that answers with another part than was asked for.
    let origin = Origin::start(|exchange| {
        if exchange.header("range").is_none() {
            return crate::caching::answer(exchange, FRESH, "0123456789");
        }
        let fields = "Content-Range: bytes 4-5/10\r\nContent-Length: 2\r\nETag: \"a\"\r\n";
        exchange.write(format!("HTTP/1.1 206 Partial Content\r\n{FRESH}{fields}\r\n45"))
    });
    let proxy = Proxy::start(&cached(&origin, SLICES));
    assert_eq!(ask(&proxy, "/", "Range: bytes=2-3\r\n").text(), "23");
    assert_eq!(origin.requests(), 2);
}

#[test]
fn a_purge_takes_the_slices_with_it() {
    let film = Film::of(FILM, FRESH);
    let proxy = Proxy::start(&cached(&film.origin, SLICES));
    assert_eq!(part(&proxy, 0, 99).body, bytes(0, 0, 100));
    film.has_sent(MIB);
    let purge = "POST /film HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.client().ask(purge).status, 200, "an unsafe method forgets the object");
    assert_eq!(part(&proxy, 0, 99).body, bytes(0, 0, 100));
    // Nothing of what was there is used.
    film.has_sent(2 * MIB);
}
