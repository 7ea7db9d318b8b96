//! The writer: one task that owns the writing connection. It takes what waits in a bounded queue
//! (no timer: while one batch commits, the next gathers), runs it as one SQL transaction and
//! answers each request after the commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{self, Verdict, Wanted};
use crate::chain::{Link, Record, TransferRow};
use crate::metrics::{Metrics, seconds};
use crate::posting::Limits as AccountLimits;
use crate::report::Account;
use crate::store::{self, Created, StoreError};
use crate::transfer::{TransferKind, TransferRequest};

/// Entries after which a batch is closed, however few transfers it has: a thousand transfers of a
/// thousand entries each must not become one commit.
const BATCH_ENTRIES_MAX: usize = 20_000;

/// A batch that takes longer is given up as failed: a server that answers nothing must not hold up
/// the queue for as long as TCP is patient.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// A database that is away fails every batch; the log says so this often.
const FAILURE_LOG_EVERY: Duration = Duration::from_secs(1);

/// How much may wait and how much is committed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Writes that wait.
    pub queue_max: usize,
    /// Entries of all transfers that wait or are being committed: what bounds the memory.
    pub queue_entries_max: u32,
    /// Writes in one SQL transaction.
    pub batch_max: usize,
}

/// Why a write was not done. `Failed` and `Stopped` leave the outcome open only until the same
/// idempotency key is sent again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    #[error("too many {0} are waiting already")]
    QueueFull(&'static str),
    #[error("the service is stopping")]
    Stopped,
    /// The log has the reason; clients have no use for it.
    #[error("the database could not commit; whether this write was done is open")]
    Failed,
}

/// The clock of the calendar may be set while the writer sleeps.
const EXPIRY_SLEEP_MAX: Duration = Duration::from_secs(10);
/// How long after a failure what is due is tried again.
const EXPIRY_RETRY: Duration = Duration::from_secs(1);

const TOO_LONG: &str = "the batch took longer than 30 s";

type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

enum Task {
    Transfer(TransferRequest, usize, OwnedSemaphorePermit, Reply<Verdict>),
    Currency(CurrencyBody, Reply<Created<CurrencyBody>>),
    Account(AccountBody, Reply<Created<Account>>),
    Limits(i64, AccountLimits, Reply<()>),
    Probe(Reply<()>),
}

/// Where handlers hand in their writes.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: mpsc::Sender<Task>,
    entries: Arc<Semaphore>,
    entries_max: u32,
    metrics: Metrics,
}

impl Handle {
    /// `entries`: how many the request has, or the transfer that it follows.
    pub async fn transfer(
        &self,
        request: TransferRequest,
        entries: usize,
    ) -> Result<Verdict, WriteError> {
        // One transfer larger than all the room there is may still go alone.
        let wanted = u32::try_from(entries).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.entries)
            .try_acquire_many_owned(wanted.min(self.entries_max))
            .map_err(|_| WriteError::QueueFull("entries"))?;
        self.hand_in(|reply| Task::Transfer(request, entries, room, reply)).await
    }

    pub async fn currency(&self, body: CurrencyBody) -> Result<Created<CurrencyBody>, WriteError> {
        self.hand_in(|reply| Task::Currency(body, reply)).await
    }

    pub async fn account(&self, body: AccountBody) -> Result<Created<Account>, WriteError> {
        self.hand_in(|reply| Task::Account(body, reply)).await
    }

    /// Puts limits on an account that exists.
    pub async fn limits(&self, account_id: i64, limits: AccountLimits) -> Result<(), WriteError> {
        self.hand_in(|reply| Task::Limits(account_id, limits, reply)).await
    }

    /// Succeeds once a write has really been committed after this call.
    pub async fn probe(&self) -> Result<(), WriteError> {
        self.hand_in(Task::Probe).await
    }

    async fn hand_in<T>(&self, task: impl FnOnce(Reply<T>) -> Task) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(task(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::QueueFull("writes"),
            mpsc::error::TrySendError::Closed(_) => WriteError::Stopped,
        })?;
        self.observe_depth();
        answer.await.map_err(|_| WriteError::Stopped)?
    }

    /// Read at every scrape too, so that the gauge is never older than the scrape.
    pub fn observe_depth(&self) {
        let depth = self.queue.max_capacity() - self.queue.capacity();
        self.metrics.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
        let room = u32::try_from(self.entries.available_permits()).unwrap_or(u32::MAX);
        self.metrics.queue_entries.set(i64::from(self.entries_max.saturating_sub(room)));
    }
}

/// Starts the writer. It ends, and closes the database, when every handle is gone.
pub fn start(
    store: store::Writer,
    limits: Limits,
    metrics: Metrics,
) -> (Handle, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (queue, waiting) = mpsc::channel(limits.queue_max);
    metrics.queue_capacity.set(i64::try_from(limits.queue_max).unwrap_or(i64::MAX));
    metrics.queue_entries_capacity.set(i64::from(limits.queue_entries_max));
    let task = tokio::spawn(run(store, waiting, limits.batch_max, metrics.clone()));
    let handle = Handle {
        queue,
        entries: Arc::new(Semaphore::new(limits.queue_entries_max as usize)),
        entries_max: limits.queue_entries_max,
        metrics,
    };
    (handle, task)
}

async fn run(
    mut store: store::Writer,
    mut waiting: mpsc::Receiver<Task>,
    batch_max: usize,
    metrics: Metrics,
) -> Result<(), StoreError> {
    let mut failure_logged: Option<Instant> = None;
    // Whatever fell due while no service ran is released first.
    let mut expiry = Some(Instant::now());
    while let Some(gathered) = Gathered::next(&mut waiting, batch_max, expiry).await {
        let began = Instant::now();
        if gathered.len() > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52")]
            metrics.batch_writes.observe(gathered.len() as f64);
        }
        let committed = tokio::time::timeout(BATCH_TIMEOUT, commit(&mut store, &gathered)).await;
        match committed.unwrap_or_else(|_| Err(StoreError::Engine(TOO_LONG.into()))) {
            Ok(outcome) => {
                metrics.batch_seconds.observe(seconds(began.elapsed()));
                metrics.commit_seconds.observe(seconds(outcome.commit));
                count(&outcome, &metrics);
                expiry = outcome.expiry;
                gathered.answer(outcome);
            }
            Err(error) => {
                metrics.batch_failures.inc();
                if failure_logged.is_none_or(|at| at.elapsed() >= FAILURE_LOG_EVERY) {
                    failure_logged = Some(Instant::now());
                    tracing::error!(%error, writes = gathered.len(), "batch failed, nothing of it is acknowledged");
                }
                store.reset().await;
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

/// The tasks of one batch, by kind: what is created first, so that transfers of the same batch
/// may use it. No client can tell the difference, as none of them has been answered yet.
#[derive(Default)]
struct Gathered {
    currencies: Vec<(CurrencyBody, Reply<Created<CurrencyBody>>)>,
    accounts: Vec<(AccountBody, Reply<Created<Account>>)>,
    transfers: Vec<TransferRequest>,
    transfer_replies: Vec<(OwnedSemaphorePermit, Reply<Verdict>)>,
    limits: Vec<(i64, AccountLimits, Reply<()>)>,
    probes: Vec<Reply<()>>,
}

/// What a committed batch came to, in the order of `Gathered`.
struct Outcome {
    currencies: Vec<Created<CurrencyBody>>,
    accounts: Vec<Created<Account>>,
    verdicts: Vec<Verdict>,
    entries: u64,
    expired: u64,
    /// When the next pending transfer is due.
    expiry: Option<Instant>,
    commit: Duration,
}

impl Gathered {
    /// What waits, as soon as something does; or nothing but the time when a pending transfer expires.
    /// Ends with the last handle.
    async fn next(
        waiting: &mut mpsc::Receiver<Task>,
        batch_max: usize,
        expiry: Option<Instant>,
    ) -> Option<Self> {
        let first = match expiry {
            None => waiting.recv().await,
            Some(at) => match tokio::time::timeout_at(at.into(), waiting.recv()).await {
                Ok(first) => first,
                Err(_) => return Some(Self::default()),
            },
        };
        Some(Self::drain(first?, waiting, batch_max))
    }

    fn drain(first: Task, waiting: &mut mpsc::Receiver<Task>, batch_max: usize) -> Self {
        let mut gathered = Self::default();
        let mut entries = gathered.add(first);
        while gathered.len() < batch_max && entries < BATCH_ENTRIES_MAX {
            let Ok(task) = waiting.try_recv() else { break };
            entries += gathered.add(task);
        }
        gathered
    }

    /// Returns how many entries the task brings.
    fn add(&mut self, task: Task) -> usize {
        match task {
            Task::Transfer(request, entries, room, reply) => {
                self.transfers.push(request);
                self.transfer_replies.push((room, reply));
                return entries;
            }
            Task::Currency(body, reply) => self.currencies.push((body, reply)),
            Task::Account(body, reply) => self.accounts.push((body, reply)),
            Task::Limits(account_id, limits, reply) => {
                self.limits.push((account_id, limits, reply));
            }
            Task::Probe(reply) => self.probes.push(reply),
        }
        0
    }

    fn len(&self) -> usize {
        self.currencies.len()
            + self.accounts.len()
            + self.transfers.len()
            + self.limits.len()
            + self.probes.len()
    }

    fn answer(self, outcome: Outcome) {
        // A requester that has gone away misses its answer and finds it again under its key.
        for ((_, reply), created) in self.currencies.into_iter().zip(outcome.currencies) {
            let _ = reply.send(Ok(created));
        }
        for ((_, reply), created) in self.accounts.into_iter().zip(outcome.accounts) {
            let _ = reply.send(Ok(created));
        }
        for ((_, reply), verdict) in self.transfer_replies.into_iter().zip(outcome.verdicts) {
            let _ = reply.send(Ok(verdict));
        }
        let limits = self.limits.into_iter().map(|(.., reply)| reply);
        for reply in self.probes.into_iter().chain(limits) {
            let _ = reply.send(Ok(()));
        }
    }

    fn fail(self, error: &WriteError) {
        for (_, reply) in self.currencies {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, reply) in self.accounts {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, reply) in self.transfer_replies {
            let _ = reply.send(Err(error.clone()));
        }
        let limits = self.limits.into_iter().map(|(.., reply)| reply);
        for reply in self.probes.into_iter().chain(limits) {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

async fn commit(store: &mut store::Writer, gathered: &Gathered) -> Result<Outcome, StoreError> {
    let now = Timestamp::now();
    let mut batch = store.begin().await?;
    let mut currencies = Vec::with_capacity(gathered.currencies.len());
    for (body, _) in &gathered.currencies {
        currencies.push(batch.create_currency(body).await?);
    }
    let mut accounts = Vec::with_capacity(gathered.accounts.len());
    for (body, _) in &gathered.accounts {
        accounts.push(batch.create_account(body, now).await?);
    }
    let mut limits = Vec::with_capacity(gathered.limits.len());
    for (account_id, asked, _) in &gathered.limits {
        limits.push(batch.set_limits(*account_id, *asked, now).await?);
    }
    if !gathered.probes.is_empty() {
        batch.probe(now).await?;
    }
    let created: Vec<Record<'_>> =
        (currencies.iter().filter_map(Created::created).map(Record::Currency))
            .chain(accounts.iter().filter_map(Created::created).map(Record::Account))
            .chain(limits.iter().map(Record::Limits))
            .collect();
    let posted = post(&mut batch, &created, &gathered.transfers, now).await?;
    let expiry = batch.next_expiry().await?.map(|at_us| instant_of(at_us, now));
    let began = Instant::now();
    batch.commit().await?;
    let Posted { verdicts, entries, expired } = posted;
    let commit = began.elapsed();
    Ok(Outcome { currencies, accounts, verdicts, entries, expired, expiry, commit })
}

/// A time of the calendar on the clock that timers go by; one that is past is now.
fn instant_of(at_us: i64, now: Timestamp) -> Instant {
    let ahead = u64::try_from(at_us.saturating_sub(now.as_microsecond())).unwrap_or(0);
    Instant::now() + Duration::from_micros(ahead).min(EXPIRY_SLEEP_MAX)
}

/// What the transfers of a batch came to.
struct Posted {
    verdicts: Vec<Verdict>,
    /// How many entries were written.
    entries: u64,
    /// How many pending transfers were released because they were due.
    expired: u64,
}

/// The transfers of a batch: read, judge, write; and the links of the chain for all the batch books.
async fn post(
    batch: &mut store::Batch<'_>,
    created: &[Record<'_>],
    transfers: &[TransferRequest],
    now: Timestamp,
) -> Result<Posted, StoreError> {
    let keys: BTreeSet<&str> = transfers.iter().map(|request| request.key.as_str()).collect();
    let accounts: BTreeSet<&str> = transfers
        .iter()
        .flat_map(|request| request.action.entries())
        .map(|entry| entry.account.as_str())
        .collect();
    let targets: BTreeSet<Uuid> =
        transfers.iter().filter_map(|request| request.action.of()).collect();
    let wanted = Wanted {
        keys: keys.into_iter().collect(),
        accounts: accounts.into_iter().collect(),
        targets: targets.into_iter().collect(),
        now: Some(now),
    };
    let snapshot = batch.lock_and_read(&wanted).await?;
    let mut head = snapshot.head;
    let (verdicts, changes) = batch::decide(transfers, snapshot, now, Uuid::now_v7);
    if !changes.transfers.is_empty() {
        batch.write(&changes).await?;
    }
    let mut links: Vec<Link> = created.iter().map(|record| head.extend(*record)).collect();
    let booked = changes.transfers.iter().map(TransferRow::of);
    links.extend(booked.map(|transfer| head.extend(Record::Transfer(&transfer))));
    if !links.is_empty() {
        batch.write_links(&links).await?;
    }
    let expired = |new: &&batch::NewTransfer| new.transfer.kind == TransferKind::Expire;
    Ok(Posted {
        verdicts,
        entries: changes.moved().count() as u64,
        expired: changes.transfers.iter().filter(expired).count() as u64,
    })
}

fn count(outcome: &Outcome, metrics: &Metrics) {
    metrics.entries.inc_by(outcome.entries);
    metrics.expired.inc_by(outcome.expired);
    for verdict in &outcome.verdicts {
        match verdict {
            Verdict::Posted(_) => metrics.transfers.inc(),
            Verdict::Replayed(_) => metrics.replays.inc(),
            // Counted by its reason where the problem is answered.
            Verdict::KeyReused | Verdict::Rejected(_) => {}
        }
    }
}
