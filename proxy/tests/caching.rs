//! The cache over HTTP/1: what is kept, what is asked again, what is never kept.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::client::Response;
use crate::harness::{PATIENCE, Proxy, eventually};
use crate::origin::{Exchange, Origin};

/// A route that caches by this policy, with 64 MiB.
pub fn cached(origin: &Origin, policy: &str) -> String {
    with_cache(origin, policy, "memory_max: 64MiB")
}

pub fn with_cache(origin: &Origin, policy: &str, cache: &str) -> String {
    format!(
        "upstreams: {{ u: {{ servers: [ {{ address: '{}' }} ] }} }}
routes: [ {{ name: all, upstream: u, lane: bulk, cache_policy: p }} ]
cache_policies: {{ p: {{ cache: main{policy} }} }}
caches: {{ main: {{ {cache} }} }}",
        origin.address
    )
}

/// 200 with these fields and this body.
pub fn answer(exchange: &mut Exchange<'_>, fields: &str, body: &str) -> bool {
    let length = body.len();
    exchange.write(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{body}"))
}

/// Counts what it answers in its bodies: `1`, `2`, ….
pub fn counting(fields: &'static str) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |exchange| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        answer(exchange, fields, &number.to_string())
    })
}

pub fn ask(proxy: &Proxy, path: &str, fields: &str) -> Response {
    proxy.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
}

pub fn status(response: &Response) -> &str {
    response.header("cache-status").unwrap_or_default()
}

#[test]
fn a_fresh_answer_is_asked_for_once() {
    let origin = Origin::start(|exchange| {
        answer(
            exchange,
            "Cache-Control: max-age=60\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Keep-Alive: timeout=5\r\nX-Kept: yes\r\n",
            "body",
        )
    });
    // A date of long ago is an age: the policy says what counts instead.
    let proxy = Proxy::start(&cached(&origin, ", freshness: { ttl_override: 60s }"));
    let mut client = proxy.client();
    let request = "GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let first = client.ask(request);
    let second = client.ask(request);
    assert_eq!((first.text().as_str(), second.text().as_str()), ("body", "body"));
    assert_eq!(origin.requests(), 1);
    assert!(status(&first).starts_with("forebay; fwd=uri-miss"), "{first:?}");
    assert!(status(&second).starts_with("forebay; hit; ttl="), "{second:?}");
    for response in [&first, &second] {
        assert_eq!(response.header("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!((response.header("keep-alive"), response.header("x-kept")), (None, Some("yes")));
        assert!(response.header("age").is_some_and(|age| age.parse::<u64>().unwrap() > 1_000_000));
    }
    let head = client.ask("HEAD /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    let verdicts = eventually("three lines", || {
        let lines = proxy.log();
        (lines.len() == 3).then(|| lines.iter().map(|l| l["cache"].clone()).collect::<Vec<_>>())
    });
    assert_eq!(verdicts, ["miss", "hit", "hit"]);
    let hits = "forebay_proxy_cache_requests_total{cache=\"main\",result=\"hit\"}";
    assert_eq!(proxy.metric(hits), 2.0);
    assert_eq!(proxy.metric("forebay_proxy_cache_objects{cache=\"main\",class=\"small\"}"), 1.0);
}

#[test]
fn ranges_and_conditions_are_answered_from_what_is_stored() {
    let origin = Origin::start(|exchange| {
        let fields = "Cache-Control: max-age=60\r\nETag: \"v1\"\r\n\
                      Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        answer(exchange, fields, "0123456789")
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    // The very first is a range: the whole is fetched, the part is answered.
    let part = ask(&proxy, "/", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert!(!origin.heads()[0].to_ascii_lowercase().contains("range"), "{}", origin.heads()[0]);
    let cases = [
        ("Range: bytes=-3\r\n", 206, "789"),
        ("Range: bytes=5-\r\n", 206, "56789"),
        ("Range: bytes=0-1,5-6\r\n", 200, "0123456789"),
        ("Range: bytes=10-\r\n", 416, ""),
        ("Range: bytes=2-4\r\nIf-Range: \"v1\"\r\n", 206, "234"),
        ("Range: bytes=2-4\r\nIf-Range: \"v2\"\r\n", 200, "0123456789"),
        ("If-None-Match: \"v1\"\r\n", 304, ""),
        ("If-None-Match: W/\"v1\"\r\nRange: bytes=0-1\r\n", 304, ""),
        ("If-None-Match: \"v2\"\r\n", 200, "0123456789"),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304, ""),
    ];
    for (fields, status, body) in cases {
        let response = ask(&proxy, "/", fields);
        assert_eq!((response.status, response.text().as_str()), (status, body), "{fields}");
    }
    assert_eq!(
        ask(&proxy, "/", "Range: bytes=99-\r\n").header("content-range"),
        Some("bytes */10")
    );
    assert_eq!(origin.requests(), 1);
}

/// RFC 9111 section 4.3.4: what is stored is neither fresh again nor told of by a tag that is not its own.
#[test]
fn a_304_of_another_version_refreshes_nothing() {
    let origin = Origin::start(|exchange| match exchange.header("if-none-match") {
        Some(tag) => {
            let tag = if exchange.target() == "/weak" { tag } else { "\"other\"" };
            let tag = tag.trim_start_matches("W/");
            let fields = format!("ETag: {tag}\r\nCache-Control: max-age=600\r\n");
            exchange.write(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"))
        }
        None => answer(exchange, "Cache-Control: max-age=0\r\nETag: W/\"a\"\r\n", "body"),
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let asked_on = |origin: &Origin| {
        let is_on_condition = |head: &String| head.to_ascii_lowercase().contains("if-none-match");
        origin.heads().iter().map(is_on_condition).collect::<Vec<_>>()
    };
    for round in 1..=3 {
        let response = ask(&proxy, "/", "");
        assert_eq!((response.status, response.text().as_str()), (200, "body"));
        assert_eq!(response.header("etag"), Some("W/\"a\""));
        assert!(!status(&response).contains("304"), "{response:?}");
        // Asked about, and then for, each time.
        assert_eq!(origin.requests(), 2 * round - 1);
    }
    assert_eq!(asked_on(&origin), [false, true, false, true, false]);
    // A tag that is strong in the 304 alone names the same.
    for verdict in ["fwd=uri-miss; stored", "fwd=stale; fwd-status=304", "hit; ttl="] {
        let response = ask(&proxy, "/weak", "");
        assert!(status(&response).contains(verdict), "{response:?}");
    }
    assert_eq!(origin.requests(), 7);
}

#[test]
fn what_must_not_be_stored_is_not() {
    let cases = [
        "Cache-Control: no-store, max-age=60\r\n",
        "Cache-Control: private, max-age=60\r\n",
        "Cache-Control: max-age=60\r\nVary: *\r\n",
        "ETag: \"a\"\r\nSet-Cookie: a=b\r\n",
        "X-Nothing: said\r\n",
    ];
    for fields in cases {
        let origin = counting(fields);
        let proxy = Proxy::start(&cached(&origin, ""));
        assert_eq!(ask(&proxy, "/", "").text(), "1", "{fields}");
        assert_eq!(ask(&proxy, "/", "").text(), "2", "{fields}");
    }
    let origin = counting("Cache-Control: max-age=60\r\n");
    let proxy = Proxy::start(&cached(&origin, ""));
    let authorized = "Authorization: Basic eDp5\r\n";
    assert_eq!(ask(&proxy, "/", authorized).text(), "1");
    assert_eq!(ask(&proxy, "/", authorized).text(), "2");
}

#[test]
fn a_304_brings_what_is_stored_up_to_date() {
    let origin = Origin::start(|exchange| {
        match exchange.header("if-none-match") {
        None => answer(exchange, "Cache-Control: no-cache\r\nETag: \"v\"\r\nX-N: 1\r\n", "body"),
        Some(_) => exchange.write(
            "HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\nX-N: 2\r\n\r\n",
        ),
    }
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let numbers = || {
        let response = ask(&proxy, "/", "");
        assert_eq!((response.status, response.text().as_str()), (200, "body"));
        response.header("x-n").unwrap().to_owned()
    };
    assert_eq!([numbers(), numbers(), numbers()], ["1", "2", "2"]);
    assert_eq!(origin.requests(), 2);
    assert!(origin.heads()[1].contains("\"v\""), "{}", origin.heads()[1]);
    // Lines of several connections come in any order.
    eventually("a line of each", || (proxy.log().len() == 3).then_some(()));
    let mut said: Vec<String> = proxy.log().iter().map(|line| line["cache"].to_string()).collect();
    said.sort();
    assert_eq!(said, ["\"hit\"", "\"miss\"", "\"revalidated\""]);
}

#[test]
fn variants_are_told_apart_and_codings_compared_in_one_form() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |exchange| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let fields = "Cache-Control: max-age=60\r\nVary: Accept-Encoding, X-Tier\r\n";
        answer(exchange, fields, &number.to_string())
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let cases = [
        ("Accept-Encoding: gzip, br\r\n", "1"),
        ("Accept-Encoding: br;q=0.9 ,gzip\r\n", "1"),
        ("Accept-Encoding: br\r\n", "2"),
        ("Accept-Encoding: gzip, br\r\nX-Tier: gold\r\n", "3"),
        ("", "4"),
        ("Accept-Encoding: identity\r\n", "4"),
        ("Accept-Encoding: br\r\n", "2"),
    ];
    for (fields, body) in cases {
        assert_eq!(ask(&proxy, "/", fields).text(), body, "{fields}");
    }
}

#[test]
fn a_change_is_seen_at_once_and_only_if_cached_asks_nobody() {
    let origin = counting("Cache-Control: max-age=60\r\nLocation: /b\r\n");
    let proxy = Proxy::start(&cached(&origin, ""));
    let none = ask(&proxy, "/a", "Cache-Control: only-if-cached\r\n");
    assert_eq!((none.status, origin.requests()), (504, 0));
    assert_eq!(none.json()["status"], 504);
    assert_eq!(
        (ask(&proxy, "/a", "").text(), ask(&proxy, "/b", "").text()),
        ("1".into(), "2".into())
    );
    assert_eq!(ask(&proxy, "/a", "Cache-Control: only-if-cached\r\n").text(), "1");
    let post = "POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    let posted = proxy.client().ask(post);
    assert_eq!(posted.header("cache-status"), Some("forebay; fwd=bypass; detail=method"));
    assert_eq!(ask(&proxy, "/a", "").text(), "4");
    assert_eq!(ask(&proxy, "/b", "").text(), "5", "named by Location");
    assert_eq!(proxy.log_of("/a")["cache"], "not_cached");
}

#[test]
fn a_failing_origin_is_stood_in_for() {
    let (break_it, broken) = channel::<u16>();
    let (broken, state) = (Mutex::new(broken), Mutex::new(0));
    let origin = Origin::start(move |exchange| {
        let mut state = state.lock().unwrap();
        if let Ok(status) = broken.lock().unwrap().try_recv() {
            *state = status;
        }
        match *state {
            0 => answer(exchange, "Cache-Control: max-age=0, stale-if-error=60\r\n", "good"),
            1 => false,
            status => {
                exchange.write(format!("HTTP/1.1 {status} No\r\nContent-Length: 3\r\n\r\nbad"))
            }
        }
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let mut client = proxy.client();
    let request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(client.ask(request).text(), "good");
    for failure in [503, 1, 500] {
        break_it.send(failure).unwrap();
        // On one connection: what is announced as keep-alive is kept.
        let response = client.ask(request);
        assert_eq!((response.status, response.text().as_str()), (200, "good"), "{failure}");
        assert_eq!(response.header("connection"), Some("keep-alive"));
        assert!(status(&response).contains("detail=origin-failed"), "{response:?}");
    }
    break_it.send(404).unwrap();
    // An origin that has failed is left alone for a moment.
    eventually("an answer, not a failure", || (client.ask(request).status == 404).then_some(()));
    break_it.send(1).unwrap();
    assert_eq!(client.ask(request).status, 502, "and what it replaced is gone");
}

/// What the origin forbids to be used stale is not, whatever happens to the origin; an answer of this proxy's
/// own takes its place. The public suite has these cases, and takes that for a stored answer.
#[test]
fn what_must_not_be_used_stale_stands_in_for_nobody() {
    let origin = Origin::start(|exchange| {
        if exchange.header("if-none-match").is_some() {
            return false;
        }
        let directive = exchange.target()[1..].to_owned();
        let fields = format!("Cache-Control: max-age=0, {directive}\r\nETag: \"a\"\r\n");
        answer(exchange, &fields, "stored")
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    for directive in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=0"] {
        let path = format!("/{directive}");
        assert_eq!(ask(&proxy, &path, "").text(), "stored");
        let response = ask(&proxy, &path, "");
        assert_eq!((response.status, response.header("etag")), (502, None), "{directive}");
        assert!(!response.text().contains("stored"), "{directive}");
        assert_eq!(proxy.log_of(&path)["cache"], "miss", "it was stored");
    }
    assert_eq!(ask(&proxy, "/public", "").text(), "stored");
    let response = ask(&proxy, "/public", "");
    assert_eq!((response.status, response.text().as_str()), (200, "stored"), "nothing forbids it");
    assert!(status(&response).contains("detail=origin-failed"), "{response:?}");
}

/// The origin answers only when the test lets it, so whoever is answered meanwhile did not wait.
#[test]
fn nobody_waits_for_a_playlist_once_it_is_warm() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |exchange| {
        told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        answer(exchange, "Cache-Control: no-cache\r\n", &number.to_string())
    });
    let rules = ", freshness: { ttl_override: 1ms, stale_while_revalidate: 1h }";
    let proxy = Proxy::start(&cached(&origin, rules));
    go_on.send(()).unwrap();
    assert_eq!(ask(&proxy, "/live.m3u8", "").text(), "1");
    for round in 1..=3 {
        // Stale by now or very soon: the poll that finds it so begins the one request to the origin.
        eventually("a request for the next", || {
            assert_eq!(ask(&proxy, "/live.m3u8", "").text(), round.to_string());
            (origin.requests() > round).then_some(())
        });
        for _ in 0..20 {
            assert_eq!(ask(&proxy, "/live.m3u8", "").text(), round.to_string());
        }
        assert_eq!(origin.requests(), round + 1, "all polls share one request");
        go_on.send(()).unwrap();
        eventually("the next", || {
            // Without waiting for the origin, which is not told to answer again.
            (ask(&proxy, "/live.m3u8", "").text() == (round + 1).to_string()).then_some(())
        });
    }
}

#[test]
fn answers_that_are_none_are_never_replayed() {
    let cases = [
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/10\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ];
    for text in cases {
        let origin = Origin::start(move |exchange| exchange.write(text));
        let proxy = Proxy::start(&cached(&origin, ", freshness: { ttl_default: 1h }"));
        for round in 1..=2 {
            let response = ask(&proxy, "/", "");
            assert_eq!((response.status, origin.requests()), (502, round), "{text}");
        }
    }
}

#[test]
fn a_body_of_another_length_than_said_is_broken_and_not_kept() {
    let origin = Origin::start(|exchange| {
        let longer = exchange.target() == "/longer";
        let fields = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\n";
        exchange.write(fields);
        exchange.write(if longer { "hello, and more" } else { "hel" });
        longer
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    for round in 1..=2 {
        let response = ask(&proxy, "/shorter", "");
        assert!(!response.whole && "hel".starts_with(&response.text()), "{response:?}");
        assert_eq!(origin.requests(), round, "never kept");
    }
    assert_eq!(ask(&proxy, "/longer", "").text(), "hello");
    assert_eq!(ask(&proxy, "/longer", "").text(), "hello");
    assert_eq!(ask(&proxy, "/longer/too", "").status, 200, "on a connection of its own");
    assert_eq!(proxy.log_of("/shorter")["aborted"], true);
}

#[test]
fn a_body_that_ends_with_its_connection_is_kept_only_when_the_origin_says_so() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target() {
            "/said" => "Cache-Control: max-age=60\r\n",
            "/odd" => "Cache-Control: max-age=60\r\nTransfer-Encoding: oddity\r\n",
            _ => "",
        };
        exchange.write(format!("HTTP/1.1 200 OK\r\n{fields}\r\nall of it?"));
        false
    });
    let proxy = Proxy::start(&cached(&origin, ", freshness: { ttl_default: 60s }"));
    for round in 1..=2 {
        assert_eq!(ask(&proxy, "/unsaid", "").text(), "all of it?");
        assert_eq!(origin.requests(), round);
    }
    let refusals = "forebay_proxy_cache_refusals_total{cache=\"main\",reason=\"unframed\"}";
    assert!(proxy.metric(refusals) >= 1.0);
    for path in ["/said", "/odd"] {
        for _ in 1..=2 {
            let response = ask(&proxy, path, "");
            assert!(response.whole && response.text() == "all of it?", "{response:?}");
            assert_eq!(response.header("transfer-encoding").unwrap_or("chunked"), "chunked");
        }
    }
    assert_eq!(origin.requests(), 4, "each of them once");
}

#[test]
fn what_the_origin_says_before_its_answer_reaches_everyone_who_waits() {
    let (go_on, told) = channel::<()>();
    let told = Mutex::new(told);
    let origin = Origin::start(move |exchange| {
        exchange.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nKeep-Alive: x\r\n\r\n");
        // In one piece with the answer, which is where they get lost otherwise.
        if exchange.target() == "/waiting" {
            told.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        let hint = "HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n";
        let fields = "Cache-Control: max-age=60\r\nContent-Length: 2";
        exchange.write(format!("{hint}HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok"))
    });
    let proxy = Proxy::start(&cached(&origin, ""));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let hints = |client: &mut crate::client::Client| {
        let (status, fields) = client.head().unwrap();
        assert_eq!((status, fields.iter().any(|(name, _)| name == "Keep-Alive")), (103, false));
        fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("link")).unwrap().1
    };
    let mut clients: Vec<_> = (0..2).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.send(get("/waiting"));
        assert_eq!(hints(client), "</a.css>", "while the answer is still to come");
    }
    go_on.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(hints(client), "</b.css>");
        let (status, fields) = client.head().unwrap();
        assert_eq!((status, fields.iter().any(|(name, _)| name == "link")), (200, false));
    }
    assert_eq!(ask(&proxy, "/waiting", "").text(), "ok");
    let mut client = proxy.client();
    client.send(get("/batched"));
    assert_eq!((hints(&mut client), hints(&mut client)), ("</a.css>".into(), "</b.css>".into()));
    assert_eq!(client.response(false).unwrap().text(), "ok");
    assert_eq!(client.ask(&get("/batched")).text(), "ok", "and they are not stored");
    let old = proxy.client().ask("GET /batched?old HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(old.status, 200);
    assert_eq!(origin.requests(), 3);
}

#[test]
fn a_film_leaves_the_live_window_alone() {
    const MIB: usize = 1 << 20;
    let origin = Origin::start(|exchange| {
        let size = match exchange.target().split('/').nth(1).unwrap() {
            "live" => MIB / 2,
            "film" => 40 * MIB,
            _ => 4 * MIB,
        };
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {size}\r\n\r\n"
        ));
        exchange.write(vec![7; size])
    });
    let cache = "memory_max: 64MiB, object_memory_max: 64MiB";
    let proxy = Proxy::start(&with_cache(&origin, "", cache));
    let bytes = || {
        let of = |class| {
            proxy.metric(&format!("forebay_proxy_cache_bytes{{cache=\"main\",class=\"{class}\"}}"))
        };
        of("small") + of("large")
    };
    let live = || {
        for n in 0..20 {
            assert_eq!(ask(&proxy, &format!("/live/{n}"), "").body.len(), MIB / 2);
        }
    };
    live();
    for n in 0..15 {
        assert_eq!(ask(&proxy, &format!("/clip/{n}"), "").body.len(), 4 * MIB);
        assert!(bytes() <= (64 * MIB) as f64);
    }
    let evicted = "forebay_proxy_cache_evictions_total{cache=\"main\",class=\"large\"}";
    assert!(proxy.metric(evicted) >= 1.0, "the cache is full");
    let film = ask(&proxy, "/film/1", "");
    assert!(film.whole && film.body.len() == 40 * MIB && film.body.iter().all(|byte| *byte == 7));
    let before = origin.requests();
    live();
    assert_eq!(origin.requests(), before, "the live window is all there");
    // Emptied by a document without it, the cache gives its memory back.
    proxy.rewrite(&crate::harness::to(&[origin.address]));
    assert!(proxy.reload());
    eventually("an empty cache", || (bytes() == 0.0).then_some(()));
}

#[test]
fn explain_names_the_policy_and_one_cache_serves_after_a_reload() {
    let origin = counting("Cache-Control: max-age=60\r\n");
    let sections = cached(&origin, "");
    let proxy = Proxy::start(&sections);
    assert_eq!(ask(&proxy, "/", "").text(), "1");
    assert!(proxy.reload());
    assert_eq!(ask(&proxy, "/", "").text(), "1", "a reload keeps what is in the cache");
    let explained = std::process::Command::new(crate::harness::BINARY)
        .args(["explain", "proxy.yaml", "GET", "http://a.example/"])
        .current_dir(proxy.dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(text.contains("caching   p"), "{text}");
}

#[test]
fn cookies_of_strangers_are_kept_apart_by_the_key() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let origin = Origin::start(move |exchange| {
        count.fetch_add(1, Ordering::SeqCst);
        let cookie = exchange.header("cookie").unwrap_or_default().to_owned();
        answer(exchange, "Cache-Control: max-age=60\r\n", &cookie)
    });
    let policy = ", key: { cookies: [ tier ], query: { except: [ session ] } }";
    let proxy = Proxy::start(&cached(&origin, policy));
    let text = |path, cookie| ask(&proxy, path, cookie).text();
    assert_eq!(text("/?session=1", "Cookie: tier=gold\r\n"), "tier=gold");
    assert_eq!(text("/?session=2", "Cookie: tier=free; x=1\r\n"), "tier=free; x=1");
    assert_eq!(text("/?session=3&CMCD=br%3D1", "Cookie: y=2; tier=gold\r\n"), "tier=gold");
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[test]
fn what_a_policy_keeps_out_is_said_to_be_kept_out() {
    let origin = counting("Cache-Control: max-age=60\r\n");
    let proxy = Proxy::start(&cached(&origin, ", no_store: [ '$cookie_ns' ]"));
    for body in ["1", "2"] {
        let response = ask(&proxy, "/", "Cookie: ns=1\r\n");
        assert_eq!(response.text(), body);
        assert_eq!(status(&response), "forebay; fwd=bypass; detail=no_store");
    }
    let head = proxy.client().ask("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(status(&head), "forebay; fwd=bypass; detail=head");
}

#[test]
fn what_is_not_asked_for_often_enough_is_not_stored() {
    let origin = counting("Cache-Control: max-age=60\r\n");
    let proxy = Proxy::start(&cached(&origin, ", uses_min: 3"));
    let bodies: Vec<String> = (0..5).map(|_| ask(&proxy, "/a", "").text()).collect();
    assert_eq!(bodies, ["1", "2", "3", "3", "3"]);
    assert_eq!(ask(&proxy, "/b", "").text(), "4");
    let last = ask(&proxy, "/b", "");
    assert_eq!(status(&last), "forebay; fwd=bypass; detail=uses_min");
}

#[test]
fn an_origin_in_the_key_makes_one_of_all_hosts_and_head_fetches_for_all() {
    let origin = counting("Cache-Control: max-age=60\r\n");
    let policy = ", key: { origin: 'http://u' }, fill: { for_head: true }, invalidate: false";
    let proxy = Proxy::start(&cached(&origin, policy));
    let ask = |method: &str, host: &str| {
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        proxy.client().ask(&format!("{method} /x HTTP/1.1\r\nHost: {host}\r\n{length}\r\n"))
    };
    let head = ask("HEAD", "a.example");
    assert_eq!((head.status, head.header("content-length")), (200, Some("1")));
    let stored = || status(&ask("GET", "b.example")).starts_with("forebay; hit");
    eventually("it is stored", || stored().then_some(()));
    assert_eq!(ask("GET", "b.example").text(), "1");
    // Nothing makes it out of date here.
    assert_eq!(ask("POST", "a.example").text(), "2");
    assert_eq!((ask("GET", "a.example").text().as_str(), origin.requests()), ("1", 2));
}

#[test]
fn what_is_stale_is_asked_for_whole_where_the_policy_does_not_ask_about_it() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let origin = Origin::start(move |exchange| {
        let condition = exchange.header("if-none-match").map(str::to_owned);
        seen.lock().unwrap().push(condition);
        answer(exchange, "Cache-Control: max-age=0\r\nETag: \"v\"\r\n", "body")
    });
    let proxy = Proxy::start(&cached(&origin, ", fill: { revalidate: false }"));
    for _ in 0..2 {
        assert_eq!(ask(&proxy, "/x", "").text(), "body");
    }
    assert_eq!(*asked.lock().unwrap(), [None, None]);
}
