//! The writer over a store that fails at any step of any batch, also right after a commit, again and again:
//! what is acknowledged is there once, what is asked again is answered the same, and the books stay
//! right. A seed decides what is asked and what fails; `FOREBAY_SEEDS` asks for more of them.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::{Handle, Known, Limits, WriteError, start};
use crate::account::{AccountBody, Side};
use crate::act::{Act, Actor};
use crate::batch::{Group, Verdict};
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::posting::{self, Balance};
use crate::store::{self, Access, DatabaseUrl, SqliteFile, Synchronous, simulated};
use crate::transfer::{self, IdempotencyKey, TransferRequest};
use crate::verify;

const SEEDS: u64 = 120;
const CLIENTS: usize = 4;
/// What each client asks for in a life, at least and at most.
const ASKED: (u64, u64) = (2, 12);
/// Reads go on beside the writer, and leave it most of the thread they share.
const READS_EVERY: Duration = Duration::from_millis(1);

/// Numbers that follow from the seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("FOREBAY_SEEDS").ok();
    1..1 + asked.map_or(SEEDS, |count| count.parse().expect("FOREBAY_SEEDS is a number"))
}

#[test]
fn whatever_fails_what_is_acknowledged_is_true() {
    let directory = tempfile::tempdir_in(fastest()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let template = directory.path().join("template.sqlite");
    runtime.block_on(chart(&template));
    let mut failures = 0;
    for seed in seeds() {
        let path = directory.path().join(format!("{seed}.sqlite"));
        std::fs::copy(&template, &path).unwrap();
        failures += runtime.block_on(LocalSet::new().run_until(simulate(seed, &path)));
        std::fs::remove_file(&path).unwrap();
    }
    assert!(failures > 0, "nothing failed");
    assert!(TOLD.get() > 0, "no balance was told from memory");
}

thread_local! {
    /// Balances that were told from memory, in all lives.
    static TOLD: Cell<u64> = const { Cell::new(0) };
}

/// Reads balances all the while, as the API does: what is told from memory is in the database, then and later. Says
/// how many were told from memory.
async fn read(handle: Rc<Handle>, reader: store::Reader, done: Rc<Cell<bool>>) -> u64 {
    let mut told = 0;
    while !done.get() {
        for code in ["a", "b", "c"] {
            let known = handle.balances.read(code);
            let stored = reader.standing(code).await.unwrap().unwrap();
            match known {
                Known::Nothing(since) => handle.balances.keep(since, code, &stored),
                Known::Balance(known) => {
                    told += 1;
                    let (known, stored) = (known.balance, stored.balance);
                    assert!(known.entries <= stored.entries, "{known:?} came to be {stored:?}");
                    if known.entries == stored.entries {
                        let moved = |b: Balance| (b.debits_minor, b.credits_minor);
                        assert_eq!(moved(known), moved(stored));
                    }
                }
            }
        }
        tokio::time::sleep(READS_EVERY).await;
    }
    told
}

/// Nothing here has to outlive the machine.
fn fastest() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

fn database(path: &Path) -> DatabaseUrl {
    DatabaseUrl::Sqlite(SqliteFile { path: path.to_owned(), synchronous: Synchronous::Off })
}

const ACCESS: Access = Access { migrate: true, allow_unsafe: true };
/// A few entries behind, so that rows are written with other batches than their entries are.
const LIMITS: Limits = Limits {
    queue_max: 100,
    queue_entries_max: 1000,
    batch_max: 5,
    accounts_known_max: 3,
    balances_behind_max: 20,
};

/// Three accounts, one of which may not be overdrawn.
async fn chart(path: &Path) {
    let opened = store::open(&database(path), ACCESS).await.unwrap();
    let (handle, writer) = start(opened.writer, opened.ahead, LIMITS, Metrics::new());
    for code in ["a", "b", "c", "d"] {
        let (code, currency) = (code.to_owned(), "EUR".to_owned());
        let (name, metadata) = (code.clone(), Metadata::default());
        let body = AccountBody { code, name, currency, normal_balance: Side::Debit, metadata };
        handle.account(body).await.unwrap();
    }
    let c = opened.reader.standing("c").await.unwrap().unwrap();
    let limits = posting::Limits { min_minor: Some(0), max_minor: None };
    let (account, account_id) = ("c".to_owned(), c.account_id);
    let act = Act::SetLimits { account, account_id, seen: None, limits };
    handle.act(act, Actor::Anybody).await.unwrap();
    drop(handle);
    writer.await.unwrap().unwrap();
    opened.reader.close().await;
}

/// One life of a database. Says how many batches failed.
async fn simulate(seed: u64, path: &Path) -> u64 {
    let url = database(path);
    let opened = store::open(&url, ACCESS).await.unwrap();
    let metrics = Metrics::new();
    // As on a server, where a batch flies beside another, and as on SQLite.
    let lanes = if seed.is_multiple_of(4) { opened.writer } else { opened.writer.with_two_lanes() };
    let (handle, writer) = start(lanes, opened.ahead, LIMITS, metrics.clone());
    let handle = Rc::new(handle);
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let one_in = 3 + dice.roll(40);
    let mut faults = Dice(dice.roll(u64::MAX) | 1);
    simulated::fail(move |_| faults.roll(one_in) == 0);
    let mut clients = Vec::new();
    let asked = ASKED.0 + dice.roll(ASKED.1 - ASKED.0 + 1);
    for client in 0..CLIENTS {
        let dice = Dice(dice.roll(u64::MAX) | 1);
        clients.push(tokio::task::spawn_local(ask(Rc::clone(&handle), client, asked, dice)));
    }
    let done = Rc::new(Cell::new(false));
    let reading = read(Rc::clone(&handle), opened.reader.clone(), Rc::clone(&done));
    let reading = tokio::task::spawn_local(reading);
    let mut answers: HashMap<String, String> = HashMap::new();
    for client in clients {
        for (key, body) in client.await.unwrap() {
            let first = answers.entry(key.clone()).or_insert_with(|| body.clone());
            assert_eq!(*first, body, "seed {seed}: {key} was answered differently");
        }
    }
    simulated::stop_failing();
    done.set(true);
    let told = reading.await.unwrap();
    TOLD.with(|all| all.set(all.get() + told));
    drop(handle);
    writer.await.unwrap().unwrap();
    let listed = opened.reader.transfers(0, 10_000).await.unwrap().items;
    opened.reader.close().await;
    assert_eq!(listed.len(), answers.len(), "seed {seed}: a transfer for each key and no other");
    for (key, body) in &answers {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let found = listed.iter().filter(|t| body["id"] == t.id.to_string()).count();
        assert_eq!(found, 1, "seed {seed}: {key}");
    }
    let verified = Box::pin(verify::verify(&url, None)).await;
    verified.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    metrics.batch_failures.get()
}

/// One client: asks, asks again whatever was left open, and now and then what was answered.
async fn ask(
    handle: Rc<Handle>,
    client: usize,
    asked: u64,
    mut dice: Dice,
) -> Vec<(String, String)> {
    let (mut answered, mut open) = (Vec::new(), Vec::new());
    for number in 0..asked {
        let requests: Vec<TransferRequest> = (0..1 + dice.roll(4))
            .map(|index| request(&format!("{client}-{number}-{index}"), &open, &mut dice))
            .collect();
        let group = Group { requests, all_or_nothing: dice.roll(2) == 0 };
        let mut again = u32::from(dice.roll(5) == 0);
        loop {
            let verdicts = match handle.transfers(group.clone(), 8).await {
                Ok(verdicts) => verdicts,
                Err(WriteError::Failed | WriteError::QueueFull(_)) => continue,
                Err(WriteError::Stopped) => panic!("it stopped"),
            };
            for (request, verdict) in group.requests.iter().zip(verdicts) {
                let (Verdict::Posted(answer) | Verdict::Replayed(answer)) = verdict else {
                    continue;
                };
                let body = answer.body().into_owned();
                if body.contains("\"kind\":\"pending\"") {
                    open.push(answer.transfer_id);
                }
                answered.push((request.key.as_str().to_owned(), body));
            }
            if again == 0 {
                break;
            }
            again -= 1;
        }
    }
    answered
}

fn request(key: &str, open: &[uuid::Uuid], dice: &mut Dice) -> TransferRequest {
    let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
    if let (Some(of), 0) = (open.last(), dice.roll(3)) {
        return match dice.roll(2) {
            0 => transfer::parse_post(key, *of, b"{}", 10).unwrap(),
            _ => transfer::parse_void(key, *of, b"{}").unwrap(),
        };
    }
    let accounts = ["a", "b", "c", "d"];
    let mut account = || accounts[usize::try_from(dice.roll(4)).unwrap()];
    let (from, to) = (account(), account());
    let (minor, pending) = (1 + dice.roll(9), dice.roll(3) == 0);
    let body = format!(
        r#"{{"description":"","pending":{pending},"entries":[{{"account":"{to}","direction":"debit","amount":"{minor}"}},{{"account":"{from}","direction":"credit","amount":"{minor}"}}]}}"#
    );
    transfer::parse(key, body.as_bytes(), 10).unwrap()
}
