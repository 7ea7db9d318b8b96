//! Routes told apart by everything a request has, and what they make of it.

use crate::harness::{Proxy, eventually, upstream};
use crate::origin::Origin;

/// An origin that says what it was asked for.
fn echo() -> Origin {
    Origin::start(|exchange| {
        let said = exchange.head.clone();
        exchange.answer(&said)
    })
}

fn start(origin: &Origin, rest: &str) -> Proxy {
    Proxy::start(&format!("upstreams: {{ u: {} }}\n{rest}", upstream(&[origin.address])))
}

#[test]
fn hosts_paths_headers_and_queries_decide_and_explain_says_the_same() {
    let origin = echo();
    let proxy = start(
        &origin,
        r#"routes:
  - { name: tenant, match: { hosts: [ { regex: '(?<tenant>[a-z]+)\.app\.example' } ] }, respond: { status: 200, body: 'tenant $tenant' } }
  - { name: beta, match: { headers: [ { name: x-beta, value: { exact: 'yes' } } ] }, respond: { status: 200, body: beta } }
  - { name: plain, match: { headers: [ { name: authorization, absent: true } ], query: [ { name: public, value: { regex: '^[12]$' } } ] }, respond: { status: 200, body: plain } }
  - { name: film, match: { paths: [ { regex: '^/film/([0-9]+)/(?<part>.*)$' } ] }, respond: { status: 200, body: 'film $1 part $part' } }
  - { name: elsewhere, match: { listeners: [public], paths: [ { exact: /listener } ] }, respond: { status: 204 } }"#,
    );
    let cases = [
        ("acme.app.example", "/", "", 200, "tenant acme"),
        ("a1.app.example", "/", "", 404, ""),
        ("a.example", "/", "X-Beta: yes\r\n", 200, "beta"),
        ("a.example", "/", "X-Beta: no\r\nX-Beta: yes\r\n", 200, "beta"),
        ("a.example", "/", "X-Beta: no\r\n", 404, ""),
        ("a.example", "/?public=1", "", 200, "plain"),
        ("a.example", "/?%70ublic=%31", "", 200, "plain"),
        ("a.example", "/?public=3", "", 404, ""),
        ("a.example", "/?public=1", "Authorization: Basic x\r\n", 404, ""),
        ("a.example", "/film/17/a%20b%3Cc", "", 200, "film 17 part a%20b%3Cc"),
        ("a.example", "/film/x/", "", 404, ""),
        ("a.example", "/listener", "", 204, ""),
    ];
    for (host, target, fields, status, body) in cases {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        let response = proxy.client().ask(&request);
        assert_eq!(response.status, status, "{request}");
        let headers: Vec<&str> = fields.lines().collect();
        let explained = explain(&proxy, &format!("http://{host}{target}"), &headers);
        if status == 404 {
            assert_eq!(explained["route"], serde_json::Value::Null, "{request}");
            continue;
        }
        assert_eq!(response.text(), body, "{request}");
        let outcome = explained["outcome"].as_str().unwrap();
        assert!(outcome.contains(&format!("answered with {status}")), "{outcome}");
        let logged = proxy.log_of(target.split('?').next().unwrap());
        assert_eq!(logged["upstream"], serde_json::Value::Null);
    }
}

pub fn explain(proxy: &Proxy, url: &str, headers: &[&str]) -> serde_json::Value {
    let mut command = std::process::Command::new(crate::harness::BINARY);
    let document = proxy.path("proxy.yaml");
    command.args(["explain", document.to_str().unwrap(), "GET", url, "--output", "json"]);
    command.args(["--listener", "public"]);
    for header in headers {
        command.args(["--header", header]);
    }
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn redirects_know_where_the_client_came_from() {
    let proxy = start(
        &echo(),
        r"routes:
  - { name: old, match: { paths: [ { regex: '^/old/(.*)$' } ] }, redirect: { to: 'https://new.example/$1', status: 301 }, response_headers: { set: { strict-transport-security: max-age=9 } } }
  - { name: secure, match: { methods: [GET] }, redirect: { to: 'https://$host$request_uri' } }
  - { name: rest, respond: { status: 403, body: '<no $method>', headers: { content-type: text/html } } }",
    );
    let moved = proxy.get("/old/x%0dy");
    assert_eq!(moved.status, 400, "no line break passes into a header");
    let moved = proxy.get("/old/a%22b/%E4?x");
    assert_eq!(
        (moved.status, moved.header("location")),
        (301, Some("https://new.example/a%22b/%E4"))
    );
    assert_eq!(moved.header("strict-transport-security"), Some("max-age=9"));
    let secure = proxy.get("/a?b=c&d");
    assert_eq!(secure.status, 308);
    assert_eq!(secure.header("location"), Some("https://a.example/a?b=c&d"));
    let mut client = proxy.client();
    let refused = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!((refused.status, refused.text().as_str()), (403, "<no POST>"));
    assert_eq!(refused.header("content-type"), Some("text/html"));
    let head = proxy.client().ask("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (308, 0));
}

#[test]
fn rewrites_change_what_the_upstream_is_asked_and_not_what_is_logged() {
    let origin = echo();
    let proxy = start(
        &origin,
        r"routes:
  - { name: prefix, match: { paths: [ { prefix: /api/ } ] }, rewrite: { prefix_to: /v2/ }, upstream: u }
  - { name: to, match: { paths: [ { regex: '^/user/([a-z]+)$' } ] }, rewrite: { to: '/users?name=$1&$query' }, upstream: u }
  - { name: find, match: { paths: [ { prefix: /f/ } ] }, rewrite: { regex: { find: '/([0-9]+)\.html$', replace: '/page?n=$1' } }, upstream: u }
  - { name: up, match: { paths: [ { prefix: /up } ] }, rewrite: { prefix_to: /base/ }, upstream: u }",
    );
    for (asked, seen) in [
        ("/api/x%20y;v=1/z?q=1", "/v2/x%20y;v=1/z?q=1"),
        ("/%61pi/x", "/v2/x"),
        ("/user/ann?a=b", "/users?name=ann&a=b"),
        ("/f/12.html?x=y", "/f/page?n=12"),
        ("/f/other?x=y", "/f/other?x=y"),
        ("/up/../x", ""),
        ("/upx/y", "/base/x/y"),
        ("/up", "/base/"),
    ] {
        let response = proxy.get(asked);
        if seen.is_empty() {
            assert_eq!(response.status, 404, "{asked}");
            continue;
        }
        let line = response.text().lines().next().unwrap().to_owned();
        assert_eq!(line, format!("GET {seen} HTTP/1.1"), "{asked}");
    }
    assert_eq!(proxy.log_of("/user/ann")["query"], "a=b");
}

#[test]
fn headers_are_edited_both_ways_on_every_kind_of_answer() {
    let origin = Origin::start(|exchange| match exchange.target() {
        "/dead" => false,
        _ => {
            let said = exchange.head.to_ascii_lowercase();
            exchange.write(format!(
                "HTTP/1.1 200 OK\r\nServer: inner\r\nCache-Control: max-age=60\r\nVary: Accept\r\nContent-Length: {}\r\n\r\n{said}",
                said.len()
            ))
        }
    });
    let proxy = start(
        &origin,
        r"caches: { c: { memory_max: 1MiB, object_memory_max: 64KiB } }
cache_policies: { p: { cache: c } }
maps: { tier: { of: '$header_x_plan', cases: [ { when: { regex: '^gold-(.*)$' }, value: 'first/$1' } ], default: plain } }
routes:
  - name: all
    upstream: u
    cache_policy: p
    request_headers: { remove: [cookie], set: { host: inner.example, x-tier: $tier, x-user: $cookie_user }, add: { via: '1.1 forebay' } }
    response_headers: { remove: [server], set: { x-frame-options: DENY, x-id: $request_id }, add: { vary: Origin } }",
    );
    let ask = |path: &str, fields: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: r1\r\n");
        proxy.client().ask(&format!("{head}{fields}\r\n"))
    };
    let told = ask("/x", "X-Plan: gold-a\r\nX-Tier: forged\r\nX-User: admin\r\nCookie: a=b\r\n");
    let seen = told.text();
    for line in [
        "host: inner.example",
        "x-tier: first/a",
        "via: 1.1 forebay",
        "x-forwarded-host: a.example",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line} in {seen}");
    }
    for gone in ["cookie:", "forged", "x-user"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    let hit = ask("/x", "");
    let refused = ask("/dead", "");
    let passed = proxy.client().ask(
        "POST /x HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: r1\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(hit.header("cache-status").unwrap().contains("hit"), "{hit:?}");
    assert_eq!((refused.status, passed.status), (502, 200));
    for response in [&told, &hit, &refused, &passed] {
        assert_eq!(response.header("x-frame-options"), Some("DENY"), "{response:?}");
        assert_eq!(response.header("x-id"), Some("r1"));
        assert_eq!(response.header("server"), None);
        let vary = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
        assert!(vary.map(|(_, value)| value.as_str()).any(|value| value == "Origin"));
    }
}

#[test]
fn routes_that_differ_by_a_header_share_no_stored_answer() {
    let origin = Origin::start(|exchange| {
        let said = exchange.header("x-key").unwrap_or("none").to_owned();
        exchange.write(format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{said}",
            said.len()
        ))
    });
    let proxy = start(
        &origin,
        r"caches: { c: { memory_max: 1MiB, object_memory_max: 64KiB } }
cache_policies: { p: { cache: c } }
routes:
  - { name: inner, match: { headers: [ { name: x-key } ] }, upstream: u, cache_policy: p }
  - { name: outer, upstream: u, cache_policy: p }",
    );
    let inner = proxy.client().ask("GET / HTTP/1.1\r\nHost: a.example\r\nX-Key: k\r\n\r\n");
    assert_eq!(inner.text(), "k");
    assert_eq!(proxy.get("/").text(), "none");
}

#[test]
fn a_redirect_that_comes_to_nothing_is_a_failure_that_names_its_route() {
    let proxy = Proxy::start(
        "routes:\n\
         - { name: away, match: { paths: [ { exact: /away } ] }, redirect: { to: $query_to, status: 302 } }\n\
         - { name: step, steps: [ { then: [ { rewrite: { find: '^/(.*)$', to: $query_to, redirect: 301 } } ] } ], respond: { status: 404 } }",
    );
    let led = proxy.get("/away?to=/there");
    assert_eq!((led.status, led.header("location")), (302, Some("/there")));
    for (path, route) in [("/away", "away"), ("/away?to=", "away"), ("/other", "step")] {
        let answer = proxy.get(path);
        assert_eq!((answer.status, answer.header("location")), (500, None), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let is_it =
            |line: &serde_json::Value| line["error"] == "leads_nowhere" && line["route"] == route;
        eventually("a line", || proxy.log().iter().any(is_it).then_some(()));
        proxy.says(&format!("\"route\":\"{route}\""));
    }
}
