//! API keys: who may do what, and what is written down of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use forebay_ledger::http::gate::Auth;
use forebay_ledger::key::{Role, Secret};
use forebay_ledger::verify::verify;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::api::everything;
use crate::documented::{concrete, operations};
use crate::engine::{Server, on_every_engine};
use crate::running::{Answer, Api, DEADLINE, Running, answer, moving, open_pair, options};

on_every_engine!(
    each_role_may_do_what_is_its_own,
    a_key_is_in_force_until_it_is_revoked_or_expires,
    a_key_asks_no_more_often_than_it_may,
    administration_is_written_down,
    there_are_no_more_keys_than_allowed,
);

/// A service that asks for keys, and the key of its first administrator.
pub async fn guarded(server: &Server) -> (Running, Secret) {
    let secret = Secret::generate();
    let running = server
        .running_with(|options| {
            options.auth = Auth::Required;
            options.first_admin_key = Some(secret.clone());
            options.http.keys_max = 8;
        })
        .await;
    (running, secret)
}

pub fn with(api: &Api, key: &str, method: Method, path: &str) -> RequestBuilder {
    api.request(method, path).bearer_auth(key)
}

async fn create(api: &Api, admin: &Secret, body: &Value) -> Answer {
    answer(with(api, admin.reveal(), Method::POST, "/v1/keys").json(body)).await
}

pub async fn of_role(api: &Api, admin: &Secret, role: Role) -> String {
    let created = create(api, admin, &json!({"name": role.as_str(), "role": role})).await;
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(created.headers["cache-control"], "no-store");
    created.json()["key"].as_str().unwrap().to_owned()
}

/// What each role may do, written down a second time: a new operation has to be thought of here too.
const READ: &[&str] = &[
    "listCurrencies",
    "listAccounts",
    "getAccount",
    "getBalance",
    "getLimits",
    "listEntries",
    "getStatement",
    "getStatementCsv",
    "listTransfers",
    "getTransfer",
    "getTrialBalance",
    "getTrialBalanceAsOf",
    "getBalanceAsOf",
    "listJournal",
    "listCloses",
    "getClose",
    "listCloseBalances",
    "streamEvents",
    "getHead",
    "listSignatures",
    "listStatements",
    "listOpenLines",
    "listUnmatchedEntries",
    "getReconciliation",
    "listMatches",
    "listAccountSets",
    "getAccountSet",
    "listMembers",
    "getAccountTree",
];
const POST: &[&str] = &[
    "createAccount",
    "createTransfer",
    "createBatch",
    "streamBatch",
    "postTransfer",
    "voidTransfer",
    "reverseTransfer",
    "createImport",
    "importStatement",
    "withdrawStatement",
    "runReconciliation",
    "createMatch",
    "createAdjustment",
    "removeMatch",
    "createAccountSet",
    "addMembers",
];
const AUDIT: &[&str] = &[
    "listKeys",
    "getKey",
    "listAuditLog",
    "listWebhooks",
    "getWebhook",
    "exportEntries",
    "exportAccounts",
    "exportBeancount",
    "exportLedger",
];
const ADMINISTER: &[&str] = &[
    "createCurrency",
    "setLimits",
    "createClose",
    "createKey",
    "revokeKey",
    "createWebhook",
    "removeWebhook",
    "resumeWebhook",
];

fn allowed(role: Role) -> BTreeSet<&'static str> {
    let lists: &[&[&str]] = match role {
        Role::Reader => &[READ],
        Role::Poster => &[READ, POST],
        Role::Auditor => &[READ, AUDIT],
        Role::Admin => &[READ, POST, AUDIT, ADMINISTER],
    };
    lists.concat().into_iter().collect()
}

async fn each_role_may_do_what_is_its_own(server: &Server) {
    let (running, admin) = guarded(server).await;
    let api = &running.api;
    let mut keys = BTreeMap::new();
    for role in Role::ALL {
        keys.insert(role.as_str(), of_role(api, &admin, role).await);
    }
    let document = answer(api.request(Method::GET, "/openapi.json")).await.json();
    let operations = operations(&document);
    let documented: BTreeSet<&str> =
        operations.iter().map(|(_, _, o)| o["operationId"].as_str().unwrap()).collect();
    assert_eq!(documented, allowed(Role::Admin), "every operation is somebody's");
    for (method, path, operation) in &operations {
        let id = operation["operationId"].as_str().unwrap();
        let concrete = concrete(path);
        let unknown = answer(api.request(method.clone(), &concrete)).await;
        assert_eq!(unknown.problem(), "unauthenticated", "{id}");
        assert_eq!(unknown.headers["www-authenticate"], "Bearer realm=\"forebay-ledger\"", "{id}");
        for role in Role::ALL {
            let key = &keys[role.as_str()];
            let answer = answer(with(api, key, method.clone(), &concrete)).await;
            let what = format!("{id} by a {}: {}", role.as_str(), answer.body);
            assert_ne!(answer.status, 401, "{what}");
            assert_eq!(answer.status != 403, allowed(role).contains(id), "{what}");
            if answer.status == 403 {
                assert_eq!(answer.problem(), "forbidden");
                let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.contains("insufficient_scope"), "{challenge}");
            }
        }
    }
    // Where there is no route there is nothing to guard, and what a route does not do is an administrator's to ask.
    assert_eq!(api.get("/v2/nothing").await.problem(), "not-found");
    assert_eq!(answer(api.request(Method::PATCH, "/v1/keys")).await.problem(), "unauthenticated");
    assert_eq!(api.get("/docs/").await.status, 200);
    let refused = "forebay_ledger_refusals_total{reason=\"unauthenticated\"}";
    assert!(api.metric(refused).await > 30.0);
}

/// A key that expires in a moment, and when.
async fn short_lived(api: &Api, admin: &Secret) -> (jiff::Timestamp, Value) {
    let mut after = Duration::from_secs(2);
    loop {
        let soon = jiff::Timestamp::now() + after;
        let body = json!({"name": "short", "role": "reader", "expires_at": format!("{soon:.6}")});
        let created = create(api, admin, &body).await;
        if created.status == 201 {
            return (soon, created.json());
        }
        // Where the machine is slow it may have expired before.
        assert!(jiff::Timestamp::now() >= soon && after < DEADLINE, "{}", created.body);
        after *= 4;
    }
}

async fn a_key_is_in_force_until_it_is_revoked_or_expires(server: &Server) {
    let (running, admin) = guarded(server).await;
    let api = &running.api;
    let key = of_role(api, &admin, Role::Poster).await;
    let ask = |key: &str| answer(with(api, key, Method::GET, "/v1/accounts"));
    assert_eq!(ask(&key).await.status, 200);
    let other = Secret::generate();
    let last = if key.ends_with('x') { 'y' } else { 'x' };
    for wrong in ["", "x", &key[..46], &format!("{}{last}", &key[..46]), other.reveal()] {
        let refused = ask(wrong).await;
        assert_eq!(refused.problem(), "unauthenticated", "{wrong}");
        assert!(!refused.body.contains("fbl_"), "{}", refused.body);
    }
    // A browser sends it as a password, to read.
    let basic = |method, path| api.request(method, path).basic_auth("me", Some(&key));
    assert_eq!(answer(basic(Method::GET, "/v1/accounts")).await.status, 200);
    let posted = answer(basic(Method::POST, "/v1/accounts").json(&json!({}))).await;
    assert_eq!(posted.problem(), "unauthenticated");

    let (soon, short) = short_lived(api, &admin).await;
    let short_key = short["key"].as_str().unwrap();
    let began = Instant::now();
    let expired = loop {
        let asked = ask(short_key).await;
        if asked.status != 200 {
            break asked;
        }
        assert!(began.elapsed() < DEADLINE, "it never expired");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(jiff::Timestamp::now() >= soon, "not before its time");
    assert_eq!(expired.problem(), "unauthenticated");
    assert!(expired.body.contains("expired"), "{}", expired.body);

    let revoke = || answer(with(api, admin.reveal(), Method::POST, "/v1/keys/2/revoke"));
    let revoked = revoke().await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(ask(&key).await.problem(), "unauthenticated", "at once");
    assert_eq!(revoke().await.json()["revoked_at"], revoked.json()["revoked_at"]);
    let missing = with(api, admin.reveal(), Method::POST, "/v1/keys/77/revoke");
    assert_eq!(answer(missing).await.problem(), "key-not-found");

    // All of it outlives the service.
    let database = running.database;
    running.service.stop().await.unwrap();
    let mut again = options(&database.url);
    again.auth = Auth::Required;
    // Whoever starts it with a key that is booked already changes nothing.
    again.first_admin_key = Some(admin.clone());
    let running = Running::start(again, database).await;
    let api = &running.api;
    let listed = answer(with(api, admin.reveal(), Method::GET, "/v1/keys")).await;
    assert!(
        !listed.body.contains(&key) && !listed.body.contains(admin.reveal()),
        "{}",
        listed.body
    );
    let items = listed.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 3);
    assert_eq!((&items[0]["id"], &items[0]["role"]), (&json!(1), &json!("admin")));
    assert!(items[0]["last_used_at"].is_string(), "written down at the stop: {}", items[0]);
    assert_eq!(items[1]["prefix"], key[..12]);
    assert!(items[1]["revoked_at"].is_string() && items[2]["expires_at"].is_string());
    let one = answer(with(api, admin.reveal(), Method::GET, "/v1/keys/2")).await;
    assert_eq!(one.json(), items[1]);
    assert_eq!(answer(with(api, &key, Method::GET, "/v1/accounts")).await.status, 401);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn a_key_asks_no_more_often_than_it_may(server: &Server) {
    let (running, admin) = guarded(server).await;
    let api = &running.api;
    let body = json!({"name": "slow", "role": "reader", "rate": {"per_second": 1, "burst": 2}});
    let created = create(api, &admin, &body).await.json();
    assert_eq!(created["rate"], body["rate"]);
    let key = created["key"].as_str().unwrap();
    let (began, mut passed) = (Instant::now(), 0.0);
    let refused = loop {
        let answer = answer(with(api, key, Method::GET, "/v1/accounts")).await;
        if answer.status != 200 {
            break answer;
        }
        passed += 1.0;
        // Two at once, and one more for each second that a busy machine takes.
        assert!(passed <= 2.0 + began.elapsed().as_secs_f64(), "{passed} in {:?}", began.elapsed());
    };
    assert!(passed >= 2.0, "{passed}: {}", refused.body);
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str(), &refused.headers["retry-after"]),
        (429, "too-many-requests", &"1".parse().unwrap())
    );
    for (field, value) in [
        ("rate", json!({"per_second": 0, "burst": 1})),
        ("role", json!("root")),
        ("name", json!("")),
        ("expires_at", json!("soon")),
        ("expires_at", json!("2026-01-01T00:00:00Z")),
    ] {
        let mut wrong = body.clone();
        wrong[field] = value;
        assert_eq!(create(api, &admin, &wrong).await.problem(), "invalid-body", "{field}");
    }
}

async fn administration_is_written_down(server: &Server) {
    // Where nobody is asked for a key, that is what is written down.
    let open = server.running().await;
    open_pair(&open.api).await;
    open.api.post("/v1/currencies", &json!({"code": "POINTS", "scale": 1})).await;
    open.api.post("/v1/currencies", &json!({"code": "POINTS", "scale": 1})).await;
    let log = everything(&open.api, "/v1/audit-log").await;
    assert_eq!(log.len(), 1, "what changed nothing is nothing to write down: {log:?}");
    assert_eq!(
        (&log[0]["actor"], &log[0]["action"]),
        (&json!("anybody"), &json!("currency.create"))
    );

    let (running, admin) = guarded(server).await;
    let api = &running.api;
    let send = |method: Method, path: &'static str, body: Value| {
        answer(with(api, admin.reveal(), method, path).json(&body))
    };
    for code in ["eur:debit", "eur:credit"] {
        let side = &code[4..];
        let body = json!({"code": code, "name": code, "currency": "EUR", "normal_balance": side});
        assert_eq!(send(Method::POST, "/v1/accounts", body).await.status, 201);
    }
    let limits = json!({"balance_min": "-5", "balance_max": null});
    let path = "/v1/accounts/eur:debit/limits";
    let set = with(api, admin.reveal(), Method::PUT, path).header("if-match", "*");
    assert_eq!(answer(set.json(&limits)).await.status, 200);
    assert_eq!(
        send(Method::POST, "/v1/closes", json!({"through": "2026-01-31"})).await.status,
        201
    );
    of_role(api, &admin, Role::Reader).await;
    assert_eq!(send(Method::POST, "/v1/keys/2/revoke", json!({})).await.status, 200);
    let posted =
        with(api, admin.reveal(), Method::POST, "/v1/transfers").header("idempotency-key", "k");
    assert_eq!(answer(posted.json(&moving("eur:credit", "eur:debit", "1"))).await.status, 201);

    let read = |path: &'static str| answer(with(api, admin.reveal(), Method::GET, path));
    let log = read("/v1/audit-log").await.json();
    let told: Vec<[&str; 3]> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| ["actor", "action", "subject"].map(|field| entry[field].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ["service", "key.create", "key:1"],
            ["key:1", "limits.set", "account:eur:debit"],
            ["key:1", "period.close", "close:1"],
            ["key:1", "key.create", "key:2"],
            ["key:1", "key.revoke", "key:2"],
        ]
    );
    assert_eq!(
        log["items"][1]["detail"],
        json!({"balance_min_minor": -500, "balance_max_minor": null})
    );
    assert_eq!(log["items"][3]["detail"]["role"], "reader");
    let second = read("/v1/audit-log?limit=2&cursor=2").await.json();
    assert_eq!((&second["items"][0]["id"], &second["next_cursor"]), (&json!(3), &json!("4")));
    assert!((api.metric("forebay_ledger_audit_entries_total").await - 5.0).abs() < 0.1);
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();
}

async fn there_are_no_more_keys_than_allowed(server: &Server) {
    let (running, admin) = guarded(server).await;
    let api = &running.api;
    for _ in 0..7 {
        of_role(api, &admin, Role::Reader).await;
    }
    let body = json!({"name": "one more", "role": "reader"});
    assert_eq!(create(api, &admin, &body).await.problem(), "too-many-keys");
    assert!((api.metric("forebay_ledger_api_keys").await - 8.0).abs() < 0.1);
    let revoke = with(api, admin.reveal(), Method::POST, "/v1/keys/3/revoke");
    assert_eq!(answer(revoke).await.status, 200);
    assert_eq!(create(api, &admin, &body).await.status, 201);
}
