//! What the ledger is for: accounts, transfers in several currencies, balances, trial balance.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::running::{Api, moving, open_pair};

on_every_engine!(
    a_transfer_in_several_currencies_moves_each_of_them,
    creating_again_is_harmless_and_creating_otherwise_is_refused,
    a_rejected_transfer_changes_nothing_and_leaves_its_key_free,
    a_total_beyond_64_bits_is_refused_and_does_not_wrap,
    after_2000_random_transfers_from_16_clients_everything_adds_up,
);

async fn a_transfer_in_several_currencies_moves_each_of_them(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    for code in ["eur:debit:cash", "eur:credit:x", "jpy:debit:cash", "jpy:credit:x"] {
        api.open(code).await;
    }
    let exchange = json!({"description": "exchange", "effective_date": "2026-01-31", "entries": [
        {"account": "eur:credit:x", "direction": "debit", "amount": "60"},
        {"account": "eur:credit:x", "direction": "debit", "amount": "40.5"},
        {"account": "eur:debit:cash", "direction": "credit", "amount": "100.50"},
        {"account": "jpy:debit:cash", "direction": "debit", "amount": "16250"},
        {"account": "jpy:credit:x", "direction": "credit", "amount": "16250"},
    ]});
    let posted = api.transfer("x-1", &exchange).await;
    assert_eq!(posted.status, 201, "{}", posted.body);
    let transfer = posted.json();
    assert_eq!(transfer["effective_date"], "2026-01-31");
    assert_eq!(transfer["entries"][1]["amount"], "40.50");
    assert_eq!(transfer["entries"][3]["currency"], "JPY");
    let location = posted.headers["location"].to_str().unwrap();
    assert_eq!(api.get(location).await.body, posted.body);

    let cash = api.read("/v1/accounts/eur:debit:cash/balance").await;
    assert_eq!((&cash["credits"], &cash["balance"]), (&json!("100.50"), &json!("-100.50")));
    let entries = api.read("/v1/accounts/eur:credit:x/entries").await;
    assert_eq!(entries["items"][0]["balance"], "-60.00");
    assert_eq!(entries["items"][1]["balance"], "-100.50");
    assert_eq!(entries["items"][1]["number"], 2);
    assert_eq!(entries["items"][1]["transfer"], transfer["id"]);

    let trial = api.read("/v1/trial-balance").await;
    let totals = &trial["currencies"];
    assert_eq!(
        totals[0],
        json!({"currency": "EUR", "debits": "100.50", "credits": "100.50", "difference": "0.00"})
    );
    assert_eq!(
        totals[1],
        json!({"currency": "JPY", "debits": "16250", "credits": "16250", "difference": "0"})
    );
    assert_eq!(trial["accounts"].as_array().unwrap().len(), 4);
}

async fn creating_again_is_harmless_and_creating_otherwise_is_refused(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    let euro = json!({"code": "EUR", "scale": 2});
    assert_eq!(api.post("/v1/currencies", &euro).await.status, 200);
    let points = json!({"code": "POINTS", "scale": 0});
    assert_eq!(api.post("/v1/currencies", &points).await.status, 201);
    assert_eq!(api.post("/v1/currencies", &points).await.json(), points);
    let other = api.post("/v1/currencies", &json!({"code": "POINTS", "scale": 1})).await;
    assert_eq!(other.problem(), "already-exists");

    let account =
        json!({"code": "a:b", "name": "A", "currency": "POINTS", "normal_balance": "credit"});
    let first = api.post("/v1/accounts", &account).await;
    assert_eq!(first.status, 201);
    let again = api.post("/v1/accounts", &account).await;
    assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
    assert_eq!(api.get(first.headers["location"].to_str().unwrap()).await.body, first.body);
    for (field, value) in [("name", "B"), ("currency", "EUR"), ("normal_balance", "debit")] {
        let mut other = account.clone();
        other[field] = json!(value);
        assert_eq!(api.post("/v1/accounts", &other).await.problem(), "already-exists", "{field}");
    }
}

async fn a_rejected_transfer_changes_nothing_and_leaves_its_key_free(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let late = moving("eur:credit", "eur:debit:late", "5.00");
    assert_eq!(api.transfer("k", &late).await.problem(), "unknown-account");
    assert!(api.read("/v1/transfers").await["items"].as_array().unwrap().is_empty());
    assert_eq!(api.read("/v1/accounts/eur:credit/balance").await["entries"], 0);
    api.open("eur:debit:late").await;
    let posted = api.transfer("k", &late).await;
    assert_eq!((posted.status.as_u16(), posted.is_replay()), (201, false));
}

async fn a_total_beyond_64_bits_is_refused_and_does_not_wrap(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let most = moving("eur:credit", "eur:debit", "92233720368547758.07");
    assert_eq!(api.transfer("most", &most).await.status, 201);
    let more = api.transfer("more", &moving("eur:credit", "eur:debit", "0.01")).await;
    assert_eq!(more.problem(), "balance-overflow");
    let back = moving("eur:debit", "eur:credit", "92233720368547758.07");
    assert_eq!(api.transfer("back", &back).await.status, 201);
    let trial = api.read("/v1/trial-balance").await;
    assert_eq!(trial["currencies"][0]["debits"], "184467440737095516.14");
    assert_eq!(trial["currencies"][0]["difference"], "0.00");
    assert_eq!(api.read("/v1/accounts/eur:debit/balance").await["balance"], "0.00");
}

/// Scale by currency of the random transfers.
const CURRENCIES: [(&str, u32); 3] = [("eur", 2), ("jpy", 0), ("kwd", 3)];

/// Transfers of one to four balanced moves, each between two of eight accounts of a currency.
fn random_transfers(count: usize) -> Vec<Vec<(usize, usize, usize, i64)>> {
    let one = (0..CURRENCIES.len(), 0..8_usize, 0..8_usize, 1..1_000_000_i64);
    let mut runner = TestRunner::default();
    let strategy = proptest::collection::vec(one, 1..5);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

fn account(currency: usize, index: usize) -> String {
    let side = if index.is_multiple_of(2) { "debit" } else { "credit" };
    format!("{}:{side}:{index}", CURRENCIES[currency].0)
}

fn decimal(minor: i64, scale: u32) -> String {
    rust_decimal::Decimal::new(minor, scale).to_string()
}

fn body(moves: &[(usize, usize, usize, i64)]) -> Value {
    let entries = moves.iter().flat_map(|(currency, from, to, minor)| {
        let amount = decimal(*minor, CURRENCIES[*currency].1);
        [(from, "credit"), (to, "debit")].map(|(index, direction)| {
            json!({"account": account(*currency, *index), "direction": direction, "amount": amount})
        })
    });
    json!({"description": "random", "entries": entries.collect::<Vec<_>>()})
}

async fn after_2000_random_transfers_from_16_clients_everything_adds_up(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    for currency in 0..CURRENCIES.len() {
        for index in 0..8 {
            api.open(&account(currency, index)).await;
        }
    }
    let transfers = random_transfers(2000);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..16 {
        let api = api.clone();
        let mine: Vec<_> = transfers
            .iter()
            .enumerate()
            .skip(client)
            .step_by(16)
            .map(|(i, t)| (i, body(t)))
            .collect();
        clients.spawn(async move {
            for (index, body) in mine {
                let answer = api.transfer(&format!("random-{index}"), &body).await;
                assert_eq!(answer.status, 201, "{}", answer.body);
            }
        });
    }
    clients.join_all().await;

    let mut expected: BTreeMap<String, (i64, i64, u32)> = BTreeMap::new();
    for (currency, from, to, minor) in transfers.iter().flatten() {
        let scale = CURRENCIES[*currency].1;
        expected.entry(account(*currency, *from)).or_insert((0, 0, scale)).1 += minor;
        expected.entry(account(*currency, *to)).or_insert((0, 0, scale)).0 += minor;
    }
    let trial = api.read("/v1/trial-balance").await;
    for totals in trial["currencies"].as_array().unwrap() {
        assert_eq!(totals["debits"], totals["credits"]);
        assert_eq!(totals["difference"].as_str().unwrap().trim_matches(['0', '.']), "");
    }
    for row in trial["accounts"].as_array().unwrap() {
        let code = row["account"].as_str().unwrap();
        let (debits, credits, scale) = expected[code];
        assert_eq!(row["debits"], decimal(debits, scale), "{code}");
        assert_eq!(row["credits"], decimal(credits, scale), "{code}");
        let entries = everything(api, &format!("/v1/accounts/{code}/entries")).await;
        assert_eq!(entries.len(), usize::try_from(row["entries"].as_i64().unwrap()).unwrap());
        assert_eq!(entries.last().unwrap()["balance"], row["balance"], "{code}");
    }
    assert_eq!(everything(api, "/v1/transfers").await.len(), 2000);
    let (batches, writes) = (
        api.metric("forebay_ledger_batch_writes_count").await,
        api.metric("forebay_ledger_batch_writes_sum").await,
    );
    println!("batches: {batches}, writes: {writes}, {:.1} writes per batch", writes / batches);
    assert!(batches < writes, "16 clients never shared a commit");
}

/// All items of a listing, page by page.
pub async fn everything(api: &Api, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.read(&format!("{path}?limit=250{cursor}")).await;
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}
