//! Rows of balances that are behind their accounts' entries: whoever reads adds what they lack, and a service that
//! starts writes them.

use forebay_ledger::as_of::AsOf;
use forebay_ledger::seal::{self, ServiceRow};
use forebay_ledger::store::{DatabaseUrl, Reader, read_only};
use forebay_ledger::verify::{VerifyError, verify};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::raw::Raw;
use crate::running::{DEADLINE, Running, moving, open_pair, options};

on_every_engine!(
    what_rows_lack_is_read_from_entries,
    rows_are_caught_up_with_when_nothing_is_asked,
    large_batches_are_read_at_once_and_written_in_time,
    many_rows_are_written_with_their_batch_or_it_fails,
);

/// Account 1 as of its entry 10, account 2 as of its entry 20: transfers after the tenth are behind the mark.
const SET_BACK: [&str; 3] = [
    "UPDATE balances SET debits_minor = 1000, entries = 10, last_entry_id = 19 WHERE account_id = 1",
    "UPDATE balances SET credits_minor = 2000, entries = 20, last_entry_id = 40 WHERE account_id = 2",
    "UPDATE service SET balances_through = 20",
];

/// As the service would leave its row.
async fn seal_service(raw: &mut Raw) {
    let row = ServiceRow {
        epoch: raw.number("SELECT epoch FROM service").await,
        probed_at_us: raw.number("SELECT probed_at_us FROM service").await,
        balances_through: raw.number("SELECT balances_through FROM service").await,
    };
    raw.execute(&format!("UPDATE service SET seal = '{}'", seal::of_service(&row))).await.unwrap();
}

/// Thirty transfers between two accounts, and a service that has stopped.
async fn thirty(server: &Server) -> Database {
    let running = server.running().await;
    open_pair(&running.api).await;
    let set = json!({"code": "all", "name": "all"});
    assert_eq!(running.api.post("/v1/account-sets", &set).await.status, 201);
    let members = json!({"accounts": ["eur:debit"]});
    let added = running.api.post("/v1/account-sets/all/members", &members).await;
    assert!(added.status.is_success(), "{}", added.body);
    for index in 0..30 {
        let transfer = moving("eur:credit", "eur:debit", "1");
        let posted = running.api.transfer(&index.to_string(), &transfer).await;
        assert_eq!(posted.status, 201, "{}", posted.body);
    }
    running.service.stop().await.unwrap();
    running.database
}

/// All that is read of balances.
async fn told(reader: &Reader) -> Vec<String> {
    let mut told = Vec::new();
    for code in ["eur:debit", "eur:credit"] {
        told.push(format!("{:?}", reader.standing(code).await.unwrap().unwrap()));
        told.push(format!("{:?}", reader.tree_totals(code).await.unwrap()));
        let entries = reader.entries(code, 0, 100).await.unwrap().unwrap();
        assert_eq!(entries.items.len(), 30);
    }
    told.push(format!("{:?}", reader.set_totals(1).await.unwrap()));
    told.push(format!("{:?}", reader.standings_by_code("", 10).await.unwrap().items));
    told.push(serde_json::to_string(&reader.trial_balance("", 10).await.unwrap()).unwrap());
    let at = AsOf::BookedBefore(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(876_000));
    told.push(
        serde_json::to_string(&reader.trial_balance_as_of(at, "", 10).await.unwrap()).unwrap(),
    );
    told
}

async fn what_rows_lack_is_read_from_entries(server: &Server) {
    let database = thirty(server).await;
    let url: DatabaseUrl = database.url.parse().unwrap();
    let reader = Box::pin(read_only(&url)).await.unwrap();
    let before = told(&reader).await;
    assert!(before[0].contains("debits_minor: 3000"), "{}", before[0]);
    let mut raw = database.connect().await;
    for sql in SET_BACK {
        assert_eq!(raw.execute(sql).await.unwrap(), 1, "{sql}");
    }
    seal_service(&mut raw).await;
    assert_eq!(told(&reader).await, before);
    reader.close().await;
    Box::pin(verify(&url, None)).await.unwrap();
    // A row older than the mark says, one that no entry made so, and marks that cannot be.
    for (wrong, right, row) in [
        (
            "UPDATE balances SET debits_minor = 900, entries = 9, last_entry_id = 17 WHERE account_id = 1",
            SET_BACK[0],
            "account_id 1",
        ),
        (
            "UPDATE balances SET debits_minor = 1001 WHERE account_id = 1",
            SET_BACK[0],
            "account_id 1",
        ),
        (
            "UPDATE balances SET last_entry_id = 21 WHERE account_id = 1",
            SET_BACK[0],
            "account_id 1",
        ),
        ("UPDATE service SET balances_through = 30", SET_BACK[2], "account_id 1"),
        ("UPDATE service SET balances_through = 61", SET_BACK[2], "id 1"),
        ("UPDATE service SET balances_through = -1048517", SET_BACK[2], "id 1"),
    ] {
        raw.execute(wrong).await.unwrap();
        let found = Box::pin(verify(&url, None)).await.expect_err(wrong);
        let VerifyError::Wrong(finding) = found else { panic!("{wrong}: {found:?}") };
        assert_eq!(finding.row, row, "{wrong}: {finding:?}");
        raw.execute(right).await.unwrap();
        Box::pin(verify(&url, None)).await.unwrap();
    }
    raw.close().await;
}

async fn caught_up(raw: &mut Raw, entries: i64) {
    let waits = async {
        loop {
            let through = raw.number("SELECT balances_through FROM service").await;
            let least = raw.number("SELECT min(entries) FROM balances").await;
            if (through, least) == (entries * 2, entries) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waits).await.expect("rows stay behind");
}

async fn rows_are_caught_up_with_when_nothing_is_asked(server: &Server) {
    let database = thirty(server).await;
    let mut raw = database.connect().await;
    for sql in SET_BACK {
        raw.execute(sql).await.unwrap();
    }
    let again = Running::start(options(&database.url), database).await;
    caught_up(&mut raw, 30).await;
    raw.close().await;
    again.service.stop().await.unwrap();
    Box::pin(verify(&again.database.url.parse().unwrap(), None)).await.unwrap();
}

async fn large_batches_are_read_at_once_and_written_in_time(server: &Server) {
    let running = server.running_with(|options| options.writer.balances_behind_max = 1000).await;
    let api = &running.api;
    open_pair(api).await;
    let mut raw = running.database.connect().await;
    for batch in 0..10_i64 {
        let items: Vec<Value> = (0..20)
            .map(|index| {
                let transfer = moving("eur:credit", "eur:debit", "1");
                json!({"key": format!("{batch}-{index}"), "transfer": transfer})
            })
            .collect();
        let answer = api.post("/v1/batches", &json!({"transfers": items})).await;
        assert_eq!(answer.json()["booked"], 20, "{}", answer.body);
        let trial = api.read("/v1/trial-balance").await;
        assert_eq!(trial["accounts"][0]["entries"], (batch + 1) * 20, "{trial}");
    }
    caught_up(&mut raw, 200).await;
    raw.close().await;
    assert!(running.api.metric("forebay_ledger_balances_behind").await < f64::EPSILON);
}

async fn many_rows_are_written_with_their_batch_or_it_fails(server: &Server) {
    let running = server.running_with(|options| options.writer.balances_behind_max = 0).await;
    let api = &running.api;
    let code = |number: usize| format!("eur:debit:{number}");
    for number in 0..60 {
        api.open(&code(number)).await;
    }
    let batch = |round: usize| {
        let transfers: Vec<Value> = (0..60)
            .map(|number| {
                let transfer = moving(&code(number), &code((number + 7) % 60), "1");
                json!({"key": format!("{round}-{number}"), "transfer": transfer})
            })
            .collect();
        json!({ "transfers": transfers })
    };
    for round in 0..3 {
        let booked = api.post("/v1/batches", &batch(round)).await;
        assert_eq!(booked.status, 200, "{}", booked.body);
    }
    let mut raw = running.database.connect().await;
    let written = "SELECT count(*) FROM balances WHERE debits_minor = 300 AND credits_minor = 300 AND entries = 6";
    assert_eq!(raw.number(written).await, 60);
    Box::pin(verify(&running.database.url.parse().unwrap(), None)).await.unwrap();
    // Servers look for each row; the embedded engine writes one that is gone again.
    if server.engine != Engine::Sqlite {
        assert_eq!(raw.execute("DELETE FROM balances WHERE account_id = 30").await.unwrap(), 1);
        assert_eq!(api.post("/v1/batches", &batch(3)).await.status, 503);
        assert_eq!(raw.number("SELECT count(*) FROM transfers").await, 180);
    }
    raw.close().await;
}
