//! The books as text over HTTP: what the command writes, and never half of it as if it were all.

use reqwest::Method;
use serde_json::json;

use crate::engine::{Server, on_every_engine};
use crate::interchange::{booked_by, exported};
use crate::running::open_pair;

on_every_engine!(
    what_is_exported_is_what_the_command_writes,
    exports_have_their_places_and_break_off_at_a_stop,
);

const EXPORTS: [(&str, &str, &str); 4] = [
    ("entries.csv", "csv", "text/csv"),
    ("accounts.csv", "csv-accounts", "text/csv"),
    ("books.beancount", "beancount", "text/plain"),
    ("books.ledger", "ledger", "text/plain"),
];

async fn what_is_exported_is_what_the_command_writes(server: &Server) {
    let running = server.running().await;
    booked_by(&running.api).await;
    let mut told = Vec::new();
    for (name, _, kind) in EXPORTS {
        let export = running.api.get(&format!("/v1/export/{name}")).await;
        assert_eq!(export.status, 200, "{name}: {}", export.body);
        let header = |name: &str| export.headers[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(kind), "{name}");
        assert_eq!(header("content-disposition"), format!("attachment; filename=\"{name}\""));
        assert!(!export.headers.contains_key("etag"), "{name} is sent while it is read");
        told.push(export.body);
    }
    running.service.stop().await.unwrap();
    let database = running.database;
    for ((name, format, _), told) in EXPORTS.into_iter().zip(told) {
        assert!(told.lines().count() > 2, "{name}: {told}");
        assert_eq!(told, exported(&database, format), "{name}");
    }
}

async fn exports_have_their_places_and_break_off_at_a_stop(server: &Server) {
    let running = server.running_with(|options| options.http.exports_max = 1).await;
    let api = &running.api;
    open_pair(api).await;
    // More than the kernel and the service hold for a client that does not read: each of its entries says
    // again what a transfer says.
    let words = json!({"account": "eur:debit", "direction": "debit", "amount": "1"});
    let mut entries = vec![words; 150];
    entries.push(json!({"account": "eur:credit", "direction": "credit", "amount": "150"}));
    let metadata: serde_json::Map<String, serde_json::Value> =
        (0..16).map(|number| (format!("m{number}"), json!("x".repeat(200)))).collect();
    for number in 0..40 {
        let item = json!({"description": "", "entries": entries, "metadata": metadata});
        let booked = api.transfer(&format!("k{number}"), &item).await;
        assert_eq!(booked.status, 201, "{}", booked.body);
    }
    let mut open = api.request(Method::GET, "/v1/export/entries.csv").send().await.unwrap();
    assert_eq!(open.status(), 200);
    let second = api.get("/v1/export/books.ledger").await;
    assert_eq!((second.status.as_u16(), second.problem().as_str()), (503, "too-many-exports"));
    api.metric_reaches("forebay_ledger_exports", 1.0).await;
    let stopping = tokio::spawn(running.service.stop());
    let ended = loop {
        match open.chunk().await {
            Ok(Some(_)) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => break other,
        }
    };
    assert!(ended.is_err(), "half of the books never end as if they were whole");
    stopping.await.unwrap().unwrap();
}
