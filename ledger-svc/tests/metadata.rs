//! Names and values of accounts, and finding accounts by them.

use forebay_ledger::verify::verify;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::running::{Answer, Api};

on_every_engine!(accounts_are_found_by_what_they_are_called, names_and_values_are_checked);

async fn open(api: &Api, code: &str, metadata: Value) -> Answer {
    let body = json!({
        "code": code, "name": "a", "currency": "EUR", "normal_balance": "debit", "metadata": metadata,
    });
    api.post("/v1/accounts", &body).await
}

async fn accounts_are_found_by_what_they_are_called(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    for index in 0..5 {
        let metadata = json!({"customer": format!("c:{}", index % 2), "tier": "gold é"});
        let opened = open(api, &format!("wallet:{}", 9 - index), metadata.clone()).await;
        assert_eq!(
            (opened.status.as_u16(), &opened.json()["metadata"]),
            (201, &metadata),
            "{}",
            opened.body
        );
    }
    assert_eq!(open(api, "plain", json!({})).await.json()["metadata"], json!({}));

    let same = json!({"tier": "gold é", "customer": "c:0"});
    assert_eq!(open(api, "wallet:9", same).await.status, 200);
    let other = open(api, "wallet:9", json!({"customer": "c:0"})).await;
    assert_eq!(other.problem(), "already-exists");

    let codes = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["code"].as_str().unwrap().to_owned())
            .collect()
    };
    let found = api.read("/v1/accounts?metadata=customer:c:0&limit=2").await;
    assert_eq!(codes(&found), ["wallet:9", "wallet:7"], "in the order they were opened");
    assert_eq!(found["items"][0]["metadata"]["tier"], "gold é");
    let cursor = found["next_cursor"].as_str().unwrap();
    let next =
        api.read(&format!("/v1/accounts?metadata=customer:c:0&limit=2&cursor={cursor}")).await;
    assert_eq!((codes(&next), &next["next_cursor"]), (vec!["wallet:5".to_owned()], &Value::Null));
    assert_eq!(codes(&api.read("/v1/accounts?metadata=tier:gold+%C3%A9").await).len(), 5);
    for none in ["customer:c:9", "nobody:x", "customer:C:0", "tier:gold"] {
        assert!(
            codes(&api.read(&format!("/v1/accounts?metadata={none}")).await).is_empty(),
            "{none}"
        );
    }
    // Whole listings have it too, and one account.
    let all = api.read("/v1/accounts").await;
    assert_eq!(
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|a| a["metadata"]["tier"].is_string())
            .count(),
        5
    );
    assert_eq!(api.read("/v1/accounts/wallet:8").await["metadata"]["customer"], "c:1");

    for bad in ["customer", ":x", "Customer:x", ""] {
        let refused = api.get(&format!("/v1/accounts?metadata={bad}")).await;
        assert_eq!(refused.problem(), "invalid-parameter", "{bad}");
    }
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn names_and_values_are_checked(server: &Server) {
    let running = server.running().await;
    for (bad, why) in [
        (json!({"A": "x"}), "not valid"),
        (json!({"a": ""}), "is empty"),
        (json!({"a": " x"}), "with a space"),
        (json!({"a": 1}), "string"),
    ] {
        let refused = open(&running.api, "bad", bad).await;
        assert_eq!(refused.problem(), "invalid-body");
        let told = refused.json();
        assert!(told["field"].as_str().unwrap().starts_with("metadata"), "{told}");
        assert!(told["detail"].as_str().unwrap().contains(why), "{told}");
    }
    assert_eq!(running.api.get("/v1/accounts/bad").await.status, 404);
}
