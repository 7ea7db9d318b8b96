//! Steps of routes: variables, conditions, rewrites and answers before anything else is decided.

use crate::harness::{Proxy, upstream};
use crate::origin::Origin;
use crate::rewriting::explain;

/// An origin that says what it was asked for.
fn start(routes: &str) -> Proxy {
    let origin = Origin::start(|exchange| {
        let said = exchange.head.clone();
        exchange.answer(&said)
    });
    Proxy::start(&format!("upstreams: {{ u: {} }}\n{routes}", upstream(&[origin.address])))
}

#[test]
fn requests_pass_through_steps_to_the_route_that_answers() {
    let proxy = start(
        r#"routes:
  - name: all
    steps:
      - then: [ { set: { name: kind, to: desktop } } ]
      - { when: [ { of: $header_user_agent, is: { regex: '(?i)android' } } ], then: [ { set: { name: kind, to: mobile } } ] }
      - { when: [ { of: $query_gone } ], then: [ { respond: { status: 410, body: 'gone, $kind' } } ] }
      - { when: [ { of: $path, is: { equals: /slam } } ], then: [ close ] }
      - then: [ { rewrite: { find: '^/old/(.*)$', to: '/new/$1?from=old' } } ]
  - { name: circle, match: { paths: [ { prefix: /circle } ] }, steps: [ { then: [ { rewrite: { find: '^/circle', to: /circle, after: again } } ] } ], upstream: u }
  - { name: new, match: { paths: [ { prefix: /new/ } ], within: [ { regex: '[0-9]$' } ] }, upstream: u, rewrite: { prefix_to: / }, request_headers: { set: { x-kind: $kind, x-asked: $request_uri } }, forwarded_headers: pass_on }
  - { name: moved, match: { paths: [ { exact: /moved } ] }, steps: [ { then: [ { rewrite: { find: '^', to: 'https://b.example$path', redirect: 301 } } ] } ], upstream: u }
  - name: page
    match: { paths: [ { prefix: /page } ] }
    steps:
      - { when: [ { of: $query_other } ], then: [ { route: other } ] }
      - then: [ { rewrite: { find: '^/page/a$', to: /page/b, after: stay } } ]
      - { when: [ { of: $path, is: { equals: /page/c } } ], then: [ { rewrite: { find: '^', to: /new/9, after: again } } ] }
    upstream: u
  - { name: other, internal: true, respond: { status: 200, body: other } }
  - { name: rest, respond: { status: 404, body: nothing }, response_headers: { append: [ { name: x-a, value: '1' }, { name: x-b, value: '2', always: false } ] } }"#,
    );
    let cases = [
        ("/?gone=1", "", 410, "gone, desktop"),
        ("/?gone=1", "User-Agent: Android 15\r\n", 410, "gone, mobile"),
        ("/?gone=0", "", 404, "nothing"),
        ("/old/7?x=1", "", 200, "GET /7?from=old&x=1 HTTP/1.1"),
        ("/old/7", "User-Agent: Android\r\n", 200, "x-kind: mobile"),
        ("/old/7", "", 200, "x-asked: /old/7"),
        ("/old/x", "", 404, "nothing"),
        ("/circle", "", 500, "in a circle"),
        ("/moved?x=1", "", 301, ""),
        ("/page/a?x=1", "", 200, "GET /page/b?x=1 HTTP/1.1"),
        ("/page/c", "", 200, "GET /9 HTTP/1.1"),
        ("/page/?other=1", "", 200, "other"),
        ("/nowhere", "", 404, "nothing"),
    ];
    for (target, fields, status, said) in cases {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        let response = proxy.client().ask(&request);
        assert_eq!(response.status, status, "{target}");
        assert!(
            response.text().to_lowercase().contains(&said.to_lowercase()),
            "{}",
            response.text()
        );
        let headers: Vec<&str> = fields.lines().collect();
        let explained = explain(&proxy, &format!("http://a.example{target}"), &headers);
        let outcome = explained["outcome"].as_str().unwrap();
        let expected = match status {
            200 if said == "other" => "answered with 200".to_owned(),
            200 => "goes to upstream `u`".to_owned(),
            status => format!("answered with {status}"),
        };
        assert!(outcome.contains(&expected), "{target}: {outcome}");
    }
    let moved = proxy.client().ask("GET /moved?x=1 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(moved.header("location"), Some("https://b.example/moved?x=1"));
    let rest = proxy.client().ask("GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!((rest.header("x-a"), rest.header("x-b")), (Some("1"), None));
    let passed_on = proxy.client().ask("GET /new/1 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!passed_on.text().to_lowercase().contains("x-forwarded"), "{}", passed_on.text());
    let mut client = proxy.client();
    client.send("GET /slam HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(client.is_closed(), "without an answer");
    assert_eq!(proxy.log_of("/slam")["error"], "closed");
}

#[test]
fn values_are_drawn_and_found_by_network_and_case() {
    let proxy = start(
        r"maps:
  half: { of: $header_x_key, shares: [ { share: 50%, value: one } ], default: two }
  near: { of: $header_x_address, cases: [ { when: { network: 10.0.0.0/8 }, value: 'in $half' } ], default: out }
  plan: { of: $header_x_plan, ignore_case: true, cases: [ { when: { exact: Gold }, value: best } ], default: $header_x_plan }
routes:
  - { name: ends, match: { hosts: ['www.*'] }, respond: { status: 200, body: ends } }
  - { name: all, respond: { status: 200, body: '$half $near $plan' } }",
    );
    let ask = |fields: &str, host: &str| {
        proxy.client().ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).text()
    };
    assert_eq!(ask("", "www.example"), "ends");
    assert_eq!(ask("", "wwwx.example"), "one out ");
    assert_eq!(ask("X-Address: 10.1.2.3\r\nX-Plan: GOLD\r\n", "a"), "one in one best");
    assert_eq!(ask("X-Address: 11.1.2.3\r\nX-Plan: tin\r\n", "a"), "one out tin");
    let drawn: Vec<String> = (0..40).map(|key| ask(&format!("X-Key: {key}\r\n"), "a")).collect();
    let ones = drawn.iter().filter(|text| text.starts_with("one")).count();
    assert!((10..30).contains(&ones), "{ones}");
    let again: Vec<String> = (0..40).map(|key| ask(&format!("X-Key: {key}\r\n"), "a")).collect();
    assert_eq!(drawn, again);
}
