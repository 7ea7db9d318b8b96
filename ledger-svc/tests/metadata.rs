//! Names and values of accounts, and finding accounts by them.

use forebay_ledger::verify::verify;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::pending::{holding, id};
use crate::running::{Answer, Api, moving, open_pair};

on_every_engine!(
    accounts_are_found_by_what_they_are_called,
    names_and_values_are_checked,
    transfers_are_found_by_what_they_are_called,
    amounts_are_shared_out_by_rule,
);

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

fn called(mut body: Value, metadata: Value) -> Value {
    body["metadata"] = metadata;
    body
}

async fn transfers_are_found_by_what_they_are_called(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let move_it = || moving("eur:credit", "eur:debit", "1");
    let order = json!({"order": "o:1", "note": "gold é"});
    let first = api.transfer("a", &called(move_it(), order.clone())).await;
    assert_eq!((first.status.as_u16(), &first.json()["metadata"]), (201, &order));
    assert_eq!(api.transfer("a", &called(move_it(), order.clone())).await.body, first.body);
    assert_eq!(api.transfer("a", &move_it()).await.problem(), "idempotency-key-reused");
    assert!(api.transfer("plain", &move_it()).await.json()["metadata"].is_null());
    // What follows it is called the same, unless it says otherwise.
    let reversal = api.follow(&id(&first), "reverse", "b", &json!({})).await;
    assert_eq!(reversal.json()["metadata"], order);
    let held = json!({"order": "o:2"});
    let held = id(&api.transfer("c", &called(holding("eur:credit", "eur:debit", "5"), held)).await);
    let other = json!({"metadata": {"order": "o:1", "part": "2"}});
    assert_eq!(api.follow(&held, "post", "d", &other).await.json()["metadata"], other["metadata"]);
    let items = json!([
        {"key": "e", "transfer": called(move_it(), json!({"order": "o:1"}))},
    ]);
    let batch = api.post("/v1/batches", &json!({"transfers": items})).await;
    assert_eq!(
        (&batch.json()["booked"], &batch.json()["refused"]),
        (&json!(1), &json!(0)),
        "{}",
        batch.body
    );

    let found = api.read("/v1/transfers?metadata=order:o:1&limit=3").await;
    let kinds: Vec<&str> =
        found["items"].as_array().unwrap().iter().map(|t| t["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["transfer", "reverse", "post"]);
    let cursor = found["next_cursor"].as_str().unwrap();
    let next = api.read(&format!("/v1/transfers?metadata=order:o:1&limit=3&cursor={cursor}")).await;
    assert_eq!((next["items"].as_array().unwrap().len(), &next["next_cursor"]), (1, &Value::Null));
    assert_eq!(
        api.read("/v1/transfers?metadata=note:gold+%C3%A9").await["items"][0]["metadata"],
        order
    );
    assert!(
        api.read("/v1/transfers?metadata=order:o").await["items"].as_array().unwrap().is_empty()
    );
    assert_eq!(api.get("/v1/transfers?metadata=order").await.problem(), "invalid-parameter");

    // Wherever an entry or a transfer is told, so is what it is called.
    assert_eq!(api.read(&format!("/v1/transfers/{}", id(&first))).await["metadata"], order);
    let of_first = |page: &Value| page["entries"][0]["metadata"].clone();
    for path in ["statement", "statement?by=effective"] {
        assert_eq!(of_first(&api.read(&format!("/v1/accounts/eur:debit/{path}")).await), order);
    }
    assert_eq!(api.read("/v1/entries?limit=1").await["items"][0]["metadata"], order);
    let csv = api.get("/v1/accounts/eur:debit/statement.csv").await.body;
    assert!(
        csv.contains(",\"{\"\"note\"\":\"\"gold é\"\",\"\"order\"\":\"\"o:1\"\"}\"\r\n"),
        "{csv}"
    );
    assert!(csv.lines().last().unwrap().starts_with(",,,,\"Closing balance\",,,"), "{csv}");
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn amounts_are_shared_out_by_rule(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    for (code, currency) in [("fee", "EUR"), ("tax", "EUR"), ("yen", "JPY")] {
        let body =
            json!({"code": code, "name": code, "currency": currency, "normal_balance": "credit"});
        assert_eq!(api.post("/v1/accounts", &body).await.status, 201);
    }
    let sale = |parts: Value| {
        json!({"description": "sale", "entries": [{"account": "eur:debit", "direction": "debit", "amount": "99.99"}],
            "split": [{"amount": "99.99", "direction": "credit", "parts": parts}]})
    };
    let parts = json!([
        {"account": "fee", "percent": "2.9", "fixed": "0.30"},
        {"account": "tax", "percent": "19"},
        {"account": "eur:credit"},
    ]);
    let sold = api.transfer("s", &sale(parts.clone())).await;
    let sold_as = sold.json();
    let amounts: Vec<&str> = sold_as["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["amount"].as_str().unwrap())
        .collect();
    assert_eq!(amounts, ["99.99", "3.20", "19.00", "77.79"]);
    assert_eq!(
        api.transfer("s", &sale(parts)).await.body,
        sold.body,
        "a replay is what was booked"
    );
    for (parts, problem, field) in [
        (json!([{"account": "fee", "percent": "10"}]), "invalid-amount", "split[0]"),
        (json!([{"account": "fee"}, {"account": "yen"}]), "invalid-amount", "split[0]"),
        (json!([{"account": "nobody"}]), "unknown-account", ""),
        (json!([]), "invalid-body", "entries"),
    ] {
        let refused = api.transfer("r", &sale(parts.clone())).await;
        assert_eq!(refused.problem(), problem, "{parts}");
        assert_eq!(refused.json()["field"].as_str().unwrap_or_default(), field, "{}", refused.body);
    }
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}
