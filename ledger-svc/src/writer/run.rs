//! The writer's loop: gathers, decides, writes, commits, answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::gathered::{Gathered, Outcome, Waiting};
use super::ids::Ids;
use super::memory::Memory;
use super::prepare::{Prepared, prepare};
use super::{Limits, Published, WriteError, acts};
use crate::act;
use crate::batch::{self, Verdict, Wanted};
use crate::chain::{Link, Record};
use crate::metrics::{Metrics, seconds};
use crate::store::{self, Ahead, Created, StoreError};
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

/// How long keys are looked up beforehand once one was met that is known. Who asks again seldom does so once.
const WARY_FOR: Duration = Duration::from_secs(10);

/// How long nothing is asked for before balances are written that are behind.
const AT_REST_AFTER: Duration = Duration::from_millis(50);

const TOO_LONG: &str = "the batch took longer than 30 s";

pub async fn run(
    store: store::Writer,
    ahead: Ahead,
    waiting: Waiting,
    limits: Limits,
    balances: Published,
    metrics: Metrics,
) -> Result<(), StoreError> {
    let mut running = Running {
        ahead,
        waiting,
        memory: Memory::default(),
        ids: Ids::new(),
        balances,
        accounts_known_max: limits.accounts_known_max,
        behind_max: limits.balances_behind_max,
        failure_logged: None,
        wary_until: None,
        // Whatever fell due while no service ran is released first.
        expiry: Some(Instant::now()),
        metrics,
    };
    let mut store = store;
    let mut next = Gathered::default();
    loop {
        if next.writes() > 0 {
            running.waiting.top_up(&mut next);
        } else {
            let next_asked = running.waiting.next(running.wakes_at(), &running.balances).await;
            let Some(gathered) = next_asked else { break };
            next = gathered;
        }
        running.memory.trim(running.accounts_known_max);
        let gathered = std::mem::take(&mut next);
        let how = (running.is_wary(), running.behind_max);
        let (memory, ids) = (&mut running.memory, &mut running.ids);
        store = match prepare(&running.ahead, &gathered, memory, ids, how).await {
            Some(prepared) => running.fly(store, gathered, prepared, &mut next).await?,
            None => running.under_the_lock(store, gathered).await?,
        };
    }
    while running.is_behind() {
        store = running.under_the_lock(store, Gathered::default()).await?;
    }
    running.ahead.close().await;
    store.close().await
}

/// The loop's state.
struct Running {
    ahead: Ahead,
    waiting: Waiting,
    memory: Memory,
    ids: Ids,
    balances: Published,
    accounts_known_max: usize,
    behind_max: i64,
    failure_logged: Option<Instant>,
    /// Until when keys are looked up before a batch is written.
    wary_until: Option<Instant>,
    expiry: Option<Instant>,
    metrics: Metrics,
}

impl Running {
    /// Reads, decides, writes and commits a batch of any sort.
    async fn under_the_lock(
        &mut self,
        mut store: store::Writer,
        gathered: Gathered,
    ) -> Result<store::Writer, StoreError> {
        let began = Instant::now();
        let means = (&mut self.ids, self.behind_max);
        let committing = commit(&mut store, &gathered, &mut self.memory, means);
        let committed = tokio::time::timeout(BATCH_TIMEOUT, committing).await;
        match committed.unwrap_or_else(|_| Err(StoreError::Engine(TOO_LONG.into()))) {
            Ok(outcome) => self.done(gathered, outcome, began),
            Err(error) => {
                store.reset().await;
                self.failed(gathered, error)?;
            }
        }
        Ok(store)
    }

    /// Writes a batch that is decided. As long as full ones wait, each is decided while the one before it is
    /// written. What is gathered and not decided is left in `next`.
    async fn fly(
        &mut self,
        mut store: store::Writer,
        mut gathered: Gathered,
        mut prepared: Prepared,
        next: &mut Gathered,
    ) -> Result<store::Writer, StoreError> {
        loop {
            let began = Instant::now();
            let mut flight = tokio::spawn(write(store, prepared));
            let (mut tried, mut following) = (false, None);
            let landed = loop {
                tokio::select! {
                    biased;
                    landed = &mut flight => break landed,
                    () = self.waiting.enough(), if !tried => {
                        tried = true;
                        self.waiting.top_up(next);
                        if self.memory.accounts() <= self.accounts_known_max {
                            let how = (self.is_wary(), self.behind_max);
                            let (memory, ids) = (&mut self.memory, &mut self.ids);
                            following = prepare(&self.ahead, next, memory, ids, how).await;
                        }
                    }
                }
            };
            let written;
            (store, prepared, written) =
                landed.map_err(|error| StoreError::Engine(error.to_string()))?;
            match written {
                Ok(commit) => self.done(gathered, prepared.outcome(commit), began),
                // What follows was decided on books that never came to be: it is decided again.
                Err(StoreError::Duplicate(_)) if prepared.unchecked => {
                    self.wary_until = Some(Instant::now() + WARY_FOR);
                    self.forget();
                    return self.under_the_lock(store, gathered).await;
                }
                Err(error) => {
                    self.failed(gathered, error)?;
                    return Ok(store);
                }
            }
            let Some(decided) = following else { return Ok(store) };
            (gathered, prepared) = (std::mem::take(next), decided);
        }
    }

    fn done(&mut self, gathered: Gathered, outcome: Outcome, began: Instant) {
        let metrics = &self.metrics;
        if gathered.writes() > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52")]
            metrics.batch_writes.observe(gathered.writes() as f64);
        }
        metrics.batch_seconds.observe(seconds(began.elapsed()));
        metrics.commit_seconds.observe(seconds(outcome.commit));
        metrics.accounts_known.set(i64::try_from(self.memory.accounts()).unwrap_or(i64::MAX));
        let snapshot = &self.memory.snapshot;
        metrics.balances_behind.set(snapshot.behind.entries(snapshot.last.entry_id));
        count(&outcome, metrics);
        self.expiry = self.memory.next_expiry_us().map(instant_of);
        self.balances.committed(&outcome.balances, &gathered.limits(&outcome.acted), began);
        gathered.answer(outcome);
    }

    /// Whether there are balances to write.
    fn is_behind(&self) -> bool {
        !self.memory.snapshot.behind.is_empty()
    }

    /// When there is something to do that nobody asks for.
    fn wakes_at(&self) -> Option<Instant> {
        let at_rest = self.is_behind().then(|| Instant::now() + AT_REST_AFTER);
        self.expiry.into_iter().chain(at_rest).min()
    }

    /// Everything that was taken to be so.
    fn forget(&mut self) {
        self.memory = Memory::default();
        self.balances.in_doubt();
    }

    fn is_wary(&mut self) -> bool {
        if std::mem::take(&mut self.memory.wary) {
            self.wary_until = Some(Instant::now() + WARY_FOR);
        }
        self.wary_until.is_some_and(|until| Instant::now() < until)
    }

    /// Ends in an error when there is no going on.
    fn failed(&mut self, gathered: Gathered, error: StoreError) -> Result<(), StoreError> {
        self.metrics.batch_failures.inc();
        if self.failure_logged.is_none_or(|at| at.elapsed() >= FAILURE_LOG_EVERY) {
            self.failure_logged = Some(Instant::now());
            tracing::error!(%error, writes = gathered.writes(), "batch failed, nothing of it is acknowledged");
        }
        self.forget();
        gathered.fail(&WriteError::Failed);
        self.expiry = Some(Instant::now() + EXPIRY_RETRY);
        if matches!(error, StoreError::Replaced { .. }) { Err(error) } else { Ok(()) }
    }
}

/// On a task of its own, so that it goes on whatever the loop does meanwhile.
async fn write(
    mut store: store::Writer,
    mut prepared: Prepared,
) -> (store::Writer, Prepared, Result<Duration, StoreError>) {
    let written = tokio::time::timeout(BATCH_TIMEOUT, prepared.write(&mut store)).await;
    let written = written.unwrap_or_else(|_| Err(StoreError::Engine(TOO_LONG.into())));
    if written.is_err() {
        store.reset().await;
    }
    (store, prepared, written)
}

async fn commit(
    store: &mut store::Writer,
    gathered: &Gathered,
    memory: &mut Memory,
    (ids, behind_max): (&mut Ids, i64),
) -> Result<Outcome, StoreError> {
    let now = Timestamp::now();
    let mut batch = store.begin().await?;
    let mut outcome = Outcome::default();
    let booked;
    (outcome.acted, booked) = acts::perform(&mut batch, &gathered.deeds, memory, now).await?;
    for body in &gathered.accounts {
        outcome.accounts.push(batch.create_account(body, now).await?);
    }
    if gathered.probes > 0 {
        batch.probe(now).await?;
    }
    let is_audit = |row: &&act::Booked| matches!(row, act::Booked::Audit(_));
    let audited = booked.iter().filter(is_audit).count() as u64;
    let created: Vec<Record<'_>> = (booked.iter().filter_map(act::Booked::record))
        .chain(outcome.accounts.iter().filter_map(Created::created).map(Record::Account))
        .collect();
    let posted = post(&mut batch, &created, gathered, memory, (now, ids, behind_max)).await?;
    let began = Instant::now();
    batch.commit().await?;
    Ok(Outcome {
        acted: outcome.acted,
        audited,
        accounts: outcome.accounts,
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
    (now, ids, behind_max): (Timestamp, &mut Ids, i64),
) -> Result<Outcome, StoreError> {
    let mut wanted = wanted(gathered);
    memory.complete(&mut wanted, now);
    batch.lock_and_read(&wanted, &mut memory.snapshot).await?;
    let (verdicts, mut changes) =
        batch::decide(&gathered.groups, &mut memory.snapshot, now, || ids.next());
    changes.thread(&mut memory.snapshot.trails)?;
    let head = &mut memory.snapshot.head;
    let links: Vec<Link> = created.iter().map(|record| head.extend(*record)).collect();
    changes.chain(head);
    changes.settle(&mut memory.snapshot.behind, memory.snapshot.last.entry_id, behind_max);
    batch.write(&changes, &links).await?;
    memory.follow(batch, &changes).await?;
    let requests = gathered.groups.iter().flat_map(|group| &group.requests);
    memory.keys = requests.map(|request| request.key.clone()).collect();
    let expired = changes.transfers.iter().filter(|new| new.kind == TransferKind::Expire).count();
    Ok(Outcome {
        verdicts,
        entries: changes.moved().count() as u64,
        expired: expired as u64,
        balances: changes.balances,
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
    metrics.audit_entries.inc_by(outcome.audited);
    for verdict in outcome.verdicts.iter().flatten() {
        match verdict {
            Verdict::Posted(_) => metrics.transfers.inc(),
            Verdict::Replayed(_) => metrics.replays.inc(),
            // Counted by its reason where the problem is answered.
            Verdict::KeyReused | Verdict::Rejected(_) | Verdict::Withheld => {}
        }
    }
}
