//! The writer's loop: gathers, decides, writes, commits, answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::gathered::{Gathered, Outcome, Task, Waiting};
use super::memory::Memory;
use super::{Limits, WriteError};
use crate::batch::{self, NewTransfer, Verdict, Wanted};
use crate::chain::{Link, Record, TransferRow};
use crate::metrics::{Metrics, seconds};
use crate::store::{self, Created, StoreError};
use crate::transfer::TransferKind;

/// A batch that takes longer is given up as failed: a server that answers nothing must not hold up
/// the queue for as long as TCP is patient.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// A database that is away fails every batch; the log says so this often.
const FAILURE_LOG_EVERY: Duration = Duration::from_secs(1);
/// The clock of the calendar may be set while the writer sleeps.
const EXPIRY_SLEEP_MAX: Duration = Duration::from_secs(10);
/// How long after a failure what is due is tried again.
const EXPIRY_RETRY: Duration = Duration::from_secs(1);

const TOO_LONG: &str = "the batch took longer than 30 s";

pub async fn run(
    mut store: store::Writer,
    queue: mpsc::Receiver<Task>,
    limits: Limits,
    metrics: Metrics,
) -> Result<(), StoreError> {
    let mut waiting = Waiting::new(queue, limits.batch_max);
    let mut memory = Memory::default();
    let mut failure_logged: Option<Instant> = None;
    // Whatever fell due while no service ran is released first.
    let mut expiry = Some(Instant::now());
    while let Some(gathered) = waiting.next(expiry).await {
        let began = Instant::now();
        if gathered.writes() > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52")]
            metrics.batch_writes.observe(gathered.writes() as f64);
        }
        memory.trim(limits.accounts_known_max);
        let committing = commit(&mut store, &gathered, &mut memory);
        let committed = tokio::time::timeout(BATCH_TIMEOUT, committing).await;
        match committed.unwrap_or_else(|_| Err(StoreError::Engine(TOO_LONG.into()))) {
            Ok(outcome) => {
                metrics.batch_seconds.observe(seconds(began.elapsed()));
                metrics.commit_seconds.observe(seconds(outcome.commit));
                metrics.accounts_known.set(i64::try_from(memory.accounts()).unwrap_or(i64::MAX));
                count(&outcome, &metrics);
                expiry = memory.next_expiry_us().map(instant_of);
                gathered.answer(outcome);
            }
            Err(error) => {
                metrics.batch_failures.inc();
                if failure_logged.is_none_or(|at| at.elapsed() >= FAILURE_LOG_EVERY) {
                    failure_logged = Some(Instant::now());
                    tracing::error!(%error, writes = gathered.writes(), "batch failed, nothing of it is acknowledged");
                }
                store.reset().await;
                memory = Memory::default();
                gathered.fail(&WriteError::Failed);
                if matches!(error, StoreError::Replaced { .. }) {
                    return Err(error);
                }
                expiry = Some(Instant::now() + EXPIRY_RETRY);
            }
        }
    }
    store.close().await
}

async fn commit(
    store: &mut store::Writer,
    gathered: &Gathered,
    memory: &mut Memory,
) -> Result<Outcome, StoreError> {
    let now = Timestamp::now();
    let mut batch = store.begin().await?;
    let mut outcome = Outcome::default();
    for body in &gathered.currencies {
        outcome.currencies.push(batch.create_currency(body).await?);
    }
    for body in &gathered.accounts {
        outcome.accounts.push(batch.create_account(body, now).await?);
    }
    let mut limits = Vec::with_capacity(gathered.limits.len());
    for (account_id, asked) in &gathered.limits {
        limits.push(batch.set_limits(*account_id, *asked, now).await?);
        memory.set_limits(*account_id, *asked);
    }
    let mut closed = Vec::new();
    for new in &gathered.closes {
        let (closing, row) = batch.create_close(new, now).await?;
        if row.is_some() {
            memory.snapshot.books.closed_through = Some(new.body.through);
        }
        outcome.closes.push(closing);
        closed.extend(row);
    }
    if gathered.probes > 0 {
        batch.probe(now).await?;
    }
    let created: Vec<Record<'_>> =
        (outcome.currencies.iter().filter_map(Created::created).map(Record::Currency))
            .chain(outcome.accounts.iter().filter_map(Created::created).map(Record::Account))
            .chain(limits.iter().map(Record::Limits))
            .chain(closed.iter().map(Record::Close))
            .collect();
    let posted = post(&mut batch, &created, gathered, memory, now).await?;
    let began = Instant::now();
    batch.commit().await?;
    Ok(Outcome {
        currencies: outcome.currencies,
        accounts: outcome.accounts,
        closes: outcome.closes,
        commit: began.elapsed(),
        ..posted
    })
}

/// The transfers of a batch: read, judge, write; and the links of the chain for all the batch books.
async fn post(
    batch: &mut store::Batch<'_>,
    created: &[Record<'_>],
    gathered: &Gathered,
    memory: &mut Memory,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let mut wanted = wanted(gathered);
    memory.complete(&mut wanted, now);
    batch.lock_and_read(&wanted, &mut memory.snapshot).await?;
    let (verdicts, changes) =
        batch::decide(&gathered.groups, &mut memory.snapshot, now, Uuid::now_v7);
    let head = &mut memory.snapshot.head;
    let mut links: Vec<Link> = created.iter().map(|record| head.extend(*record)).collect();
    let booked = changes.transfers.iter().map(TransferRow::of);
    links.extend(booked.map(|transfer| head.extend(Record::Transfer(&transfer))));
    if !links.is_empty() {
        batch.write(&changes, &links).await?;
    }
    memory.follow(batch, &changes).await?;
    let expired = |new: &&NewTransfer| new.transfer.kind == TransferKind::Expire;
    Ok(Outcome {
        verdicts,
        entries: changes.moved().count() as u64,
        expired: changes.transfers.iter().filter(expired).count() as u64,
        ..Outcome::default()
    })
}

fn wanted(gathered: &Gathered) -> Wanted<'_> {
    let requests = || gathered.groups.iter().flat_map(|group| &group.requests);
    let keys: BTreeSet<&str> = requests().map(|request| request.key.as_str()).collect();
    let accounts: BTreeSet<&str> =
        requests().flat_map(|request| request.action.accounts()).collect();
    let targets: BTreeSet<Uuid> = requests().filter_map(|request| request.action.of()).collect();
    Wanted {
        keys: keys.into_iter().collect(),
        accounts: accounts.into_iter().collect(),
        targets: targets.into_iter().collect(),
        ..Wanted::default()
    }
}

/// A time of the calendar on the clock that timers go by; one that is past is now.
fn instant_of(at_us: i64) -> Instant {
    let now = Timestamp::now().as_microsecond();
    let ahead = u64::try_from(at_us.saturating_sub(now)).unwrap_or(0);
    Instant::now() + Duration::from_micros(ahead).min(EXPIRY_SLEEP_MAX)
}

fn count(outcome: &Outcome, metrics: &Metrics) {
    metrics.entries.inc_by(outcome.entries);
    metrics.expired.inc_by(outcome.expired);
    for verdict in outcome.verdicts.iter().flatten() {
        match verdict {
            Verdict::Posted(_) => metrics.transfers.inc(),
            Verdict::Replayed(_) => metrics.replays.inc(),
            // Counted by its reason where the problem is answered.
            Verdict::KeyReused | Verdict::Rejected(_) | Verdict::Withheld => {}
        }
    }
}
