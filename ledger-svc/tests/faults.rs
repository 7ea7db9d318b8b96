//! The real binary, killed and stopped under load: what it acknowledged is there, exactly once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::api::everything;
use crate::binary::{ended, serving, signal};
use crate::engine::{Server, on_every_engine};
use crate::running::{Api, DEADLINE, moving, open_pair};

on_every_engine!(
    killed_under_load_nothing_acknowledged_is_lost_or_doubled,
    a_graceful_stop_answers_every_request_it_has_begun_to_read,
    a_stop_under_load_keeps_every_acknowledgement,
    a_request_that_never_ends_does_not_hold_the_stop_beyond_its_limit,
);

/// Key and body of each acknowledged transfer.
pub type Acknowledged = Vec<(String, String)>;

/// Posts one after another until the service is gone. Returns what was acknowledged and the key
/// of the last one, whose outcome the client cannot know.
async fn post_until_gone(
    api: Api,
    client: String,
    count: Arc<AtomicUsize>,
) -> (Acknowledged, String) {
    let mut acknowledged = Vec::new();
    for index in 0.. {
        let key = format!("{client}-{index}");
        let body = moving("eur:credit", "eur:debit", "0.01");
        let Ok(response) = api.transfer_request(&key, &body).send().await else {
            return (acknowledged, key);
        };
        assert_eq!(response.status(), 201);
        // An answer cut off is no acknowledgement.
        let Ok(body) = response.text().await else { return (acknowledged, key) };
        acknowledged.push((key, body));
        count.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("it only ends with the service")
}

/// Everything in the books agrees with everything else, and holds what was acknowledged.
pub async fn check(api: &Api, acknowledged: &[(String, String)]) {
    let transfers = everything(api, "/v1/transfers").await;
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    for transfer in &transfers {
        *by_id.entry(transfer["id"].as_str().unwrap()).or_default() += 1;
    }
    assert!(by_id.values().all(|count| *count == 1));
    for (key, body) in acknowledged {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            by_id.get(body["id"].as_str().unwrap()),
            Some(&1),
            "{key} was acknowledged and is gone"
        );
    }
    let mut entries_by_transfer: BTreeMap<String, usize> = BTreeMap::new();
    for code in ["eur:debit", "eur:credit"] {
        let entries = everything(api, &format!("/v1/accounts/{code}/entries")).await;
        let balance = api.read(&format!("/v1/accounts/{code}/balance")).await;
        assert_eq!(balance["entries"], entries.len());
        for (entry, number) in entries.iter().zip(1_i64..) {
            assert_eq!(entry["number"], number);
            *entries_by_transfer.entry(entry["transfer"].to_string()).or_default() += 1;
        }
        if let Some(last) = entries.last() {
            assert_eq!(last["balance"], balance["balance"]);
        }
    }
    assert_eq!(entries_by_transfer.len(), transfers.len());
    assert!(entries_by_transfer.values().all(|count| *count == 2), "a transfer is half there");
    let trial = api.read("/v1/trial-balance").await;
    assert_eq!(trial["currencies"][0]["difference"], "0.00");
}

async fn killed_under_load_nothing_acknowledged_is_lost_or_doubled(server: &Server) {
    let database = server.database().await;
    let (mut acknowledged, mut unknown): (Acknowledged, Vec<String>) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let mut running = serving(&database, &[]).await;
        if round == 0 {
            open_pair(&running.api).await;
        } else {
            check(&running.api, &acknowledged).await;
            ask_again(&running.api, &mut acknowledged, &mut unknown).await;
        }
        let count = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for client in 0..16 {
            let name = format!("r{round}-c{client}");
            clients.spawn(post_until_gone(running.api.clone(), name, Arc::clone(&count)));
        }
        // Another moment in every round, measured in work so that a slow machine gets there too.
        let reached = async {
            while count.load(Ordering::Relaxed) < 40 + 37 * round {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect("no progress");
        signal(&running.child, "-KILL");
        assert_eq!(ended(&mut running.child).await.code(), None);
        for (answered, last) in clients.join_all().await {
            acknowledged.extend(answered);
            unknown.push(last);
        }
    }
    let running = serving(&database, &[]).await;
    check(&running.api, &acknowledged).await;
    ask_again(&running.api, &mut acknowledged, &mut unknown).await;
    check(&running.api, &acknowledged).await;
    let posted = everything(&running.api, "/v1/transfers").await.len();
    assert_eq!(posted, acknowledged.len(), "every key is one transfer");
    Box::pin(forebay_ledger::verify::verify(&database.url.parse().unwrap(), None)).await.unwrap();
}

/// After a crash, a client sends what it has no answer for again, and so learns the outcome; what
/// it has an answer for is answered the same.
async fn ask_again(api: &Api, acknowledged: &mut Acknowledged, unknown: &mut Vec<String>) {
    let body = moving("eur:credit", "eur:debit", "0.01");
    for (key, first) in acknowledged.iter().rev().take(20) {
        let again = api.transfer(key, &body).await;
        assert_eq!((again.is_replay(), &again.body), (true, first));
    }
    for key in unknown.drain(..) {
        let answer = api.transfer(&key, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        acknowledged.push((key, answer.body));
    }
}

async fn a_graceful_stop_answers_every_request_it_has_begun_to_read(server: &Server) {
    let database = server.database().await;
    let mut running = serving(&database, &[]).await;
    open_pair(&running.api).await;
    let address = running.api.base.strip_prefix("http://").unwrap().to_owned();
    let mut begun = Vec::new();
    for index in 0..12 {
        let body = moving("eur:credit", "eur:debit", "1.00").to_string();
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /v1/transfers HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: g{index}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{}", &body[..20]).as_bytes()).await.unwrap();
        begun.push((stream, body));
    }
    // Connections that ask for nothing must not hold the stop up.
    let _silent = TcpStream::connect(&address).await.unwrap();
    running.api.metric_reaches("forebay_ledger_http_requests_in_flight", 12.0).await;
    signal(&running.child, "-TERM");
    let refused = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("it still accepts");
    for (stream, body) in &mut begun {
        stream.write_all(&body.as_bytes()[20..]).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    assert_eq!(ended(&mut running.child).await.code(), Some(0));
    let again = serving(&database, &[]).await;
    let balance = again.api.read("/v1/accounts/eur:debit/balance").await;
    assert_eq!(balance["debits"], "12.00");
}

async fn a_stop_under_load_keeps_every_acknowledgement(server: &Server) {
    let database = server.database().await;
    let mut running = serving(&database, &[]).await;
    open_pair(&running.api).await;
    let count = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..16 {
        clients.spawn(post_until_gone(
            running.api.clone(),
            format!("c{client}"),
            Arc::clone(&count),
        ));
    }
    let reached = async {
        while count.load(Ordering::Relaxed) < 200 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect("no progress");
    signal(&running.child, "-TERM");
    assert_eq!(ended(&mut running.child).await.code(), Some(0));
    let acknowledged: Acknowledged =
        clients.join_all().await.into_iter().flat_map(|(answered, _)| answered).collect();
    let again = serving(&database, &[]).await;
    check(&again.api, &acknowledged).await;
    let posted = everything(&again.api, "/v1/transfers").await.len();
    assert_eq!(posted, acknowledged.len(), "everything posted was also answered");
}

async fn a_request_that_never_ends_does_not_hold_the_stop_beyond_its_limit(server: &Server) {
    let database = server.database().await;
    let limits = ["--drain", "200ms", "--body-timeout", "1h", "--request-timeout", "1h"];
    let mut running = serving(&database, &limits).await;
    let address = running.api.base.strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = "POST /v1/accounts HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    running.api.metric_reaches("forebay_ledger_http_requests_in_flight", 1.0).await;
    signal(&running.child, "-TERM");
    assert_eq!(ended(&mut running.child).await.code(), Some(0));
    let log = std::fs::read_to_string(database.directory.join("log")).unwrap();
    assert!(log.contains("\"unanswered\":1") && log.contains("\"stopped\""), "{log}");
}
