//! The admin API's own description, held against what it takes and answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::caching::{ask, counting};
use crate::client::{Client, Response};
use crate::harness::{Proxy, eventually, upstream};
use crate::origin::Origin;
use crate::purging::TOKEN;

const VIEWER: &str = "a-viewers-long-token";

fn send(proxy: &Proxy, method: &str, path: &str, token: &str, body: &str) -> Response {
    let mut client = Client::to(proxy.admin);
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.response(method == "HEAD").unwrap()
}

/// A document of one proxy with everything that its answers are about: a cache, a mirror, tokens.
fn sections(origin: &Origin, shadow: &Origin) -> String {
    format!(
        "upstreams: {{ u: {}, shadow: {} }}\n\
         caches: {{ main: {{ memory_max: 16MiB }} }}\ncache_policies: {{ p: {{ cache: main }} }}\n\
         routes:\n\
         - {{ name: all, match: {{ paths: [ {{ exact: /kept }} ] }}, upstream: u, cache_policy: p }}\n\
         - {{ name: compared, upstream: u, mirror: {{ upstream: shadow, compare: true }} }}",
        upstream(&[origin.address]),
        upstream(&[shadow.address]),
    )
}

fn tokens(dir: &std::path::Path) -> String {
    let token = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).unwrap();
        format!("{{ name: {name}, file: '{}', role: {name} }}", dir.join(name).display())
    };
    format!("tokens: [ {}, {} ]", token("operator", TOKEN), token("viewer", VIEWER))
}

/// What a document has for an answer: its schema with what that refers to.
fn schema(document: &Value, path: &str, method: &str, answer: &Response) -> Value {
    let kind = answer.header("content-type").unwrap().split(';').next().unwrap();
    let operation = &document["paths"][path][method];
    let content = &operation["responses"][answer.status.to_string()]["content"][kind];
    assert!(content["schema"].is_object(), "{method} {path}: nothing of {answer:?}");
    let mut schema = content["schema"].clone();
    schema["components"] = document["components"].clone();
    schema
}

fn assert_is(schema: &Value, value: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let faults: Vec<_> = validator.iter_errors(value).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{what}: {faults:?} in {value}");
}

/// An answer's body is what the document says of it.
fn held(document: &Value, path: &str, method: &str, answer: &Response) {
    let is_text = answer.header("content-type").unwrap().starts_with("text/");
    let value = if is_text { json!(answer.text()) } else { answer.json() };
    assert_is(&schema(document, path, method, answer), &value, &format!("{method} {path}"));
}

/// What is told of certificates now is as described.
pub fn certificates_are_described(proxy: &Proxy, token: &str) {
    let document = send(proxy, "GET", "/openapi.json", token, "").json();
    let shown = send(proxy, "GET", "/certificates", token, "");
    held(&document, "/certificates", "get", &shown);
}

#[test]
fn every_path_and_method_is_described_and_nothing_else() {
    let (origin, dir) = (counting(""), tempfile::tempdir().unwrap());
    let proxy = Proxy::with_admin(&tokens(dir.path()), &sections(&origin, &origin));
    assert_eq!(proxy.admin_get("/openapi.json").status, 401);
    let document = send(&proxy, "GET", "/openapi.json", VIEWER, "").json();
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeMap<String, BTreeSet<String>> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect()))
        .collect();
    let told = send(&proxy, "GET", "/nothing", VIEWER, "").text();
    let there: Vec<&str> = told.trim().strip_prefix("there are ").unwrap().split(", ").collect();
    assert_eq!(there, described.keys().collect::<Vec<_>>());
    for (path, methods) in &described {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let answer = send(&proxy, method, path, VIEWER, "");
            let is_described = methods.contains(&method.to_ascii_lowercase());
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {answer:?}");
            assert_ne!(answer.status, 404, "{method} {path}");
            if method == "POST" && is_described {
                assert_eq!(answer.status, 403, "{path} takes an operator");
                held(&document, path, "post", &answer);
            }
            if method == "GET" && is_described {
                held(&document, path, "get", &answer);
                let is_open = document["paths"][path]["get"]["security"].is_null();
                let refused = proxy.admin_get(path);
                assert_eq!(refused.status == 401, !is_open, "{path}");
                held(&document, path, "get", &refused);
            }
        }
    }
    // Orders are described by what is read, and nothing else is read.
    let schemas = &document["components"]["schemas"];
    for (name, path) in
        [("PurgeOrder", "/purge"), ("PolicyOrder", "/policies"), ("RenewOrder", "/certificates")]
    {
        let refused = send(&proxy, "POST", path, TOKEN, "{\"nothing\":1}");
        let fields = refused.json()["detail"].as_str().unwrap().to_owned();
        for field in schemas[name]["properties"].as_object().unwrap().keys() {
            assert!(fields.contains(&format!("`{field}`")), "{name}.{field}: {fields}");
        }
        assert_eq!(refused.status, 400, "{path}");
        held(&document, path, "post", &refused);
    }
}

#[test]
fn answers_are_what_is_described() {
    let (origin, shadow) = (counting("Cache-Control: max-age=60\r\n"), Origin::saying("another"));
    let dir = tempfile::tempdir().unwrap();
    let admin = tokens(dir.path());
    let proxy = Proxy::with_admin(&admin, &sections(&origin, &shadow));
    let document = send(&proxy, "GET", "/openapi.json", VIEWER, "").json();
    ask(&proxy, "/a", "");
    let differs = "forebay_proxy_mirror_comparisons_total{result=\"body\",route=\"compared\"}";
    eventually("a comparison", || (proxy.metric(differs) >= 1.0).then_some(()));
    proxy.log_of("/a");
    let place = "cache_policies.p.freshness.ttl_default";
    let tried = [
        ("/purge", json!({ "urls": ["//a.example/a"], "soft": true }), 200),
        ("/purge", json!({ "cache": "none", "all": true }), 404),
        ("/purge", json!({}), 400),
        ("/policies", json!({ "set": { place: "1s" }, "dry_run": true }), 200),
        ("/policies", json!({ "set": { place: "1s" }, "note": "match day" }), 200),
        ("/policies", json!({ "set": { place: "1s" } }), 409),
        ("/policies", json!({ "back_to": 77 }), 404),
        ("/policies", json!({ "back": true, "note": "a\nb" }), 400),
        ("/policies", json!({ "back": true }), 200),
        ("/certificates", json!({ "renew": "a.example" }), 404),
    ];
    for (path, order, status) in tried {
        let answer = send(&proxy, "POST", path, TOKEN, &order.to_string());
        assert_eq!(answer.status, status, "{order}: {answer:?}");
        held(&document, path, "post", &answer);
        if status == 200 {
            let body =
                &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
            let mut schema = body["schema"].clone();
            schema["components"] = document["components"].clone();
            assert_is(&schema, &order, path);
        }
    }
    for path in ["/policies", "/policies/history", "/mirrors", "/slowest"] {
        let answer = send(&proxy, "GET", path, VIEWER, "");
        held(&document, path, "get", &answer);
        // What is empty would be anything.
        let least = if path == "/slowest" { answer.json()[0].clone() } else { answer.json() };
        assert!(least.as_object().is_some_and(|told| !told.is_empty()), "{path}: {answer:?}");
    }
    assert_eq!(
        send(&proxy, "GET", "/mirrors", VIEWER, "").json()["compared"]["latest"][0]["what"],
        "body"
    );
    let long = format!("{{\"urls\":[\"{}\"]}}", "x".repeat(300_000));
    let refused = send(&proxy, "POST", "/purge", TOKEN, &long);
    assert_eq!(refused.status, 413);
    held(&document, "/purge", "post", &refused);

    let authority = Authority::new();
    let site = authority.issue("site", &["a.example"]);
    let tls = format!(", tls: {{ certificates: [ {} ] }}", site.yaml());
    let proxy = Proxy::with_both(&tls, &admin, &sections(&origin, &shadow));
    let shown = send(&proxy, "GET", "/certificates", VIEWER, "");
    held(&document, "/certificates", "get", &shown);
    assert_eq!(shown.json()["public"][0]["names"], json!(["a.example"]));
}
