//! Who and what a route lets pass, and what browsers are told about it.

use crate::harness::{Proxy, upstream};
use crate::origin::Origin;

const CACHED: &str = "caches: { c: { memory_max: 1MiB, object_memory_max: 64KiB } }
cache_policies: { p: { cache: c, freshness: { ttl_override: 60s } } }";

fn start(origin: &Origin, route: &str) -> Proxy {
    Proxy::start(&format!(
        "{CACHED}\nupstreams: {{ u: {} }}\nroutes: [ {{ name: open, match: {{ paths: [ {{ prefix: /open/ }} ] }}, upstream: u }}, {{ name: all, upstream: u, {route} }} ]",
        upstream(&[origin.address])
    ))
}

#[test]
fn a_refused_address_reaches_neither_cache_nor_upstream() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin, "cache_policy: p, access: { allow: [127.0.0.0/8] }");
    assert_eq!(proxy.get("/x").status, 200);
    assert!(proxy.get("/x").header("cache-status").unwrap().contains("hit"));
    let head = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    let sections = head.split_once("caches:").unwrap().1.replace("allow: [127", "allow: [10");
    proxy.rewrite(&format!("caches:{sections}"));
    assert!(proxy.reload());
    let refused = proxy.get("/x");
    assert_eq!((refused.status, refused.header("cache-status")), (403, None));
    assert_eq!(origin.requests(), 1);
    assert_eq!(proxy.get("/open/x").status, 200);
}

#[test]
fn a_body_that_is_too_large_is_cut_off() {
    let origin = Origin::start(|exchange| {
        let Some(body) = exchange.body() else { return false };
        let said = body.len().to_string();
        exchange.answer(&said)
    });
    let proxy = start(&origin, "request_body_max: 8");
    let post = |framing: &str| {
        let head = "POST /x HTTP/1.1\r\nHost: a.example\r\n";
        proxy.client().ask(&format!("{head}{framing}"))
    };
    assert_eq!(post("Content-Length: 8\r\n\r\n12345678").status, 200);
    let before = origin.requests();
    let declared = post("Content-Length: 9\r\n\r\n");
    assert_eq!((declared.status, declared.header("connection")), (413, Some("close")));
    assert_eq!(origin.requests(), before, "nothing was sent upstream");
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n\r\n").status, 200);
    let chunked = post("Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n5\r\n12345\r\n0\r\n\r\n");
    assert_eq!(chunked.status, 413);
}

#[test]
fn browsers_are_told_who_may_read_an_answer() {
    let origin = Origin::start(|exchange| {
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nAccess-Control-Allow-Origin: *\r\n\r\nok",
        )
    });
    let proxy = start(
        &origin,
        "cache_policy: p, cors: { origins: ['https://tv.example'], methods: [GET, PUT], headers: [x-a], expose_headers: [x-b], credentials: true }",
    );
    let ask = |line: &str, fields: &str| {
        proxy.client().ask(&format!("{line} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"))
    };
    for cache_status in ["fwd=uri-miss", "hit"] {
        let allowed = ask("GET /x", "Origin: https://tv.example\r\n");
        assert!(allowed.header("cache-status").unwrap().contains(cache_status));
        assert_eq!(allowed.header("access-control-allow-origin"), Some("https://tv.example"));
        assert_eq!(allowed.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(allowed.header("access-control-expose-headers"), Some("x-b"));
        assert_eq!(allowed.header("vary"), Some("Origin"));
    }
    let other = ask("GET /x", "Origin: https://evil.example\r\n");
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    let before = origin.requests();
    let fields = "Origin: https://tv.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let preflight = ask("OPTIONS /x", fields);
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    let refused = ask("OPTIONS /x", &fields.replace("tv", "evil"));
    assert_eq!(refused.header("access-control-allow-methods"), None);
    assert_eq!(origin.requests(), before, "preflights are answered here");
}

#[test]
fn what_is_signed_passes_and_nothing_else_even_when_it_is_stored() {
    const GOOD: &str = "69b8725f21308e1b9b0ee290cae1ef08ed848ca2aea1975071caf92c3aae7d79";
    const OLD: &str = "b5b85f1739ce25dfbb3f32a7b87628356cbd07f3c7a45479953d848b06bb10cc";
    let origin = Origin::saying("segment");
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let signed =
        format!("signed_url: {{ format: hmac, key_files: [{}], cookie: pass }}", key.display());
    let proxy = start(&origin, &format!("cache_policy: p, auth: {{ {signed} }}"));
    let ask = |path: &str, cookie: &str| {
        let cookie = format!("Cookie: pass={cookie}\r\n");
        let head = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n");
        proxy.client().ask(&format!("{head}{cookie}\r\n"))
    };
    let good = format!("/live/a/:4102444800:{GOOD}");
    assert_eq!(ask("/live/a/1.m4s", &good).text(), "segment");
    let hit = ask("/live/a/1.m4s", &good);
    assert!(hit.header("cache-status").unwrap().contains("hit"));
    for (path, cookie) in [
        ("/live/a/1.m4s", ""),
        ("/live/b/1.m4s", good.as_str()),
        ("/live/a/1.m4s", &format!("/live/a/:4102444801:{GOOD}")),
        ("/live/a/1.m4s", &format!("/live/:4102444800:{GOOD}")),
        ("/live/a/1.m4s", &format!("/live/a/:1000000000:{OLD}")),
    ] {
        let refused = ask(path, cookie);
        assert_eq!((refused.status, refused.header("cache-status")), (403, None), "{cookie}");
    }
    assert_eq!(origin.requests(), 1);
    let url = format!("/live/a/2.m4s?scope=/live/a/&expires=4102444800&signature={GOOD}");
    assert_eq!(proxy.get(&url).status, 200);
    assert_eq!(proxy.get(&url.replace("a/2.m4s", "b/2.m4s")).status, 403);
}
