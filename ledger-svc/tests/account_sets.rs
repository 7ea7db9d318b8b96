//! Sets of accounts and parts of the chart, summed when they are read; and entity tags of what is read.

use forebay_ledger::verify::verify;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::pending::id;
use crate::running::{Api, answer, moving};

on_every_engine!(sets_are_summed_each_account_once, what_was_read_is_not_sent_again);

async fn open(api: &Api, code: &str, currency: &str) {
    let body = json!({"code": code, "name": code, "currency": currency, "normal_balance": "debit"});
    assert_eq!(api.post("/v1/accounts", &body).await.status, 201);
}

async fn make(api: &Api, code: &str) {
    let made = api.post("/v1/account-sets", &json!({"code": code, "name": code})).await;
    assert_eq!(made.status, 201, "{}", made.body);
}

async fn add(api: &Api, set: &str, members: Value) -> Value {
    let added = api.post(&format!("/v1/account-sets/{set}/members"), &members).await;
    assert_eq!(added.status, 200, "{}", added.body);
    added.json()["added"].clone()
}

fn sums(totals: &Value) -> Vec<(String, String, String)> {
    let text = |of: &Value, field: &str| of[field].as_str().unwrap().to_owned();
    let told = |of: &Value| (text(of, "currency"), text(of, "debits"), text(of, "credits"));
    totals["currencies"].as_array().unwrap().iter().map(told).collect()
}

async fn sets_are_summed_each_account_once(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    for code in ["shop:a", "shop:b", "shop:b:till", "shops", "bank"] {
        open(api, code, "EUR").await;
    }
    open(api, "shop:yen", "JPY").await;
    for (key, to, amount) in
        [("1", "shop:a", "10"), ("2", "shop:b", "5"), ("3", "shop:b:till", "2")]
    {
        id(&api.transfer(key, &moving("bank", to, amount)).await);
    }
    make(api, "north").await;
    make(api, "south").await;
    make(api, "all").await;
    assert_eq!(add(api, "north", json!({"accounts": ["shop:a", "shop:b"]})).await, 2);
    assert_eq!(add(api, "south", json!({"accounts": ["shop:b", "shop:yen", "shop:b"]})).await, 2);
    assert_eq!(
        add(api, "all", json!({"sets": ["north", "south"], "accounts": ["shop:a"]})).await,
        3
    );
    assert_eq!(add(api, "all", json!({"sets": ["north"]})).await, 0, "it is there already");
    let euro =
        |debits: &str, credits: &str| ("EUR".to_owned(), debits.to_owned(), credits.to_owned());
    let yen = ("JPY".to_owned(), "0".to_owned(), "0".to_owned());
    assert_eq!(sums(&api.read("/v1/account-sets/north").await), [euro("15.00", "0.00")]);
    assert_eq!(sums(&api.read("/v1/account-sets/all").await), [euro("15.00", "0.00"), yen.clone()]);
    assert_eq!(sums(&api.read("/v1/account-tree?under=shop").await), [euro("17.00", "0.00"), yen]);
    assert_eq!(sums(&api.read("/v1/account-tree?under=shop:b").await), [euro("7.00", "0.00")]);
    assert_eq!(sums(&api.read("/v1/account-tree?under=sho").await), []);
    let members = api.read("/v1/account-sets/all/members?limit=2").await;
    assert_eq!(members["items"][0], json!({"account": null, "set": "north"}), "{members}");
    assert_eq!(members["items"].as_array().unwrap().len(), 2);

    let again = api.post("/v1/account-sets", &json!({"code": "all", "name": "all"})).await;
    assert_eq!(again.status, 200);
    for (path, body, problem) in [
        ("/v1/account-sets", json!({"code": "all", "name": "other"}), "already-exists"),
        ("/v1/account-sets", json!({"code": "A", "name": "x"}), "invalid-body"),
        ("/v1/account-sets/north/members", json!({"sets": ["all"]}), "invalid-body"),
        ("/v1/account-sets/north/members", json!({"sets": ["north"]}), "invalid-body"),
        ("/v1/account-sets/north/members", json!({"sets": ["nope"]}), "invalid-body"),
        ("/v1/account-sets/north/members", json!({"accounts": ["nope"]}), "unknown-account"),
        ("/v1/account-sets/nope/members", json!({}), "set-not-found"),
    ] {
        let refused = api.post(path, &body).await;
        assert_eq!(refused.problem(), problem, "{path} {body}");
    }
    assert_eq!(api.get("/v1/account-sets/nope").await.problem(), "set-not-found");
    assert_eq!(api.get("/v1/account-tree?under=A").await.problem(), "invalid-parameter");
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn what_was_read_is_not_sent_again(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    crate::running::open_pair(api).await;
    let path = "/v1/accounts/eur:debit/balance";
    let read = api.get(path).await;
    let tag = read.headers["etag"].to_str().unwrap().to_owned();
    let ask = |tag: &str| {
        let asked = api.request(reqwest::Method::GET, path).header("if-none-match", tag);
        async move { answer(asked).await }
    };
    let same = ask(&tag).await;
    assert_eq!((same.status.as_u16(), same.body.as_str()), (304, ""));
    assert_eq!(same.headers["etag"].to_str().unwrap(), tag);
    id(&api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await);
    let other = ask(&tag).await;
    assert_eq!(other.status, 200);
    assert_ne!(other.headers["etag"].to_str().unwrap(), tag);
    assert!(!api.get("/v1/accounts/nobody").await.headers.contains_key("etag"));
    assert!(!api.get("/").await.headers.contains_key("etag"), "pages are not kept");
}
