use crate::harness::{Proxy, upstream};
use crate::origin::Origin;

fn two_origins() -> (Origin, Origin) {
    (Origin::saying("ledger"), Origin::saying("live"))
}

fn start(ledger: &Origin, live: &Origin) -> Proxy {
    Proxy::start(&format!(
        "upstreams: {{ ledger: {}, live: {} }}
routes:
  - {{ name: transfers, match: {{ hosts: [ledger.example], paths: [ {{ prefix: /v1/ }} ], methods: [GET, POST] }}, upstream: ledger, lane: transactions }}
  - {{ name: wild, match: {{ hosts: ['*.live.example'] }}, upstream: live, lane: bulk }}
  - {{ name: exact, match: {{ paths: [ {{ exact: /health }} ] }}, upstream: live }}",
        upstream(&[ledger.address]),
        upstream(&[live.address]),
    ))
}

#[test]
fn host_path_and_method_decide() {
    let (ledger, live) = two_origins();
    let proxy = start(&ledger, &live);
    let cases = [
        ("GET", "ledger.example", "/v1/transfers", 200, "ledger"),
        ("POST", "LEDGER.example:8080", "/v1/transfers?x=1", 200, "ledger"),
        ("GET", "ledger.example", "/other", 404, ""),
        ("DELETE", "ledger.example", "/v1/transfers", 405, ""),
        ("GET", "a.b.live.example", "/anything", 200, "live"),
        ("GET", "live.example", "/anything", 404, ""),
        ("GET", "whoever", "/health", 200, "live"),
        ("GET", "whoever", "/health/", 404, ""),
        ("GET", "ledger.example", "/x/%2e%2e/%761/transfers", 200, "ledger"),
    ];
    for (method, host, path, status, body) in cases {
        let mut client = proxy.client();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
        let response = client.ask(&request);
        assert_eq!(response.status, status, "{method} {host}{path}");
        if status == 200 {
            assert_eq!(response.text(), body);
        }
    }
    let heads = ledger.heads();
    assert!(heads.last().unwrap().starts_with("GET /v1/transfers HTTP/1.1\r\n"), "{heads:?}");
}

#[test]
fn a_known_path_with_another_method_says_which_are_allowed() {
    let (ledger, live) = two_origins();
    let proxy = start(&ledger, &live);
    let mut client = proxy.client();
    let refused = client.ask("DELETE /v1/x HTTP/1.1\r\nHost: ledger.example\r\n\r\n");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.json()["title"], "Method Not Allowed");
    let head = client.ask("HEAD /v1/x HTTP/1.1\r\nHost: nobody\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (404, 0));
    let again = client.ask("GET /health HTTP/1.1\r\nHost: nobody\r\n\r\n");
    assert_eq!(again.status, 200, "a refusal without a body keeps the connection");
}

#[test]
fn what_the_origin_sees() {
    let origin = Origin::saying("ok");
    let proxy = Proxy::before(&[origin.address]);
    let mut client = proxy.client();
    client.ask(
        "GET /x HTTP/1.1\r\nHost: a.example:81\r\nConnection: X-Secret\r\nX-Secret: 1\r\nTE: gzip\r\n\
         X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine-1\r\n\r\n",
    );
    let head = origin.heads().remove(0).to_ascii_lowercase();
    for line in [
        "host: a.example:81",
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: a.example:81",
        "forwarded: for=127.0.0.1;host=\"a.example:81\";proto=http",
        "x-request-id: mine-1",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("x-secret") && !head.contains("\r\nte:"), "{head}");
    assert_eq!(head.matches("\r\nhost:").count(), 1);
}

#[test]
fn hop_by_hop_fields_of_the_origin_stay_there() {
    let origin = Origin::start(|exchange| {
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Inner, keep-alive\r\n\
             X-Inner: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\nok",
        )
    });
    let proxy = Proxy::before(&[origin.address]);
    let response = proxy.get("/");
    for name in ["x-inner", "keep-alive", "proxy-authenticate"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-kept"), Some("1"));
    assert_eq!(response.text(), "ok");
}
