//! Exports are imports: what one ledger writes another books, in every format; and what another program's tables hold.

use forebay_ledger::verify::verify;
use serde_json::json;

use crate::binary::binary;
use crate::engine::{Database, Engine, Server, on_every_engine};
use crate::pending::{holding, id};
use crate::running::{Api, moving, open_pair};

on_every_engine!(
    what_one_ledger_writes_another_books,
    a_text_is_booked_by_the_service_as_a_whole,
    tables_of_another_program_are_taken_over,
);

pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = binary().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub async fn empty(server: &Server) -> Database {
    let database = server.database().await;
    assert_eq!(run(&["migrate", "--database", &database.url]).0, 0);
    database
}

pub fn file(database: &Database, name: &str, text: &str) -> String {
    let path = database.directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

pub fn exported(database: &Database, format: &str) -> String {
    let (code, text, error) = run(&["export", "--database", &database.url, "--format", format]);
    assert_eq!(code, 0, "{format}: {error}");
    text
}

pub fn import(
    database: &Database,
    format: &str,
    path: &str,
    more: &[&str],
) -> (i32, String, String) {
    let mut all = vec!["import", "file", "--database", &database.url, "--format", format];
    all.extend(more);
    all.push(path);
    run(&all)
}

/// Without what a ledger knows of its own: names, times and, in CSV, the first four columns.
fn said(text: &str) -> Vec<String> {
    let own = |line: &str| line.starts_with("; ") || line.is_empty();
    let rest = |line: &str| match line.split(',').nth(4) {
        Some(_) if line.contains("Z,") => line.splitn(5, ',').nth(4).unwrap().to_owned(),
        _ => line.to_owned(),
    };
    text.lines().filter(|line| !own(line)).map(rest).collect()
}

/// A database with transfers of several sorts, whose texts are hard to write.
async fn booked(server: &Server) -> Database {
    let running = server.running().await;
    booked_by(&running.api).await;
    running.service.stop().await.unwrap();
    running.database
}

/// The same by a service that runs.
pub async fn booked_by(api: &Api) {
    open_pair(api).await;
    api.post("/v1/currencies", &json!({"code": "POINTS", "scale": 1})).await;
    for (code, side) in [("expenses:own_fees", "debit"), ("0", "credit")] {
        let body = json!({"code": code, "name": "é; \"quoted\" ", "currency": "POINTS", "normal_balance": side, "metadata": {"tier": "a:b; c", "forebay-code": "x"}});
        assert_eq!(api.post("/v1/accounts", &body).await.status, 201);
    }
    let mut first = moving("eur:credit", "eur:debit", "5");
    first["description"] = json!("; say \"hi\", twice \\ ");
    first["effective_date"] = json!("2026-01-31");
    first["metadata"] = json!({"order": "o:1; \"x\"", "forebay-key": "k", "due": "[2026-03-01]"});
    let first = id(&api.transfer("a", &first).await);
    id(&api.follow(&first, "reverse", "r", &json!({"effective_date": "2026-02-01"})).await);
    let both = json!({"description": "", "effective_date": "1699-12-31", "entries": [
        {"account": "eur:debit", "direction": "debit", "amount": "0.01"},
        {"account": "eur:credit", "direction": "credit", "amount": "0.01"},
        {"account": "expenses:own_fees", "direction": "debit", "amount": "7.5"},
        {"account": "0", "direction": "credit", "amount": "7.5"},
    ]});
    id(&api.transfer("b", &both).await);
    id(&api.transfer("held", &holding("eur:credit", "eur:debit", "7")).await);
}

async fn what_one_ledger_writes_another_books(server: &Server) {
    let source = booked(server).await;
    let chart = exported(&source, "csv-accounts");
    for format in ["csv", "beancount", "ledger"] {
        let text = exported(&source, format);
        let target = empty(server).await;
        if format == "csv" {
            let path = file(&target, "chart.csv", &chart);
            let (code, _, error) = import(&target, "csv-accounts", &path, &[]);
            assert_eq!(code, 0, "{error}");
        }
        let path = file(&target, "books", &text);
        let (code, checked, error) = import(&target, format, &path, &["--check"]);
        assert!(
            code == 0 && checked.contains("would book 3 transfers with 8 entries"),
            "{checked}{error}"
        );
        let (code, booked, error) = import(&target, format, &path, &[]);
        assert!(
            code == 0 && booked.starts_with("booked 3 transfers with 8 entries (0 more"),
            "{booked}{error}"
        );
        let (code, again, _) = import(&target, format, &path, &[]);
        assert!(
            code == 0 && again.starts_with("booked 0 transfers with 0 entries (3 more"),
            "{again}"
        );
        assert_eq!(said(&exported(&target, format)), said(&text), "{format}");
        assert_eq!(exported(&target, "csv-accounts"), chart);
        verify(&target.url.parse().unwrap(), None).await.unwrap();
    }
    let target = empty(server).await;
    let wrong =
        file(&target, "wrong", "2026-01-01 x\n  assets:a  1 EUR\n  assets:b  -2 EUR\n\n= auto\n");
    let (code, _, error) = import(&target, "ledger", &wrong, &[]);
    assert!(code == 65, "{code} {error}");
    assert!(error.contains("line 5: a ledger cannot keep \"=\""), "{error}");
    let (code, _, error) = import(&target, "ledger", &wrong, &["--leave-out", "="]);
    assert!(code == 65 && error.contains("line 2: there is no account \"assets:a\""), "{error}");
    let latin = target.directory.join("latin");
    std::fs::write(&latin, b"; ok\n; \xe9\n").unwrap();
    let (_, _, error) = import(&target, "ledger", &latin.display().to_string(), &[]);
    assert!(error.contains("line 2: it is not UTF-8"), "{error}");
    assert_eq!(target.transfers().await, 0);
}

async fn a_text_is_booked_by_the_service_as_a_whole(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    let text = "2026-01-01 open Assets:Cash EUR\n2026-01-01 open Income:Sales EUR\n2026-01-31 * \"A\"\n  Assets:Cash  5.00 EUR\n  Income:Sales\n2026-02-01 price EUR 1 USD\n";
    let send = |text: &str, more: serde_json::Value| {
        let mut body = json!({"format": "beancount", "text": text});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        async move { api.post("/v1/imports", &body).await }
    };
    let refused = send(text, json!({})).await;
    assert_eq!(refused.problem(), "invalid-text");
    assert_eq!(refused.json()["faults"][0]["line"], 6, "{}", refused.body);
    let left = json!({"leave_out": ["price"]});
    let checked = send(text, json!({"leave_out": ["price"], "check": true})).await;
    assert_eq!(checked.json()["transfers"], 1, "{}", checked.body);
    assert_eq!(running.database.transfers().await, 0);
    let booked = send(text, left.clone()).await;
    let expected = json!({"currencies": 0, "accounts": 2, "transfers": 1, "entries": 2, "booked_before": 0, "taken_for_the_same": []});
    assert_eq!(booked.json(), expected);
    let again = send(text, left.clone()).await;
    assert_eq!(
        (&again.json()["transfers"], &again.json()["booked_before"]),
        (&json!(0), &json!(1))
    );
    // One that is refused keeps all others out.
    let limits = json!({"balance_min": "0"});
    let set = api.request(reqwest::Method::PUT, "/v1/accounts/assets:cash/limits").json(&limits);
    assert_eq!(crate::running::answer(set.header("if-match", "*")).await.status, 200);
    let two = "2026-03-01 * \"B\"\n  Assets:Cash  1.00 EUR\n  Income:Sales\n2026-03-02 * \"C\"\n  Assets:Cash  -99.00 EUR\n  Income:Sales\n";
    let refused = send(two, json!({})).await;
    assert_eq!(
        (refused.problem().as_str(), &refused.json()["faults"][0]["line"]),
        ("invalid-text", &json!(4))
    );
    assert_eq!(running.database.transfers().await, 1);
}

async fn tables_of_another_program_are_taken_over(server: &Server) {
    if server.engine != Engine::MariaDb {
        return;
    }
    let source = server.database().await;
    let mut raw = source.connect().await;
    for sql in [
        "CREATE TABLE konten (nr INT PRIMARY KEY, name VARCHAR(50), art CHAR(1))",
        "INSERT INTO konten VALUES (1000, 'Kasse', 'A'), (4000, 'Erlöse', 'P')",
        "CREATE TABLE buchungen (id INT PRIMARY KEY, beleg INT, datum DATE, text VARCHAR(99), konto INT, betrag DECIMAL(12,4))",
        "INSERT INTO buchungen VALUES (1, 7, '2026-01-02', 'a \"b\", c', 1000, 12.3400), (2, 7, '2026-01-02', 'a \"b\", c', 4000, -12.3400), (3, 8, '2026-01-01', 'd', 1000, -2), (4, 8, '2026-01-01', 'd', 4000, 2)",
    ] {
        raw.execute(sql).await.expect(sql);
    }
    let target = empty(server).await;
    let accounts = "SELECT nr AS code, name, 'EUR' AS currency, IF(art = 'A', 'debit', 'credit') AS normal_balance FROM konten";
    let entries = "SELECT beleg AS transfer, datum AS effective_date, text AS description, konto AS account, IF(betrag > 0, 'debit', 'credit') AS direction, ABS(betrag) AS amount, 'EUR' AS currency, CONCAT('old:', beleg) AS `key` FROM buchungen;";
    let mapping = |entries: &str| {
        file(
            &target,
            "mapping.json",
            &json!({"accounts": accounts, "entries": entries}).to_string(),
        )
    };
    let take = |path: &str, more: &[&str]| {
        let mut all = vec![
            "import",
            "tables",
            "--database",
            &target.url,
            "--source",
            &source.url,
            "--mapping",
            path,
        ];
        all.extend(more);
        run(&all)
    };
    let path = mapping(entries);
    let (code, said, error) = take(&path, &["--check"]);
    assert!(code == 0 && said.contains("would book 2 transfers with 4 entries"), "{said}{error}");
    let (code, said, error) = take(&path, &[]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(
        said,
        "booked 2 transfers with 4 entries (0 more were booked before); opened 0 currencies and 2 accounts\nthe source counts 4 entries on 4 sides of accounts, with the same sums\nthe books grew by 4 entries on 2 accounts, by the same sums\n"
    );
    let (_, again, _) = take(&path, &[]);
    assert!(again.starts_with("booked 0 transfers with 0 entries (2 more"), "{again}");
    let (code, _, error) =
        take(&mapping(&entries.replace("'EUR' AS currency", "'EUR' AS curency")), &[]);
    assert!(code == 65 && error.contains("no column \"curency\""), "{code} {error}");
    raw.execute("UPDATE buchungen SET betrag = 12.345 WHERE id = 1").await.unwrap();
    let (code, _, error) = take(&mapping(&entries.replace("'old:'", "'new:'")), &[]);
    assert!(code == 65 && error.contains("line 4: amount \"12.345\""), "{code} {error}");
    verify(&target.url.parse().unwrap(), None).await.unwrap();
}
