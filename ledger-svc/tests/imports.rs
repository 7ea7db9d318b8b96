//! What an import books is what its text says, once, and all of it or nothing.

use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::interchange::{empty, file, import};
use crate::running::{Answer, Api};

on_every_engine!(a_key_is_used_once_in_a_text,);

const HEADING: &str = "transfer,effective_date,account,direction,amount,currency,key\n";
const CHART: &str = "code,currency,normal_balance\nassets:cash,EUR,debit\nincome:fees,EUR,credit\n";

/// A transfer of 1.00 and more as CSV.
fn row(transfer: &str, date: &str, amount: &str, key: &str) -> String {
    format!(
        "{transfer},{date},assets:cash,debit,{amount},EUR,{key}\n{transfer},{date},income:fees,credit,{amount},EUR,{key}\n"
    )
}

async fn send(api: &Api, format: &str, text: &str) -> Answer {
    api.post("/v1/imports", &json!({"format": format, "text": text})).await
}

fn faults(answer: &Answer) -> Vec<(u64, String)> {
    assert_eq!(answer.problem(), "invalid-text", "{}", answer.body);
    let of = |fault: &Value| {
        (fault["line"].as_u64().unwrap(), fault["message"].as_str().unwrap().to_owned())
    };
    answer.json()["faults"].as_array().unwrap().iter().map(of).collect()
}

async fn a_key_is_used_once_in_a_text(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    assert_eq!(send(api, "csv-accounts", CHART).await.status, 200);
    // Two fees of a day under one key are two fees.
    let text = format!(
        "{HEADING}{}{}",
        row("1", "2026-01-02", "5.00", "old:02"),
        row("2", "2026-01-02", "5.00", "old:02")
    );
    let told = faults(&send(api, "csv", &text).await);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == 4 && told[0].1.contains("line 2"), "{told:?}");
    assert_eq!(running.database.transfers().await, 0);
    running.service.stop().await.unwrap();
    let target = empty(server).await;
    let chart = file(&target, "chart.csv", CHART);
    assert_eq!(import(&target, "csv-accounts", &chart, &[]).0, 0);
    let path = file(&target, "twice.csv", &text);
    for more in [&["--check"][..], &[]] {
        let (code, said, error) = import(&target, "csv", &path, more);
        assert!(code == 65 && error.contains("line 4: "), "{code} {said}{error}");
    }
    assert_eq!(target.transfers().await, 0);
}
