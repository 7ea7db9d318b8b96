//! What the ledger does a second, durable, on each engine, over HTTP on loopback, load generator included;
//! each figure beside two of the same minute: how often the disk flushes, and what the same engine does
//! with one SQL transaction per transfer. Figures of different machines, or minutes, compare as ratios only;
//! processor time per transfer says most on a machine that others use too.
//!
//! `make bench-ledger`, or `cargo bench -p forebay-ledger --bench ledger -- [ENGINE…] [--seconds N] [--grow N] [--only ROW] [--write PAGE]`.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "ledger_cost.rs"]
mod cost;
#[path = "../../ledger-svc/tests/engine.rs"]
#[expect(dead_code, unused_macros, unused_imports, reason = "the tests need more of it")]
mod engine;
#[path = "ledger_load.rs"]
mod load;
#[path = "ledger_page.rs"]
mod page;
#[path = "ledger_peer.rs"]
mod peer;
#[path = "../../ledger-svc/tests/raw.rs"]
mod raw;
#[path = "../../ledger-svc/tests/running.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod running;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cost::Serving;
use engine::{Engine, Server};
use load::Load;
use page::{Bar, Page};

/// Between how many accounts transfers go.
const ACCOUNTS: usize = 10_000;
const SECONDS: u64 = 5;
/// Transfers stored before the first figure is taken again. The bar is for ten million (`--grow 10000000`), which takes minutes
/// and ten gigabytes of disk on each engine.
const GROWN: u64 = 1_000_000;

const UNIFORM: &str = "batches of 500";
const HOT: &str = "hot: batches of 500 on one account";
const STREAM: &str = "stream of lines";
const SINGLES: &str = "one transfer a request";
const BALANCES: &str = "balances read";
const GROWING: &str = "growing";
const GROWN_ROW: &str = "batches of 500, grown";

/// What is asked for.
struct Asked {
    engines: Vec<Engine>,
    time: Duration,
    grown: u64,
    /// Rows by the beginning of their names; all when there is none.
    only: Vec<String>,
    write: Option<PathBuf>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let time = Duration::from_secs(SECONDS);
        let mut asked =
            Self { engines: Vec::new(), time, grown: GROWN, only: Vec::new(), write: None };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "sqlite" => asked.engines.push(Engine::Sqlite),
                "postgres" => asked.engines.push(Engine::Postgres),
                "mariadb" => asked.engines.push(Engine::MariaDb),
                "--seconds" => {
                    asked.time = Duration::from_secs(arguments.next().unwrap().parse().unwrap());
                }
                "--grow" => asked.grown = arguments.next().unwrap().parse().unwrap(),
                "--only" => asked.only.push(arguments.next().unwrap()),
                "--write" => asked.write = arguments.next().map(PathBuf::from),
                // Cargo says so.
                "--bench" => {}
                other => panic!(
                    "{other} is no engine (sqlite, postgres, mariadb), --seconds N, --grow N, --only ROW or --write PAGE"
                ),
            }
        }
        if asked.engines.is_empty() {
            asked.engines = vec![Engine::Sqlite, Engine::Postgres, Engine::MariaDb];
        }
        asked
    }

    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| row.starts_with(only))
    }
}

fn main() {
    let asked = Asked::read(std::env::args().skip(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut page = Page::begin(&asked);
    for engine in &asked.engines {
        runtime.block_on(Box::pin(measure(*engine, &asked, &mut page)));
    }
    if let Some(path) = &asked.write {
        page.write(path);
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

async fn measure(engine: Engine, asked: &Asked, page: &mut Page) {
    let server = Server::start(engine, settings(engine)).await;
    let flushes = flushes(&server.path("flush"), Duration::from_secs(1));
    let alone = peer::one_transaction_each(&server.database().await, asked.time).await;
    page.engine(engine, flushes, alone);
    let serving = Serving::start(&server.database().await);
    let load = Load::new(serving.listen, ACCOUNTS, asked.time);
    load.accounts().await;
    let mut uniform = 0.0;
    for row in [UNIFORM, HOT, STREAM, SINGLES, BALANCES] {
        if !asked.wants(row) {
            continue;
        }
        if row == BALANCES {
            load.warm().await;
        }
        let before = serving.spent();
        let measured = match row {
            UNIFORM => load.batches(false).await,
            HOT => load.batches(true).await,
            STREAM => load.stream().await,
            SINGLES => load.singles().await,
            _ => load.balances().await,
        };
        if row == UNIFORM {
            uniform = measured.rate;
        }
        let bar = match row {
            UNIFORM => Bar::least(50_000.0).and_p99_below(100.0),
            HOT => Bar::least(uniform),
            SINGLES => Bar::least(15_000.0).and_p99_below(50.0),
            BALANCES => Bar::least(50_000.0),
            _ => Bar::default(),
        };
        page.row(row, &measured, serving.spent() - before, bar);
    }
    let peak = serving.peak_mib();
    if asked.grown == 0 {
        page.say(&format!("The service had {peak} MiB at most."));
    } else {
        let before = serving.spent();
        let growing = load.grow(asked.grown).await;
        page.row(GROWING, &growing, serving.spent() - before, Bar::default());
        let before = serving.spent();
        let full = load.batches(false).await;
        page.row(GROWN_ROW, &full, serving.spent() - before, Bar::least(uniform * 0.8));
        page.say(&format!(
            "With {} transfers it does {:.2} times what it did empty. The service had {peak} MiB at most before it grew, {} in all.",
            load.stored(), full.rate / uniform, serving.peak_mib()
        ));
    }
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
