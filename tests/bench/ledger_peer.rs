//! The plain way: one SQL transaction per transfer, on as many connections as help the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::{Database, Engine};
use crate::raw::Raw;

const ACCOUNTS: u64 = 10_000;

/// Transfers a second: two balances updated, one transfer and two entries inserted, committed.
pub async fn one_transaction_each(database: &Database, time: Duration) -> f64 {
    let mut raw = database.connect().await;
    for sql in [
        "CREATE TABLE peer_accounts (id BIGINT PRIMARY KEY, debits BIGINT NOT NULL, credits BIGINT NOT NULL)",
        "CREATE TABLE peer_transfers (id BIGINT PRIMARY KEY, at BIGINT NOT NULL)",
        "CREATE TABLE peer_entries (id BIGINT PRIMARY KEY, transfer BIGINT NOT NULL, account BIGINT NOT NULL, minor BIGINT NOT NULL)",
    ] {
        raw.execute(sql).await.unwrap();
    }
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id},0,0)")).collect();
    raw.execute(&format!("INSERT INTO peer_accounts VALUES {}", rows.join(","))).await.unwrap();
    let next = Arc::new(AtomicU64::new(1));
    let connections = if database.engine == Engine::Sqlite { 1 } else { 16 };
    let mut clients = tokio::task::JoinSet::new();
    let began = Instant::now();
    for _ in 0..connections {
        let (mut raw, next) = (database.connect().await, Arc::clone(&next));
        if database.engine == Engine::Sqlite {
            raw.execute("PRAGMA journal_mode = WAL").await.unwrap();
            raw.execute("PRAGMA synchronous = FULL").await.unwrap();
        }
        clients.spawn(async move {
            let mut done = 0_u32;
            while began.elapsed() < time {
                transfer(&mut raw, next.fetch_add(1, Ordering::Relaxed)).await;
                done += 1;
            }
            done
        });
    }
    let done: u32 = clients.join_all().await.iter().sum();
    f64::from(done) / began.elapsed().as_secs_f64()
}

async fn transfer(raw: &mut Raw, number: u64) {
    // Spread over the accounts; the lower first, so that no two wait for each other in a circle.
    let (one, other) = (number * 7919 % ACCOUNTS, number * 104_729 % ACCOUNTS);
    let (low, high) = (one.min(other), one.max(other));
    for sql in [
        "BEGIN".to_owned(),
        format!("UPDATE peer_accounts SET debits = debits + 1 WHERE id = {low}"),
        format!("UPDATE peer_accounts SET credits = credits + 1 WHERE id = {high}"),
        format!("INSERT INTO peer_transfers VALUES ({number}, 1)"),
        format!(
            "INSERT INTO peer_entries VALUES ({0}, {number}, {low}, 1), ({0} + 1, {number}, {high}, 1)",
            number * 2
        ),
        "COMMIT".to_owned(),
    ] {
        raw.execute(&sql).await.unwrap();
    }
}
