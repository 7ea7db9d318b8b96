//! One key, one transfer.

use std::collections::HashSet;

use serde_json::json;

use crate::engine::{Server, on_every_engine};
use crate::running::{Answer, Api, moving, open_pair};

/// Sends every body under one key at once, each from a client of its own.
async fn at_once(api: &Api, key: &str, bodies: Vec<serde_json::Value>) -> Vec<Answer> {
    let mut clients = tokio::task::JoinSet::new();
    for body in bodies {
        let (mut api, key) = (api.clone(), key.to_owned());
        api.client = reqwest::Client::new();
        clients.spawn(async move { api.transfer(&key, &body).await });
    }
    clients.join_all().await
}

on_every_engine!(
    a_replay_is_the_first_answer_byte_for_byte,
    a_replay_is_the_first_answer_though_it_would_be_refused_now,
    sixteen_clients_with_one_key_and_body_post_once,
    sixteen_clients_with_one_key_and_other_bodies_post_one_of_them,
    a_bad_transfer_does_not_reject_its_neighbours,
    a_known_key_among_new_ones_is_replayed_and_fails_nothing,
);

async fn a_replay_is_the_first_answer_byte_for_byte(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let first = api.transfer("key", &moving("eur:credit", "eur:debit", "1.50")).await;
    assert_eq!((first.status.as_u16(), first.is_replay()), (201, false));
    // The same transfer, written otherwise.
    let again = r#"{ "entries": [
        {"amount": "1.5", "direction": "debit", "account": "eur:debit"},
        {"amount": "1.500", "direction": "credit", "account": "eur:credit"}
    ], "description": "\u006dove" }"#;
    let request = api.request(reqwest::Method::POST, "/v1/transfers");
    let again = crate::running::answer(
        request
            .header("idempotency-key", "key")
            .header("content-type", "application/json")
            .body(again),
    )
    .await;
    assert_eq!((again.status.as_u16(), again.is_replay()), (201, true));
    assert_eq!(again.body, first.body);
    assert_eq!(again.headers["location"], first.headers["location"]);
    let other = api.transfer("key", &moving("eur:credit", "eur:debit", "1.51")).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
    assert_eq!(other.status, 409);
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["balance"], "1.50");
}

async fn a_replay_is_the_first_answer_though_it_would_be_refused_now(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut once = moving("eur:credit", "eur:debit", "1.00");
    once["expect"] = json!([{"account": "eur:debit", "balance": "0.00"}]);
    let first = api.transfer("once", &once).await;
    assert_eq!(first.status, 201, "{}", first.body);
    // Others in between, so that it is no key of the batch before any more.
    for key in ["other", "another"] {
        let other = api.transfer(key, &moving("eur:credit", "eur:debit", "1.00")).await;
        assert_eq!(other.status, 201);
    }
    let again = api.transfer("once", &once).await;
    assert_eq!((again.status.as_u16(), again.is_replay()), (201, true), "{}", again.body);
    assert_eq!(again.body, first.body);
    let refused = api.transfer("refused", &once).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["balance"], "3.00");
}

async fn sixteen_clients_with_one_key_and_body_post_once(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    for round in 0..10 {
        let body = moving("eur:credit", "eur:debit", "1.00");
        let answers = at_once(api, &format!("round-{round}"), vec![body; 16]).await;
        assert!(answers.iter().all(|answer| answer.status == 201));
        let bodies: HashSet<&str> = answers.iter().map(|answer| answer.body.as_str()).collect();
        assert_eq!(bodies.len(), 1);
        assert_eq!(answers.iter().filter(|answer| !answer.is_replay()).count(), 1);
    }
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["debits"], "10.00");
}

async fn sixteen_clients_with_one_key_and_other_bodies_post_one_of_them(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    for round in 0..10 {
        let bodies =
            (1..=16).map(|i| moving("eur:credit", "eur:debit", &format!("{i}.00"))).collect();
        let answers = at_once(api, &format!("round-{round}"), bodies).await;
        let (posted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 201);
        assert_eq!((posted.len(), refused.len()), (1, 15));
        assert!(refused.iter().all(|answer| answer.problem() == "idempotency-key-reused"));
    }
    assert_eq!(api.read("/v1/transfers").await["items"].as_array().unwrap().len(), 10);
}

async fn a_bad_transfer_does_not_reject_its_neighbours(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut clients = tokio::task::JoinSet::new();
    for index in 0..64 {
        let api = api.clone();
        clients.spawn(async move {
            let good = index % 2 == 0;
            let to = if good { "eur:debit" } else { "eur:nowhere" };
            let answer =
                api.transfer(&format!("k{index}"), &moving("eur:credit", to, "1.00")).await;
            assert_eq!(answer.status.as_u16(), if good { 201 } else { 422 });
        });
    }
    clients.join_all().await;
    let balance = api.read("/v1/accounts/eur:debit/balance").await;
    assert_eq!((&balance["debits"], &balance["entries"]), (&json!("32.00"), &json!(32)));
}

/// Keys are not looked up before a batch is written; the database refuses it, and it is decided again.
async fn a_known_key_among_new_ones_is_replayed_and_fails_nothing(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let body = moving("eur:credit", "eur:debit", "1");
    let first = api.transfer("known", &body).await;
    assert_eq!(first.status, 201, "{}", first.body);
    for round in 0..3 {
        let key =
            |index: usize| if index == 3 { "known".into() } else { format!("{round}-{index}") };
        let items: Vec<_> =
            (0..7).map(|index| json!({"key": key(index), "transfer": body})).collect();
        let answer = api.post("/v1/batches", &json!({"transfers": items})).await.json();
        assert_eq!((&answer["booked"], &answer["refused"]), (&json!(7), &json!(0)), "{answer}");
        for (index, result) in answer["results"].as_array().unwrap().iter().enumerate() {
            assert_eq!(result["replayed"], index == 3, "{result}");
        }
        assert_eq!(answer["results"][3]["transfer"], first.json());
        let other = moving("eur:credit", "eur:debit", "2");
        assert_eq!(api.transfer("known", &other).await.problem(), "idempotency-key-reused");
    }
    assert_eq!(running.database.transfers().await, 1 + 3 * 6);
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["debits"], "19.00");
    assert_eq!(api.metric("forebay_ledger_batch_failures_total").await, 0.0);
}
