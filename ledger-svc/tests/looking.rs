//! What the rules of reconciliation look at, where much is open.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::binary::binary;
use crate::engine::{Engine, Server};
use crate::reconciliation::{open, sold};
use crate::running::{Answer, Api, DEADLINE, Running, answer};

async fn import(api: &Api, text: &str) -> Answer {
    let mapping = json!({"date": "day", "amount": "sum", "identity": "nr"});
    let body = json!({"format": "csv", "name": "January", "text": text, "mapping": mapping});
    api.post("/v1/accounts/bank/statements", &body).await
}

/// Two statements of ten thousand lines that nothing was booked for, all of one amount.
async fn much_is_open(api: &Api) {
    for year in [2019, 2020] {
        let mut text = String::from("nr,day,sum\n");
        for number in 0..10_000 {
            let _ = writeln!(text, "{year}-{number},{year}-{:02}-05,9.99", 1 + number % 12);
        }
        assert_eq!(import(api, &text).await.status, 201);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_matched_however_many_are_open() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server.running_with(|options| options.http.body_bytes_max = 4 << 20).await;
    let api = &running.api;
    open(api).await;
    much_is_open(api).await;
    sold(api, "new", "2026-01-05", "777.77", "o").await;
    sold(api, "same", "2026-01-05", "9.99", "o").await;
    assert_eq!(import(api, "nr,day,sum\nx,2026-01-05,777.77\n").await.status, 201);
    let stands = api.read("/v1/accounts/bank/reconciliation").await;
    assert_eq!(stands["suggestions"].as_array().map(Vec::len), Some(1), "{stands}");
    who_waits_for_the_rules_is_counted(&running).await;
    let ran = api.post("/v1/accounts/bank/reconciliation", &json!({})).await.json();
    let matched = json!([{"rule": "exact", "lines": [20_001], "entries": [1]}]);
    let found: Vec<Value> = ran["matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!({"rule": one["rule"], "lines": one["lines"], "entries": one["entries"]}))
        .collect();
    assert_eq!(json!(found), matched, "{ran}");
    assert_eq!(ran["left_out"], json!({"lines": 0, "entries_before": null}));
}

/// Two look at a time.
async fn who_waits_for_the_rules_is_counted(running: &Running) {
    let api = &running.api;
    const WAITING: &str = "forebay_ledger_reconciliations_waiting";
    let mut asking: JoinSet<_> = (0..6).map(|_| look(api)).collect();
    let seen = async {
        while api.metric(WAITING).await < 1.0 {
            // Those that came and went between two looks are asked again.
            if asking.len() < 6 {
                asking.spawn(look(api));
            }
            while asking.try_join_next().is_some() {}
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("nobody is seen to wait");
    asking.join_all().await;
    let left = [WAITING, "forebay_ledger_reconciliations"];
    for name in left {
        assert!(api.metric(name).await < 0.5, "{name}");
    }
}

fn look(api: &Api) -> impl Future<Output = ()> + Send + 'static {
    let request = api.request(Method::GET, "/v1/accounts/bank/reconciliation");
    async move { assert_eq!(answer(request).await.status, 200) }
}

#[tokio::test]
async fn lines_whose_groups_are_not_searched_are_named() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    for number in 0..25 {
        sold(api, &format!("few-{number}"), "2026-01-05", "0.07", "o").await;
    }
    assert_eq!(import(api, "nr,day,sum\nx,2026-01-05,0.50\n").await.status, 201);
    let expected = json!({"lines": [1], "lines_in_all": 1, "entries": [], "entries_in_all": 0});
    let stands = api.read("/v1/accounts/bank/reconciliation").await;
    assert_eq!(stands["not_searched"], expected);
    let ran = api.post("/v1/accounts/bank/reconciliation", &json!({})).await.json();
    assert_eq!(ran["not_searched"], expected);
    let database = running.database.url.clone();
    running.service.stop().await.unwrap();
    let run = ["reconcile", "run", "--database", &database, "--account", "bank"];
    let output = binary().args(run).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("not searched for groups"), "{said}");
    assert!(said.contains("lines 1\n"), "{said}");
}

#[tokio::test]
async fn rules_that_find_nothing_are_refused() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server.running().await;
    open(&running.api).await;
    for rule in ["manual", "adjustment"] {
        let body = json!({"rules": ["exact", rule]});
        let refused = running.api.post("/v1/accounts/bank/reconciliation", &body).await;
        assert!(refused.body.contains("find nothing"), "{}", refused.body);
        let run = ["reconcile", "run", "--database", "sqlite:none", "--account", "bank"];
        let output = binary().args(run).args(["--rule", rule]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}
