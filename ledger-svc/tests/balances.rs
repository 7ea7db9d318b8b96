//! Balances told from memory: never before the commit, and never without what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde_json::json;

use crate::engine::{Server, on_every_engine};
use crate::pending::holding;
use crate::running::{Api, Running, moving, open_pair};

on_every_engine!(
    a_balance_has_all_that_was_acknowledged_and_nothing_else,
    limits_and_holds_are_told_at_once,
    after_a_failure_the_database_is_asked,
);

async fn entries(api: &Api) -> i64 {
    api.read("/v1/accounts/eur:debit/balance").await["entries"].as_i64().unwrap()
}

async fn from(running: &Running, place: &str) -> f64 {
    let name = format!("forebay_ledger_balance_reads_total{{from=\"{place}\"}}");
    running.api.metric(&name).await
}

async fn a_balance_has_all_that_was_acknowledged_and_nothing_else(server: &Server) {
    let running = server.running().await;
    open_pair(&running.api).await;
    let (sent, acknowledged) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (api, done) = (running.api.clone(), Arc::clone(&done));
        let (sent, acknowledged) = (Arc::clone(&sent), Arc::clone(&acknowledged));
        readers.spawn(async move {
            let mut last = 0;
            while !done.load(Ordering::SeqCst) {
                let least = acknowledged.load(Ordering::SeqCst).max(last);
                let found = entries(&api).await;
                let most = sent.load(Ordering::SeqCst);
                assert!((least..=most).contains(&found), "{found} is not in {least}..={most}");
                last = found;
            }
        });
    }
    for batch in 0..60 {
        let items: Vec<_> = (0..7)
            .map(|index| {
                let transfer = moving("eur:credit", "eur:debit", "1");
                json!({"key": format!("{batch}-{index}"), "transfer": transfer})
            })
            .collect();
        sent.fetch_add(7, Ordering::SeqCst);
        let answer = running.api.post("/v1/batches", &json!({"transfers": items})).await;
        assert_eq!(answer.json()["booked"], 7, "{}", answer.body);
        acknowledged.fetch_add(7, Ordering::SeqCst);
        assert_eq!(entries(&running.api).await, (batch + 1) * 7);
    }
    done.store(true, Ordering::SeqCst);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    assert!(from(&running, "memory").await > 0.0);
    let trial = running.api.read("/v1/trial-balance").await;
    let balance = running.api.read("/v1/accounts/eur:debit/balance").await;
    assert!(trial["accounts"].as_array().unwrap().contains(&balance), "{trial} {balance}");
}

async fn limits_and_holds_are_told_at_once(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let read = async || api.read("/v1/accounts/eur:credit/balance").await;
    assert_eq!(read().await["pending_credits"], "0.00");
    read().await;
    let held = api.transfer("h", &holding("eur:credit", "eur:debit", "7")).await;
    assert_eq!(held.status, 201, "{}", held.body);
    assert_eq!(read().await["pending_credits"], "7.00");
    let limits = json!({"balance_min": "-1.00", "balance_max": null});
    let set = api.request(reqwest::Method::PUT, "/v1/accounts/eur:credit/limits").json(&limits);
    assert_eq!(crate::running::answer(set.header("if-match", "*")).await.status, 200);
    assert_eq!(read().await["balance_min"], "-1.00");
    let void = api.follow(held.json()["id"].as_str().unwrap(), "void", "v", &json!({})).await;
    assert_eq!(void.status, 201, "{}", void.body);
    assert_eq!(read().await["pending_credits"], "0.00");
    assert_eq!(api.get("/v1/accounts/nobody/balance").await.problem(), "account-not-found");
}

/// A batch that fails leaves it open whether it was committed: memory says nothing until the next one.
async fn after_a_failure_the_database_is_asked(server: &Server) {
    let mut running = server.running().await;
    open_pair(&running.api).await;
    running.api.transfer("a", &moving("eur:credit", "eur:debit", "1")).await;
    // Twice: the first is read from the database and kept.
    assert_eq!((entries(&running.api).await, entries(&running.api).await), (1, 1));
    let mut raw = running.database.connect().await;
    raw.execute("UPDATE service SET epoch = epoch + 1").await.unwrap();
    let failed = running.api.transfer("b", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(failed.problem(), "database-unavailable");
    running.service.failed().await;
    // As another service, which has taken over, would.
    raw.execute("UPDATE balances SET entries = 5").await.unwrap();
    raw.execute("UPDATE service SET balances_through = 10").await.unwrap();
    let before = from(&running, "database").await;
    assert_eq!((entries(&running.api).await, entries(&running.api).await), (5, 5));
    assert_eq!(from(&running, "database").await - before, 2.0);
}
