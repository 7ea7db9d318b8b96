//! No read looks through a whole table, whatever the planner thinks of its size. The servers count rows they read
//! without a key; the embedded engine says its plans, which unit tests in `store` hold against the statements.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::{Engine, Server};
use crate::raw::Raw;
use crate::running::{Api, Running, moving, open_pair, options};

/// Far more than a read of a page may touch.
const TRANSFERS: usize = 3000;

/// Three thousand transfers, a third of them backdated, some pending, and a close.
async fn filled(api: &Api) {
    open_pair(api).await;
    for batch in 0..TRANSFERS / 500 {
        let item = |index: usize| {
            let mut body = moving("eur:credit", "eur:debit", "0.01");
            match index % 3 {
                0 => body["effective_date"] = json!(format!("2026-{:02}-15", index % 12 + 1)),
                1 if index.is_multiple_of(10) => body["pending"] = json!(true),
                _ => {}
            }
            json!({"key": format!("{batch}-{index}"), "transfer": body})
        };
        let items: Vec<Value> = (0..500).map(item).collect();
        let answer = api.post("/v1/batches", &json!({"transfers": items})).await;
        assert_eq!(answer.json()["refused"], 0, "{}", answer.body);
    }
    assert_eq!(api.post("/v1/closes", &json!({"through": "2026-01-31"})).await.status, 201);
}

/// Metadata of three thousand accounts, which need not be there for that, and of all transfers.
async fn called(raw: &mut Raw, unchecked: &str, value: &str) {
    raw.execute(unchecked).await.unwrap();
    let sql = format!(
        "INSERT INTO account_metadata SELECT 1000 + seq, 'customer', {value} FROM transfers"
    );
    assert!(raw.execute(&sql).await.unwrap() >= 3000);
    let sql = format!("INSERT INTO transfer_metadata SELECT seq, 'order', {value} FROM transfers");
    assert!(raw.execute(&sql).await.unwrap() >= 3000);
}

/// Every read there is, in the middle of what there is.
async fn read_everything(api: &Api) {
    let transfer = api.read("/v1/transfers?limit=1&cursor=1500").await;
    let id = transfer["items"][0]["id"].as_str().unwrap().to_owned();
    let now = Timestamp::now();
    for path in [
        "/v1/currencies?limit=5".into(),
        "/v1/accounts?limit=5".into(),
        "/v1/accounts/eur:debit".into(),
        "/v1/accounts/eur:debit/balance".into(),
        "/v1/accounts/eur:debit/entries?limit=5&cursor=1200".into(),
        format!("/v1/accounts/eur:debit/statement?limit=5&from=2026-01-01&to={now}"),
        "/v1/accounts/eur:debit/statement?by=effective&limit=5&from=2026-03-01&to=2026-03-20"
            .into(),
        format!("/v1/accounts/eur:debit/balance/as-of?booked_before={now}"),
        "/v1/accounts/eur:debit/balance/as-of?effective_through=2026-06-30".into(),
        format!("/v1/transfers/{id}"),
        "/v1/transfers?limit=5&cursor=1500".into(),
        "/v1/trial-balance?limit=5".into(),
        "/v1/trial-balance/as-of?limit=5&effective_through=2026-06-30".into(),
        format!("/v1/entries?limit=5&cursor=1500&from=2026-01-01&to={now}"),
        "/v1/accounts?metadata=customer:c1500&limit=5".into(),
        "/v1/transfers?metadata=order:c1500&limit=5".into(),
        "/v1/accounts/eur:debit/statements?limit=5".into(),
        "/v1/accounts/eur:debit/open-lines?limit=5".into(),
        "/v1/accounts/eur:debit/unmatched-entries?limit=5".into(),
        "/v1/accounts/eur:debit/matches?limit=5".into(),
        "/v1/accounts/eur:debit/reconciliation".into(),
        "/v1/account-sets?limit=5".into(),
        "/v1/account-tree?under=eur".into(),
        "/v1/signatures?limit=5".into(),
        "/v1/head".into(),
        "/v1/keys?limit=5".into(),
        "/v1/audit-log?limit=5".into(),
        "/v1/webhooks?limit=5".into(),
        "/v1/closes?limit=5".into(),
        "/v1/closes/1".into(),
        "/v1/closes/1/balances?limit=5".into(),
    ] {
        api.read(&path).await;
    }
    // And the writer's own reads.
    let again = api.transfer("0-0", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(again.problem(), "idempotency-key-reused");
    assert_eq!(api.follow(&id, "reverse", "reverse", &json!({})).await.status, 201);
}

#[tokio::test]
async fn postgres_scans_no_table() {
    let server = Server::start(Engine::Postgres, &[]).await;
    let running = server.running().await;
    filled(&running.api).await;
    let database = running.database;
    // Counters of a connection are complete when it has ended.
    running.service.stop().await.unwrap();
    let mut raw = database.connect().await;
    called(&mut raw, "SET session_replication_role = replica", "'c' || seq").await;
    raw.execute("ANALYZE").await.unwrap();
    let before = scans(&mut raw).await;
    let running = Running::start(options(&database.url), database).await;
    read_everything(&running.api).await;
    running.service.stop().await.unwrap();
    assert_eq!(scans(&mut raw).await, before, "tables scanned, and how many of their rows");
}

/// Rows read by going through a table that grows, by table.
async fn scans(raw: &mut Raw) -> Vec<(&'static str, i64)> {
    let tables = [
        "transfers",
        "entries",
        "pending_entries",
        "idempotency_keys",
        "chain",
        "backdated_entries",
        "account_metadata",
        "transfer_metadata",
    ];
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = '{table}'");
        found.push((table, raw.number(&sql).await));
    }
    found
}

#[tokio::test]
async fn mariadb_scans_no_table() {
    let server = Server::start(Engine::MariaDb, &[]).await;
    let running = server.running().await;
    filled(&running.api).await;
    let mut raw = running.database.connect().await;
    called(&mut raw, "SET foreign_key_checks = 0", "CONCAT('c', seq)").await;
    raw.execute("ANALYZE TABLE account_metadata, transfer_metadata, transfers, entries, pending_entries, idempotency_keys, chain, backdated_entries, backdated_days").await.unwrap();
    // Looking itself reads rows of what it looks at: the same number every time.
    let (first, second) = (unkeyed(&mut raw).await, unkeyed(&mut raw).await);
    let looking = second - first;
    let before = unkeyed(&mut raw).await;
    read_everything(&running.api).await;
    let read = unkeyed(&mut raw).await - before - looking;
    // What a way back has found is counted too, a few hundred rows in all.
    let most = i64::try_from(TRANSFERS).unwrap() / 2;
    assert!(read < most, "{read} rows were read without a key");
}

/// Rows read by going through a table.
async fn unkeyed(raw: &mut Raw) -> i64 {
    raw.number("SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status WHERE variable_name = 'HANDLER_READ_RND_NEXT'").await
}
