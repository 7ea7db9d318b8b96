//! Transfers that wait to be decided, and the limits they count against.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::engine::{Server, on_every_engine};
use crate::running::{Answer, Api, DEADLINE, Running, moving, open_pair, options};

on_every_engine!(
    a_pending_transfer_holds_until_it_is_posted,
    a_part_is_posted_and_the_rest_released,
    a_voided_transfer_was_never_there,
    a_pending_transfer_expires_by_itself_and_not_before,
    what_is_pending_counts_against_limits,
    a_posted_transfer_is_reversed_once,
    many_at_once_settle_each_transfer_once,
);

/// A transfer on hold.
pub fn holding(from: &str, to: &str, amount: &str) -> Value {
    let mut body = moving(from, to, amount);
    body["pending"] = json!(true);
    body
}

impl Api {
    pub async fn follow(&self, id: &str, verb: &str, key: &str, body: &Value) -> Answer {
        let request = self
            .request(reqwest::Method::POST, &format!("/v1/transfers/{id}/{verb}"))
            .header("idempotency-key", key)
            .json(body);
        crate::running::answer(request).await
    }

    /// Debits, credits, balance, pending debits, pending credits, available.
    pub async fn figures(&self, code: &str) -> [String; 6] {
        let balance = self.read(&format!("/v1/accounts/{code}/balance")).await;
        ["debits", "credits", "balance", "pending_debits", "pending_credits", "available"]
            .map(|field| balance[field].as_str().unwrap().to_owned())
    }

    pub async fn limits(&self, code: &str, limits: &Value) -> Answer {
        let path = format!("/v1/accounts/{code}/limits");
        let put = self.request(reqwest::Method::PUT, &path).header("if-match", "*");
        crate::running::answer(put.json(limits)).await
    }
}

pub fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Everything that a serving user needs grants for beyond plain transfers.
pub async fn hold_and_void(api: &Api) {
    let limits = json!({"balance_min": "-100"});
    assert_eq!(api.limits("eur:debit", &limits).await.status, 200);
    let held = id(&api.transfer("hold", &holding("eur:credit", "eur:debit", "10")).await);
    id(&api.follow(&held, "void", "void", &json!({})).await);
}

async fn a_pending_transfer_holds_until_it_is_posted(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut body = holding("eur:credit", "eur:debit", "10");
    body["effective_date"] = json!("2026-01-31");
    let held = api.transfer("hold", &body).await;
    let first = id(&held);
    assert_eq!(held.json()["state"], "pending");
    assert_eq!(api.figures("eur:debit").await, ["0.00", "0.00", "0.00", "10.00", "0.00", "0.00"]);
    assert_eq!(api.figures("eur:credit").await, ["0.00", "0.00", "0.00", "0.00", "10.00", "0.00"]);
    assert_eq!(api.read(&format!("/v1/transfers/{first}")).await, held.json());

    let posted = api.follow(&first, "post", "post", &json!({"effective_date": "2026-02-01"})).await;
    let second = id(&posted);
    let answer = posted.json();
    assert_eq!((&answer["kind"], &answer["state"]), (&json!("post"), &json!("posted")));
    assert_eq!((&answer["of"], &answer["effective_date"]), (&json!(first), &json!("2026-02-01")));
    assert_eq!(
        (&answer["description"], &answer["entries"]),
        (&json!("move"), &held.json()["entries"])
    );
    assert_eq!(api.figures("eur:debit").await, ["10.00", "0.00", "10.00", "0.00", "0.00", "10.00"]);
    let now = api.read(&format!("/v1/transfers/{first}")).await;
    assert_eq!((&now["state"], &now["followed_by"]), (&json!("posted"), &json!(second)));
    assert_eq!(api.get(posted.headers["location"].to_str().unwrap()).await.body, posted.body);

    // The same key answers the same bytes; another one finds that it is done.
    let again = api.follow(&first, "post", "post", &json!({"effective_date": "2026-02-01"})).await;
    assert_eq!((again.is_replay(), &again.body), (true, &posted.body));
    let other = api.follow(&first, "post", "post", &json!({})).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
    assert_eq!(api.transfer("hold", &body).await.body, held.body);
    for verb in ["post", "void"] {
        let late = api.follow(&first, verb, "late", &json!({})).await;
        assert_eq!(late.problem(), "transfer-not-pending");
        assert!(late.body.contains(&second), "{}", late.body);
    }
    let unknown = api.follow(&uuid::Uuid::now_v7().to_string(), "void", "k", &json!({})).await;
    assert_eq!(unknown.problem(), "transfer-not-found");
    let entries = api.read("/v1/accounts/eur:debit/entries").await;
    assert_eq!(entries["items"].as_array().unwrap().len(), 1, "only what is posted is an entry");
    assert_eq!(entries["items"][0]["effective_date"], "2026-02-01");
}

async fn a_part_is_posted_and_the_rest_released(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    api.open("eur:credit:fee").await;
    let body = json!({"description": "", "pending": true, "entries": [
        {"account": "eur:debit", "direction": "debit", "amount": "10"},
        {"account": "eur:credit", "direction": "credit", "amount": "9"},
        {"account": "eur:credit:fee", "direction": "credit", "amount": "1"},
    ]});
    let held = id(&api.transfer("hold", &body).await);
    let part =
        |to: &str, amount: &str| json!({"entries": moving("eur:credit", to, amount)["entries"]});
    for (body, problem) in [
        (part("eur:debit", "9.01"), "hold-exceeded"),
        (part("eur:credit:fee", "1"), "hold-exceeded"),
        (part("eur:nowhere", "1"), "unknown-account"),
    ] {
        let refused = api.follow(&held, "post", "post", &body).await;
        assert_eq!(refused.problem(), problem, "{}", refused.body);
    }
    let unequal = json!({"entries": [
        {"account": "eur:debit", "direction": "debit", "amount": "2"},
        {"account": "eur:credit", "direction": "credit", "amount": "1"},
    ]});
    assert_eq!(api.follow(&held, "post", "post", &unequal).await.problem(), "unbalanced");
    assert_eq!(api.figures("eur:debit").await[3], "10.00", "what is refused changes nothing");

    let posted = api.follow(&held, "post", "post", &part("eur:debit", "4.5")).await;
    assert_eq!(posted.json()["entries"].as_array().unwrap().len(), 2, "{}", posted.body);
    assert_eq!(api.figures("eur:debit").await, ["4.50", "0.00", "4.50", "0.00", "0.00", "4.50"]);
    assert_eq!(api.figures("eur:credit").await, ["0.00", "4.50", "4.50", "0.00", "0.00", "4.50"]);
    assert_eq!(api.figures("eur:credit:fee").await, ["0.00"; 6].map(str::to_owned));
    assert_eq!(api.read("/v1/trial-balance").await["currencies"][0]["difference"], "0.00");
}

async fn a_voided_transfer_was_never_there(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let held = id(&api.transfer("hold", &holding("eur:credit", "eur:debit", "10")).await);
    let voided = api.follow(&held, "void", "void", &json!({"description": "not wanted"})).await;
    let answer = voided.json();
    assert_eq!((&answer["kind"], &answer["state"]), (&json!("void"), &json!("voided")));
    assert_eq!((&answer["description"], &answer["of"]), (&json!("not wanted"), &json!(held)));
    assert_eq!(answer["entries"][0]["amount"], "10.00");
    assert_eq!(api.get(voided.headers["location"].to_str().unwrap()).await.body, voided.body);
    assert_eq!(api.read(&format!("/v1/transfers/{held}")).await["state"], "voided");
    assert_eq!(api.figures("eur:debit").await, ["0.00"; 6].map(str::to_owned));
    assert_eq!(api.follow(&held, "post", "p", &json!({})).await.problem(), "transfer-not-pending");
    for followed in [&held, &id(&voided)] {
        let refused = api.follow(followed, "reverse", "r", &json!({})).await;
        assert_eq!(refused.problem(), "transfer-not-reversible");
    }
    let list = api.read("/v1/transfers").await;
    let listed: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|t| (&t["kind"], &t["state"])).collect();
    assert_eq!(
        format!("{listed:?}"),
        r#"[(String("pending"), String("voided")), (String("void"), String("voided"))]"#
    );
}

async fn a_pending_transfer_expires_by_itself_and_not_before(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let expiring = |after: Duration| {
        let mut body = holding("eur:credit", "eur:debit", "10");
        let at = (Timestamp::now() + after).round(jiff::Unit::Microsecond).unwrap();
        body["expires_at"] = json!(at.to_string());
        body
    };
    let past = api.transfer("past", &expiring(Duration::ZERO)).await;
    assert_eq!(past.problem(), "expires-in-past");
    let late = id(&api.transfer("late", &expiring(Duration::from_secs(3600))).await);
    let expiring_soon = expiring(Duration::from_secs(4));
    let soon = id(&api.transfer("soon", &expiring_soon).await);
    let held = api.figures("eur:debit").await[3].clone();
    // Unless the machine is so slow that it is time by now.
    let due = expiring_soon["expires_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(held == "20.00" || Timestamp::now() >= due, "{held}");
    // Nobody writes anything; the service books it when its time has come.
    let began = Instant::now();
    while api.figures("eur:debit").await[3] != "10.00" {
        assert!(began.elapsed() < DEADLINE, "it never expired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let expired = api.read(&format!("/v1/transfers/{soon}")).await;
    assert_eq!(expired["state"], "expired");
    let by = api.read(&format!("/v1/transfers/{}", expired["followed_by"].as_str().unwrap())).await;
    assert_eq!((&by["kind"], &by["of"]), (&json!("expire"), &json!(soon)));
    let instant = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(instant(&by["booked_at"]) >= instant(&expired["expires_at"]), "not before its time");
    let refused = api.follow(&soon, "post", "p", &json!({})).await;
    assert_eq!(refused.problem(), "transfer-not-pending");
    assert!(refused.body.contains("expired"), "{}", refused.body);
    assert_eq!(api.read(&format!("/v1/transfers/{late}")).await["state"], "pending");
    assert!(api.metric("forebay_ledger_transfers_expired_total").await > 0.9);

    // What falls due while no service runs is released by the next one. Where the machine is slow it may fall due before.
    let (mut running, mut after) = (running, Duration::from_secs(2));
    let (database, due) = loop {
        let name = format!("away{}", after.as_secs());
        id(&running.api.transfer(&name, &expiring(after)).await);
        let due = Instant::now() + after;
        let database = running.database;
        running.service.stop().await.unwrap();
        let held = database.connect().await.number("SELECT count(*) FROM holds").await;
        if held == 2 {
            break (database, due);
        }
        assert!(after < DEADLINE, "it is never stopped in time");
        running = Running::start(options(&database.url), database).await;
        after *= 4;
    };
    tokio::time::sleep_until((due + Duration::from_millis(50)).into()).await;
    let again = Running::start(options(&database.url), database).await;
    let began = Instant::now();
    while again.api.figures("eur:debit").await[3] != "10.00" {
        assert!(began.elapsed() < DEADLINE, "it never expired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    id(&again.api.follow(&late, "post", "late-post", &json!({})).await);
}

async fn what_is_pending_counts_against_limits(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    api.open("eur:debit:wallet").await;
    let wallet = "eur:debit:wallet";
    let set = api.limits(wallet, &json!({"balance_min": "0", "balance_max": "100.00"})).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(set.json()["balance_max"], "100.00");
    id(&api.transfer("in", &moving("eur:credit", wallet, "50")).await);
    let held = id(&api.transfer("hold", &holding(wallet, "eur:debit", "30")).await);
    assert_eq!(api.figures(wallet).await[5], "20.00");
    let over = moving(wallet, "eur:debit", "20.01");
    let refused = api.transfer("over", &over).await;
    assert_eq!(refused.problem(), "limit-exceeded");
    assert!(refused.body.contains("-0.01 EUR available"), "{}", refused.body);
    let over_held = api.transfer("over", &holding(wallet, "eur:debit", "20.01")).await;
    assert_eq!(over_held.problem(), "limit-exceeded", "a hold is no way around");
    // The maximum counts what may still come in, and nothing for what may go out.
    let full = api.transfer("full", &holding("eur:credit", wallet, "50.01")).await;
    assert_eq!(full.problem(), "limit-exceeded");
    id(&api.transfer("fits", &holding("eur:credit", wallet, "50")).await);
    // Posting what is held always fits, and voiding it gives it back.
    id(&api
        .follow(
            &held,
            "post",
            "part",
            &json!({"entries": moving(wallet, "eur:debit", "10")["entries"]}),
        )
        .await);
    assert_eq!(api.figures(wallet).await[5], "40.00");
    id(&api.transfer("over", &over).await);

    // A credit limit; lowering it later leaves what is, but lets nothing go further out.
    assert_eq!(
        api.limits(wallet, &json!({"balance_min": "-25.50"})).await.json()["balance_max"],
        Value::Null
    );
    id(&api.transfer("credit", &moving(wallet, "eur:debit", "45.49")).await);
    assert_eq!(api.figures(wallet).await[5], "-25.50");
    assert_eq!(
        api.transfer("x", &moving(wallet, "eur:debit", "0.01")).await.problem(),
        "limit-exceeded"
    );
    api.limits(wallet, &json!({"balance_min": "0"})).await;
    id(&api.transfer("back", &moving("eur:credit", wallet, "5")).await);
    for (limits, problem) in [
        (json!({"balance_min": "0.001"}), "invalid-amount"),
        (json!({"balance_min": "1", "balance_max": "0"}), "invalid-body"),
        (json!({"balance_min": 0}), "invalid-body"),
        (json!({"balance_low": "0"}), "invalid-body"),
    ] {
        assert_eq!(api.limits(wallet, &limits).await.problem(), problem, "{limits}");
    }
    assert_eq!(api.limits("nope", &json!({})).await.problem(), "account-not-found");
}

async fn a_posted_transfer_is_reversed_once(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let posted = id(&api.transfer("k", &moving("eur:credit", "eur:debit", "7")).await);
    let body = json!({"description": "booked twice", "effective_date": "2026-03-01"});
    let reversed = api.follow(&posted, "reverse", "r", &body).await;
    let answer = reversed.json();
    let reversal = id(&reversed);
    assert_eq!((&answer["kind"], &answer["of"]), (&json!("reverse"), &json!(posted)));
    assert_eq!(answer["entries"][0]["direction"], "credit");
    assert_eq!(answer["effective_date"], "2026-03-01");
    assert_eq!(api.figures("eur:debit").await[..3], ["7.00", "7.00", "0.00"]);
    let now = api.read(&format!("/v1/transfers/{posted}")).await;
    assert_eq!((&now["state"], &now["followed_by"]), (&json!("reversed"), &json!(reversal)));
    for (of, part) in [(&posted, reversal.as_str()), (&reversal, "itself a reversal")] {
        let refused = api.follow(of, "reverse", "again", &json!({})).await;
        assert_eq!(refused.problem(), "transfer-not-reversible");
        assert!(refused.body.contains(part), "{}", refused.body);
    }
    // Of a pending transfer, what is reversed is the transfer that posted it.
    let held = id(&api.transfer("hold", &holding("eur:credit", "eur:debit", "3")).await);
    let post = id(&api.follow(&held, "post", "p", &json!({})).await);
    let refused = api.follow(&held, "reverse", "r2", &json!({})).await;
    assert!(refused.problem() == "transfer-not-reversible" && refused.body.contains(&post));
    id(&api.follow(&post, "reverse", "r2", &json!({})).await);
    assert_eq!(api.figures("eur:debit").await[..3], ["10.00", "10.00", "0.00"]);
    // A reversal obeys limits too.
    let spent = id(&api.transfer("in", &moving("eur:credit", "eur:debit", "5")).await);
    api.limits("eur:debit", &json!({"balance_min": "5"})).await;
    assert_eq!(api.follow(&spent, "reverse", "r3", &json!({})).await.problem(), "limit-exceeded");
}

async fn many_at_once_settle_each_transfer_once(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut tasks = tokio::task::JoinSet::new();
    for hold in 0..8 {
        let held =
            id(&api.transfer(&format!("h{hold}"), &holding("eur:credit", "eur:debit", "1")).await);
        for client in 0..8 {
            let (api, held) = (api.clone(), held.clone());
            let verb = if client % 2 == 0 { "post" } else { "void" };
            tasks.spawn(async move {
                let answer = api.follow(&held, verb, &format!("{held}-{client}"), &json!({})).await;
                assert!(answer.status == 201 || answer.problem() == "transfer-not-pending");
                (verb, answer.status == 201)
            });
        }
    }
    let done = tasks.join_all().await;
    let count = |verb: &str| done.iter().filter(|(v, ok)| *v == verb && *ok).count();
    assert_eq!(count("post") + count("void"), 8, "each hold is settled once");
    let [debits, _, _, pending, ..] = api.figures("eur:debit").await;
    assert_eq!((debits, pending.as_str()), (format!("{}.00", count("post")), "0.00"));
}
