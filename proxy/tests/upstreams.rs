use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::client::Response;
use crate::harness::{Proxy, dead_address, eventually};
use crate::origin::Origin;

/// A route `all` to an upstream `u` of these servers.
fn sections(servers: &[String], rest: &str) -> String {
    let servers = servers.join(", ");
    format!(
        "upstreams: {{ u: {{ servers: [ {servers} ], {rest} }} }}\nroutes: [ {{ name: all, upstream: u }} ]"
    )
}

fn server(address: std::net::SocketAddr, rest: &str) -> String {
    format!("{{ address: '{address}'{rest} }}")
}

fn before(origins: &[&Origin], rest: &str) -> Proxy {
    let servers: Vec<_> = origins.iter().map(|origin| server(origin.address, "")).collect();
    Proxy::start(&sections(&servers, rest))
}

fn ask(proxy: &Proxy, method: &str, headers: &str) -> Response {
    proxy.client().ask(&format!("{method} / HTTP/1.1\r\nHost: a.example\r\n{headers}\r\n"))
}

/// Answers with the status it is told.
fn answering() -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let origin = Origin::start(move |exchange| {
        let status = told.load(Ordering::SeqCst);
        exchange.body().is_some()
            && exchange.write(format!("HTTP/1.1 {status} Told\r\nContent-Length: 2\r\n\r\nok"))
    });
    (origin, status)
}

fn is_up(proxy: &Proxy, origin: &Origin) -> bool {
    let address = origin.address;
    let series = format!("forebay_proxy_upstream_server_up{{server=\"{address}\",upstream=\"u\"}}");
    proxy.metric(&series) == 1.0
}

fn retries(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric(&format!(
        "forebay_proxy_upstream_retries_total{{reason=\"{reason}\",upstream=\"u\"}}"
    ))
}

#[test]
fn the_least_loaded_server_takes_the_next_request() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let slow = Origin::start(move |exchange| {
        let _ = held.lock().unwrap().recv();
        exchange.answer("slow")
    });
    let quick = Origin::saying("quick");
    let proxy = before(&[&slow, &quick], "balance: least_connections");
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.wait_for_requests(1);
    let at_quick = format!(
        "forebay_proxy_upstream_server_in_flight{{server=\"{}\",upstream=\"u\"}}",
        quick.address
    );
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "quick");
        // A request counts until a moment after its last byte.
        eventually("an idle server", || (proxy.metric(&at_quick) == 0.0).then_some(()));
    }
    drop(release);
    assert_eq!(client.response(false).unwrap().text(), "slow");
    assert_eq!((slow.requests(), quick.requests()), (1, 4));
}

#[test]
fn a_hashed_key_stays_with_its_server() {
    let origins = [Origin::saying("0"), Origin::saying("1"), Origin::saying("2")];
    let all: Vec<_> = origins.iter().collect();
    let proxy = before(&all, "balance: consistent_hash, hash_key: [ { header: x-key } ]");
    let of = |key: usize| ask(&proxy, "GET", &format!("X-Key: {key}\r\n")).text();
    let first: Vec<_> = (0..24).map(of).collect();
    assert_eq!((0..24).map(of).collect::<Vec<_>>(), first);
    let used = origins.iter().filter(|origin| origin.requests() > 0).count();
    assert_eq!(used, 3, "{first:?}");
}

#[test]
fn a_slow_server_is_asked_less() {
    // Always slower than the quick one ever was, however slow that is on a busy machine.
    let slowly = Arc::new(Mutex::new(Duration::from_millis(100)));
    let held = Arc::clone(&slowly);
    let slow = Origin::start(move |exchange| {
        let held = *held.lock().unwrap();
        std::thread::sleep(held);
        exchange.answer("slow")
    });
    let quick = Origin::saying("quick");
    let proxy = before(&[&slow, &quick], "balance: p2c_ewma");
    for _ in 0..30 {
        let asked = Instant::now();
        let answer = proxy.get("/");
        assert_eq!(answer.status, 200);
        if answer.text() == "quick" {
            let mut slowly = slowly.lock().unwrap();
            *slowly = slowly.max(4 * asked.elapsed()).min(Duration::from_secs(5));
        }
    }
    assert!(slow.requests() < 10 && quick.requests() > 20, "{} slow", slow.requests());
}

#[test]
fn backups_serve_while_every_other_server_is_down() {
    let backup = Origin::saying("backup");
    let dead = dead_address();
    let servers = [server(dead, ""), server(backup.address, ", backup: true")];
    let proxy = Proxy::start(&sections(&servers, "health_checks: { active: { interval: 2s } }"));
    assert_eq!(proxy.get("/").text(), "backup", "the first server could not be connected to");
    let (primary, backup) = (Origin::saying("primary"), Origin::saying("backup"));
    let servers = [server(primary.address, ""), server(backup.address, ", backup: true")];
    let proxy = Proxy::start(&sections(&servers, ""));
    assert!((0..4).all(|_| proxy.get("/").text() == "primary"));
    assert_eq!(backup.requests(), 0);
}

#[test]
fn a_server_has_no_more_requests_than_it_may() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |exchange| {
        let _ = held.lock().unwrap().recv();
        exchange.answer("ok")
    });
    let proxy = Proxy::start(&sections(&[server(origin.address, ", connections_max: 1")], ""));
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_for_requests(1);
    let second = proxy.get("/second");
    assert_eq!((second.status, second.header("retry-after")), (503, Some("1")));
    assert_eq!(proxy.log_of("/second")["error"], "no_server");
    drop(release);
    assert_eq!(client.response(false).unwrap().status, 200);
    eventually("room", || (proxy.get("/").status == 200).then_some(()));
}

fn ejections(proxy: &Proxy, origin: &Origin) -> f64 {
    let address = origin.address;
    proxy.metric(&format!(
        "forebay_proxy_upstream_ejections_total{{server=\"{address}\",upstream=\"u\"}}"
    ))
}

#[test]
fn failures_take_a_server_out_and_a_reload_does_not_heal_it() {
    let ((failing, status), good) = (answering(), Origin::saying("good"));
    status.store(503, Ordering::SeqCst);
    let checks = "health_checks: { passive: { failures_max: 2, out_for: 1h } }";
    let proxy = before(&[&failing, &good], checks);
    let statuses: Vec<_> = (0..4).map(|_| proxy.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2, "{statuses:?}");
    assert!(!is_up(&proxy, &failing) && is_up(&proxy, &good));
    assert!(proxy.reload());
    assert!(!is_up(&proxy, &failing), "a reload does not heal it");
    assert_eq!(ejections(&proxy, &failing), 1.0);
}

#[test]
fn a_server_that_was_out_comes_back_when_its_time_is_over() {
    let ((failing, status), good) = (answering(), Origin::saying("good"));
    status.store(503, Ordering::SeqCst);
    let checks = "health_checks: { passive: { failures_max: 2, out_for: 100ms } }";
    let proxy = before(&[&failing, &good], checks);
    eventually("its going out", || {
        proxy.get("/");
        (ejections(&proxy, &failing) >= 1.0).then_some(())
    });
    status.store(200, Ordering::SeqCst);
    let asked = failing.requests();
    eventually("its return", || {
        assert_eq!(proxy.get("/").status, 200);
        (failing.requests() > asked).then_some(())
    });
    assert!(is_up(&proxy, &failing));
}

#[test]
fn what_is_told_of_a_server_goes_when_no_configuration_has_it() {
    let (stays, dead) = (Origin::saying("stays"), dead_address());
    let both = [server(stays.address, ""), server(dead, "")];
    let checks = "health_checks: { active: { interval: 20ms, timeout: 20ms, failures_max: 1 } }";
    let proxy = Proxy::start(&sections(&both, checks));
    let told = |of: std::net::SocketAddr| proxy.metrics().contains(&format!("server=\"{of}\""));
    eventually("a server that is out", || {
        let up = format!("forebay_proxy_upstream_server_up{{server=\"{dead}\",upstream=\"u\"}} 0");
        proxy.metrics().contains(&up).then_some(())
    });
    proxy.rewrite(&sections(&both[..1], checks));
    assert!(proxy.reload());
    eventually("nothing is told of it", || (!told(dead)).then_some(()));
    assert!(told(stays.address));
    // A probe of 20 ms may be too late on a busy machine.
    eventually("the other one", || is_up(&proxy, &stays).then_some(()));
}

#[test]
fn probes_find_out_what_is_down_before_requests_do() {
    // Many in a row, so that one that a busy machine was too slow for takes nobody out.
    let well = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&well);
    let probed = Origin::start(move |exchange| {
        match (exchange.target() == "/healthz", told.load(Ordering::SeqCst)) {
            (true, false) => exchange.write("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
            (true, true) => exchange.answer("well"),
            (false, _) => exchange.answer("probed"),
        }
    });
    let checks =
        "health_checks: { active: { probe: { http: { path: /healthz, host: probe.example } },
        interval: 50ms, timeout: 50ms, failures_max: 20, successes_min: 2 } }";
    let proxy = before(&[&probed], checks);
    probed.wait_for_requests(2);
    let head = probed.heads().remove(0);
    assert!(
        head.starts_with("GET /healthz HTTP/1.1\r\n") && head.contains("probe.example"),
        "{head}"
    );
    assert_eq!(proxy.get("/").text(), "probed");
    well.store(false, Ordering::SeqCst);
    eventually("down", || (!is_up(&proxy, &probed)).then_some(()));
    assert_eq!(proxy.get("/").status, 503);
    well.store(true, Ordering::SeqCst);
    eventually("up", || is_up(&proxy, &probed).then_some(()));
    assert_eq!(proxy.get("/").text(), "probed");
}

#[test]
fn probes_by_tcp_and_those_of_an_old_configuration_end() {
    let (good, dead, other) = (Origin::saying("good"), dead_address(), dead_address());
    let servers = [server(dead, ""), server(good.address, "")];
    let checks = "health_checks: { active: { interval: 20ms, timeout: 20ms, failures_max: 3 } }";
    // Another upstream is probed all the time, and says when probes of the first would have come.
    let beside = format!("upstreams: {{ v: {{ servers: [ {} ], {checks} }},", server(other, ""));
    let with = |rest: &str| sections(&servers, rest).replace("upstreams: {", &beside);
    let proxy = Proxy::start(&with(checks));
    let failed = |upstream: &str, server: std::net::SocketAddr| {
        proxy.metric(&format!(
            "forebay_proxy_upstream_probes_total{{result=\"failed\",server=\"{server}\",upstream=\"{upstream}\"}}"
        ))
    };
    eventually("failed probes", || (failed("u", dead) >= 4.0).then_some(()));
    assert!((0..4).all(|_| proxy.get("/").text() == "good"));
    assert_eq!(retries(&proxy, "connect"), 0.0, "nobody was sent to the dead server");
    proxy.rewrite(&with(""));
    assert!(proxy.reload());
    let (before, others) = (failed("u", dead), failed("v", other));
    // One may have been on its way.
    eventually("a probe of another", || (failed("v", other) >= others + 1.0).then_some(()));
    let connections = good.connections();
    eventually("more of them", || (failed("v", other) >= others + 4.0).then_some(()));
    assert_eq!(good.connections(), connections);
    assert!(failed("u", dead) <= before + 1.0);
}

#[test]
fn gateway_errors_are_tried_elsewhere_when_that_does_no_harm() {
    let ((failing, status), good) = (answering(), Origin::saying("good"));
    status.store(503, Ordering::SeqCst);
    let rules =
        "retries: { on: [ gateway_error ], budget: 100%, idempotency_header: Idempotency-Key }";
    let proxy = before(&[&failing, &good], rules);
    for _ in 0..4 {
        assert_eq!(ask(&proxy, "GET", "").text(), "good");
    }
    assert!(retries(&proxy, "gateway_error") >= 2.0);
    let body = "Content-Length: 3\r\n\r\nabc";
    let post = |extra: &str| {
        proxy.client().ask(&format!("POST /pay HTTP/1.1\r\nHost: a\r\n{extra}{body}"))
    };
    let plain = [post("").status, post("").status];
    assert!(plain.contains(&503), "a POST is never repeated: {plain:?}");
    for _ in 0..2 {
        assert_eq!(post("Idempotency-Key: 1\r\n").text(), "good");
    }
    let empty = [post("Idempotency-Key:\r\n").status, post("Idempotency-Key: \r\n").status];
    assert!(empty.contains(&503), "nor one without a key: {empty:?}");
    let alone = before(&[&failing], rules);
    assert_eq!(
        ask(&alone, "GET", "").status,
        503,
        "without another server the answer is passed on"
    );
}

#[test]
fn broken_connections_are_tried_elsewhere_within_the_budget() {
    let broken = Origin::start(|_| false);
    let good = Origin::saying("good");
    let rules = "balance: consistent_hash, hash_key: [ { header: x-key } ],
        retries: { on: [ reset ], budget: 1% }";
    let proxy = before(&[&broken, &good], rules);
    let of = |key: usize| ask(&proxy, "GET", &format!("X-Key: {key}\r\n")).status;
    let key = (0..).find(|key| {
        let asked = broken.requests();
        let status = of(*key);
        assert_eq!(status, 200);
        broken.requests() > asked
    });
    let key = key.unwrap();
    let statuses: Vec<_> = (0..20).map(|_| of(key)).collect();
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(passed, 9, "ten retries are saved up, one was used: {statuses:?}");
    assert_eq!(retries(&proxy, "reset"), 10.0);
}

#[test]
fn a_cookie_keeps_a_client_with_its_server() {
    let origins = [Origin::saying("0"), Origin::saying("1"), Origin::saying("2")];
    let all: Vec<_> = origins.iter().collect();
    let proxy = before(&all, "sticky: { cookie: seat, lifetime: 1h }");
    let first = ask(&proxy, "GET", "");
    let cookie = first.header("set-cookie").unwrap().to_owned();
    assert!(cookie.starts_with("seat=") && cookie.ends_with("; Max-Age=3600"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..5 {
        let again = ask(&proxy, "GET", &format!("Cookie: a=b; {pair}\r\n"));
        assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None));
    }
    let odd = ask(&proxy, "GET", "Cookie: seat=nonsense\r\n");
    assert!(odd.header("set-cookie").is_some());
}

#[test]
fn fills_of_the_cache_choose_retry_and_count_alike() {
    let cacheable = |body: &'static str| {
        Origin::start(move |exchange| {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n";
            exchange.write(format!("{head}{body}"))
        })
    };
    let ((failing, status), good) = (answering(), cacheable("good"));
    status.store(503, Ordering::SeqCst);
    let rules = "retries: { on: [ gateway_error ], budget: 100% },
        health_checks: { passive: { failures_max: 1 } }";
    let sections = sections(&[server(failing.address, ""), server(good.address, "")], rules)
        .replace("upstream: u }", "upstream: u, cache_policy: p }");
    let proxy = Proxy::start(&format!(
        "{sections}\ncache_policies: {{ p: {{ cache: main }} }}\ncaches: {{ main: {{ memory_max: 64MiB }} }}"
    ));
    for path in ["/1", "/2", "/3", "/1"] {
        assert_eq!(proxy.get(path).text(), "good", "{path}");
    }
    assert_eq!((failing.requests(), good.requests()), (1, 3));
    assert_eq!(retries(&proxy, "gateway_error"), 1.0);
    assert!(!is_up(&proxy, &failing));
    let in_flight = |address| {
        format!("forebay_proxy_upstream_server_in_flight{{server=\"{address}\",upstream=\"u\"}}")
    };
    eventually("nothing in flight", || {
        let all = [failing.address, good.address].map(|at| proxy.metric(&in_flight(at)));
        (all == [0.0, 0.0]).then_some(())
    });
}
