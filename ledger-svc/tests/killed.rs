//! The database's server killed at any moment under load, and started again: every client that asks until it is
//! answered has its transfer once. `FOREBAY_ROUNDS` asks for more rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use forebay_ledger::service::Options;
use forebay_ledger::verify::verify;
use tokio::task::JoinSet;

use crate::engine::{Engine, Server};
use crate::faults::{Acknowledged, check};
use crate::running::{Api, DEADLINE, Running, moving, open_pair, options};
use crate::servers::Cutter;

const ROUNDS: usize = 2;
const CLIENTS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_killed_under_load() {
    Box::pin(killed_under_load(Engine::MariaDb)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_killed_under_load() {
    Box::pin(killed_under_load(Engine::Postgres)).await;
}

async fn killed_under_load(engine: Engine) {
    let rounds = std::env::var("FOREBAY_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let server = Server::start(engine, &[]).await;
    // Some rows of balances are behind whenever the server dies.
    let running = server.running_with(few_at_once).await;
    open_pair(&running.api).await;
    let clients = Clients::start(&running.api);
    for round in 0..rounds {
        clients.go_on(50 + 17 * (round % 20)).await;
        server.kill();
        server.launch().await;
    }
    clients.settle(&running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_cut_off_under_load() {
    Box::pin(cut_off_under_load(Engine::MariaDb)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_cut_off_under_load() {
    Box::pin(cut_off_under_load(Engine::Postgres)).await;
}

/// The connection of one lane cut at COMMIT, done or not, while the other has the next batch in hand.
async fn cut_off_under_load(engine: Engine) {
    let server = Server::start(engine, &[]).await;
    for forward in [false, true] {
        let database = server.database().await;
        let cutter = Cutter::start(server.port, forward).await;
        let mut through = options(&server.url_at(cutter.port, database.name()));
        few_at_once(&mut through);
        let running = Running::start(through, database).await;
        open_pair(&running.api).await;
        let clients = Clients::start(&running.api);
        for round in 0..6 {
            clients.go_on(10 + 7 * round).await;
            cutter.cut.store(true, Ordering::SeqCst);
            let cut = async {
                while cutter.cut.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(DEADLINE, cut).await.expect("nothing was cut");
        }
        clients.settle(&running).await;
    }
}

/// Some rows of balances are behind whenever something breaks, and batches are small enough to fly beside each other.
fn few_at_once(options: &mut Options) {
    options.writer.balances_behind_max = 100;
    options.writer.batch_max = 4;
}

struct Clients {
    tasks: JoinSet<Acknowledged>,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
}

impl Clients {
    fn start(api: &Api) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let (api, stop, count) = (api.clone(), Arc::clone(&stop), Arc::clone(&count));
            tasks.spawn(post_until_told(api, client, stop, count));
        }
        Self { tasks, stop, count }
    }

    /// Until so many more are answered: another moment in every round, measured in work so that a slow machine gets
    /// there too.
    async fn go_on(&self, more: usize) {
        let until = self.count.load(Ordering::Relaxed) + more;
        let reached = async {
            while self.count.load(Ordering::Relaxed) < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect("no progress");
    }

    /// What was acknowledged is in the books once, and nothing else.
    async fn settle(self, running: &Running) {
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged: Acknowledged =
            self.tasks.join_all().await.into_iter().flatten().collect();
        check(&running.api, &acknowledged).await;
        let stored = usize::try_from(running.database.transfers().await).unwrap();
        assert_eq!(stored, acknowledged.len(), "every key is one transfer");
        Box::pin(verify(&running.database.url.parse().unwrap(), None)).await.unwrap();
    }
}

/// Each key is asked again until it is answered; then comes the next.
async fn post_until_told(
    api: Api,
    client: usize,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Acknowledged {
    let mut acknowledged = Vec::new();
    for index in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("c{client}-{index}");
        let asked = async {
            loop {
                let answer = api.transfer(&key, &moving("eur:credit", "eur:debit", "0.01")).await;
                if answer.status == 201 {
                    return answer.body;
                }
                assert_eq!(answer.problem(), "database-unavailable");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let body = tokio::time::timeout(DEADLINE, asked).await.expect("no answer");
        acknowledged.push((key, body));
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}
