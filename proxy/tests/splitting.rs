//! Several upstreams behind one route.

use crate::harness::{Proxy, upstream};
use crate::origin::Origin;
use crate::rewriting::explain;

fn start(settings: &str) -> (Origin, Origin, Proxy) {
    let (old, new) = (cached("old"), cached("new"));
    let proxy = Proxy::start(&format!(
        "upstreams: {{ old: {}, new: {} }}\n\
         caches: {{ c: {{ memory_max: 1MiB, object_memory_max: 64KiB }} }}\ncache_policies: {{ p: {{ cache: c }} }}\n\
         routes: [ {{ name: all, split: {{ parts: [ {{ upstream: old, share: 75% }}, {{ upstream: new, share: 25% }} ]{settings} }} ]",
        upstream(&[old.address]),
        upstream(&[new.address]),
    ));
    (old, new, proxy)
}

fn cached(said: &'static str) -> Origin {
    Origin::start(move |exchange| {
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\n{said}"
        ))
    })
}

fn ask(proxy: &Proxy, user: usize) -> String {
    let request = format!("GET /x HTTP/1.1\r\nHost: a.example\r\nCookie: user={user}\r\n\r\n");
    proxy.client().ask(&request).text()
}

#[test]
fn requests_are_drawn_by_share() {
    let (old, new, proxy) = start(" }");
    for user in 0..400 {
        ask(&proxy, user);
    }
    // 100 are expected of the smaller part; six times the standard deviation is 52.
    assert!((48..=152).contains(&new.requests()), "{}", new.requests());
    assert_eq!(old.requests() + new.requests(), 400);
    let outcome = explain(&proxy, "http://a.example/x", &[])["outcome"].to_string();
    assert!(outcome.contains("`old` (75%), `new` (25%)"), "{outcome}");
}

#[test]
fn the_same_key_goes_the_same_way_and_parts_store_their_own_answers() {
    let (old, new, proxy) = start(", sticky_by: [ { cookie: user } ] }, cache_policy: p");
    let first: Vec<String> = (0..40).map(|user| ask(&proxy, user)).collect();
    let again: Vec<String> = (0..40).map(|user| ask(&proxy, user)).collect();
    assert_eq!(first, again);
    for said in ["old", "new"] {
        assert!(first.iter().any(|is| is == said), "nobody was sent to {said}");
    }
    assert_eq!((old.requests(), new.requests()), (1, 1));
}
