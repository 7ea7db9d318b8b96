//! Texts that name nothing: characters no database keeps, codes that are none, parameters and bodies nobody reads. Each is
//! refused for itself, and fails nobody else's request.

use reqwest::Method;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::running::{Api, answer, moving, open_pair};

on_every_engine!(
    a_nul_fails_nothing_but_its_own_request,
    codes_that_are_none_name_nothing,
    parameters_of_operations_without_any_are_refused,
    bodies_of_operations_without_any_are_refused,
    a_connection_with_an_unread_body_is_closed,
);

async fn a_nul_fails_nothing_but_its_own_request(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut expecting = moving("eur:credit", "eur:debit", "1");
    expecting["expect"] = json!([{"account": "a\0", "version": 0}]);
    let mut split = moving("eur:credit", "eur:debit", "1");
    split["split"] = json!([{"amount": "1", "direction": "debit", "parts": [{"account": "\0"}]}]);
    let mut called = moving("eur:credit", "eur:debit", "1");
    called["metadata"] = json!({"order": "a\0b"});
    for body in [moving("eur:credit\0", "eur:debit", "1"), expecting, split, called] {
        let refused = api.transfer("k", &body).await;
        assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (422, "invalid-body"));
        assert!(refused.body.contains("U+0000"), "{}", refused.body);
    }
    let account = |code: &str, currency: &str| json!({"code": code, "name": "n", "currency": currency, "normal_balance": "debit"});
    let set = json!({"code": "shops", "name": "Shops"});
    assert_eq!(api.post("/v1/account-sets", &set).await.status, 201);
    for (path, body) in [
        ("/v1/accounts", account("a\0", "EUR")),
        ("/v1/accounts", account("a", "EUR\0")),
        ("/v1/currencies", json!({"code": "EU\0", "scale": 2})),
        ("/v1/account-sets/shops/members", json!({"accounts": ["a\0"]})),
        ("/v1/account-sets/shops/members", json!({"sets": ["a\0"]})),
        ("/v1/batches", json!({"transfers": [{"key": "a\0", "transfer": called_off()}]})),
    ] {
        assert_eq!(api.post(path, &body).await.problem(), "invalid-body", "{path}");
    }
    for (path, problem) in [
        ("/v1/accounts/a%00b", "malformed-request"),
        ("/v1/accounts/a%00b/balance", "malformed-request"),
        ("/v1/accounts/a%00b/statement", "malformed-request"),
        ("/v1/account-sets/%00", "malformed-request"),
        ("/accounts/a%00b", "malformed-request"),
        ("/v1/accounts?cursor=a%00", "invalid-parameter"),
        ("/v1/accounts?metadata=a%00:b", "invalid-parameter"),
        ("/v1/transfers?metadata=a:b%00", "invalid-parameter"),
        ("/v1/trial-balance?cursor=%00", "invalid-parameter"),
        ("/?cursor=%00", "invalid-parameter"),
    ] {
        assert_eq!(api.get(path).await.problem(), problem, "{path}");
    }
    // A line of a stream is refused alone.
    let line = |key: &str, from: &str| {
        json!({"key": key, "transfer": moving(from, "eur:debit", "1")}).to_string()
    };
    let lines = [line("a", "eur:credit\0"), line("b", "eur:credit")].join("\n");
    let request = api.request(Method::POST, "/v1/batches.ndjson").body(lines);
    let streamed = answer(request.header("content-type", "application/x-ndjson")).await;
    let results: Vec<Value> =
        streamed.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(results[0].to_string().contains("U+0000"), "{}", streamed.body);
    assert!(results[1].to_string().contains("booked_at"), "{}", streamed.body);
    assert_eq!(running.database.transfers().await, 1);
}

fn called_off() -> Value {
    moving("eur:credit", "eur:debit", "1")
}

async fn codes_that_are_none_name_nothing(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let set = json!({"code": "shops", "name": "Shops"});
    assert_eq!(api.post("/v1/account-sets", &set).await.status, 201);
    let long = "a".repeat(5000);
    for code in ["eur:debit ", "EUR:DEBIT", "", "eur:débit", &long] {
        let refused = api.transfer("k", &moving("eur:credit", code, "1")).await;
        assert_eq!(refused.problem(), "unknown-account", "{code:?}");
    }
    for (path, problem) in [
        ("/v1/accounts/eur:debit%20", "account-not-found"),
        ("/v1/accounts/eur:debit%20/balance", "account-not-found"),
        ("/v1/accounts/eur:debit%20/limits", "account-not-found"),
        (
            "/v1/accounts/eur:debit%20/balance/as-of?effective_through=2026-01-01",
            "account-not-found",
        ),
        ("/v1/accounts/eur:debit%20/statement", "account-not-found"),
        ("/v1/account-sets/shops%20", "set-not-found"),
    ] {
        assert_eq!(api.get(path).await.problem(), problem, "{path}");
    }
    let body = json!({"code": "a", "name": "a", "currency": "EUR ", "normal_balance": "debit"});
    assert_eq!(api.post("/v1/accounts", &body).await.problem(), "unknown-currency");
    let members = json!({"accounts": ["eur:debit "]});
    let refused = api.post("/v1/account-sets/shops/members", &members).await;
    assert_eq!(refused.problem(), "unknown-account");
    assert_eq!(running.database.transfers().await, 0);
}

async fn parameters_of_operations_without_any_are_refused(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let tried = api.request(Method::POST, "/v1/transfers?dry_run=true");
    let tried = tried.header("idempotency-key", "k").json(&moving("eur:credit", "eur:debit", "1"));
    let refused = answer(tried).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (400, "invalid-parameter"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("dry_run"), "{}", refused.body);
    assert_eq!(running.database.transfers().await, 0);
    for path in [
        "/v1/accounts/eur:debit/balance?effective_through=2026-01-01",
        "/v1/accounts/eur:debit?x",
        "/v1/head?&=1",
        "/v1/accounts/eur:debit/balance/as-of?effective_through=2026-01-01&x=1",
    ] {
        assert_eq!(api.get(path).await.problem(), "invalid-parameter", "{path}");
    }
    for path in ["/v1/accounts/eur:debit/balance?", "/openapi.json?x=1", "/style.css?v=2"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
}

/// A key of its own to be revoked.
async fn key(api: &Api) -> String {
    let body = json!({"name": "shop", "role": "reader"});
    api.post("/v1/keys", &body).await.json()["id"].to_string()
}

async fn bodies_of_operations_without_any_are_refused(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    let key = key(api).await;
    let path = format!("/v1/keys/{key}/revoke");
    for body in ["{\"at\":\"2027-01-01\"}", "x", "[]"] {
        let refused = answer(api.request(Method::POST, &path).body(body)).await;
        assert_eq!(refused.problem(), "invalid-body", "{body}");
    }
    assert_eq!(api.read(&format!("/v1/keys/{key}")).await["revoked_at"], Value::Null);
    assert_eq!(answer(api.request(Method::POST, &path).body(" { } ")).await.status, 200);
    let hook = api.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:9/"})).await.json();
    for act in ["resume", "remove"] {
        let path = format!("/v1/webhooks/{}/{act}", hook["id"]);
        let refused = api.post(&path, &json!({"after": 1})).await;
        assert_eq!(refused.problem(), "invalid-body");
        assert_eq!(answer(api.request(Method::POST, &path)).await.status, 200);
    }
}

async fn a_connection_with_an_unread_body_is_closed(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let body = || moving("eur:credit", "eur:debit", "1").to_string();
    let closes = |answer: &crate::running::Answer| {
        answer.headers.get("connection").is_some_and(|value| value == "close")
    };
    for (path, status) in
        [("/v1/nowhere", 404), ("/v1/head", 405), ("/v1/transfers", 415), ("/v1/transfers?x", 400)]
    {
        let told = answer(api.request(Method::POST, path).body(body())).await;
        assert_eq!((told.status.as_u16(), closes(&told)), (status, true), "{path}");
        assert_eq!(api.get("/v1/head").await.status, 200, "on another connection");
    }
    // What was read is in nobody's way.
    let read = api.transfer("k", &json!({"description": 7})).await;
    assert_eq!((read.status.as_u16(), closes(&read)), (422, false));
    assert!(!closes(&api.get("/v1/nowhere").await));
}
