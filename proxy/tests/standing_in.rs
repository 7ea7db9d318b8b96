//! What a cache keeps of failures and of what is for one client alone, and what stands in for an origin that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::caching::{answer, ask, cached, status};
use crate::harness::{Proxy, eventually};
use crate::origin::Origin;

/// Good at first; a failure with these fields from when it is told so.
fn failing(fields: &'static str) -> (Origin, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&fails);
    let origin = Origin::start(move |exchange| {
        if told.load(Ordering::SeqCst) {
            let head = format!("HTTP/1.1 503 Sorry\r\n{fields}Content-Length: 3\r\n\r\nBAD");
            return exchange.write(head);
        }
        answer(exchange, "Cache-Control: max-age=0\r\nETag: \"a\"\r\n", "GOOD")
    });
    (origin, fails)
}

#[test]
fn a_failure_does_not_take_the_place_of_what_stands_in_for_it() {
    for rules in [
        "",
        "stale_if_error: 1h",
        "stale_if_error: 1h, ttl_default: 1ms",
        "stale_if_error: 1h, ttl_by_status: { 503: 1h }",
    ] {
        for fields in ["", "ETag: \"b\"\r\n", "Cache-Control: max-age=60\r\n"] {
            let (origin, fails) = failing(fields);
            let proxy = Proxy::start(&cached(&origin, &format!(", freshness: {{ {rules} }}")));
            assert_eq!(ask(&proxy, "/x", "").text(), "GOOD");
            fails.store(true, Ordering::SeqCst);
            for _ in 0..3 {
                let stood_in = ask(&proxy, "/x", "");
                let got = (stood_in.status, stood_in.text());
                assert_eq!(got, (200, "GOOD".to_owned()), "{rules} | {fields}");
                assert!(status(&stood_in).contains("detail=origin-failed"), "{stood_in:?}");
            }
            assert_eq!(ask(&proxy, "/other", "").text(), "BAD", "nothing stands in for it");
        }
    }
}

#[test]
fn a_failure_in_the_background_is_nobodys() {
    let (origin, fails) = failing("");
    let proxy = Proxy::start(&cached(&origin, ", freshness: { stale_while_revalidate: 1h }"));
    assert_eq!(ask(&proxy, "/x", "").text(), "GOOD");
    fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let before = origin.requests();
        // The refresh before it may not be over yet.
        eventually("a refresh", || {
            assert_eq!(ask(&proxy, "/x", "").text(), "GOOD");
            (origin.requests() > before).then_some(())
        });
        // After ten seconds it would stand in for nothing, and the failure is of no use all the same.
        let refused = |reason: &str| {
            let labels = format!("{{cache=\"main\",reason=\"{reason}\"}}");
            proxy.metric(&format!("forebay_proxy_cache_refusals_total{labels}"))
        };
        let failed = || refused("stale_kept") + refused("no_freshness");
        let asked = (origin.requests() - 1) as f64;
        eventually("its failure", || (failed() >= asked).then_some(()));
    }
}

#[test]
fn what_nobody_said_is_for_everyone_is_not_kept() {
    let origin = Origin::start(|exchange| {
        let target = exchange.target().to_owned();
        let (code, fields) = target[1..].split_once('/').unwrap();
        let fields = if fields == "said" { "Cache-Control: max-age=60\r\n" } else { "" };
        exchange.write(format!(
            "HTTP/1.1 {code} So\r\nLocation: /x\r\n{fields}Content-Length: 0\r\n\r\n"
        ))
    });
    let rules = ", freshness: { stale_while_revalidate: 1h, stale_if_error: 1h }";
    let proxy = Proxy::start(&cached(&origin, rules));
    let is_kept = |path: &str| {
        let before = origin.requests();
        let (first, second) = (ask(&proxy, path, ""), ask(&proxy, path, ""));
        assert_eq!(first.status, second.status);
        origin.requests() == before + 1
    };
    for code in [302, 303, 307, 401, 403, 429, 500] {
        assert!(!is_kept(&format!("/{code}/silent")), "{code}");
        assert!(is_kept(&format!("/{code}/said")), "{code}");
    }
}

#[test]
fn answers_are_told_apart_by_what_the_origin_was_asked_with() {
    let origin = Origin::start(|exchange| {
        let device = exchange.header("x-device").unwrap_or("none").to_owned();
        let fields = match exchange.target().starts_with("/vary") {
            true => "Cache-Control: max-age=60\r\nVary: X-Device\r\n",
            false => "Cache-Control: max-age=60\r\n",
        };
        answer(exchange, fields, &device)
    });
    let sections = |key: &str| {
        cached(&origin, &format!(", key: {{ query: none{key} }}")).replace(
            "lane: bulk,",
            "lane: bulk, request_headers: { set: { X-Device: $query_device } },",
        )
    };
    for (key, path) in [("", "/vary"), (", headers: [X-Device]", "/key")] {
        let proxy = Proxy::start(&sections(key));
        let before = origin.requests();
        for _ in 0..3 {
            for device in ["mobile", "desktop"] {
                // Whatever the client says of itself.
                let fields = "X-Device: mobile\r\n";
                let page = ask(&proxy, &format!("{path}?device={device}"), fields);
                assert_eq!(page.text(), device, "{page:?}");
            }
        }
        assert_eq!(origin.requests(), before + 2, "each is kept: {key}");
    }
}

#[test]
fn a_server_that_is_obeyed_says_how_long_it_may_be_kept() {
    let origin = Origin::start(|exchange| {
        let seconds = exchange.target()[1..].to_owned();
        answer(exchange, &format!("X-Accel-Expires: {seconds}\r\nETag: \"a\"\r\n"), "x")
    });
    let rules = ", freshness: { x_accel_expires: true, ttl_default: 60s }";
    let sections = cached(&origin, rules).replace("servers: [", "x_accel: true, servers: [");
    let proxy = Proxy::start(&sections);
    for path in ["/0", "/600"] {
        let before = origin.requests();
        let answers = [ask(&proxy, path, ""), ask(&proxy, path, "")];
        assert!(answers.iter().all(|answer| answer.header("x-accel-expires").is_none()));
        let kept = origin.requests() == before + 1;
        assert_eq!(kept, path == "/600", "{answers:?}");
        if kept {
            let left = status(&answers[1]).split("ttl=").nth(1).unwrap();
            let left: u64 = left.split(';').next().unwrap().parse().unwrap();
            assert!((61..=600).contains(&left), "{left}");
        }
    }
}
