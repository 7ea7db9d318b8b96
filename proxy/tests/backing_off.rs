//! Origins that fail while something stale answers in their place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::caching::{answer, ask, cached, status};
use crate::harness::{Proxy, eventually};
use crate::origin::Origin;

#[test]
fn an_origin_that_fails_is_left_alone_while_something_stale_answers() {
    for (rules, verdict) in [
        ("ttl_override: 100ms, stale_while_revalidate: 1h", "hit; ttl=-"),
        ("ttl_override: 100ms, stale_if_error: 1h", "detail=origin-failed"),
    ] {
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let origin = Origin::start(move |exchange| {
            !failing.load(Ordering::SeqCst) && answer(exchange, "ETag: \"a\"\r\n", "ok")
        });
        let proxy = Proxy::start(&cached(&origin, &format!(", freshness: {{ {rules} }}")));
        assert_eq!(ask(&proxy, "/", "").text(), "ok");
        fails.store(true, Ordering::SeqCst);
        eventually("something stale", || {
            status(&ask(&proxy, "/", "")).contains(verdict).then_some(())
        });
        let (before, begun) = (origin.requests(), Instant::now());
        for _ in 0..200 {
            let stale = ask(&proxy, "/", "");
            assert_eq!((stale.status, stale.text().as_str()), (200, "ok"), "{}", status(&stale));
        }
        // Waits of 100, 200, 400, 800 ms and then a second each.
        let (mut passed_ms, mut failures) = (0, 0);
        while passed_ms <= begun.elapsed().as_millis() {
            passed_ms += (100 << failures).min(1000);
            failures += 1;
        }
        let asked = origin.requests() - before;
        // The first may have been counted before, and a connection that was kept is tried once more.
        assert!(asked <= 2 * failures + 2, "{asked} in {:?}: {rules}", begun.elapsed());
        assert!(proxy.metric("forebay_proxy_cache_refreshes_held_total{cache=\"main\"}") > 100.0);
        fails.store(false, Ordering::SeqCst);
        eventually("something fresh", || {
            let said = ask(&proxy, "/", "");
            (status(&said).contains("fwd") || status(&said) == "forebay; hit; ttl=0").then_some(())
        });
    }
}
