//! What a bank says against what is booked: statements, rules, matches, exceptions and adjustments.

use forebay_ledger::verify::verify;
use serde_json::{Value, json};

use crate::binary::binary;
use crate::engine::{Server, on_every_engine};
use crate::pending::id;
use crate::running::{Answer, Api};

on_every_engine!(
    a_statement_is_matched_line_by_line,
    what_is_no_match_is_refused,
    the_command_does_the_same,
    a_line_is_adjusted_once_or_not_at_all,
    a_cards_statement_raises_the_debt,
    a_statement_sent_again_is_the_same,
    the_books_are_held_against_the_day_of_the_closing_balance,
    every_change_by_sql_is_found,
);

const MAPPING: &str = r#"{"date":"day","amount":"sum","reference":"ref","text":["who","why"]}"#;

pub async fn open(api: &Api) {
    for (code, side) in [("bank", "debit"), ("sales", "credit"), ("fees", "debit")] {
        let body = json!({"code": code, "name": code, "currency": "EUR", "normal_balance": side});
        assert_eq!(api.post("/v1/accounts", &body).await.status, 201);
    }
}

pub async fn sold(api: &Api, key: &str, day: &str, amount: &str, order: &str) {
    let body = json!({"description": format!("sale {key}"), "effective_date": day, "metadata": {"order": order}, "entries": [
        {"account": "bank", "direction": "debit", "amount": amount},
        {"account": "sales", "direction": "credit", "amount": amount},
    ]});
    id(&api.transfer(key, &body).await);
}

async fn import(api: &Api, text: &str) -> Answer {
    let mapping: Value = serde_json::from_str(MAPPING).unwrap();
    let body = json!({"format": "csv", "name": "January", "text": text, "mapping": mapping});
    api.post("/v1/accounts/bank/statements", &body).await
}

/// Everything that reconciliation writes, done once.
pub async fn once(api: &Api) {
    open(api).await;
    sold(api, "once", "2026-01-02", "5", "o-1").await;
    let imported =
        import(api, "day,sum,ref,who,why\n2026-01-02,5,,a,b\n2026-01-03,-1,,fee,\n").await;
    assert_eq!(imported.status, 201, "{}", imported.body);
    let ran = api.post("/v1/accounts/bank/reconciliation", &json!({})).await;
    assert_eq!(ran.json()["matches"][0]["rule"], "exact", "{}", ran.body);
    let taken = api.post("/v1/matches/1/remove", &json!({"reason": "wrong"})).await;
    assert_eq!(taken.status, 200, "{}", taken.body);
    let fee = json!({"line": 2, "against": "fees", "reason": "monthly"});
    let adjusted = api.post("/v1/accounts/bank/adjustments", &fee).await;
    assert_eq!(adjusted.status, 201, "{}", adjusted.body);
    let mapping = json!({"date": "day", "amount": "sum", "identity": "nr"});
    for rows in ["7,2026-01-09,4\n", "7,2026-01-09,4\n8,2026-01-09,4\n"] {
        let text = format!("nr,day,sum\n{rows}");
        let body = json!({"format": "csv", "name": "January", "text": text, "mapping": mapping});
        let imported = api.post("/v1/accounts/bank/statements", &body).await;
        assert_eq!(imported.status, 201, "{}", imported.body);
    }
    for statement in [3, 2] {
        let path = format!("/v1/statements/{statement}/withdraw");
        let withdrawn = api.post(&path, &json!({"reason": "wrong"})).await;
        assert_eq!(withdrawn.status, 200, "{}", withdrawn.body);
    }
}

async fn a_statement_is_matched_line_by_line(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    sold(api, "a", "2026-01-05", "10", "order-1").await;
    sold(api, "b", "2026-01-06", "20", "order-2").await;
    sold(api, "c", "2026-01-07", "30.50", "order-3").await;
    sold(api, "d", "2026-01-08", "1", "x").await;
    sold(api, "e", "2026-01-08", "2", "x").await;
    sold(api, "f", "2026-01-30", "99", "x").await;
    let text = "day,sum,ref,who,why\n2026-01-09,10,order-1,shop,pay\n2026-01-06,20,,shop,\n2026-01-09,30.50,,shop,\n2026-01-09,3,,card,both\n2026-01-31,-2.50,,bank,\"fee, monthly\"\n";
    let imported = import(api, text).await;
    assert_eq!(
        (imported.status.as_u16(), &imported.json()["lines"]),
        (201, &json!(5)),
        "{}",
        imported.body
    );
    let again = import(api, text).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &json!(1)));
    let stand = api.read("/v1/accounts/bank/reconciliation").await;
    let rules: Vec<&str> = stand["suggestions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["rule"].as_str().unwrap())
        .collect();
    assert_eq!(rules, ["reference", "exact", "window", "many-to-one"], "{stand}");
    let ran = api.post("/v1/accounts/bank/reconciliation", &json!({})).await.json();
    assert_eq!(
        joined(&ran["matches"]),
        [
            ("reference".to_owned(), json!([1]), json!([1])),
            ("exact".to_owned(), json!([2]), json!([3])),
            ("window".to_owned(), json!([3]), json!([5])),
        ]
    );
    assert_eq!(
        joined(&ran["suggestions"]),
        [("many-to-one".to_owned(), json!([4]), json!([7, 9]))]
    );
    let manual = json!({"lines": [4], "entries": [7, 9], "reason": "one payout"});
    assert_eq!(api.post("/v1/accounts/bank/matches", &manual).await.status, 201);
    let open_lines = api.read("/v1/accounts/bank/open-lines").await;
    assert_eq!(open_lines["items"].as_array().unwrap().len(), 1);
    assert_eq!(open_lines["items"][0]["text"], "bank fee, monthly");
    let unmatched = api.read("/v1/accounts/bank/unmatched-entries?from=2026-01-01").await;
    assert_eq!(unmatched["items"].as_array().unwrap().len(), 1);
    assert_eq!(unmatched["items"][0]["description"], "sale f");

    what_is_left_is_adjusted_and_what_was_wrong_taken_back(api).await;
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

/// Of matches: the rule, the lines, the entries.
fn joined(of: &Value) -> Vec<(String, Value, Value)> {
    let told = |of: &Value| {
        (of["rule"].as_str().unwrap().to_owned(), of["lines"].clone(), of["entries"].clone())
    };
    of.as_array().unwrap().iter().map(told).collect()
}

async fn what_is_left_is_adjusted_and_what_was_wrong_taken_back(api: &Api) {
    let itself = json!({"line": 5, "against": "bank", "reason": "nothing moves"});
    let refused = api.post("/v1/accounts/bank/adjustments", &itself).await;
    assert_eq!(
        (refused.problem().as_str(), &refused.json()["field"]),
        ("invalid-body", &json!("against"))
    );
    let fee = json!({"line": 5, "against": "fees", "reason": "monthly fee"});
    let adjusted = api.post("/v1/accounts/bank/adjustments", &fee).await;
    assert_eq!(
        (adjusted.status.as_u16(), &adjusted.json()["rule"]),
        (201, &json!("adjustment")),
        "{}",
        adjusted.body
    );
    assert_eq!(api.post("/v1/accounts/bank/adjustments", &fee).await.problem(), "match-refused");
    let found = api.read("/v1/transfers?metadata=reconciliation.line:5").await;
    assert_eq!(found["items"][0]["metadata"]["reconciliation.reason"], "monthly fee");
    assert_eq!(found["items"][0]["effective_date"], "2026-01-31");
    assert_eq!(api.read("/v1/accounts/fees/balance").await["balance"], "2.50");
    assert!(api.read("/v1/accounts/bank/open-lines").await["items"].as_array().unwrap().is_empty());
    assert_eq!(api.read("/v1/accounts/bank/matches").await["items"].as_array().unwrap().len(), 5);

    // A match that was wrong is taken back, and the rules find it again.
    assert_eq!(api.post("/v1/matches/2/remove", &json!({"reason": "no"})).await.status, 200);
    assert_eq!(
        api.post("/v1/matches/2/remove", &json!({"reason": "no"})).await.problem(),
        "match-refused"
    );
    let ran =
        api.post("/v1/accounts/bank/reconciliation", &json!({"rules": ["exact"]})).await.json();
    assert_eq!(joined(&ran["matches"]), [("exact".to_owned(), json!([2]), json!([3]))]);
    let page = api.get("/reconciliation/bank").await;
    assert!(
        page.status == 200
            && page.body.contains("Statement January")
            && page.body.contains("sale f"),
        "{}",
        page.body
    );
    let log = api.read("/v1/audit-log?limit=1000").await;
    let acts: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|a| a["action"].as_str().unwrap()).collect();
    assert!(acts.contains(&"statement.import") && acts.contains(&"match.remove"), "{acts:?}");
}

async fn what_is_no_match_is_refused(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    once(api).await;
    for (lines, entries, why) in [
        (json!([1]), json!([2]), "entry 2 cannot be matched"),
        (json!([2]), json!([1]), "line 2 is not open"),
        (json!([1, 1]), json!([1]), "each once"),
        (json!([]), json!([1]), "each once"),
        (json!([99]), json!([1]), "line 99"),
    ] {
        let body = json!({"lines": lines, "entries": entries, "reason": "r"});
        let refused = api.post("/v1/accounts/bank/matches", &body).await;
        assert_eq!(refused.problem(), "match-refused");
        assert!(refused.json()["detail"].as_str().unwrap().contains(why), "{}", refused.body);
    }
    sold(api, "more", "2026-01-02", "7", "o").await;
    let uneven = json!({"lines": [1], "entries": [5], "reason": "r"});
    let refused = api.post("/v1/accounts/bank/matches", &uneven).await;
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("the lines come to 5.00 and the entries to 7.00"),
        "{}",
        refused.body
    );
    for (path, body, problem) in [
        (
            "/v1/accounts/nobody/statements",
            json!({"format": "camt.053", "text": ""}),
            "account-not-found",
        ),
        (
            "/v1/accounts/bank/statements",
            json!({"format": "camt.053", "text": "<a/>"}),
            "invalid-text",
        ),
        ("/v1/accounts/bank/statements", json!({"format": "csv", "text": "a"}), "invalid-body"),
        ("/v1/accounts/bank/reconciliation", json!({"days": 32}), "invalid-body"),
        (
            "/v1/accounts/bank/matches",
            json!({"lines": [1], "entries": [1], "reason": " "}),
            "invalid-body",
        ),
        (
            "/v1/accounts/bank/adjustments",
            json!({"line": 1, "against": "nobody", "reason": "r"}),
            "unknown-account",
        ),
        (
            "/v1/accounts/sales/adjustments",
            json!({"line": 1, "against": "fees", "reason": "r"}),
            "match-refused",
        ),
        ("/v1/matches/99/remove", json!({"reason": "r"}), "match-not-found"),
        ("/v1/matches/x/remove", json!({"reason": "r"}), "match-not-found"),
    ] {
        let refused = api.post(path, &body).await;
        assert_eq!(refused.problem(), problem, "{path} {body}: {}", refused.body);
    }
    assert_eq!(
        api.get("/v1/accounts/bank/reconciliation?days=-1").await.problem(),
        "invalid-parameter"
    );
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn the_command_does_the_same(server: &Server) {
    let running = server.running().await;
    open(&running.api).await;
    sold(&running.api, "a", "2026-01-02", "12.50", "order-42").await;
    let database = running.database;
    running.service.stop().await.unwrap();
    let statement = include_str!("statements/camt053.xml");
    let file = |name: &str, text: &str| {
        let path = database.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let run = |what: &[&str]| {
        let mut all = vec!["reconcile", what[0], "--database", &database.url, "--account", "bank"];
        all.extend(&what[1..]);
        let output = binary().args(all).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), error)
    };
    let path = file("statement.xml", statement);
    assert_eq!(
        run(&["import", "--format", "camt.053", &path]),
        (0, "statement 1\n".into(), String::new())
    );
    let (_, said, _) = run(&["import", "--format", "camt.053", &path]);
    assert_eq!(said, "statement 1 was imported before\n");
    let (code, said, error) = run(&["run"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "matched by reference: lines 1 and entries 1\n"),
        "{error}"
    );
    let (_, said, _) = run(&["exceptions"]);
    assert_eq!(said, "line 2 of 2026-01-03: -0.90 bank-8 Account fee\n");
    let (code, said, error) =
        run(&["adjust", "--line", "2", "--against", "fees", "--reason", "fee"]);
    assert_eq!((code, said.as_str()), (0, "line 2 is entry 3 now (match 2)\n"), "{error}");
    assert_eq!(run(&["exceptions"]).1, "nothing is open\n");
    // An adjustment's metadata has names that beancount has not.
    let export = ["export", "--database", &database.url, "--format", "beancount"];
    let output = binary().args(export).output().unwrap();
    let journal = String::from_utf8(output.stdout).unwrap();
    let others = r#"forebay-metadata: "{\"reconciliation.line\":\"2\","#;
    assert!(output.status.success() && journal.contains(others), "{journal}");
    let bad = file("bad.xml", &statement.replace("BOOK", "PDNG"));
    let (code, _, error) = run(&["import", "--format", "camt.053", &bad]);
    assert!(code == 65 && error.contains("line 8: the entry is PDNG"), "{code} {error}");
    let latin = database.directory.join("latin.xml");
    std::fs::write(&latin, [&b"<?xml version=\"1.0\"?>\n<a>M"[..], &[0xfc], b"ller</a>"].concat())
        .unwrap();
    let (code, _, error) = run(&["import", "--format", "camt.053", latin.to_str().unwrap()]);
    assert!(code == 65 && error.contains("line 2: it is not written in UTF-8"), "{code} {error}");
    assert!(error.contains("iconv -f ISO-8859-1"), "{error}");
    // A bank says that nothing happened.
    let mut quiet = statement.replace("11.60", "0.00").replace("2026-01-03", "2026-02-28");
    let entries = quiet.find("<Ntry>").unwrap()..quiet.rfind("</Stmt>").unwrap();
    quiet.replace_range(entries, "");
    let (code, said, error) = run(&["import", "--format", "camt.053", &file("quiet.xml", &quiet)]);
    assert_eq!((code, said.as_str()), (0, "statement 2\n"), "{error}");
    verify(&database.url.parse().unwrap(), None).await.unwrap();
}

async fn balance(api: &Api, account: &str) -> Value {
    api.read(&format!("/v1/accounts/{account}/balance")).await["balance"].clone()
}

async fn adjust(api: &Api, line: i64, reason: &str) -> Answer {
    let body = json!({"line": line, "against": "fees", "reason": reason});
    api.post("/v1/accounts/bank/adjustments", &body).await
}

async fn a_line_is_adjusted_once_or_not_at_all(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    sold(api, "a", "2026-01-02", "5", "o-1").await;
    let text = "day,sum,ref,who,why\n2026-01-02,5,,a,\n2026-01-03,-1,,fee,\n2026-01-04,-7,,x,\n2026-01-05,-3,,y,\n";
    assert_eq!(import(api, text).await.status, 201);
    let ran = api.post("/v1/accounts/bank/reconciliation", &json!({})).await.json();
    assert_eq!(ran["matches"].as_array().unwrap().len(), 1, "{ran}");

    // Whoever adjusts what is matched already books nothing.
    let refused = adjust(api, 1, "late").await;
    assert_eq!(refused.problem(), "match-refused");
    assert!(refused.body.contains("line 1 is not open"), "{}", refused.body);
    assert_eq!(balance(api, "bank").await, "5.00");

    // Of many who adjust a line at once one books it, and the others nothing.
    let all: Vec<_> = (0..12)
        .map(|n| {
            let api = api.clone();
            tokio::spawn(async move { adjust(&api, 2, ["a", "b", "c"][n % 3]).await })
        })
        .collect();
    let mut answers = Vec::new();
    for one in all {
        answers.push(one.await.unwrap());
    }
    let all = answers;
    let booked = all.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(booked, 1, "{all:?}");
    assert!(all.iter().all(|answer| answer.status == 201 || answer.problem() == "match-refused"));
    assert_eq!(
        (balance(api, "bank").await, balance(api, "fees").await),
        ("4.00".into(), "1.00".into())
    );

    // Nor is it booked beside a match by hand of the same line.
    sold(api, "b", "2026-01-04", "7", "o-2").await;
    let entry = api.read("/v1/accounts/bank/unmatched-entries").await["items"][0]["id"].clone();
    let body = json!({"description": "back", "entries": [
        {"account": "sales", "direction": "debit", "amount": "7"},
        {"account": "bank", "direction": "credit", "amount": "7"},
    ]});
    id(&api.transfer("c", &body).await);
    let back = api.read("/v1/accounts/bank/unmatched-entries").await["items"][1]["id"].clone();
    assert_ne!(entry, back);
    let by_hand = json!({"lines": [3], "entries": [back], "reason": "by hand"});
    let (adjusted, matched) =
        tokio::join!(adjust(api, 3, "both"), api.post("/v1/accounts/bank/matches", &by_hand));
    let done = [adjusted.status == 201, matched.status == 201];
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "{adjusted:?} {matched:?}");
    let fees = if adjusted.status == 201 { "8.00" } else { "1.00" };
    assert_eq!(balance(api, "fees").await, fees);

    // What was booked for it and reversed is not matched with it again.
    let adjusted = adjust(api, 4, "wrong").await;
    let number = adjusted.json()["id"].clone();
    let undo = json!({"reason": "wrong"});
    assert_eq!(api.post(&format!("/v1/matches/{number}/remove"), &undo).await.status, 200);
    let found = api.read("/v1/transfers?metadata=reconciliation.line:4").await;
    let transfer = found["items"][0]["id"].as_str().unwrap();
    id(&api.follow(transfer, "reverse", "r", &json!({})).await);
    let again = adjust(api, 4, "wrong").await;
    assert_eq!(again.problem(), "match-refused");
    assert!(again.body.contains("reversed since"), "{}", again.body);
    assert_eq!(balance(api, "fees").await, fees);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn a_cards_statement_raises_the_debt(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    let card =
        json!({"code": "card", "name": "card", "currency": "EUR", "normal_balance": "credit"});
    assert_eq!(api.post("/v1/accounts", &card).await.status, 201);
    let bought = json!({"description": "shop", "effective_date": "2026-01-02", "entries": [
        {"account": "fees", "direction": "debit", "amount": "50"},
        {"account": "card", "direction": "credit", "amount": "50"},
    ]});
    id(&api.transfer("a", &bought).await);
    let statement = |entries: &[(&str, &str)]| {
        let entry = |(amount, day): &(&str, &str)| {
            format!(
                "<Ntry><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-01-{day}</Dt></BookgDt></Ntry>"
            )
        };
        let entries: String = entries.iter().map(entry).collect();
        format!(
            "<Document><BkToCstmrStmt><Stmt><Id>s</Id>\
            <Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">0</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>\
            <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">57.00</Amt><CdtDbtInd>DBIT</CdtDbtInd></Bal>\
            {entries}</Stmt></BkToCstmrStmt></Document>"
        )
    };
    let text = statement(&[("50.00", "02"), ("7.00", "03")]);
    let body = json!({"format": "camt.053", "text": text});
    let imported = api.post("/v1/accounts/card/statements", &body).await;
    assert_eq!(imported.json()["closing_balance"], "57.00", "{}", imported.body);
    let ran = api.post("/v1/accounts/card/reconciliation", &json!({})).await.json();
    assert_eq!(joined(&ran["matches"]), [("exact".to_owned(), json!([1]), json!([2]))]);
    let fee = json!({"line": 2, "against": "fees", "reason": "fee"});
    let adjusted = api.post("/v1/accounts/card/adjustments", &fee).await;
    assert_eq!(adjusted.status, 201, "{}", adjusted.body);
    assert_eq!(balance(api, "card").await, "57.00");
    let stand = api.read("/v1/accounts/card/reconciliation").await;
    assert_eq!(stand["difference"], "0.00", "{stand}");
}

async fn a_statement_sent_again_is_the_same(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    let said = |answer: &Answer| (answer.status.as_u16(), answer.json()["id"].as_i64().unwrap());
    let table = "day,sum,ref,who,why\n2026-01-02,5,r,a,\n2026-01-03,-1,,fee,\n";
    assert_eq!(said(&import(api, table).await), (201, 1));
    assert_eq!(said(&import(api, &table.replace('\n', "\r\n")).await), (200, 1));
    for (from, to, id) in
        [("fee", "fees", 2), ("01-03", "01-04", 3), ("-1", "-2", 4), (",r,", ",s,", 5)]
    {
        assert_eq!(said(&import(api, &table.replace(from, to)).await), (201, id), "{to}");
    }
    let camt = include_str!("statements/camt053.xml");
    let send = async |text: String| {
        let body = json!({"format": "camt.053", "text": text});
        said(&api.post("/v1/accounts/bank/statements", &body).await)
    };
    assert_eq!(send(camt.to_owned()).await, (201, 6));
    assert_eq!(send(camt.replace("m-1", "m-2")).await, (200, 6));
    let lower = camt.replace(">0.00<", ">1.00<").replace(">11.60<", ">12.60<");
    assert_eq!(send(lower).await, (201, 7));
    let lines = api.read("/v1/accounts/bank/open-lines").await;
    // The last says other balances, of lines that the one before has.
    assert_eq!(lines["items"].as_array().unwrap().len(), 5 * 2 + 2);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn the_books_are_held_against_the_day_of_the_closing_balance(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    sold(api, "a", "2026-01-05", "10", "o-1").await;
    // The bank has nothing of it, though its statement goes on to the 31st.
    let lost = json!({"description": "lost", "effective_date": "2026-01-20", "entries": [
        {"account": "sales", "direction": "debit", "amount": "4"},
        {"account": "bank", "direction": "credit", "amount": "4"},
    ]});
    id(&api.transfer("b", &lost).await);
    let text = "<Document><BkToCstmrStmt><Stmt><Id>s</Id>\
        <FrToDt><FrDtTm>2026-01-01T00:00:00</FrDtTm><ToDtTm>2026-01-31T23:59:59</ToDtTm></FrToDt>\
        <Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">0</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-01</Dt></Dt></Bal>\
        <Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-31</Dt></Dt></Bal>\
        <Ntry><Amt Ccy=\"EUR\">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-01-05</Dt></BookgDt></Ntry>\
        </Stmt></BkToCstmrStmt></Document>";
    let body = json!({"format": "camt.053", "text": text});
    let imported = api.post("/v1/accounts/bank/statements", &body).await;
    assert_eq!(imported.json()["last_date"], "2026-01-31", "{}", imported.body);
    let stand = api.read("/v1/accounts/bank/reconciliation").await;
    assert_eq!((&stand["balance"], &stand["difference"]), (&json!("6.00"), &json!("-4.00")));
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

/// What is changed, how it is undone, and what must be pointed at.
const CHANGES: &[(&str, &str, &str)] = &[
    (
        "UPDATE external_statements SET name = 'x'",
        "UPDATE external_statements SET name = 'January'",
        "external_statements, 1",
    ),
    (
        "UPDATE external_lines SET amount_minor = 501 WHERE id = 1",
        "UPDATE external_lines SET amount_minor = 500 WHERE id = 1",
        "external_statements, 1",
    ),
    (
        "UPDATE matches SET reason = 'x' WHERE id = 2",
        "UPDATE matches SET reason = 'monthly' WHERE id = 2",
        "matches, 2",
    ),
    (
        "INSERT INTO match_lines (match_id, line_id) VALUES (2, 1)",
        "DELETE FROM match_lines WHERE match_id = 2 AND line_id = 1",
        "matches, 2",
    ),
    (
        "INSERT INTO match_entries (match_id, entry_id) VALUES (9, 1)",
        "DELETE FROM match_entries WHERE match_id = 9",
        "match_entries, 9",
    ),
    (
        "UPDATE external_lines SET identity = 'id 9' WHERE id = 3",
        "UPDATE external_lines SET identity = 'id 7' WHERE id = 3",
        "external_statements, 2",
    ),
    (
        "UPDATE external_repeats SET line_id = 2",
        "UPDATE external_repeats SET line_id = 3",
        "external_statements, 3",
    ),
    (
        "INSERT INTO external_repeats (statement_id, number, line_id) VALUES (9, 1, 1)",
        "DELETE FROM external_repeats WHERE statement_id = 9",
        "external_repeats, 9",
    ),
    (
        "UPDATE external_withdrawals SET reason = 'x' WHERE statement_id = 2",
        "UPDATE external_withdrawals SET reason = 'wrong' WHERE statement_id = 2",
        "external_withdrawals, 2",
    ),
    (
        "INSERT INTO external_withdrawals (statement_id, reason, withdrawn_at_us) VALUES (1, 'x', 1)",
        "DELETE FROM external_withdrawals WHERE statement_id = 1",
        "external_withdrawals, id 1",
    ),
    ("UPDATE unmatches SET reason = 'x'", "UPDATE unmatches SET reason = 'wrong'", "unmatches, 1"),
    (
        "DELETE FROM open_lines",
        "INSERT INTO open_lines (line_id, account_id) VALUES (1, 1)",
        "open_lines, line_id 1",
    ),
    (
        "INSERT INTO matched_entries (entry_id, match_id) VALUES (1, 1)",
        "DELETE FROM matched_entries WHERE entry_id = 1",
        "matched_entries, entry_id 1",
    ),
    (
        "UPDATE account_sets SET name = 'x'",
        "UPDATE account_sets SET name = 'all'",
        "account_sets, 1",
    ),
    ("DELETE FROM account_set_members", "", "member:1 is gone"),
];

async fn every_change_by_sql_is_found(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    once(api).await;
    let made = api.post("/v1/account-sets", &json!({"code": "all", "name": "all"})).await;
    assert_eq!(made.status, 201);
    let members = json!({"accounts": ["bank"]});
    assert_eq!(api.post("/v1/account-sets/all/members", &members).await.status, 200);
    let database = running.database;
    running.service.stop().await.unwrap();
    let url = database.url.parse().unwrap();
    verify(&url, None).await.unwrap();
    let mut raw = crate::verified::unfenced(&database).await;
    for (change, undo, expected) in CHANGES {
        assert!(raw.execute(change).await.expect(change) > 0, "{change}");
        let found = verify(&url, None).await.expect_err(change).to_string();
        assert!(found.contains(expected), "{change}: {found}");
        if !undo.is_empty() {
            raw.execute(undo).await.expect(undo);
        }
    }
}
