//! Streams of requests: who may send them, and in which order they are decided.

use forebay_ledger::key::Role;
use reqwest::Method;
use serde_json::json;

use crate::batches::Lines;
use crate::engine::{Server, on_every_engine};
use crate::keys::{guarded, of_role, with};
use crate::running::{answer, moving, open_pair};

on_every_engine!(a_stream_is_decided_in_its_order, a_stream_ends_with_its_key);

async fn a_stream_is_decided_in_its_order(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    api.open("eur:debit:wallet").await;
    let wallet = "eur:debit:wallet";
    assert_eq!(api.limits(wallet, &json!({"balance_min": "0"})).await.status, 200);
    let mut lines = Lines::open(&running, "prefer: return=minimal\r\n").await;
    // What comes in goes out by the next line, each of them a group of its own.
    for number in 0..300 {
        for (way, body) in
            [("in", moving("eur:credit", wallet, "1")), ("out", moving(wallet, "eur:debit", "1"))]
        {
            lines
                .send(&format!("{}\n", json!({"key": format!("{way}{number}"), "transfer": body})))
                .await;
        }
    }
    lines.send("").await;
    let results = lines.results(600).await;
    let refused: Vec<_> = results.iter().filter(|result| result["status"] != 201).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

async fn a_stream_ends_with_its_key(server: &Server) {
    let (running, admin) = guarded(server).await;
    let api = &running.api;
    for code in ["eur:debit", "eur:credit"] {
        let side = code.split(':').nth(1).unwrap();
        let body = json!({"code": code, "name": code, "currency": "EUR", "normal_balance": side});
        let opened = with(api, admin.reveal(), Method::POST, "/v1/accounts").json(&body);
        assert_eq!(answer(opened).await.status, 201);
    }
    let key = of_role(api, &admin, Role::Poster).await;
    let mut lines = Lines::open(&running, &format!("authorization: Bearer {key}\r\n")).await;
    let line = |key: &str| {
        format!("{}\n", json!({"key": key, "transfer": moving("eur:credit", "eur:debit", "1")}))
    };
    lines.send(&line("a")).await;
    assert_eq!(lines.results(1).await[0]["status"], 201);
    let revoked = with(api, admin.reveal(), Method::POST, "/v1/keys/2/revoke").json(&json!({}));
    assert_eq!(answer(revoked).await.status, 200);
    lines.send(&line("b")).await;
    let results = lines.results(2).await;
    assert_eq!(results[1]["status"], 401, "{results:?}");
    assert!(lines.rest().await.ends_with("0\r\n\r\n"), "it ends");
    assert_eq!(running.database.transfers().await, 1);
}
