use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::client::Response;
use crate::harness::{Proxy, eventually, upstream};
use crate::origin::Origin;
use crate::redis_server::RedisServer;

/// A route `all` under these limits.
fn sections(origin: &Origin, route: &str, limits: &str) -> String {
    let upstream = upstream(&[origin.address]);
    format!(
        "upstreams: {{ u: {upstream} }}\nroutes: [ {{ name: all, upstream: u, {route} }} ]\n{limits}"
    )
}

fn limited(origin: &Origin, limit: &str) -> Proxy {
    let limits = format!("rate_limits: {{ l: {limit} }}");
    Proxy::start(&sections(origin, "rate_limits: [ l ]", &limits))
}

fn with(proxy: &Proxy, path: &str, headers: &str) -> Response {
    proxy.client().ask(&format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{headers}\r\n"))
}

/// So many requests are left, and all are back after so many seconds: less those that have gone by on a busy machine.
fn assert_quota(response: &Response, left: u64, seconds: u64) {
    let told = response.header("ratelimit").unwrap();
    let after = told.strip_prefix(&format!("\"l\";r={left};t=")).and_then(|t| t.parse().ok());
    assert!(after.is_some_and(|t: u64| (seconds - 60..=seconds).contains(&t)), "{told}");
}

fn count(proxy: &Proxy, limit: &str, result: &str) -> f64 {
    proxy.metric(&format!(
        "forebay_proxy_rate_limit_requests_total{{limit=\"{limit}\",result=\"{result}\"}}"
    ))
}

#[test]
fn over_the_limit_is_429_and_the_client_learns_its_quota() {
    let origin = Origin::saying("ok");
    let proxy = limited(&origin, "{ key: [ client ], rate: 2/h, burst: 2 }");
    let first = proxy.get("/1");
    assert_eq!(first.status, 200);
    assert_eq!(first.header("ratelimit-policy"), Some("\"l\";q=2;w=3600"));
    assert_quota(&first, 1, 1800);
    assert_quota(&proxy.get("/2"), 0, 3600);
    let over = proxy.get("/3");
    assert_eq!((over.status, over.header("content-type")), (429, Some("application/problem+json")));
    assert_eq!(over.header("ratelimit-policy"), Some("\"l\";q=2;w=3600"));
    let retry: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1740..=1800).contains(&retry), "{retry}");
    assert_eq!(origin.requests(), 2);
    let line = proxy.log_of("/3");
    assert_eq!(
        (line["error"].as_str(), line["rate_limit"].as_str()),
        (Some("rate_limited"), Some("l"))
    );
    assert_eq!((count(&proxy, "l", "passed"), count(&proxy, "l", "refused")), (2.0, 1.0));
}

#[test]
fn a_missing_key_is_limited_and_keys_are_apart() {
    let origin = Origin::saying("ok");
    let proxy = limited(&origin, "{ key: [ { header: x-key }, { cookie: c } ], rate: 1/h }");
    let both =
        |key: &str| with(&proxy, "/", &format!("X-Key: {key}\r\nCookie: c={key}\r\n")).status;
    assert_eq!([both("a"), both("b"), both("a")], [200, 200, 429]);
    assert_eq!([proxy.get("/").status, proxy.get("/other").status], [200, 429]);
    assert_eq!(proxy.metric("forebay_proxy_rate_limit_keys{limit=\"l\"}"), 3.0);
}

#[test]
fn several_limits_apply_and_one_that_refuses_costs_the_others_nothing() {
    let origin = Origin::saying("ok");
    let limits = "rate_limits: { wide: { key: [ route ], rate: 3/h, burst: 3 },
        narrow: { key: [ { query: user } ], rate: 1/h } }";
    let proxy = Proxy::start(&sections(&origin, "rate_limits: [ wide, narrow ]", limits));
    let status = |user: &str| proxy.get(&format!("/?user={user}")).status;
    assert_eq!([status("1"), status("1"), status("1"), status("2")], [200, 429, 429, 200]);
    let third = proxy.get("/?user=3");
    assert_eq!(third.status, 200, "the refusals did not count against `wide`");
    assert_eq!(
        third.header("ratelimit-policy"),
        Some("\"wide\";q=3;w=3600, \"narrow\";q=1;w=3600")
    );
    assert_eq!(status("4"), 429);
    assert_eq!(proxy.log_of("/")["rate_limit"], serde_json::Value::Null);
}

#[test]
fn a_dry_run_counts_and_lets_everything_pass() {
    let origin = Origin::saying("ok");
    let proxy = limited(&origin, "{ key: [ client ], rate: 1/h, dry_run: true }");
    let answers = [proxy.get("/1"), proxy.get("/2"), proxy.get("/3")];
    assert!(
        answers.iter().all(|answer| answer.status == 200 && answer.header("ratelimit").is_none())
    );
    assert_eq!((count(&proxy, "l", "passed"), count(&proxy, "l", "over_dry_run")), (1.0, 2.0));
    assert_eq!(proxy.log_of("/3")["rate_limit"], "l");
}

#[test]
fn delayed_requests_are_held_for_their_turn_and_no_longer_than_said() {
    let origin = Origin::saying("ok");
    let proxy =
        limited(&origin, "{ key: [ client ], rate: 5/s, when_over: delay, delay_max: 300ms }");
    let begun = Instant::now();
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(|| proxy.get("/").status)).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    let passed = statuses.iter().filter(|status| **status == 200).count();
    // Waits of 0, 200, and no 400 and 600 ms: unless the machine was so slow that a turn came up.
    assert!(passed == 2 || begun.elapsed() > Duration::from_millis(300), "{statuses:?}");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    // Where nobody had to wait, each came when the turn of the one before was over.
    let had_turns = begun.elapsed() >= Duration::from_millis(600);
    assert!(count(&proxy, "l", "delayed") >= 1.0 || had_turns, "{:?}", begun.elapsed());
    assert_eq!(proxy.metric("forebay_proxy_rate_limit_delayed{limit=\"l\"}"), 0.0);
}

#[test]
fn only_so_many_requests_are_held() {
    let origin = Origin::saying("ok");
    let limit = "{ key: [ client ], rate: 1/m, when_over: delay, delay_max: 10m, delayed_max: 1 }";
    let proxy = limited(&origin, limit);
    assert_eq!(proxy.get("/").status, 200);
    let mut held = proxy.client();
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let waiting = "forebay_proxy_rate_limit_delayed{limit=\"l\"}";
    eventually("a request held", || (proxy.metric(waiting) == 1.0).then_some(()));
    let refused = proxy.get("/");
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 60);
}

#[test]
fn requests_in_flight_are_limited_per_key() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |exchange| {
        let _ = held.lock().unwrap().recv();
        exchange.answer("ok")
    });
    let proxy = limited(&origin, "{ key: [ { header: x-key } ], concurrency_max: 1 }");
    let mut first = proxy.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\nX-Key: a\r\n\r\n");
    origin.wait_for_requests(1);
    let second = with(&proxy, "/", "X-Key: a\r\n");
    assert_eq!((second.status, second.header("retry-after")), (429, Some("1")));
    drop(release);
    assert_eq!(with(&proxy, "/", "X-Key: b\r\n").status, 200);
    assert_eq!(first.response(false).unwrap().status, 200);
    eventually("the place back", || {
        (with(&proxy, "/", "X-Key: a\r\n").status == 200).then_some(())
    });
}

#[test]
fn answers_from_the_cache_are_limited_too() {
    let origin = Origin::start(|exchange| {
        exchange
            .write("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")
    });
    let limits = "rate_limits: { l: { key: [ client ], rate: 2/h, burst: 2 } }
cache_policies: { p: { cache: main } }\ncaches: { main: { memory_max: 64MiB } }";
    let proxy = Proxy::start(&sections(&origin, "rate_limits: [ l ], cache_policy: p", limits));
    let (miss, hit) = (proxy.get("/"), proxy.get("/"));
    assert!(hit.header("cache-status").unwrap().contains("hit"), "{hit:?}");
    assert_quota(&miss, 1, 1800);
    // Its own, not a stored one.
    assert_quota(&hit, 0, 3600);
    assert_eq!((proxy.get("/").status, origin.requests()), (429, 1));
}

#[test]
fn a_reload_keeps_the_counts() {
    let origin = Origin::saying("ok");
    let limit = |rate: &str| {
        let limits = format!("rate_limits: {{ l: {{ key: [ client ], rate: {rate} }} }}");
        sections(&origin, "rate_limits: [ l ]", &limits)
    };
    let proxy = Proxy::start(&limit("1/h"));
    assert_eq!(proxy.get("/").status, 200);
    assert!(proxy.reload());
    assert_eq!(proxy.get("/").status, 429);
    proxy.rewrite(&limit("1000/s"));
    assert!(proxy.reload());
    eventually("the faster rate", || (proxy.get("/").status == 200).then_some(()));
}

/// A limit shared through Redis.
fn shared(redis: &RedisServer, rate: &str, rest: &str) -> String {
    let url = redis.url();
    format!("{{ key: [ route ], {rate}, cluster: {{ redis: '{url}', {rest} }} }}")
}

#[test]
fn two_proxies_and_one_redis_admit_no_more_than_the_limit() {
    let (redis, origin) = (RedisServer::start(), Origin::saying("ok"));
    let limit = shared(&redis, "rate: 200/s, burst: 100", "when_unavailable: refuse, timeout: 5s");
    let proxies = [limited(&origin, &limit), limited(&origin, &limit)];
    let begun = Instant::now();
    let admitted: usize = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|at| {
                let proxy = &proxies[at % 2];
                scope.spawn(move || {
                    let mut client = proxy.client();
                    let mut admitted = 0;
                    for _ in 0..250 {
                        let status = client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status;
                        assert!(status == 200 || status == 429, "{status}");
                        admitted += usize::from(status == 200);
                    }
                    admitted
                })
            })
            .collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).sum()
    });
    let allowed = 100.0 + 200.0 * begun.elapsed().as_secs_f64();
    let admitted = f64::from(u32::try_from(admitted).unwrap());
    assert!(admitted <= allowed * 1.01, "{admitted} of {allowed}");
    assert!(admitted >= 100.0, "the burst at least: {admitted}");
    for proxy in &proxies {
        assert!(count(proxy, "l", "passed") > 0.0, "each was asked");
        assert_eq!(
            proxy.metric("forebay_proxy_rate_limit_cluster_failures_total{limit=\"l\"}"),
            0.0
        );
    }
}

#[test]
fn redis_decides_as_the_proxy_itself_would() {
    let (redis, origin) = (RedisServer::start(), Origin::saying("ok"));
    let limit = shared(&redis, "rate: 2/h, burst: 2", "when_unavailable: refuse, timeout: 5s");
    let proxy = limited(&origin, &limit);
    let answers: Vec<_> = (0..3).map(|_| proxy.get("/")).collect();
    assert_eq!((answers[0].status, answers[1].status), (200, 200));
    assert_quota(&answers[0], 1, 1800);
    assert_quota(&answers[1], 0, 3600);
    let retry: u64 = answers[2].header("retry-after").unwrap().parse().unwrap();
    assert!(answers[2].status == 429 && (1740..=1800).contains(&retry), "{retry}");
}

#[test]
fn without_redis_the_limit_does_what_it_says() {
    for (when, expected) in [("local", [200, 429]), ("allow", [200, 200]), ("refuse", [503, 503])] {
        let (redis, origin) = (RedisServer::start(), Origin::saying("ok"));
        let rest = format!("when_unavailable: {when}, timeout: 100ms");
        redis.freeze();
        let proxy = limited(&origin, &shared(&redis, "rate: 1/h", &rest));
        assert_eq!([proxy.get("/").status, proxy.get("/").status], expected, "{when}");
        let failures = "forebay_proxy_rate_limit_cluster_failures_total{limit=\"l\"}";
        assert_eq!(proxy.metric(failures), 2.0);
        redis.thaw();
        eventually("Redis counts again", || {
            let before = proxy.metric(failures);
            proxy.get("/");
            (proxy.metric(failures) == before).then_some(())
        });
    }
}

/// 300 kB at 100 kB/s, less the burst: it cannot be faster, and how slow it is asks the machine.
#[test]
fn a_keys_bytes_are_paced_however_many_answers_they_are() {
    let origin = Origin::saying("x".repeat(50_000).leak());
    let limit = "{ key: [ { header: x-key } ], bandwidth_max: 100KB/s, concurrency_max: 9 }";
    let cached = "cache_policy: c, rate_limits: [ l ]";
    let extra = "caches: { m: { memory_max: 64MiB } }\ncache_policies: { c: { cache: m, freshness: { ttl_default: 1h } } }";
    for (route, extra) in [("rate_limits: [ l ]", ""), (cached, extra)] {
        let limits = format!("rate_limits: {{ l: {limit} }}\n{extra}");
        let proxy = Proxy::start(&sections(&origin, route, &limits));
        let begun = Instant::now();
        for number in 0..6 {
            let answer = with(&proxy, &format!("/{}", number % 2), "X-Key: a\r\n");
            assert_eq!((answer.status, answer.body.len()), (200, 50_000), "{route}");
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(2200), "{took:?}, {route}");
        let paced = || proxy.metric("forebay_proxy_rate_limit_paced_bytes_total{limit=\"l\"}");
        let before = paced();
        // Each has to wait for the one before it, but where the machine stood still meanwhile.
        assert!(before >= 150_000.0, "{before} in {took:?}, {route}");
        assert_eq!(with(&proxy, "/1", "X-Key: b\r\n").status, 200);
        assert!(paced() < before + 50_000.0, "another key's first bytes wait for nobody, {route}");
    }
}

#[test]
fn limits_of_one_zone_count_together() {
    let origin = Origin::saying("ok");
    let upstream = upstream(&[origin.address]);
    let proxy = Proxy::start(&format!(
        "upstreams: {{ u: {upstream} }}
rate_limits:
  strict: {{ key: [client], rate: 1/h, zone: one }}
  lenient: {{ key: [client], rate: 1/h, burst: 2, status: 503, zone: one }}
routes:
  - {{ name: a, match: {{ paths: [ {{ prefix: /a }} ] }}, upstream: u, rate_limits: [strict] }}
  - {{ name: b, upstream: u, rate_limits: [lenient] }}"
    ));
    let statuses = ["/b", "/a", "/b", "/b", "/a"].map(|path| proxy.get(path).status);
    assert_eq!(statuses, [200, 429, 200, 503, 429]);
}
