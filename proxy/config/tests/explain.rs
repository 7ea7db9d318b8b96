//! What `explain` says about requests, as text and as JSON.

use http::HeaderMap;
use proxy_config::explain::{ExplainError, explain};
use proxy_config::{Config, Source};

fn config() -> Config {
    let text = include_str!("valid/05-live-and-money.yaml");
    Config::load(Source::new("site.yaml", text)).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn says_which_listener_route_lane_and_upstream_a_request_meets() {
    let explanation = explain(
        &config(),
        "GET",
        "https://Ledger.example.com/v1/transfers?page=2",
        None,
        &HeaderMap::new(),
    )
    .expect("an explanation");
    let expected = "\
GET https://Ledger.example.com/v1/transfers?page=2
  listener  secure (0.0.0.0:443, TLS): it speaks https on port 443
  host      ledger.example.com
  path      /v1/transfers
  not       post-transfers: method GET is not one of its methods (POST)
  route     ledger
  lane      interactive (at most 2048 at once)
  upstream  ledger (10.0.1.5:8081, 10.0.2.5:8081)
  outcome   it goes to upstream `ledger` in lane `interactive`
";
    assert_eq!(explanation.to_string(), expected);
    let json = serde_json::to_value(&explanation).expect("JSON");
    assert_eq!(json["route"]["lane"], "interactive");
    assert_eq!(json["listener"]["tls"], true);
    assert_eq!(json["passed_over"][0]["route"], "post-transfers");
}

#[test]
fn every_kind_of_answer_is_explained() {
    let cases = [
        ("POST", "https://ledger.example.com/v1/transfers", None, "ledger` in lane `transactions`"),
        ("GET", "http://tv.example.com/live/a/1.m4s", None, "`origin` in lane `bulk`"),
        ("HEAD", "http://tv.example.com/caf%c3%a9/x", None, "`origin` in lane `bulk`"),
        ("POST", "http://tv.example.com/live/../upload/x", None, "`media` in lane `upload`"),
        ("GET", "http://tv.example.com/", None, "no route takes it: it is answered with 404"),
        ("GET", "http://tv.example.com:8080/live/", None, "no listener takes it"),
        ("GET", "http://tv.example.com:8080/live/", Some("cleartext"), "in lane `bulk`"),
    ];
    for (method, url, listener, outcome) in cases {
        let explanation = explain(&config(), method, url, listener, &HeaderMap::new()).expect(url);
        assert!(explanation.outcome.contains(outcome), "{explanation}");
    }
}

#[test]
fn what_cannot_be_explained_says_why() {
    let config = config();
    let wrong = |method, url, listener| {
        explain(&config, method, url, listener, &HeaderMap::new()).expect_err(url)
    };
    assert!(matches!(wrong("GET", "/v1/x", None), ExplainError::Url(_)));
    assert!(matches!(wrong("GET", "http://", None), ExplainError::Url(_)));
    assert!(matches!(wrong("GET", "ledger.example.com/x", None), ExplainError::Url(_)));
    assert!(matches!(wrong("get", "http://a/", None), ExplainError::Method(_)));
    let error = wrong("GET", "http://a/", Some("publik"));
    assert_eq!(
        error.to_string(),
        "there is no listener `publik`; the document has `cleartext`, `secure`"
    );
}
