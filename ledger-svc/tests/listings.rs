//! Listings page by key: nothing twice, nothing missed, limits kept.

use std::collections::HashSet;

use serde_json::Value;

use crate::api::everything;
use crate::engine::{Server, on_every_engine};
use crate::running::{moving, open_pair};

async fn paged(api: &crate::running::Api, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.read(&format!("{path}?limit={limit}{cursor}")).await;
        let found = page["items"].as_array().unwrap();
        items.extend(found.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return items };
        assert_eq!(found.len(), limit, "only the last page may be short");
        cursor = format!("&cursor={next}");
    }
}

on_every_engine!(
    every_listing_pages_without_gaps_or_repeats,
    the_trial_balance_pages_its_accounts_but_totals_all,
);

async fn every_listing_pages_without_gaps_or_repeats(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    for index in 0..21 {
        let answer =
            api.transfer(&format!("k{index}"), &moving("eur:credit", "eur:debit", "0.01")).await;
        assert_eq!(answer.status, 201);
    }
    for path in
        ["/v1/transfers", "/v1/accounts/eur:debit/entries", "/v1/accounts", "/v1/currencies"]
    {
        let all = everything(api, path).await;
        for limit in [1, 7, 20, 21, 22, 1000] {
            assert_eq!(paged(api, path, limit).await, all, "{path} by {limit}");
        }
        let distinct: HashSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(distinct.len(), all.len());
    }
    let entries = everything(api, "/v1/accounts/eur:debit/entries").await;
    assert_eq!(entries[20]["balance"], "0.21");
    let first = api.read("/v1/currencies").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 100, "the default limit");
    assert!(
        first["items"].as_array().unwrap().iter().any(|c| c["code"] == "BHD" && c["scale"] == 3)
    );
}

async fn the_trial_balance_pages_its_accounts_but_totals_all(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    for code in ["eur:debit:1", "eur:debit:2", "eur:credit:1"] {
        api.open(code).await;
    }
    api.transfer("a", &moving("eur:credit:1", "eur:debit:1", "3")).await;
    api.transfer("b", &moving("eur:credit:1", "eur:debit:2", "4")).await;
    let first = api.read("/v1/trial-balance?limit=2").await;
    let rest = api.read("/v1/trial-balance?limit=2&cursor=eur:debit:1").await;
    assert_eq!(first["next_cursor"], "eur:debit:1");
    assert_eq!(rest["next_cursor"], Value::Null);
    assert_eq!(rest["accounts"][0]["account"], "eur:debit:2");
    for page in [first, rest] {
        assert_eq!(page["currencies"][0]["debits"], "7.00");
    }
}
