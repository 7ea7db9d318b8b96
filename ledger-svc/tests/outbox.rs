//! What is booked, told to others: webhooks with signatures and retries, and the stream of events.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use forebay_ledger::http::gate::Auth;
use forebay_ledger::outbox::sign::Secret;
use forebay_ledger::verify::verify;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::engine::{Engine, Server, on_every_engine};
use crate::keys::{guarded, with};
use crate::pending::{hold_and_void, holding, id};
use crate::running::{Api, DEADLINE, Running, answer, moving, open_pair, options};

on_every_engine!(
    everything_booked_is_delivered_signed_and_in_order,
    what_fails_is_sent_again_until_it_is_taken,
    a_webhook_that_fails_too_often_is_suspended_and_loses_nothing,
    a_stream_goes_on_where_it_was_left,
    webhooks_are_checked_and_limited,
);

/// A request that arrived: its head, lower case, and its body.
type Arrived = (String, String);

/// A web server that keeps what is posted to it and answers as it is told; what it is not told it answers with 200.
#[derive(Clone)]
struct Receiver {
    url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let receiver = Self { url, arrived: Arc::default(), answers: Arc::default() };
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    loop {
                        let mut buffer = [0; 1 << 14];
                        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
                        read.extend_from_slice(&buffer[..count]);
                        let Some(arrived) = whole(&mut read) else { continue };
                        receiver.arrived.lock().unwrap().push(arrived);
                        let status = receiver.answers.lock().unwrap().pop().unwrap_or(200);
                        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        receiver
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap().clone()
    }

    /// Everything that was told, deliveries that were answered with an error included.
    fn events(&self) -> Vec<Value> {
        let bodies = self
            .arrived()
            .into_iter()
            .map(|(_, body)| serde_json::from_str::<Value>(&body).unwrap());
        bodies.flat_map(|body| body["events"].as_array().unwrap().clone()).collect()
    }

    async fn until(&self, enough: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !enough(self) {
            assert!(began.elapsed() < DEADLINE, "not told: {:?}", self.arrived());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn whole(read: &mut Vec<u8>) -> Option<Arrived> {
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8(read[..head].to_vec()).unwrap().to_lowercase();
    let length: usize = header(&text, "content-length").parse().unwrap();
    if read.len() < head + length {
        return None;
    }
    let body = String::from_utf8(read[head..head + length].to_vec()).unwrap();
    read.drain(..head + length);
    Some((text, body))
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

async fn register(api: &Api, receiver: &Receiver, more: Value) -> Value {
    let mut body = json!({"url": receiver.url});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let created = api.post("/v1/webhooks", &body).await;
    assert_eq!(
        (created.status.as_u16(), &created.headers["cache-control"]),
        (201, &"no-store".parse().unwrap()),
        "{}",
        created.body
    );
    created.json()
}

/// A service that tries again soon, and gives up soon.
async fn hasty(server: &Server, attempts_max: u32) -> Running {
    server
        .running_with(|options| {
            options.outbox.retry_first = Duration::from_millis(20);
            options.outbox.attempts_max = attempts_max;
            options.outbox.batch_max = 4;
        })
        .await
}

async fn everything_booked_is_delivered_signed_and_in_order(server: &Server) {
    let running = hasty(server, 5).await;
    let api = &running.api;
    open_pair(api).await;
    id(&api.transfer("before", &moving("eur:credit", "eur:debit", "1")).await);
    let (all, new) = (Receiver::start().await, Receiver::start().await);
    let created = register(api, &all, json!({"after": 0, "description": "all of it"})).await;
    register(api, &new, json!({})).await;
    hold_and_void(api).await;
    let first = id(&api.transfer("a", &moving("eur:credit", "eur:debit", "5")).await);
    id(&api.follow(&first, "reverse", "b", &json!({})).await);
    let held = id(&api.transfer("c", &holding("eur:credit", "eur:debit", "7")).await);
    id(&api.follow(&held, "post", "d", &json!({})).await);
    let last = api.read("/v1/transfers?limit=1000").await["items"].as_array().unwrap().len();
    all.until(|receiver| receiver.events().len() >= last).await;
    new.until(|receiver| receiver.events().len() >= last - 1).await;
    let (events, newer) = (all.events(), new.events());
    assert_eq!(newer, events[1..], "from when it was registered");
    for (number, event) in (1..).zip(&events) {
        assert_eq!(event["id"], number);
        let transfer = &event["transfer"];
        // As it was booked, whatever followed it since.
        let mut now =
            api.read(&format!("/v1/transfers/{}", transfer["id"].as_str().unwrap())).await;
        now.as_object_mut().unwrap().remove("followed_by");
        now["state"] = transfer["state"].clone();
        assert_eq!(*transfer, now);
        let kind = match transfer["kind"].as_str().unwrap() {
            "transfer" | "post" => "transfer.posted",
            "pending" => "transfer.pending",
            "void" => "transfer.voided",
            "reverse" => "transfer.reversed",
            other => panic!("{other}"),
        };
        assert_eq!(event["type"], kind);
    }
    assert!(
        all.arrived().iter().all(|(_, body)| body.matches("\"type\"").count() <= 4),
        "batches are limited"
    );
    let secret = created["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let secret = Secret::from_bytes(&base64(secret));
    for (head, body) in all.arrived() {
        let (id, at) = (header(&head, "webhook-id"), header(&head, "webhook-timestamp"));
        let signed = secret.signature(id, at.parse().unwrap(), &body);
        assert_eq!(header(&head, "webhook-signature"), signed.to_lowercase());
        assert_eq!(header(&head, "content-type"), "application/json");
    }
    let listed = api.read("/v1/webhooks").await;
    assert!(!listed.to_string().contains("whsec"), "{listed}");
    verify(&running.database.url.parse().unwrap(), None).await.unwrap();

    // A service that starts again goes on where this one stopped.
    let (database, before) = (running.database, all.events().len());
    running.service.stop().await.unwrap();
    let again = Running::start(options(&database.url), database).await;
    id(&again.api.transfer("after", &moving("eur:credit", "eur:debit", "1")).await);
    all.until(|receiver| receiver.events().len() > before).await;
    assert_eq!(all.events().len(), before + 1, "nothing is told twice after a stop in good order");
    assert_eq!(all.events()[before]["id"], i64::try_from(last).unwrap() + 1);
    // One that is removed is told nothing more, and that is written down.
    let removed = again.api.post("/v1/webhooks/1/remove", &json!({})).await;
    assert!(removed.json()["removed_at"].is_string());
    id(&again.api.transfer("later", &moving("eur:credit", "eur:debit", "1")).await);
    new.until(|receiver| receiver.events().len() > before).await;
    assert_eq!(all.events().len(), before + 1);
    let log = again.api.read("/v1/audit-log").await;
    let told: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(told[told.len() - 3..], ["webhook.create", "limits.set", "webhook.remove"]);
}

fn base64(text: &str) -> Vec<u8> {
    let digits = text.trim_end_matches('=').bytes().map(|byte| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    });
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}

async fn what_fails_is_sent_again_until_it_is_taken(server: &Server) {
    let running = hasty(server, 10).await;
    let api = &running.api;
    open_pair(api).await;
    let receiver = Receiver::start().await;
    // From the last to the first.
    *receiver.answers.lock().unwrap() = vec![302, 400, 500, 503];
    register(api, &receiver, json!({})).await;
    id(&api.transfer("a", &moving("eur:credit", "eur:debit", "1")).await);
    receiver.until(|receiver| receiver.arrived().len() >= 2).await;
    // What is booked meanwhile waits its turn.
    id(&api.transfer("b", &moving("eur:credit", "eur:debit", "1")).await);
    receiver.until(|receiver| receiver.events().iter().any(|event| event["id"] == 2)).await;
    let arrived = receiver.arrived();
    let ids: Vec<&str> = arrived.iter().map(|(head, _)| header(head, "webhook-id")).collect();
    assert_eq!(
        ids,
        ["1-1-1", "1-1-1", "1-1-1", "1-1-1", "1-1-1", "1-2-2"],
        "one delivery, one name"
    );
    assert!(arrived[..5].iter().all(|(_, body)| *body == arrived[0].1), "the same bytes");
    api.metric_reaches("forebay_ledger_webhook_deliveries_total{outcome=\"failed\"}", 4.0).await;
    api.metric_reaches("forebay_ledger_webhook_events_delivered_total", 2.0).await;
}

async fn a_webhook_that_fails_too_often_is_suspended_and_loses_nothing(server: &Server) {
    let running = hasty(server, 3).await;
    let api = &running.api;
    open_pair(api).await;
    let (failing, gone) = (Receiver::start().await, Receiver::start().await);
    *failing.answers.lock().unwrap() = vec![500; 3];
    *gone.answers.lock().unwrap() = vec![410];
    register(api, &failing, json!({})).await;
    register(api, &gone, json!({})).await;
    id(&api.transfer("a", &moving("eur:credit", "eur:debit", "1")).await);
    api.metric_reaches("forebay_ledger_webhooks_suspended", 2.0).await;
    id(&api.transfer("b", &moving("eur:credit", "eur:debit", "1")).await);
    let began = Instant::now();
    let listed = loop {
        let listed = api.read("/v1/webhooks/1").await;
        if listed["suspended_at"].is_string() {
            break listed;
        }
        assert!(began.elapsed() < DEADLINE, "{listed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&listed["failures"], &listed["delivered"]), (&json!(3), &json!(0)));
    assert!(listed["error"].as_str().unwrap().contains("it answered 500"), "{listed}");
    assert_eq!((failing.arrived().len(), gone.arrived().len()), (3, 1));
    // A restart changes nothing about that.
    let database = running.database;
    running.service.stop().await.unwrap();
    let again = Running::start(options(&database.url), database).await;
    again.api.metric_reaches("forebay_ledger_webhooks_suspended", 2.0).await;
    let resumed = again.api.post("/v1/webhooks/1/resume", &json!({})).await.json();
    assert_eq!((&resumed["suspended_at"], &resumed["error"]), (&Value::Null, &Value::Null));
    failing.until(|receiver| receiver.events().iter().any(|event| event["id"] == 2)).await;
    let numbers: Vec<Value> =
        failing.events()[3..].iter().map(|event| event["id"].clone()).collect();
    assert_eq!(numbers, [1, 2], "nothing is left out");
    assert_eq!(
        again.api.post("/v1/webhooks/9/resume", &json!({})).await.problem(),
        "webhook-not-found"
    );
    let log = again.api.read("/v1/audit-log").await;
    assert_eq!(log["items"][2]["action"], "webhook.resume");
    verify(&again.database.url.parse().unwrap(), None).await.unwrap();
}

/// Reads a stream until so many events have come.
async fn streamed(request: reqwest::RequestBuilder, count: usize) -> Vec<(i64, Value)> {
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut events) = (String::new(), Vec::new());
    while events.len() < count {
        let chunk =
            tokio::time::timeout(DEADLINE, response.chunk()).await.expect("no event").unwrap();
        text.push_str(&String::from_utf8_lossy(&chunk.expect("the stream ended")));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let line = |name: &str| {
                event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
            };
            if let (Some(number), Some(data)) = (line("id: "), line("data: ")) {
                let data: Value = serde_json::from_str(&data).unwrap();
                assert_eq!(line("event: ").unwrap(), data["type"].as_str().unwrap());
                events.push((number.parse().unwrap(), data));
            }
            text = rest.to_owned();
        }
    }
    events
}

async fn a_stream_goes_on_where_it_was_left(server: &Server) {
    let running = server.running_with(|options| options.outbox.streams_max = 1).await;
    let api = &running.api;
    open_pair(api).await;
    for index in 0..150 {
        id(&api.transfer(&format!("k{index}"), &moving("eur:credit", "eur:debit", "1")).await);
    }
    let from = |after: &str| api.request(Method::GET, &format!("/v1/events{after}"));
    let all = streamed(from("?after=0"), 150).await;
    assert_eq!(
        all.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        (1..=150).collect::<Vec<_>>()
    );
    assert!(all.iter().all(|(number, event)| event["id"] == *number));
    // Once the one before has noticed that nobody reads it any more.
    let free = || async {
        let began = Instant::now();
        while api.metric("forebay_ledger_event_streams").await > 0.5 {
            assert!(began.elapsed() < DEADLINE);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    free().await;
    let rest = streamed(from("?after=3").header("last-event-id", "148"), 2).await;
    assert_eq!(rest, all[148..], "what was seen last goes before the address");
    free().await;
    let later = async {
        while api.metric("forebay_ledger_event_streams").await < 0.5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        id(&api.transfer("later", &moving("eur:credit", "eur:debit", "1")).await)
    };
    let (new, booked) = tokio::join!(streamed(from(""), 1), later);
    assert_eq!((new[0].0, &new[0].1["transfer"]["id"]), (151, &json!(booked)));
    free().await;
    let open = from("").send().await.unwrap();
    assert_eq!(answer(from("")).await.problem(), "too-many-streams");
    for wrong in ["?after=-1", "?after=x", "?since=1", "?after=152"] {
        assert_eq!(answer(from(wrong)).await.problem(), "invalid-parameter", "{wrong}");
    }
    assert_eq!(answer(from("").header("last-event-id", "x")).await.problem(), "invalid-parameter");
    let ahead = answer(from("?after=1").header("last-event-id", "152")).await;
    assert_eq!(ahead.problem(), "invalid-parameter");
    assert!(ahead.body.contains("the last event is number 151"), "{}", ahead.body);
    // A stop ends it.
    let began = Instant::now();
    assert_eq!(running.service.stop().await.unwrap(), 0);
    assert!(open.text().await.is_ok() && began.elapsed() < DEADLINE);

    // So does the end of its key.
    let (guarded, admin) = guarded(server).await;
    let api = &guarded.api;
    let body = json!({"name": "watcher", "role": "reader"});
    let created =
        answer(with(api, admin.reveal(), Method::POST, "/v1/keys").json(&body)).await.json();
    let key = created["key"].as_str().unwrap();
    let open = with(api, key, Method::GET, "/v1/events").send().await.unwrap();
    assert_eq!(open.status(), 200);
    let revoked = answer(with(api, admin.reveal(), Method::POST, "/v1/keys/2/revoke")).await;
    assert_eq!(revoked.status, 200);
    tokio::time::timeout(DEADLINE, open.text()).await.expect("it goes on").unwrap();
}

#[tokio::test]
async fn who_does_not_read_does_not_keep_a_stream_from_others() {
    let server = Server::start(Engine::Sqlite, &[]).await;
    let running = server
        .running_with(|options| {
            options.outbox.streams_max = 1;
            options.http.body_timeout = Duration::from_secs(5);
        })
        .await;
    let api = &running.api;
    open_pair(api).await;
    // More than both ends' kernels hold: 12 MB.
    let mut transfer = moving("eur:credit", "eur:debit", "1");
    transfer["description"] = json!("\u{1f4b6}".repeat(500));
    for part in 0..15 {
        let items: Vec<Value> = (0..400)
            .map(|index| json!({"key": format!("{part}-{index}"), "transfer": transfer}))
            .collect();
        let booked = api.post("/v1/batches", &json!({"transfers": items})).await;
        assert_eq!(booked.status, 200, "{}", booked.body);
    }
    let address = api.base.trim_start_matches("http://");
    let mut deaf = tokio::net::TcpStream::connect(address).await.unwrap();
    let asked = b"GET /v1/events?after=0 HTTP/1.1\r\nhost: x\r\n\r\n";
    deaf.write_all(asked).await.unwrap();
    api.metric_reaches("forebay_ledger_event_streams", 1.0).await;
    let began = Instant::now();
    let open = loop {
        let open = api.request(Method::GET, "/v1/events").send().await.unwrap();
        if open.status() == 200 {
            break open;
        }
        assert!(began.elapsed() < DEADLINE, "the place is never free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    drop((open, deaf));
}

async fn webhooks_are_checked_and_limited(server: &Server) {
    let running = server
        .running_with(|options| {
            options.auth = Auth::Open;
            options.outbox.endpoints_max = 1;
        })
        .await;
    let api = &running.api;
    for (body, field) in [
        (json!({"url": "ftp://x/"}), "url"),
        (json!({"url": "http://shop.example.com/"}), "url"),
        (json!({"url": "https://x/", "after": -1}), "after"),
        (json!({"url": "https://x/", "after": 1}), "after"),
        (json!({"url": "https://x/", "description": "a\nb"}), "description"),
    ] {
        let refused = api.post("/v1/webhooks", &body).await;
        assert_eq!(
            (refused.problem().as_str(), &refused.json()["field"]),
            ("invalid-body", &json!(field))
        );
    }
    let https = json!({"url": "https://127.0.0.1:1/"});
    assert_eq!(api.post("/v1/webhooks", &https).await.status, 201);
    assert_eq!(api.post("/v1/webhooks", &https).await.problem(), "too-many-webhooks");
    assert_eq!(api.post("/v1/webhooks/1/remove", &json!({})).await.status, 200);
    assert_eq!(api.post("/v1/webhooks", &https).await.status, 201);
    assert_eq!(api.get("/v1/webhooks/7").await.problem(), "webhook-not-found");
}
