//! A database that stalls or fails: what waits is bounded, what is answered is true, and the
//! service recovers by itself. The stall is another connection holding the lock every batch takes.

use std::time::Duration;

use crate::binary::{ended, serving_told, signal};
use crate::engine::{Engine, Server, on_every_engine};
use crate::running::{Answer, DEADLINE, Running, answer, moving, open_pair};

fn post(running: &Running, key: &str) -> tokio::task::JoinHandle<Answer> {
    let request = running.api.transfer_request(key, &moving("eur:credit", "eur:debit", "1"));
    tokio::spawn(answer(request))
}

on_every_engine!(
    a_full_queue_sheds_and_what_waits_is_answered,
    a_timed_out_request_is_found_again_under_its_key,
    a_failed_batch_acknowledges_nothing_and_the_service_recovers,
    a_batch_is_bounded,
    stopping_answers_what_waits_for_the_writer,
    waiting_entries_are_bounded_too,
    a_log_that_cannot_be_written_stops_nothing,
);

async fn a_full_queue_sheds_and_what_waits_is_answered(server: &Server) {
    let running = server.running_with(|options| options.writer.queue_max = 2).await;
    open_pair(&running.api).await;
    let stalled = running.database.stall().await;
    // One write is in the stalled batch, two wait; the rest has no place.
    let first = post(&running, "first");
    running.api.metric_reaches("forebay_ledger_http_requests_in_flight", 1.0).await;
    let waiting: Vec<_> = (0..8).map(|i| post(&running, &format!("k{i}"))).collect();
    let (mut shed, mut kept) = (0, Vec::new());
    running.api.metric_reaches("forebay_ledger_queue_depth", 2.0).await;
    assert!((running.api.metric("forebay_ledger_queue_capacity").await - 2.0).abs() < 0.1);
    running.api.metric_reaches("forebay_ledger_rejections_total{reason=\"queue-full\"}", 1.0).await;
    // Reads go on meanwhile.
    assert_eq!(running.api.get("/v1/trial-balance").await.status, 200);
    stalled.close().await;
    for task in waiting {
        let answer = task.await.unwrap();
        if answer.status == 503 {
            assert_eq!(answer.problem(), "queue-full");
            assert_eq!(answer.headers["retry-after"], "1");
            shed += 1;
        } else {
            assert_eq!(answer.status, 201);
            kept.push(answer);
        }
    }
    assert_eq!(first.await.unwrap().status, 201);
    assert!(shed > 0 && !kept.is_empty(), "{shed} shed, {} kept", kept.len());
    let posted = running.api.metric("forebay_ledger_transfers_posted_total").await;
    assert!((posted - (1 + kept.len()) as f64).abs() < 0.1, "{posted}");
}

async fn a_timed_out_request_is_found_again_under_its_key(server: &Server) {
    // Long for everything else on a busy machine, and short of the engine's own patience.
    let running =
        server.running_with(|options| options.http.request_timeout = Duration::from_secs(2)).await;
    open_pair(&running.api).await;
    let stalled = running.database.stall().await;
    let timed_out = post(&running, "key").await.unwrap();
    assert_eq!(timed_out.problem(), "timed-out");
    stalled.close().await;
    let answered = async {
        loop {
            let answer = post(&running, "key").await.unwrap();
            if answer.status == 201 {
                return answer;
            }
        }
    };
    let answered = tokio::time::timeout(DEADLINE, answered).await.unwrap();
    assert!(answered.is_replay(), "the first attempt was committed once the stall ended");
    let balance = running.api.read("/v1/accounts/eur:debit/balance").await;
    assert_eq!(balance["debits"], "1.00");
}

async fn a_failed_batch_acknowledges_nothing_and_the_service_recovers(server: &Server) {
    let running = server.running_with(|_| {}).await;
    open_pair(&running.api).await;
    let stalled = running.database.stall().await;
    // Longer than the engine's own patience: the batch fails.
    let failed = post(&running, "key").await.unwrap();
    assert_eq!(failed.problem(), "database-unavailable");
    let ready = answer(running.api.client.get(format!("{}/readyz", running.api.admin))).await;
    assert_eq!(ready.problem(), "database-unavailable");
    assert_eq!(running.api.get("/v1/accounts").await.status, 200);
    stalled.close().await;
    let ready = async {
        while answer(running.api.client.get(format!("{}/readyz", running.api.admin))).await.status
            != 200
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.expect("ready again without a restart");
    let posted = post(&running, "key").await.unwrap();
    assert_eq!((posted.status.as_u16(), posted.is_replay()), (201, false));
    assert!(running.api.metric("forebay_ledger_batch_failures_total").await >= 1.0);
}

async fn a_batch_is_bounded(server: &Server) {
    let running = server.running_with(|options| options.writer.batch_max = 4).await;
    open_pair(&running.api).await;
    let stalled = running.database.stall().await;
    let waiting: Vec<_> = (0..33).map(|i| post(&running, &format!("k{i}"))).collect();
    // As many as fit in a batch are being written at most, in two lanes twice as many, and four are decided meanwhile.
    let two_lanes = server.engine != Engine::Sqlite;
    let (waits, least) = if two_lanes { (21.0, 6.0) } else { (25.0, 7.0) };
    running.api.metric_reaches("forebay_ledger_queue_depth", waits).await;
    let before = running.api.metric("forebay_ledger_batch_writes_count").await;
    stalled.close().await;
    for task in waiting {
        assert_eq!(task.await.unwrap().status, 201);
    }
    let batches = running.api.metric("forebay_ledger_batch_writes_count").await - before;
    assert!(batches >= least, "{waits} waiting writes took {batches} batches of at most 4");
}

async fn stopping_answers_what_waits_for_the_writer(server: &Server) {
    let running = server.running_with(|_| {}).await;
    open_pair(&running.api).await;
    let stalled = running.database.stall().await;
    let waiting: Vec<_> = (0..20).map(|i| post(&running, &format!("k{i}"))).collect();
    running.api.metric_reaches("forebay_ledger_http_requests_in_flight", 20.0).await;
    let database = running.database.clone();
    let stopping = tokio::spawn(running.service.stop());
    stalled.close().await;
    for task in waiting {
        assert_eq!(task.await.unwrap().status, 201);
    }
    assert_eq!(tokio::time::timeout(DEADLINE, stopping).await.unwrap().unwrap().unwrap(), 0);
    let stored = database.transfers().await;
    assert_eq!(stored, 20);
}

async fn waiting_entries_are_bounded_too(server: &Server) {
    let running = server.running_with(|options| options.writer.queue_entries_max = 5).await;
    open_pair(&running.api).await;
    let stalled = running.database.stall().await;
    let waiting: Vec<_> = (0..2).map(|i| post(&running, &format!("k{i}"))).collect();
    running.api.metric_reaches("forebay_ledger_queue_entries", 4.0).await;
    let shed = post(&running, "shed").await.unwrap();
    assert_eq!(shed.problem(), "queue-full");
    assert!(shed.body.contains("entries"), "{}", shed.body);
    stalled.close().await;
    for task in waiting {
        assert_eq!(task.await.unwrap().status, 201);
    }
    // A transfer larger than the whole room goes alone.
    let entry = |direction| serde_json::json!({"account": "eur:debit", "direction": direction, "amount": "1"});
    let entries: Vec<_> = [entry("debit"), entry("credit")].into_iter().cycle().take(8).collect();
    let large = serde_json::json!({"description": "large", "entries": entries});
    assert_eq!(running.api.transfer("large", &large).await.status, 201);
}

async fn a_log_that_cannot_be_written_stops_nothing(server: &Server) {
    let database = server.database().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut serving = serving_told(&database, &[], full).await;
    open_pair(&serving.api).await;
    let booked = serving.api.transfer("a", &moving("eur:credit", "eur:debit", "1")).await;
    assert_eq!(booked.status, 201, "{}", booked.body);
    serving.api.metric_reaches("forebay_ledger_log_lines_lost_total", 2.0).await;
    signal(&serving.child, "-TERM");
    assert_eq!(ended(&mut serving.child).await.code(), Some(0));
    assert_eq!(database.transfers().await, 1);
}
