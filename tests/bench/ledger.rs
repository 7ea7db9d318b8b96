//! What the ledger does a second, durable, on each engine, over HTTP on loopback, load generator included;
//! each figure beside two of the same minute: how often the disk flushes, and what the same engine does
//! with one SQL transaction per transfer. Figures of different machines, or minutes, compare as ratios only.
//!
//! `make bench-ledger`, or `cargo bench -p forebay-ledger --bench ledger -- [ENGINE…] [--seconds N]`.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../../ledger-svc/tests/engine.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "the tests need more of it")]
mod engine;
#[path = "ledger_load.rs"]
mod load;
#[path = "ledger_peer.rs"]
mod peer;
#[path = "../../ledger-svc/tests/raw.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod raw;
#[path = "../../ledger-svc/tests/running.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod running;

use std::io::Write as _;
use std::time::{Duration, Instant};

use engine::{Engine, Server};
use load::{Load, Measured};
use running::Running;
use serde_json::{Value, json};

/// Between how many accounts transfers go.
const ACCOUNTS: usize = 10_000;
const SECONDS: u64 = 5;

fn main() {
    let (mut engines, mut seconds) = (Vec::new(), SECONDS);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "sqlite" => engines.push(Engine::Sqlite),
            "postgres" => engines.push(Engine::Postgres),
            "mariadb" => engines.push(Engine::MariaDb),
            "--seconds" => seconds = arguments.next().unwrap().parse().unwrap(),
            // Cargo says so.
            "--bench" => {}
            other => panic!("{other} is neither sqlite, postgres, mariadb nor --seconds N"),
        }
    }
    if engines.is_empty() {
        engines = vec![Engine::Sqlite, Engine::Postgres, Engine::MariaDb];
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for engine in engines {
        runtime.block_on(Box::pin(measure(engine, Duration::from_secs(seconds))));
    }
}

/// As somebody would set up a server for money: everything durable, room in memory.
fn settings(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &[],
        Engine::Postgres => &["-cshared_buffers=512MB", "-cmax_wal_size=4GB"],
        Engine::MariaDb => &["--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G"],
    }
}

async fn measure(engine: Engine, time: Duration) {
    let server = Server::start(engine, settings(engine)).await;
    let flushes = flushes(&server.path("flush"), Duration::from_secs(1));
    let alone = peer::one_transaction_each(&server.database().await, time).await;
    println!(
        "\n{engine:?}: {flushes:.0} flushes/s, {alone:.0} transfers/s with one SQL transaction each"
    );
    println!("| | per second | p50 ms | p99 ms | × flushes | × one each |");
    println!("|---|---|---|---|---|---|");
    let report = |what: &str, measured: Measured| {
        let Measured { rate, p50, p99 } = measured;
        println!(
            "| {what} | {rate:.0} | {p50:.1} | {p99:.1} | {:.1} | {:.1} |",
            rate / flushes,
            rate / alone
        );
    };
    let running = server.running().await;
    accounts(&running).await;
    let load = Load::new(running.service.listen, ACCOUNTS, time);
    report("batches of 500", load.batches(false).await);
    report("batches of 500, one hot account", load.batches(true).await);
    report("stream of lines", load.stream().await);
    report("one transfer a request", load.singles().await);
    report("balances", load.balances().await);
    running.service.stop().await.unwrap();
}

/// How often a file is written and flushed.
fn flushes(path: &std::path::Path, time: Duration) -> f64 {
    let mut file = std::fs::File::create(path).unwrap();
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}

async fn accounts(running: &Running) {
    let open = |number: usize| {
        let side = if number.is_multiple_of(2) { "debit" } else { "credit" };
        json!({"code": format!("a:{number}"), "name": "a", "currency": "EUR", "normal_balance": side})
    };
    let bodies: Vec<Value> = (0..ACCOUNTS).map(open).collect();
    for bodies in bodies.chunks(100) {
        let mut opening = tokio::task::JoinSet::new();
        for body in bodies.to_vec() {
            let api = running.api.clone();
            opening.spawn(async move { api.post("/v1/accounts", &body).await.status });
        }
        assert!(opening.join_all().await.iter().all(|status| *status == 201));
    }
}
