//! Statements: every period of an account opens where the one before it closed.

use jiff::Timestamp;
use serde_json::Value;

use crate::engine::{Server, on_every_engine};
use crate::pending::{holding, id};
use crate::running::{Api, moving, open_pair};

on_every_engine!(
    periods_join_without_gaps_and_agree_with_the_entries,
    a_statement_as_csv_is_the_same_statement,
    periods_that_are_none_are_refused,
);

const PATH: &str = "/v1/accounts/eur:debit/statement";

/// Twelve transfers, each booked at a time of its own, and one that is only held.
async fn filled(api: &Api) -> Vec<Timestamp> {
    open_pair(api).await;
    let mut booked = Vec::new();
    for index in 1..=12 {
        let mut body = moving("eur:credit", "eur:debit", &format!("{index}.00"));
        if index % 3 == 0 {
            body = moving("eur:debit", "eur:credit", &format!("{index}.00"));
            body["description"] = "a \"quoted\", text".into();
        }
        let answer = api.transfer(&format!("k{index}"), &body).await;
        booked.push(answer.json()["booked_at"].as_str().unwrap().parse().unwrap());
        id(&answer);
    }
    id(&api.transfer("held", &holding("eur:credit", "eur:debit", "99")).await);
    booked
}

async fn periods_join_without_gaps_and_agree_with_the_entries(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    let booked = filled(api).await;
    let all = api.read(PATH).await;
    assert_eq!(
        (&all["opening_balance"], &all["closing_balance"]),
        (&"0.00".into(), &"18.00".into())
    );
    assert_eq!((&all["debits"], &all["credits"]), (&"48.00".into(), &"30.00".into()));
    let entries = all["entries"].as_array().unwrap();
    assert_eq!((entries.len(), &all["next_cursor"]), (12, &Value::Null));
    let balance = api.read("/v1/accounts/eur:debit/balance").await;
    assert_eq!(all["closing_balance"], balance["balance"]);

    // Cut at every booking: what one leaves, the next takes over; the edge belongs to the later one.
    for (index, at) in booked.iter().enumerate() {
        let before = api.read(&format!("{PATH}?to={at}")).await;
        let after = api.read(&format!("{PATH}?from={at}")).await;
        assert_eq!(before["closing_balance"], after["opening_balance"], "{index}");
        assert_eq!(before["opening_balance"], "0.00");
        assert_eq!(after["closing_balance"], "18.00");
        let (early, late) =
            (before["entries"].as_array().unwrap(), after["entries"].as_array().unwrap());
        let joined: Vec<_> = early.iter().chain(late).collect();
        assert_eq!(joined, entries.iter().collect::<Vec<_>>(), "{index}");
        assert_eq!(early.len(), index, "each was booked at a time of its own");
        if let Some(last) = early.last() {
            assert_eq!(last["balance"], before["closing_balance"]);
        }
    }
    let (from, to) = (booked[3], booked[9]);
    let between = api.read(&format!("{PATH}?from={from}&to={to}&limit=4")).await;
    assert_eq!(between["entries"].as_array().unwrap().len(), 4);
    let cursor = between["next_cursor"].as_str().unwrap();
    let rest = api.read(&format!("{PATH}?from={from}&to={to}&limit=4&cursor={cursor}")).await;
    assert_eq!(
        (rest["entries"].as_array().unwrap().len(), &rest["next_cursor"]),
        (2, &Value::Null)
    );
    for field in ["opening_balance", "closing_balance", "debits", "credits"] {
        assert_eq!(between[field], rest[field], "{field} is the period's, not the page's");
    }
    let nothing = api.read(&format!("{PATH}?from={from}&to={from}")).await;
    assert_eq!(nothing["opening_balance"], nothing["closing_balance"]);
    let long_ago = api.read(&format!("{PATH}?from=1999-01-01&to=2000-01-01")).await;
    assert!(long_ago["entries"].as_array().unwrap().is_empty());
    let to_come = api.read(&format!("{PATH}?from=2999-01-01")).await;
    assert_eq!(to_come["opening_balance"], "18.00");
    let (last, until) = ("from=9999-12-31", "to=9999-12-31");
    assert_eq!(api.read(&format!("{PATH}?{last}")).await["opening_balance"], "18.00");
    assert_eq!(api.read(&format!("{PATH}?{until}")).await["closing_balance"], "18.00");
    let before = "/v1/accounts/eur:debit/balance/as-of?booked_before=9999-12-31";
    assert_eq!(api.read(before).await["balance"], "18.00");
}

async fn a_statement_as_csv_is_the_same_statement(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    filled(api).await;
    let statement = api.read(PATH).await;
    let entries = statement["entries"].clone();
    let (mut lines, mut path) = (Vec::new(), format!("{PATH}.csv?from=2000-01-01&limit=5"));
    loop {
        let page = api.get(&path).await;
        assert_eq!(
            (page.status.as_u16(), page.headers["content-type"].to_str().unwrap()),
            (200, "text/csv; charset=utf-8; header=present")
        );
        assert!(page.body.starts_with("number,transfer,booked_at,") && page.body.ends_with("\r\n"));
        lines.extend(page.body.lines().skip(1).map(str::to_owned));
        let Some(link) = page.headers.get("link") else { break };
        let link = link.to_str().unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        link.strip_prefix('<').unwrap().clone_into(&mut path);
    }
    assert_eq!(lines.len(), 1 + 12 + 1);
    let balance = |name: &str, field: &str| {
        format!(",,,,\"{name}\",,,{},EUR,", statement[field].as_str().unwrap())
    };
    assert_eq!(lines[0], balance("Opening balance", "opening_balance"));
    assert_eq!(lines[13], balance("Closing balance", "closing_balance"));
    for (line, entry) in lines[1..].iter().zip(entries.as_array().unwrap()) {
        let text = |field: &str| entry[field].as_str().unwrap().to_owned();
        let expected = format!(
            "{},{},{},{},\"{}\",{},{},{},EUR,",
            entry["number"],
            text("transfer"),
            text("booked_at"),
            text("effective_date"),
            text("description").replace('"', "\"\""),
            text("direction"),
            text("amount"),
            text("balance"),
        );
        assert_eq!(*line, expected);
    }
}

async fn periods_that_are_none_are_refused(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    for query in [
        "from=yesterday",
        "to=2026-02-30",
        "from=2026-1-1",
        "from=2026-02-01&to=2026-01-01",
        "until=2026-01-01",
        "limit=0",
    ] {
        for path in [PATH.to_owned(), format!("{PATH}.csv")] {
            assert_eq!(
                api.get(&format!("{path}?{query}")).await.problem(),
                "invalid-parameter",
                "{query}"
            );
        }
    }
    let missing = api.get("/v1/accounts/nope/statement").await;
    assert_eq!(missing.problem(), "account-not-found");
}
