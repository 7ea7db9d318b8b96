//! What an import books is what its text says, once, and all of it or nothing.

use forebay_ledger::verify::verify;
use serde_json::{Value, json};

use crate::engine::{Engine, Server, on_every_engine};
use crate::interchange::{empty, file, import, run};
use crate::pending::{holding, id};
use crate::running::{Answer, Api, Running, answer, moving, open_pair, options};

on_every_engine!(
    a_key_is_used_once_in_a_text,
    a_ledgers_own_text_is_known_to_it,
    nothing_behind_a_refusal_is_booked,
    a_refused_text_opens_nothing,
    what_is_taken_for_booked_before_is_named,
    kinds_that_move_nothing_are_not_booked,
    transfers_of_tables_are_told_apart_by_every_letter,
);

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

/// A transfer, and one that was held and posted, and one that was taken back.
async fn lived(api: &Api) {
    open_pair(api).await;
    let mut plain = moving("eur:credit", "eur:debit", "1");
    plain["effective_date"] = json!("2026-01-02");
    id(&api.transfer("plain", &plain).await);
    let held = id(&api.transfer("held", &holding("eur:credit", "eur:debit", "10")).await);
    let posted = id(&api.follow(&held, "post", "post", &json!({})).await);
    id(&api.follow(&posted, "reverse", "reverse", &json!({"effective_date": "2026-02-01"})).await);
    let held = id(&api.transfer("again", &holding("eur:credit", "eur:debit", "4")).await);
    id(&api.follow(&held, "post", "post-again", &json!({"description": "part"})).await);
}

async fn a_ledgers_own_text_is_known_to_it(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    lived(api).await;
    let balance = api.figures("eur:debit").await;
    assert_eq!(balance[0], "15.00");
    for (name, format) in
        [("entries.csv", "csv"), ("books.beancount", "beancount"), ("books.ledger", "ledger")]
    {
        let text = api.get(&format!("/v1/export/{name}")).await.body;
        let body = json!({"format": format, "text": text, "check": true});
        let checked = api.post("/v1/imports", &body).await;
        assert_eq!(checked.json()["transfers"], 0, "{format}: {}", checked.body);
        let booked = send(api, format, &text).await;
        let told = booked.json();
        assert_eq!(
            (&told["transfers"], &told["booked_before"]),
            (&json!(0), &json!(4)),
            "{format}: {}",
            booked.body
        );
        assert_eq!(api.figures("eur:debit").await, balance, "{format}");
        // Under the name of one of them something else is not taken for it.
        let changed = text.replace("10.00", "11.00");
        assert!(!faults(&send(api, format, &changed).await).is_empty());
    }
    let text = api.get("/v1/export/entries.csv").await.body;
    let chart = api.get("/v1/export/accounts.csv").await.body;
    running.service.stop().await.unwrap();
    let (code, said, error) =
        import(&running.database, "csv", &file(&running.database, "own.csv", &text), &[]);
    assert!(code == 0 && said.contains("booked 0 transfers"), "{said}{error}");
    // Another ledger books them, and gives them back under the same names.
    let other = empty(server).await;
    assert_eq!(import(&other, "csv-accounts", &file(&other, "chart.csv", &chart), &[]).0, 0);
    let (code, said, error) = import(&other, "csv", &file(&other, "books.csv", &text), &[]);
    assert!(code == 0 && said.contains("booked 4 transfers"), "{said}{error}");
    let back = crate::interchange::exported(&other, "csv");
    let path = file(&running.database, "back.csv", &back);
    let (code, said, error) = import(&running.database, "csv", &path, &[]);
    assert!(code == 0 && said.contains("booked 0 transfers"), "{said}{error}");
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn nothing_behind_a_refusal_is_booked(server: &Server) {
    let target = empty(server).await;
    assert_eq!(import(&target, "csv-accounts", &file(&target, "chart.csv", CHART), &[]).0, 0);
    let first = format!("{HEADING}{}", row("0", "2026-01-01", "8.00", "k0"));
    assert_eq!(import(&target, "csv", &file(&target, "first.csv", &first), &[]).0, 0);
    let (code, _, error) = run(&["close", "--database", &target.url, "--through", "2026-01-31"]);
    assert_eq!(code, 0, "{error}");
    let text = format!(
        "{HEADING}{}{}{}{}",
        row("0", "2026-01-01", "8.00", "k0"),
        row("1", "2026-02-01", "1.00", "k1"),
        row("2", "2026-01-15", "2.00", "k2"),
        row("3", "2026-02-03", "4.00", "k3")
    );
    let path = file(&target, "books.csv", &text);
    // What was booked before the close is no fault.
    let (code, said, error) = import(&target, "csv", &path, &["--check"]);
    assert!(code == 65 && error.contains("line 6: "), "{code} {said}{error}");
    let (code, said, error) = import(&target, "csv", &path, &[]);
    assert!(code == 65 && error.contains("line 6: "), "{code} {said}{error}");
    assert_eq!(target.transfers().await, 1, "{error}");
    let open = text.replace("2026-01-15", "2026-02-15");
    let (code, said, error) = import(&target, "csv", &file(&target, "open.csv", &open), &[]);
    assert!(
        code == 0 && said.contains("booked 3 transfers with 6 entries (1 more"),
        "{said}{error}"
    );
}

async fn a_refused_text_opens_nothing(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    assert_eq!(send(api, "csv-accounts", CHART).await.status, 200);
    let limits = json!({"balance_min": "0"});
    let set = api.request(reqwest::Method::PUT, "/v1/accounts/assets:cash/limits").json(&limits);
    assert_eq!(answer(set.header("if-match", "*")).await.status, 200);
    let text = "2026-01-01 open Expenses:New EUR\n2026-03-01 * \"A\"\n  Expenses:New  1.00 EUR\n  Assets:Cash\n";
    let told = faults(&send(api, "beancount", text).await);
    assert!(told.len() == 1 && told[0].0 == 2, "{told:?}");
    let body = json!({"format": "beancount", "text": text, "check": true});
    assert_eq!(faults(&api.post("/v1/imports", &body).await), told);
    let missing = api.get("/v1/accounts/expenses:new").await;
    assert_eq!(missing.problem(), "account-not-found");
}

async fn what_is_taken_for_booked_before_is_named(server: &Server) {
    let target = empty(server).await;
    assert_eq!(import(&target, "csv-accounts", &file(&target, "chart.csv", CHART), &[]).0, 0);
    let fee = row("1", "2026-01-02", "5.00", "");
    let first = file(&target, "first.csv", &format!("{HEADING}{fee}"));
    let (code, said, _) = import(&target, "csv", &first, &[]);
    assert!(code == 0 && !said.contains("without a key"), "{said}");
    let second = format!("{HEADING}{}{fee}", row("2", "2026-01-03", "7.00", ""));
    let second = file(&target, "second.csv", &second);
    for more in [&["--check"][..], &[]] {
        let (code, said, error) = import(&target, "csv", &second, more);
        assert!(code == 0 && said.contains("1 transfers with 2 entries (1 more"), "{said}{error}");
        assert!(said.contains("taken for the same: line 4; another"), "{said}");
    }
    // The service says so too.
    let running = Running::start(options(&target.url), target).await;
    let text = format!("{HEADING}{}{fee}", row("3", "2026-01-03", "8.00", ""));
    for check in [true, false] {
        let body = json!({"format": "csv", "text": text, "check": check});
        let told = running.api.post("/v1/imports", &body).await.json();
        let due = json!({"currencies": 0, "accounts": 0, "transfers": 1, "entries": 2, "booked_before": 1, "taken_for_the_same": [4]});
        assert_eq!(told, due);
    }
}

async fn kinds_that_move_nothing_are_not_booked(server: &Server) {
    let running = server.running().await;
    lived(&running.api).await;
    let heading = HEADING.replace("transfer,", "transfer,kind,");
    let of = |kind: &str| {
        let line = |side| format!("1,{kind},2026-01-02,eur:{side},{side},1.00,EUR,\n");
        format!("{heading}{}{}", line("debit"), line("credit"))
    };
    for (kind, due) in [
        ("pending", "of kind pending moves nothing"),
        ("void", "of kind void moves nothing"),
        ("held", "\"held\" is no kind of transfer"),
    ] {
        let told = faults(&send(&running.api, "csv", &of(kind)).await);
        assert!(told[0].0 == 2 && told[0].1.contains(due), "{told:?}");
    }
    for kind in ["", "transfer", "post", "reverse"] {
        let text = of(kind).replace("1.00", &format!("{}.00", kind.len() + 1));
        let told = send(&running.api, "csv", &text).await;
        assert_eq!(told.json()["transfers"], 1, "{kind}: {}", told.body);
    }
}

async fn transfers_of_tables_are_told_apart_by_every_letter(server: &Server) {
    if server.engine != Engine::MariaDb {
        return;
    }
    let source = server.database().await;
    let mut raw = source.connect().await;
    // On one day, whose entries stand as they were written.
    for sql in [
        "CREATE TABLE old_lines (id INT PRIMARY KEY, doc VARCHAR(9) COLLATE utf8mb4_general_ci, side VARCHAR(9), amount DECIMAL(9,2), account VARCHAR(20))",
        "INSERT INTO old_lines VALUES (1, 'A', 'debit', 1, 'assets:cash'), (2, 'a', 'debit', 2, 'assets:cash'), (3, 'A', 'credit', 1, 'income:fees'), (4, 'a', 'credit', 2, 'income:fees')",
    ] {
        raw.execute(sql).await.expect(sql);
    }
    let target = empty(server).await;
    assert_eq!(import(&target, "csv-accounts", &file(&target, "chart.csv", CHART), &[]).0, 0);
    let entries = "SELECT doc AS transfer, '2026-01-02' AS effective_date, account, side AS direction, amount, 'EUR' AS currency FROM old_lines";
    let path = file(&target, "mapping.json", &json!({"entries": entries}).to_string());
    let (code, said, error) = run(&[
        "import",
        "tables",
        "--database",
        &target.url,
        "--source",
        &source.url,
        "--mapping",
        &path,
    ]);
    assert!(code == 0 && said.contains("booked 2 transfers with 4 entries"), "{said}{error}");
}
