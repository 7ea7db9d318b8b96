//! Statements that cover days of one another, and such as should not have been imported.

use forebay_ledger::verify::verify;
use serde_json::{Value, json};

use crate::binary::binary;
use crate::engine::{Server, on_every_engine};
use crate::reconciliation::{open, sold};
use crate::running::{Answer, Api};

on_every_engine!(
    a_line_of_two_statements_is_open_once,
    what_merely_looks_alike_is_said,
    a_table_tells_lines_by_a_column,
    lines_with_other_identities_are_another_statement,
    a_statement_is_withdrawn_and_imported_again,
    the_command_says_what_was_there,
);

/// Day, amount, and what the bank refers to it by (XML).
type Entry<'a> = (&'a str, &'a str, &'a str);

fn camt(id: &str, entries: &[Entry<'_>]) -> String {
    let entry = |(day, amount, refs): &Entry<'_>| {
        let (amount, side) = match amount.strip_prefix('-') {
            Some(amount) => (amount, "DBIT"),
            None => (*amount, "CRDT"),
        };
        format!(
            "<Ntry><Amt Ccy=\"EUR\">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd><Sts>BOOK</Sts>\
            <BookgDt><Dt>2026-01-{day}</Dt></BookgDt>{refs}</Ntry>"
        )
    };
    let entries: String = entries.iter().map(entry).collect();
    format!(
        "<Document><BkToCstmrStmt><Stmt><Id>{id}</Id>{entries}</Stmt></BkToCstmrStmt></Document>"
    )
}

async fn import_camt(api: &Api, text: &str) -> Answer {
    let body = json!({"format": "camt.053", "text": text});
    api.post("/v1/accounts/bank/statements", &body).await
}

/// Number, line and statement of what was there.
fn repeated(answer: &Answer) -> Vec<(Value, Value, Value)> {
    let told = answer.json();
    let lines = told["repeated_lines"].as_array().expect(&answer.body);
    let told = |of: &Value| (of["number"].clone(), of["line"].clone(), of["statement"].clone());
    lines.iter().map(told).collect()
}

/// Numbers of lines that are warned of.
fn warned(answer: &Answer) -> Vec<i64> {
    let told = answer.json();
    let warnings = told["warnings"].as_array().expect(&answer.body);
    warnings.iter().map(|warning| warning["number"].as_i64().unwrap()).collect()
}

/// Ids of open lines.
async fn open_lines(api: &Api) -> Vec<i64> {
    let open = api.read("/v1/accounts/bank/open-lines?limit=1000").await;
    open["items"].as_array().unwrap().iter().map(|line| line["id"].as_i64().unwrap()).collect()
}

async fn withdraw(api: &Api, statement: i64) -> Answer {
    let reason = json!({"reason": "wrong account"});
    api.post(&format!("/v1/statements/{statement}/withdraw"), &reason).await
}

async fn a_line_of_two_statements_is_open_once(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    let own = |reference: &str| format!("<AcctSvcrRef>{reference}</AcctSvcrRef>");
    let (a, b, c) = (own("a"), own("b"), own("c"));
    // A payment and the fee for it have one reference.
    let first = camt("1", &[("01", "-5", &a), ("02", "-7", &b), ("02", "-0.20", &b)]);
    let imported = import_camt(api, &first).await;
    assert_eq!((imported.status.as_u16(), repeated(&imported)), (201, vec![]));
    let second = camt("2", &[("02", "-0.20", &b), ("02", "-7", &b), ("03", "-5", &c)]);
    let imported = import_camt(api, &second).await;
    assert_eq!(imported.status, 201, "{}", imported.body);
    let due = [(json!(1), json!(3), json!(1)), (json!(2), json!(2), json!(1))];
    assert_eq!((repeated(&imported), warned(&imported)), (due.to_vec(), vec![]));
    let told = imported.json();
    assert_eq!((&told["lines"], &told["repeated"]), (&json!(3), &json!(2)));
    assert_eq!(open_lines(api).await, [1, 2, 3, 4]);
    let lines = api.read("/v1/accounts/bank/open-lines").await;
    assert_eq!(lines["items"][3]["number"], 3);
    assert_eq!(lines["items"][3]["identity"], "AcctSvcrRef c");
    // Sent again under another id it is the same, and still says what it had in common.
    let again = import_camt(api, &second.replace("<Id>2</Id>", "<Id>2b</Id>")).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &json!(2)), "{}", again.body);
    assert_eq!(repeated(&again), due);
    // The statement itself, sent again with what was booked later, by what holds within it.
    let within = "<NtryRef>9</NtryRef>";
    assert_eq!(
        import_camt(api, &camt("3", &[("04", "1", within), ("04", "1", "")])).await.status,
        201
    );
    let longer = camt("3", &[("04", "1", within), ("04", "1", ""), ("04", "1", "")]);
    let imported = import_camt(api, &longer).await;
    let due = [(json!(1), json!(5), json!(3)), (json!(2), json!(6), json!(3))];
    assert_eq!((repeated(&imported), warned(&imported)), (due.to_vec(), vec![]));
    assert_eq!(open_lines(api).await, [1, 2, 3, 4, 5, 6, 7]);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

const TABLE: &str = r#"{"date":"day","amount":"sum","text":["what"]}"#;

async fn import_table(api: &Api, mapping: &str, text: &str) -> Answer {
    let mapping: Value = serde_json::from_str(mapping).unwrap();
    let body = json!({"format": "csv", "name": "t", "text": text, "mapping": mapping});
    api.post("/v1/accounts/bank/statements", &body).await
}

async fn what_merely_looks_alike_is_said(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    let twice = "day,sum,what\n2026-01-02,-3,coffee\n2026-01-02,-3,coffee\n";
    let imported = import_table(api, TABLE, twice).await;
    // Two of one statement are two.
    assert_eq!((imported.status.as_u16(), warned(&imported)), (201, vec![]));
    let more = "day,sum,what\n2026-01-02,-3,coffee\n2026-01-02,-3,tea\n2026-01-03,-3,coffee\n";
    let imported = import_table(api, TABLE, more).await;
    assert_eq!((repeated(&imported), warned(&imported)), (vec![], vec![1]), "{}", imported.body);
    assert!(imported.body.contains("it may be line 1 of statement 1"), "{}", imported.body);
    assert_eq!(open_lines(api).await, [1, 2, 3, 4, 5]);
    // Another reference of the bank's is another payment; the same on another day is said.
    let refs = "<AcctSvcrRef>x</AcctSvcrRef>";
    let told = import_camt(api, &camt("1", &[("09", "-1", refs)])).await;
    assert_eq!(warned(&told), Vec::<i64>::new());
    let other = refs.replace('x', "y");
    let moved = camt("2", &[("09", "-1", &other), ("08", "-1", refs)]);
    let told = import_camt(api, &moved).await;
    assert_eq!((repeated(&told), warned(&told)), (vec![], vec![2]), "{}", told.body);
    // What a bank writes on several lines of a statement tells none of them.
    let same = camt("4", &[("20", "-1", refs), ("20", "-1", refs)]);
    let told = import_camt(api, &same).await;
    assert_eq!(warned(&told), [1, 2], "{}", told.body);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn a_table_tells_lines_by_a_column(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    let mapping = r#"{"date":"day","amount":"sum","identity":"nr"}"#;
    let first = "nr,day,sum\n1,2026-01-02,-3\n2,2026-01-02,-3\n";
    assert_eq!(import_table(api, mapping, first).await.status, 201);
    let second = "nr,day,sum\n2,2026-01-02,-3\n3,2026-01-02,-3\n,2026-01-02,-3\n";
    let imported = import_table(api, mapping, second).await;
    let due = [(json!(1), json!(2), json!(1))];
    // The one without a number may be the first.
    assert_eq!((repeated(&imported), warned(&imported)), (due.to_vec(), vec![3]));
    let missing = import_table(api, mapping, "day,sum\n2026-01-02,-3\n").await;
    assert!(missing.body.contains(r#"there is no column \"nr\""#), "{}", missing.body);
    let long = format!("nr,day,sum\n{},2026-01-02,-3\n", "9".repeat(140));
    let refused = import_table(api, mapping, &long).await;
    assert!(refused.body.contains("too long to tell a line by"), "{}", refused.body);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn lines_with_other_identities_are_another_statement(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    let refs = |reference: &str| format!("<AcctSvcrRef>{reference}</AcctSvcrRef>");
    // Two coffees of a day, in a statement each.
    for (id, reference) in [("1", "a"), ("2", "b")] {
        let told = import_camt(api, &camt(id, &[("01", "-1.50", &refs(reference))])).await;
        assert_eq!((told.status.as_u16(), warned(&told)), (201, vec![]), "{}", told.body);
    }
    let again = import_camt(api, &camt("3", &[("01", "-1.50", &refs("b"))])).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &json!(2)), "{}", again.body);
    // Of lines that were there already, too, which have no texts to go by.
    let (a, b) = (refs("a"), refs("b"));
    let both = import_camt(api, &camt("4", &[("01", "-1.50", &a), ("01", "-1.50", &b)])).await;
    assert_eq!((both.status.as_u16(), repeated(&both).len()), (201, 2), "{}", both.body);
    let turned = import_camt(api, &camt("5", &[("01", "-1.50", &b), ("01", "-1.50", &a)])).await;
    assert_eq!(turned.status, 201, "{}", turned.body);
    let mapping = r#"{"date":"day","amount":"sum","identity":"nr"}"#;
    for number in ["U-1", "U-2"] {
        let table = format!("nr,day,sum\n{number},2026-01-02,-3\n");
        assert_eq!(import_table(api, mapping, &table).await.status, 201, "{number}");
    }
    assert_eq!(open_lines(api).await, [1, 2, 3, 4]);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn a_statement_is_withdrawn_and_imported_again(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open(api).await;
    sold(api, "a", "2026-01-01", "5", "o-1").await;
    let (a, b) = ("<AcctSvcrRef>a</AcctSvcrRef>", "<AcctSvcrRef>b</AcctSvcrRef>");
    let first = camt("1", &[("01", "5", a), ("02", "-7", b)]);
    let second = camt("2", &[("02", "-7", b), ("03", "9", "")]);
    assert_eq!(import_camt(api, &first).await.status, 201);
    assert_eq!(import_camt(api, &second).await.status, 201);
    let ran = api.post("/v1/accounts/bank/reconciliation", &json!({})).await.json();
    assert_eq!(ran["matches"][0]["lines"], json!([1]), "{ran}");
    let refused = withdraw(api, 1).await;
    assert_eq!(refused.problem(), "withdrawal-refused");
    assert!(refused.body.contains("take their matches back first: 1\""), "{}", refused.body);
    let back = api.post("/v1/matches/1/remove", &json!({"reason": "no"})).await;
    assert_eq!(back.status, 200);
    let refused = withdraw(api, 1).await;
    assert!(refused.body.contains("withdraw them first: 2\""), "{}", refused.body);
    assert_eq!(open_lines(api).await, [1, 2, 3]);

    assert_eq!(withdraw(api, 2).await.status, 200);
    assert_eq!(withdraw(api, 2).await.problem(), "withdrawal-refused");
    assert_eq!(withdraw(api, 1).await.status, 200);
    assert_eq!(open_lines(api).await, Vec::<i64>::new());
    assert_eq!(withdraw(api, 9).await.problem(), "statement-not-found");
    assert_eq!(api.read("/v1/accounts/bank/reconciliation").await["statement"], Value::Null);
    let listed = api.read("/v1/accounts/bank/statements").await;
    assert!(listed["items"][0]["withdrawn_at"].is_string(), "{listed}");
    let by_hand = json!({"lines": [1], "entries": [1], "reason": "r"});
    assert_eq!(api.post("/v1/accounts/bank/matches", &by_hand).await.problem(), "match-refused");

    // Twice over, the same text is a statement again, and has nothing in common with the one withdrawn.
    for (statement, line) in [(3, 4), (4, 6)] {
        let again = import_camt(api, &first).await;
        let told = (again.status.as_u16(), again.json()["id"].clone());
        assert_eq!((told, repeated(&again)), ((201, json!(statement)), vec![]));
        assert_eq!(open_lines(api).await, [line, line + 1]);
        assert_eq!(import_camt(api, &first).await.status, 200);
        if statement == 3 {
            assert_eq!(withdraw(api, 3).await.status, 200);
        }
    }
    let log = api.read("/v1/audit-log?limit=1000").await;
    let withdrawals: Vec<&Value> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "statement.withdraw")
        .collect();
    assert_eq!(withdrawals.len(), 3, "{log}");
    assert_eq!(withdrawals[0]["subject"], "statement:2");
    assert_eq!(withdrawals[0]["detail"]["reason"], "wrong account");
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn the_command_says_what_was_there(server: &Server) {
    let running = server.running().await;
    open(&running.api).await;
    let database = running.database;
    running.service.stop().await.unwrap();
    let run = |account: &str, what: &[&str]| {
        let mut all = vec!["reconcile", what[0], "--database", &database.url, "--account", account];
        all.extend(&what[1..]);
        let output = binary().args(all).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), error)
    };
    let file = |name: &str, text: &str| {
        let path = database.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let a = "<AcctSvcrRef>a</AcctSvcrRef>";
    let first = file("1.xml", &camt("1", &[("01", "5", a), ("02", "-7", "")]));
    let second = file("2.xml", &camt("2", &[("02", "-7", ""), ("01", "5", a)]));
    let import = |path: &str| run("bank", &["import", "--format", "camt.053", path]);
    assert_eq!(import(&first).1, "statement 1\n");
    let due = "statement 2\n1 of its lines were there already, and are not open once more:\n  its number 2 is line 1 of statement 1\nwarning: its number 1: it may be line 2 of statement 1: day, amount and texts are the same, and no identity tells; it is open as a line of its own\n";
    assert_eq!(import(&second), (0, due.into(), String::new()));
    let withdraw = |account, number| {
        run(account, &["withdraw", "--statement", number, "--reason", "sent twice"])
    };
    let (code, _, error) = withdraw("bank", "1");
    assert!(code == 1 && error.contains("withdraw them first: 2"), "{code} {error}");
    let (code, _, error) = withdraw("sales", "2");
    assert!(code == 1 && error.contains("another account's"), "{code} {error}");
    assert_eq!(withdraw("bank", "2"), (0, "statement 2 is withdrawn\n".into(), String::new()));
    let (_, open, _) = run("bank", &["exceptions"]);
    assert_eq!(open.lines().count(), 2, "{open}");
    verify(&database.url.parse().unwrap(), None).await.unwrap();
}
