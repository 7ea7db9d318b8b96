//! What the ledger does a second, durable, on each engine, over HTTP on loopback, load generator included;
//! each figure beside two of the same minute: how often the disk flushes, and what the same engine does
//! with one SQL transaction per transfer. Figures of different machines, or minutes, compare as ratios only;
//! processor time per transfer says most on a machine that others use too.
//!
//! `make bench-ledger`, or `cargo bench -p forebay-ledger --bench ledger -- [ENGINE…] [--seconds N] [--grow N]`.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "ledger_cost.rs"]
mod cost;
#[path = "../../ledger-svc/tests/engine.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "the tests need more of it")]
mod engine;
#[path = "ledger_load.rs"]
mod load;
#[path = "ledger_peer.rs"]
mod peer;
#[path = "../../ledger-svc/tests/raw.rs"]
mod raw;
#[path = "../../ledger-svc/tests/running.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod running;

use std::io::Write as _;
use std::time::{Duration, Instant};

use cost::{Serving, Spent};
use engine::{Engine, Server};
use load::{Load, Measured};

/// Between how many accounts transfers go.
const ACCOUNTS: usize = 10_000;
const SECONDS: u64 = 5;
/// Transfers stored before the first figure is taken again. The target speaks of ten million; this takes a minute.
const GROWN: u64 = 1_000_000;

fn main() {
    let (mut engines, mut seconds, mut grown) = (Vec::new(), SECONDS, GROWN);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "sqlite" => engines.push(Engine::Sqlite),
            "postgres" => engines.push(Engine::Postgres),
            "mariadb" => engines.push(Engine::MariaDb),
            "--seconds" => seconds = arguments.next().unwrap().parse().unwrap(),
            "--grow" => grown = arguments.next().unwrap().parse().unwrap(),
            // Cargo says so.
            "--bench" => {}
            other => {
                panic!("{other} is no engine (sqlite, postgres, mariadb), --seconds N or --grow N")
            }
        }
    }
    if engines.is_empty() {
        engines = vec![Engine::Sqlite, Engine::Postgres, Engine::MariaDb];
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for engine in engines {
        runtime.block_on(Box::pin(measure(engine, Duration::from_secs(seconds), grown)));
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

async fn measure(engine: Engine, time: Duration, grown: u64) {
    let server = Server::start(engine, settings(engine)).await;
    let flushes = flushes(&server.path("flush"), Duration::from_secs(1));
    let alone = peer::one_transaction_each(&server.database().await, time).await;
    println!(
        "\n{engine:?}: {flushes:.0} flushes/s, {alone:.0} transfers/s with one SQL transaction each; load {}",
        std::fs::read_to_string("/proc/loadavg").unwrap().trim()
    );
    println!(
        "| | per second | p50 ms | p99 ms | µs each: clients | service | database | × flushes | × one each |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let serving = Serving::start(&server.database().await);
    let load = Load::new(serving.listen, ACCOUNTS, time);
    load.accounts().await;
    let report = |what: &str, measured: Measured, before: Spent| {
        let Measured { rate, p50, p99, count } = measured;
        let spent = serving.spent() - before;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
        println!(
            "| {what} | {rate:.0} | {p50:.1} | {p99:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            each(spent.clients),
            each(spent.service),
            each(spent.database),
            rate / flushes,
            rate / alone
        );
        rate
    };
    let spent = || serving.spent();
    let before = spent();
    let empty = report("batches of 500", load.batches(false).await, before);
    let before = spent();
    report("batches of 500, one hot account", load.batches(true).await, before);
    let before = spent();
    report("stream of lines", load.stream().await, before);
    let before = spent();
    report("one transfer a request", load.singles().await, before);
    let before = spent();
    report("balances", load.balances().await, before);
    if grown > 0 {
        let before = spent();
        report(&format!("growing to {grown}"), load.grow(grown).await, before);
        let before = spent();
        let full = report("batches of 500", load.batches(false).await, before);
        println!("{:.2} × the rate on an empty database", full / empty);
    }
    println!("the service had {} MiB at most", serving.peak_mib());
    serving.stop();
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
