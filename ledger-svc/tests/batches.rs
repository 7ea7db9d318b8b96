//! Batches: all together or each for itself, as one body or as a stream of lines.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use crate::engine::{Server, on_every_engine};
use crate::pending::{holding, id};
use crate::running::{Answer, Api, DEADLINE, Running, answer, moving, open_pair, options};

on_every_engine!(
    independent_requests_are_answered_each_on_its_own_merits,
    all_or_nothing_is_all_or_nothing,
    expectations_refuse_what_has_changed,
    a_stream_is_answered_line_by_line_while_it_goes_on,
    a_stream_bounds_what_it_holds_and_says_why_it_ends,
    replays_are_the_first_answer_after_a_restart_too,
);

fn item(key: &str, amount: &str) -> Value {
    json!({"key": key, "transfer": moving("eur:credit", "eur:debit", amount)})
}

async fn batch(api: &Api, all_or_nothing: bool, items: &[Value]) -> Answer {
    api.post("/v1/batches", &json!({"all_or_nothing": all_or_nothing, "transfers": items})).await
}

async fn verified(running: &Running) {
    let url = running.database.url.parse().unwrap();
    Box::pin(forebay_ledger::verify::verify(&url, None)).await.unwrap();
}

/// The fields of each result that tell what became of it.
fn told(answer: &Answer) -> Vec<(Value, Value, Value)> {
    let results = answer.json()["results"].as_array().unwrap().clone();
    let of = |result: &Value| {
        let kind = result["problem"]["type"].as_str().map(|kind| kind.rsplit(':').next().unwrap());
        (result["status"].clone(), result["replayed"].clone(), json!(kind))
    };
    results.iter().map(of).collect()
}

async fn independent_requests_are_answered_each_on_its_own_merits(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let before = api.transfer("before", &moving("eur:credit", "eur:debit", "1")).await;
    let held = id(&api.transfer("held", &holding("eur:credit", "eur:debit", "7")).await);
    let items = [
        item("a", "1"),
        item("before", "1"),
        item("before", "2"),
        json!({"key": "b", "transfer": moving("eur:nowhere", "eur:debit", "1")}),
        json!({"key": "c", "of": held, "post": {}}),
        json!({"key": "d", "of": held, "void": {}}),
        json!({"key": "e", "of": uuid::Uuid::now_v7(), "void": {}}),
        item("a", "1"),
        json!({"key": "f", "of": id(&before), "reverse": {"description": "wrong"}}),
    ];
    let answered = batch(api, false, &items).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let (posted, replayed) = (json!(201), json!(true));
    let refused = |status: u16, kind: &str| (json!(status), Value::Null, json!(kind));
    assert_eq!(
        told(&answered),
        [
            (posted.clone(), json!(false), Value::Null),
            (posted.clone(), replayed.clone(), Value::Null),
            refused(409, "idempotency-key-reused"),
            refused(422, "unknown-account"),
            (posted.clone(), json!(false), Value::Null),
            refused(409, "transfer-not-pending"),
            refused(404, "transfer-not-found"),
            (posted.clone(), replayed, Value::Null),
            (posted, json!(false), Value::Null),
        ]
    );
    let body = answered.json();
    assert_eq!((&body["booked"], &body["refused"]), (&json!(5), &json!(4)));
    assert!(answered.body.contains(&format!("\"transfer\":{}", before.body)), "byte for byte");
    assert_eq!(body["results"][0]["key"], "a");
    assert_eq!(body["results"][0]["transfer"]["id"], body["results"][0]["id"]);
    // The same key is the same request, however it is sent.
    let alone = api.transfer("a", &moving("eur:credit", "eur:debit", "1")).await;
    assert!(alone.is_replay());
    assert_eq!(alone.json(), body["results"][0]["transfer"]);
    let brief = api
        .request(Method::POST, "/v1/batches")
        .header("prefer", "respond-async, return=minimal")
        .json(&json!({"transfers": [item("a", "1")]}));
    let brief = answer(brief).await.json();
    assert_eq!(brief["results"][0]["id"], body["results"][0]["id"]);
    assert!(brief["results"][0].get("transfer").is_none());
    verified(&running).await;
}

async fn all_or_nothing_is_all_or_nothing(server: &Server) {
    let running = server.running_with(|options| {
        options.http.batch_max = 20;
        options.writer.batch_max = 20;
    });
    let running = running.await;
    let api = &running.api;
    open_pair(api).await;
    let held = id(&api.transfer("held", &holding("eur:credit", "eur:debit", "7")).await);
    let mut items: Vec<Value> = (0..10).map(|i| item(&format!("k{i}"), "1")).collect();
    items.push(json!({"key": "post", "of": held, "post": {}}));
    let bad = json!({"key": "bad", "transfer": moving("eur:credit", "eur:debit", "0.001")});
    let refused = batch(api, true, &[items.clone(), vec![bad]].concat()).await;
    assert_eq!(refused.problem(), "invalid-amount");
    assert_eq!(refused.json()["field"], "transfers[11].entries[0].amount");
    let list = api.read("/v1/transfers").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "nothing was booked");
    assert_eq!(api.figures("eur:debit").await[3], "7.00", "what it would have posted is held");
    let booked = batch(api, true, &items).await;
    assert_eq!((booked.status.as_u16(), &booked.json()["booked"]), (200, &json!(11)));
    // Retried whole, it is answered the same; with one new request only that one is new.
    let again = batch(api, true, &items).await;
    let transfers = |answer: &Answer| {
        let results = answer.json()["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["transfer"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(transfers(&again), transfers(&booked));
    items.push(item("k3", "2"));
    assert_eq!(batch(api, true, &items).await.problem(), "idempotency-key-reused");
    assert_eq!(api.figures("eur:debit").await[0], "17.00");
    for (items, said) in [(Vec::new(), "this one has 0"), (vec![item("x", "1"); 21], "has 21")] {
        let refused = batch(api, false, &items).await;
        assert_eq!(refused.problem(), "invalid-body");
        assert!(refused.body.contains(said), "{}", refused.body);
    }
    let shapes = [
        (json!({"key": "k"}), "transfers[0]: an item has exactly one"),
        (json!({"key": "", "transfer": moving("a", "b", "1")}), "0 bytes"),
        (json!({"key": "k", "transfer": moving("a", "b", "1"), "memo": 1}), "unknown field `memo`"),
    ];
    for (item, said) in shapes {
        let refused = batch(api, false, &[item]).await;
        assert!(refused.status == 400 || refused.status == 422, "{}", refused.body);
        assert!(refused.body.contains(said), "{}", refused.body);
    }
}

async fn expectations_refuse_what_has_changed(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let expecting = |amount: &str, expect: Value| {
        let mut body = moving("eur:credit", "eur:debit", amount);
        body["expect"] = expect;
        body
    };
    let empty = json!([{"account": "eur:debit", "version": 0, "balance": "0"}]);
    id(&api.transfer("a", &expecting("5", empty.clone())).await);
    let stale = api.transfer("b", &expecting("5", empty)).await;
    assert_eq!(stale.problem(), "expectation-failed");
    assert_eq!(stale.json()["field"], "expect[0].version");
    assert!(stale.body.contains("is 1, not 0"), "{}", stale.body);
    // Of many that expect the same, one is booked.
    let items: Vec<Value> = (0..20)
        .map(|i| {
            let expect = json!([{"account": "eur:debit", "version": 1, "available": "5.00"}]);
            json!({"key": format!("r{i}"), "transfer": expecting("1", expect)})
        })
        .collect();
    assert_eq!(batch(api, false, &items).await.json()["booked"], 1);
    for (expect, problem) in [
        (json!([{"account": "eur:nowhere", "version": 0}]), "unknown-account"),
        (json!([{"account": "eur:debit", "balance": "6.001"}]), "invalid-amount"),
        (json!([{"account": "eur:debit"}]), "invalid-body"),
        (json!([{"account": "eur:debit", "versions": 1}]), "invalid-body"),
    ] {
        assert_eq!(api.transfer("c", &expecting("1", expect)).await.problem(), problem);
    }
}

/// A stream of lines that is written and read by hand.
pub struct Lines {
    reader: OwnedReadHalf,
    writer: tokio::net::tcp::OwnedWriteHalf,
    text: String,
}

impl Lines {
    pub async fn open(running: &Running, headers: &str) -> Self {
        let stream = TcpStream::connect(running.service.listen).await.unwrap();
        let (reader, mut writer) = stream.into_split();
        let head = format!(
            "POST /v1/batches.ndjson HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n{headers}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).await.unwrap();
        Self { reader, writer, text: String::new() }
    }

    pub async fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.writer.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// The results so far, once there are so many.
    pub async fn results(&mut self, count: usize) -> Vec<Value> {
        let read = async {
            loop {
                let lines = self.text.lines().filter(|line| line.starts_with('{'));
                let read: Vec<Value> =
                    lines.map_while(|line| serde_json::from_str(line).ok()).collect();
                if read.len() >= count {
                    return read;
                }
                let mut buffer = vec![0; 1 << 16];
                let read = self.reader.read(&mut buffer).await.unwrap();
                assert!(read > 0, "ended: {}", self.text);
                self.text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("no results")
    }

    pub async fn rest(mut self) -> String {
        let read = self.reader.read_to_string(&mut self.text);
        tokio::time::timeout(DEADLINE, read).await.expect("it does not end").unwrap();
        self.text
    }
}

async fn a_stream_is_answered_line_by_line_while_it_goes_on(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut lines = Lines::open(&running, "").await;
    let line = |key: &str, amount: &str| format!("{}\n", item(key, amount));
    lines.send(&line("a", "1")).await;
    let first = lines.results(1).await;
    assert_eq!((&first[0]["line"], &first[0]["status"]), (&json!(1), &json!(201)));
    assert_eq!(api.figures("eur:debit").await[0], "1.00", "durable before the stream ends");
    // A line in two pieces, an empty one, one that is no JSON, one that is no request.
    let split = line("b", "2");
    lines.send(&split[..30]).await;
    lines.send(&format!("{}\nnope\n{{\"key\":\"x\"}}\n", &split[30..])).await;
    lines.send(&line("a", "1")).await;
    lines.send(item("last", "4").to_string().as_str()).await;
    lines.send("").await;
    let results = lines.results(6).await;
    let seen: Vec<_> = results
        .iter()
        .map(|r| (r["line"].as_u64().unwrap(), r["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, [(1, 201), (2, 201), (4, 400), (5, 422), (6, 201), (7, 201)]);
    assert_eq!(results[4]["replayed"], true);
    assert_eq!(results[4]["transfer"], first[0]["transfer"]);
    assert!(lines.rest().await.ends_with("0\r\n\r\n"), "it ends well");

    // Many, in order, each durable.
    let mut lines = Lines::open(&running, "prefer: return=minimal\r\n").await;
    let many: String = (0..1500).map(|i| line(&format!("m{i}"), "0.01")).collect();
    for piece in many.as_bytes().chunks(50_000) {
        lines.send(std::str::from_utf8(piece).unwrap()).await;
    }
    lines.send("").await;
    let results = lines.results(1500).await;
    for (result, number) in results.iter().zip(1_u64..) {
        assert_eq!((&result["line"], &result["status"]), (&json!(number), &json!(201)));
        assert!(result["id"].is_string() && result.get("transfer").is_none());
    }
    assert_eq!(api.figures("eur:debit").await[0], "22.00");
    verified(&running).await;
}

async fn a_stream_bounds_what_it_holds_and_says_why_it_ends(server: &Server) {
    let limited = server.running_with(|options| {
        options.http.body_bytes_max = 2000;
        // What is sent at once may be late on a busy machine.
        options.http.body_timeout = std::time::Duration::from_secs(3);
        options.writer.queue_entries_max = 8;
        options.writer.queue_max = 1;
    });
    let running = limited.await;
    open_pair(&running.api).await;
    let wrong = running.api.request(Method::POST, "/v1/batches.ndjson").json(&json!({}));
    assert_eq!(answer(wrong).await.problem(), "unsupported-media-type");
    let mut long = Lines::open(&running, "").await;
    long.send(&format!("{}\n{}", item("a", "1"), "x".repeat(3000))).await;
    let results = long.results(2).await;
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(201), &json!(413)));
    let mut slow = Lines::open(&running, "").await;
    slow.send(&format!("{}\n", item("b", "1"))).await;
    let results = slow.results(2).await;
    assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(201), &json!(408)));
    // More than there is room for waits instead of being shed.
    let mut lines = Lines::open(&running, "").await;
    let many: String = (0..50).map(|i| format!("{}\n", item(&format!("m{i}"), "1"))).collect();
    for piece in many.as_bytes().chunks(1000) {
        lines.send(std::str::from_utf8(piece).unwrap()).await;
    }
    lines.send("").await;
    assert!(lines.results(50).await.iter().all(|result| result["status"] == 201));
    assert_eq!(running.api.figures("eur:debit").await[0], "52.00");
}

/// Answers that are not stored are written again from the transfer: the same bytes.
async fn replays_are_the_first_answer_after_a_restart_too(server: &Server) {
    let running = server.running().await;
    let api = &running.api;
    open_pair(api).await;
    let mut expiring = holding("eur:credit", "eur:debit", "3");
    expiring["expires_at"] = json!("2999-01-01T00:00:00.000001Z");
    expiring["description"] = json!("\"é\\🦀");
    let hold = api.transfer("hold", &expiring).await;
    let part = json!({"entries": moving("eur:credit", "eur:debit", "1")["entries"], "effective_date": "2026-01-31"});
    let post = api.follow(&id(&hold), "post", "post", &part).await;
    let other = api.transfer("other", &holding("eur:credit", "eur:debit", "1")).await;
    let void = api.follow(&id(&other), "void", "void", &json!({})).await;
    let reverse = api.follow(&id(&post), "reverse", "reverse", &json!({})).await;
    let database = running.database;
    running.service.stop().await.unwrap();
    let again = Running::start(options(&database.url), database).await;
    let api = &again.api;
    let replays = [
        (api.transfer("hold", &expiring).await, hold.clone()),
        (api.follow(&id(&hold), "post", "post", &part).await, post.clone()),
        (api.follow(&id(&other), "void", "void", &json!({})).await, void),
        (api.follow(&id(&post), "reverse", "reverse", &json!({})).await, reverse),
    ];
    for (replayed, first) in replays {
        assert!(replayed.is_replay(), "{}", replayed.body);
        assert_eq!(replayed.body, first.body);
    }
}
