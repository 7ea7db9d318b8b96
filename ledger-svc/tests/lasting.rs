//! What a restart, another service and a server killed under load leave: everything acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::api::everything;
use crate::engine::{Engine, Server, on_every_engine};
use crate::faults::{Acknowledged, check};
use crate::running::{Api, DEADLINE, Running, moving, open_pair, options};

on_every_engine!(
    a_restart_finds_everything_again,
    a_service_that_has_been_replaced_stops_writing,
    a_server_killed_under_load_loses_nothing_acknowledged,
);

async fn a_restart_finds_everything_again(server: &Server) {
    let running = server.running().await;
    open_pair(&running.api).await;
    let body = moving("eur:credit", "eur:debit", "1");
    let first = running.api.transfer("k", &body).await;
    // Text that SQL, JSON and URLs each have their own ideas about.
    let mut odd = body.clone();
    odd["description"] = r#"O'Brien "\" \\ % ; -- 中 🦀 \u0041 {} [1]"#.into();
    odd["effective_date"] = "0000-02-29".into();
    let second = running.api.transfer("~!#$%&'()*+,./:;<=>?@[\\]^_`{|}", &odd).await;
    assert_eq!(second.status, 201, "{}", second.body);
    let trial = running.api.read("/v1/trial-balance").await;
    let database = running.database;
    assert_eq!(running.service.stop().await.unwrap(), 0);
    let log = database.directory.join("ledger.sqlite-wal");
    assert!(!log.exists(), "the embedded engine's log is folded in");
    let again = Running::start(options(&database.url), database).await;
    assert_eq!(again.api.read("/v1/trial-balance").await, trial);
    let replayed = again.api.transfer("k", &body).await;
    assert_eq!((replayed.is_replay(), replayed.body), (true, first.body));
    let replayed = again.api.transfer("~!#$%&'()*+,./:;<=>?@[\\]^_`{|}", &odd).await;
    assert_eq!((replayed.is_replay(), &replayed.body), (true, &second.body));
    let stored = again.api.get(second.headers["location"].to_str().unwrap()).await;
    assert_eq!(stored.body, second.body);
    again.service.stop().await.unwrap();
}

async fn a_service_that_has_been_replaced_stops_writing(server: &Server) {
    let mut running = server.running().await;
    open_pair(&running.api).await;
    let mut raw = running.database.connect().await;
    raw.execute("UPDATE service SET epoch = epoch + 1").await.unwrap();
    let answer = running.api.transfer("k", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(answer.problem(), "database-unavailable");
    let error = running.service.failed().await.to_string();
    assert!(error.contains("took over"), "{error}");
}

/// Posts until told to stop; what is not acknowledged is sent again under its key until it is.
async fn post_until(
    api: Api,
    client: String,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> Acknowledged {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{client}-{}", acknowledged.len());
        let body = moving("eur:credit", "eur:debit", "0.01");
        loop {
            let answer = api.transfer(&key, &body).await;
            if answer.status == 201 {
                acknowledged.push((key, answer.body));
                count.fetch_add(1, Ordering::Relaxed);
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert_eq!(answer.headers["retry-after"], "1");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    acknowledged
}

async fn a_server_killed_under_load_loses_nothing_acknowledged(server: &Server) {
    if server.engine == Engine::Sqlite {
        // Embedded: killed with the service, in `faults`.
        return;
    }
    let running = server.running().await;
    open_pair(&running.api).await;
    let (count, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
        clients.spawn(post_until(running.api.clone(), format!("c{client}"), count, stop));
    }
    // Every round at another moment, measured in work.
    for round in 0..5 {
        reaches(&count, count.load(Ordering::Relaxed) + 60 + 41 * round).await;
        server.kill();
        server.launch().await;
    }
    reaches(&count, count.load(Ordering::Relaxed) + 50).await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Acknowledged = clients.join_all().await.into_iter().flatten().collect();
    check(&running.api, &acknowledged).await;
    let posted = everything(&running.api, "/v1/transfers").await.len();
    assert_eq!(posted, acknowledged.len(), "every key is one transfer");
}

async fn reaches(count: &AtomicUsize, least: usize) {
    let reached = async {
        while count.load(Ordering::Relaxed) < least {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, reached).await.expect("no progress");
}
