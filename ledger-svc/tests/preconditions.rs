//! `If-Match`: what is changed must be what was seen, where the client says so, and limits only where it does.

use forebay_ledger::verify::verify;
use reqwest::Method;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::running::{Answer, Api, answer, open_pair};

on_every_engine!(limits_are_set_by_who_has_seen_them, what_changed_meanwhile_stays);

const LIMITS: &str = "/v1/accounts/eur:debit/limits";

fn tag(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.headers["etag"].to_str().unwrap().to_owned()
}

async fn set(api: &Api, seen: Option<&str>, min: &str) -> Answer {
    let request = api.request(Method::PUT, LIMITS).json(&json!({"balance_min": min}));
    answer(match seen {
        Some(tag) => request.header("if-match", tag),
        None => request,
    })
    .await
}

async fn limits_are_set_by_who_has_seen_them(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let none = api.get(LIMITS).await;
    assert_eq!(none.json(), json!({"balance_min": null, "balance_max": null}));
    let first = tag(&none);
    let blind = set(api, None, "-1").await;
    assert_eq!((blind.status.as_u16(), blind.problem().as_str()), (428, "precondition-required"));
    let done = set(api, Some(&first), "-1").await;
    assert_eq!((done.status.as_u16(), &done.json()["balance_min"]), (200, &json!("-1.00")));
    let late = set(api, Some(&first), "-2").await;
    assert_eq!((late.status.as_u16(), late.problem().as_str()), (412, "precondition-failed"));
    assert_eq!(set(api, Some("W/\"a\", \"b\""), "-2").await.status, 412);
    assert_eq!(api.read(LIMITS).await["balance_min"], "-1.00");
    let second = tag(&api.get(LIMITS).await);
    assert_ne!(first, second);
    let several = format!("\"x\", {second}");
    assert_eq!(set(api, Some(&several), "-3").await.status, 200);
    assert_eq!(set(api, Some("*"), "-4").await.status, 200);
    // Of two who have seen the same, one is told.
    let seen = tag(&api.get(LIMITS).await);
    let both = tokio::join!(set(api, Some(&seen), "-5"), set(api, Some(&seen), "-6"));
    let mut codes = [both.0.status.as_u16(), both.1.status.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [200, 412]);
    // What there is must not be there (RFC 9110, 13.1.2).
    for seen in [None, Some("*")] {
        let mut request = api.request(Method::PUT, LIMITS).header("if-none-match", "*");
        if let Some(seen) = seen {
            request = request.header("if-match", seen);
        }
        let refused = answer(request.json(&json!({"balance_min": "-9"}))).await;
        assert_eq!(
            (refused.status.as_u16(), refused.problem().as_str()),
            (412, "precondition-failed")
        );
    }
    assert_ne!(api.read(LIMITS).await["balance_min"], "-9.00");
    let missing = api.request(Method::PUT, "/v1/accounts/nobody/limits").json(&json!({}));
    assert_eq!(answer(missing).await.problem(), "account-not-found");
}

async fn what_changed_meanwhile_stays(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    let act = async |path: &str, seen: &str, body: &Value| {
        answer(api.request(Method::POST, path).header("if-match", seen).json(body)).await
    };
    let nothing = json!({});
    let hook = api.post("/v1/webhooks", &json!({"url": "https://a.example/"})).await;
    assert_eq!(hook.status, 201, "{}", hook.body);
    let seen = tag(&api.get("/v1/webhooks/1").await);
    assert_eq!(act("/v1/webhooks/1/resume", "\"other\"", &nothing).await.status, 412);
    assert_eq!(act("/v1/webhooks/1/resume", &seen, &nothing).await.status, 200);
    assert_eq!(act("/v1/webhooks/1/remove", "\"other\"", &nothing).await.status, 412);
    assert_eq!(api.read("/v1/webhooks/1").await["removed_at"], Value::Null);
    assert_eq!(act("/v1/webhooks/1/remove", &seen, &nothing).await.status, 200);
    assert_eq!(act("/v1/webhooks/1/remove", &seen, &nothing).await.status, 412, "it is removed");
    assert_eq!(act("/v1/webhooks/1/remove", "*", &nothing).await.status, 200);
    let key = api.post("/v1/keys", &json!({"name": "shop", "role": "reader"})).await;
    assert_eq!(key.status, 201, "{}", key.body);
    let seen = tag(&api.get("/v1/keys/1").await);
    assert_eq!(act("/v1/keys/1/revoke", "\"other\"", &nothing).await.status, 412);
    assert_eq!(api.read("/v1/keys/1").await["revoked_at"], Value::Null);
    assert_eq!(act("/v1/keys/1/revoke", &seen, &nothing).await.status, 200);
    assert_eq!(act("/v1/keys/1/revoke", &seen, &nothing).await.status, 412, "it is revoked");
    // Where nothing could be compared, nothing is done.
    let currency = json!({"code": "POINTS", "scale": 0});
    let refused = act("/v1/currencies", "\"any\"", &currency).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (412, "precondition-failed"));
    let unheard = api.request(Method::POST, "/v1/currencies").header("if-none-match", "*");
    assert_eq!(answer(unheard.json(&currency)).await.problem(), "precondition-failed");
    assert_eq!(act("/v1/currencies", "*", &currency).await.status, 201);
    running.service.stop().await.unwrap();
    let url = running.database.url.parse().unwrap();
    verify(&url, None).await.unwrap();
}
