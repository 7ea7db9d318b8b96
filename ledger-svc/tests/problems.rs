//! Every way to be wrong is answered with a problem of its own kind, documented for its operation.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::engine::{Server, on_every_engine};
use crate::running::{Api, DEADLINE, answer, moving, open_pair};

/// The kinds the OpenAPI document lists for an operation, as `(status, kind)`.
fn documented(document: &Value, method: &Method, path: &str) -> Vec<(String, String)> {
    let operation = &document["paths"][path][method.as_str().to_lowercase()];
    let Some(responses) = operation["responses"].as_object() else { return Vec::new() };
    let kinds = |(status, response): (&String, &Value)| {
        let examples = &response["content"]["application/problem+json"]["examples"];
        let kinds: Vec<_> =
            examples.as_object().into_iter().flatten().map(|(kind, _)| kind).collect();
        kinds.into_iter().map(|kind| (status.clone(), kind.clone())).collect::<Vec<_>>()
    };
    responses.iter().flat_map(kinds).collect()
}

struct Case {
    method: Method,
    /// Path template of the operation; empty when there is none.
    operation: &'static str,
    path: &'static str,
    body: Option<&'static str>,
    key: Option<&'static str>,
    kind: &'static str,
    detail: &'static str,
}

fn post(path: &'static str, body: &'static str, kind: &'static str, detail: &'static str) -> Case {
    let (body, key) = (Some(body), Some("key"));
    Case { method: Method::POST, operation: path, path, body, key, kind, detail }
}

fn get(
    operation: &'static str,
    path: &'static str,
    kind: &'static str,
    detail: &'static str,
) -> Case {
    Case { method: Method::GET, operation, path, body: None, key: None, kind, detail }
}

const TRANSFERS: &str = "/v1/transfers";
const ACCOUNTS: &str = "/v1/accounts";
const CURRENCIES: &str = "/v1/currencies";
const GOOD: &str = r#"{"description":"","entries":[{"account":"eur:debit","direction":"debit","amount":"1"},{"account":"eur:credit","direction":"credit","amount":"1"}]}"#;

/// Path, body, kind of the problem, part of its detail.
const REFUSED_BODIES: &[(&str, &str, &str, &str)] = &[
    (TRANSFERS, "", "malformed-json", "line 1, column 1"),
    (TRANSFERS, "{\"description\":\n nope}", "malformed-json", "line 2, column 3"),
    (TRANSFERS, "{} {}", "invalid-body", "missing field `description`"),
    (TRANSFERS, "[]", "invalid-body", "expected a JSON object"),
    (
        TRANSFERS,
        r#"{"description":"","entries":[],"memo":1}"#,
        "invalid-body",
        "unknown field `memo`",
    ),
    (TRANSFERS, r#"{"description":"","entries":[]}"#, "invalid-body", "at least two entries"),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"a","direction":"up","amount":"1"}]}"#,
        "invalid-body",
        "unknown variant `up`",
    ),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"a","direction":"debit","amount":1.5}]}"#,
        "invalid-body",
        "JSON number",
    ),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"a","direction":"debit","amount":"-1"}]}"#,
        "invalid-body",
        "negative",
    ),
    (
        TRANSFERS,
        r#"{"description":"","effective_date":"31.1.2026","entries":[]}"#,
        "invalid-body",
        "YYYY-MM-DD",
    ),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"eur:debit","direction":"debit","amount":"1.001"},{"account":"eur:credit","direction":"credit","amount":"1.001"}]}"#,
        "invalid-amount",
        "EUR has a scale of 2",
    ),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"eur:debit","direction":"debit","amount":"99999999999999999999"},{"account":"eur:credit","direction":"credit","amount":"1"}]}"#,
        "invalid-amount",
        "would overflow",
    ),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"nope","direction":"debit","amount":"1"},{"account":"eur:credit","direction":"credit","amount":"1"}]}"#,
        "unknown-account",
        "nope",
    ),
    (
        TRANSFERS,
        r#"{"description":"","entries":[{"account":"eur:debit","direction":"debit","amount":"1"},{"account":"eur:credit","direction":"credit","amount":"2"}]}"#,
        "unbalanced",
        "difference -1.00",
    ),
    (
        ACCOUNTS,
        r#"{"code":"A","name":"a","currency":"EUR","normal_balance":"debit"}"#,
        "invalid-body",
        "account code",
    ),
    (
        ACCOUNTS,
        r#"{"code":"a","name":"","currency":"EUR","normal_balance":"debit"}"#,
        "invalid-body",
        "is empty",
    ),
    (
        ACCOUNTS,
        r#"{"code":"a","name":"a","currency":"XXX","normal_balance":"debit"}"#,
        "unknown-currency",
        "XXX",
    ),
    (
        ACCOUNTS,
        r#"{"code":"eur:debit","name":"a","currency":"EUR","normal_balance":"debit"}"#,
        "already-exists",
        "eur:debit exists",
    ),
    (CURRENCIES, r#"{"code":"EUR","scale":3}"#, "already-exists", "scale of 2"),
    (CURRENCIES, r#"{"code":"eur","scale":2}"#, "invalid-body", "currency code"),
    (CURRENCIES, r#"{"code":"ABC","scale":13}"#, "invalid-body", "0 to 12"),
    (CURRENCIES, r#"{"code":"ABC","scale":-1}"#, "invalid-body", "0 to 12"),
];

/// Path template, path, kind of the problem, part of its detail.
const REFUSED_READS: &[(&str, &str, &str, &str)] = &[
    ("/v1/accounts/{code}", "/v1/accounts/nope", "account-not-found", "nope"),
    ("/v1/accounts/{code}", "/v1/accounts/%ff", "malformed-request", "UTF-8"),
    ("/v1/accounts/{code}/balance", "/v1/accounts/nope/balance", "account-not-found", "nope"),
    ("/v1/accounts/{code}/entries", "/v1/accounts/nope/entries", "account-not-found", "nope"),
    (
        "/v1/accounts/{code}/entries",
        "/v1/accounts/eur:debit/entries?cursor=x",
        "invalid-parameter",
        "cursor",
    ),
    ("/v1/transfers/{id}", "/v1/transfers/nope", "transfer-not-found", "no transfer"),
    (
        "/v1/transfers/{id}",
        "/v1/transfers/01890a5d-ac96-774b-bcce-b302099a8057",
        "transfer-not-found",
        "no transfer",
    ),
    (TRANSFERS, "/v1/transfers?limit=1001", "invalid-parameter", "1 to 1000"),
    (TRANSFERS, "/v1/transfers?limit=x", "invalid-parameter", "limit"),
    (TRANSFERS, "/v1/transfers?cursor=-1", "invalid-parameter", "cursor"),
    (TRANSFERS, "/v1/transfers?page=2", "invalid-parameter", "unknown field `page`"),
    (ACCOUNTS, "/v1/accounts?limit=0", "invalid-parameter", "1 to 1000"),
    ("", "/v2/accounts", "not-found", "/docs"),
    ("", "/docs/nope.js", "not-found", "Not Found"),
];

fn cases() -> Vec<Case> {
    let long_key: &'static str = "k".repeat(256).leak();
    let one = r#"{"account":"eur:debit","direction":"debit","amount":"1"}"#;
    let many = format!(r#"{{"description":"","entries":[{}]}}"#, [one; 1001].join(","));
    let mut cases = vec![post(
        TRANSFERS,
        many.leak(),
        "invalid-body",
        "at most 1000 entries, this one has 1001",
    )];
    for (path, body, kind, detail) in REFUSED_BODIES {
        cases.push(post(path, body, kind, detail));
    }
    for (operation, path, kind, detail) in REFUSED_READS {
        cases.push(get(operation, path, kind, detail));
    }
    for (key, detail) in [("", "0 bytes"), (long_key, "256 bytes"), ("a b", "visible ASCII")] {
        let case = post(TRANSFERS, GOOD, "idempotency-key-invalid", detail);
        cases.push(Case { key: Some(key), ..case });
    }
    let keyless = post(TRANSFERS, GOOD, "idempotency-key-missing", "is missing");
    cases.push(Case { key: None, ..keyless });
    for (method, path, name) in [
        (Method::DELETE, TRANSFERS, "DELETE"),
        (Method::PUT, "/openapi.json", "PUT"),
        (Method::OPTIONS, ACCOUNTS, "OPTIONS"),
    ] {
        cases.push(Case { method, ..get("", path, "method-not-allowed", name) });
    }
    cases
}

fn request(api: &Api, case: &Case) -> RequestBuilder {
    let mut request = api.request(case.method.clone(), case.path);
    if let Some(body) = case.body {
        request = request.header("content-type", "application/json").body(body);
    }
    match case.key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    }
}

on_every_engine!(
    every_mistake_is_a_documented_problem,
    bodies_that_are_not_json_or_too_large_are_refused,
    headers_and_slow_bodies_have_limits,
    heads_that_two_could_read_differently_are_refused,
    the_admin_listener_has_its_own_paths_and_the_main_one_has_not,
);

async fn every_mistake_is_a_documented_problem(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let document = api.read("/openapi.json").await;
    for case in cases() {
        let answer = answer(request(api, &case)).await;
        let what = format!("{} {} {:?}: {}", case.method, case.path, case.body, answer.body);
        assert_eq!(answer.problem(), case.kind, "{what}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(case.detail), "{what}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{what}");
        if !case.operation.is_empty() {
            let documented = documented(&document, &case.method, case.operation);
            let found = (answer.status.as_str().to_owned(), case.kind.to_owned());
            assert!(documented.contains(&found), "not documented: {what}");
        }
        if case.kind == "method-not-allowed" {
            assert!(answer.headers["allow"].to_str().unwrap().contains("GET"), "{what}");
        }
    }
    assert!(api.read("/v1/transfers").await["items"].as_array().unwrap().is_empty());
}

async fn bodies_that_are_not_json_or_too_large_are_refused(server: &Server) {
    let running = server.running_with(|options| options.http.body_bytes_max = 1000).await;
    let api = &running.api;
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonp"),
    ] {
        let mut request = api.request(Method::POST, CURRENCIES).body(r#"{"code":"ABC","scale":1}"#);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        assert_eq!(answer(request).await.problem(), "unsupported-media-type", "{kind:?}");
    }
    for (kind, code) in
        [("application/json; charset=utf-8", "ABC"), ("application/vnd.x+json", "ABD")]
    {
        let body = format!(r#"{{"code":"{code}","scale":1}}"#);
        let request = api.request(Method::POST, CURRENCIES).header("content-type", kind).body(body);
        assert_eq!(answer(request).await.status, 201, "{kind}");
    }
    for (coding, problem) in [("gzip", true), ("identity, br", true), ("identity", false)] {
        let body = json!({"code": "ABE", "scale": 1});
        let request = api.request(Method::POST, CURRENCIES).json(&body);
        let answered = answer(request.header("content-encoding", coding)).await;
        assert_eq!(answered.status.as_u16(), if problem { 415 } else { 201 }, "{coding}");
    }
    let announced =
        answer(api.request(Method::POST, CURRENCIES).json(&json!("x".repeat(1000)))).await;
    assert_eq!(announced.problem(), "body-too-large");
    assert!(announced.body.contains("1000 bytes"));

    let mut chunked = TcpStream::connect(running.service.listen).await.unwrap();
    let head = "POST /v1/currencies HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked
        .write_all(format!("{head}3e9\r\n{}\r\n0\r\n\r\n", " ".repeat(1001)).as_bytes())
        .await
        .unwrap();
    assert!(raw_answer(&mut chunked).await.contains("body-too-large"));
}

async fn headers_and_slow_bodies_have_limits(server: &Server) {
    let running = server
        .running_with(|options| {
            options.http.header_bytes_max = 2000;
            options.http.body_timeout = Duration::from_secs(1);
        })
        .await;
    let api = &running.api;
    let large = api.request(Method::GET, ACCOUNTS).header("x-large", "x".repeat(2000));
    assert_eq!(answer(large).await.problem(), "headers-too-large");
    let several = api
        .request(Method::POST, TRANSFERS)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b")
        .json(&moving("a", "b", "1"));
    let several = answer(several).await;
    assert_eq!(several.problem(), "idempotency-key-invalid");
    assert!(several.body.contains("exactly one"));

    let mut slow = TcpStream::connect(running.service.listen).await.unwrap();
    let head = "POST /v1/currencies HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answered = raw_answer(&mut slow).await;
    assert!(
        answered.starts_with("HTTP/1.1 408") && answered.contains("request-timeout"),
        "{answered}"
    );
}

async fn heads_that_two_could_read_differently_are_refused(server: &Server) {
    let running = server.running().await;
    let ask = async |head: &str| {
        let mut stream = TcpStream::connect(running.service.listen).await.unwrap();
        let body = r#"{"code":"ABC","scale":1}"#;
        let length = body.len();
        let text = format!("POST /v1/currencies {head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        raw_answer(&mut stream).await
    };
    const JSON: &str = "content-type: application/json\r\n";
    for (head, detail) in [
        (format!("HTTP/1.1\r\n{JSON}"), "no Host field"),
        (format!("HTTP/1.1\r\nhost: x\r\nhost: x\r\n{JSON}"), "more than one Host field"),
        (format!("HTTP/1.0\r\nhost: x\r\nhost: y\r\n{JSON}"), "more than one Host field"),
        (format!("HTTP/1.1\r\nhost: x\r\n{JSON}content-type: text/plain\r\n"), "Content-Type"),
        (format!("HTTP/1.1\r\nhost: x\r\n{JSON}{JSON}"), "more than one Content-Type field"),
    ] {
        let answered = ask(&head).await;
        assert!(answered.starts_with("HTTP/1.1 400") || answered.starts_with("HTTP/1.0 400"));
        assert!(answered.contains("content-type: application/problem+json"), "{answered}");
        assert!(answered.contains("malformed-request") && answered.contains(detail), "{answered}");
    }
    let before = ask(&format!("HTTP/1.0\r\n{JSON}")).await;
    assert!(before.starts_with("HTTP/1.0 201"), "{before}");
}

/// Everything until the service closes the connection or has sent a whole problem.
async fn raw_answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let read = async {
        while !text.ends_with('}') {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                n => text.push_str(&String::from_utf8_lossy(&buffer[..n])),
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("no answer");
    text
}

async fn the_admin_listener_has_its_own_paths_and_the_main_one_has_not(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(api.get(path).await.problem(), "not-found");
        let admin = answer(api.client.get(format!("{}{path}", api.admin))).await;
        assert_eq!(admin.status, 200, "{path}");
    }
    let admin = answer(api.client.get(format!("{}/v1/accounts", api.admin))).await;
    assert_eq!(admin.problem(), "not-found");
    let admin = answer(api.client.post(format!("{}/healthz", api.admin))).await;
    assert_eq!(admin.problem(), "method-not-allowed");
}
