//! The writer: one task that owns the writing connection. It takes what waits in a bounded queue
//! (no timer: while one batch commits, the next gathers), runs it as one SQL transaction and
//! answers each request after the commit.

mod acts;
mod adjusting;
mod flight;
mod gathered;
mod ids;
mod memory;
mod prepare;
mod published;
mod run;
#[cfg(test)]
mod simulation_tests;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use self::flight::Telling;
use self::gathered::{ADJUSTMENT_ENTRIES, Backlog, Reply, Task, Waiting};
pub use self::published::{Known, Published, Since};
use crate::account::{Account, AccountBody, Created, CurrencyBody};
use crate::act::{Act, Acted, Actor, Deed};
use crate::batch::{Group, Verdict};
use crate::metrics::Metrics;
use crate::outbox::Progress;
use crate::reconcile::{Adjusted, NewAdjustment};
use crate::store::{self, StoreError};
use crate::transfer::TransferRequest;

/// How much may wait and how much is committed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Writes that wait; those that came together count once.
    pub queue_max: usize,
    /// Entries of all transfers that wait or are being committed: what bounds the memory.
    pub queue_entries_max: u32,
    /// Writes in one SQL transaction.
    pub batch_max: usize,
    /// Accounts whose balances are kept in memory between batches.
    pub accounts_known_max: usize,
    /// Entries that balances' rows may be behind, no more than `behind::ENTRIES_MAX`; 0 writes each with its batch.
    pub balances_behind_max: i64,
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

/// Where handlers hand in their writes.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: mpsc::Sender<Task>,
    backlog: Arc<Backlog>,
    entries: Arc<Semaphore>,
    entries_max: u32,
    /// What streams may take of the entries: they wait for room and never leave none to others.
    streamed: Arc<Semaphore>,
    streamed_max: u32,
    /// Balances as of the last commit.
    pub balances: Published,
    metrics: Metrics,
}

/// Requests that are in the queue.
#[derive(Debug)]
pub struct Queued(oneshot::Receiver<Result<Vec<Verdict>, WriteError>>);

impl Queued {
    /// As many verdicts as requests, in their order, after the commit.
    pub async fn verdicts(self) -> Result<Vec<Verdict>, WriteError> {
        self.0.await.map_err(|_| WriteError::Stopped)?
    }
}

impl Handle {
    /// `entries`: how many the request has, or the transfer that it follows.
    pub async fn transfer(
        &self,
        request: TransferRequest,
        entries: usize,
    ) -> Result<Verdict, WriteError> {
        let verdict = self.transfers(Group::one(request), entries).await?.pop();
        Ok(verdict.expect("a request has a verdict"))
    }

    /// Requests that are committed together. As many verdicts, in their order.
    pub async fn transfers(
        &self,
        group: Group,
        entries: usize,
    ) -> Result<Vec<Verdict>, WriteError> {
        let room = self.room(entries)?;
        self.hand_in(|reply| Task::Transfers { group, entries, room: vec![room], reply }).await
    }

    /// Room for so many entries, if there is any.
    fn room(&self, entries: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        // One transfer larger than all the room there is may still go alone.
        let wanted = u32::try_from(entries).unwrap_or(u32::MAX);
        Arc::clone(&self.entries)
            .try_acquire_many_owned(wanted.min(self.entries_max))
            .map_err(|_| WriteError::QueueFull("entries"))
    }

    /// Books an adjustment and matches it, if its line is open by then.
    pub async fn adjust(&self, new: NewAdjustment, actor: Actor) -> Result<Adjusted, WriteError> {
        let (new, room) = (Box::new(new), self.room(ADJUSTMENT_ENTRIES)?);
        self.hand_in(|reply| Task::Adjustment { new, actor, room, reply }).await
    }

    /// As `transfers`, but waits for room instead of giving up. What waits here counts in no queue: the one
    /// who calls bounds how often.
    pub async fn transfers_in_turn(
        &self,
        group: Group,
        entries: usize,
    ) -> Result<Vec<Verdict>, WriteError> {
        self.queue_in_turn(group, entries).await?.verdicts().await
    }

    /// The same, until they are in the queue: what is in it first is decided first.
    pub async fn queue_in_turn(&self, group: Group, entries: usize) -> Result<Queued, WriteError> {
        let wanted = u32::try_from(entries).unwrap_or(u32::MAX);
        let mut room = Vec::with_capacity(2);
        for (rooms, most) in
            [(&self.streamed, self.streamed_max), (&self.entries, self.entries_max)]
        {
            let acquired = Arc::clone(rooms).acquire_many_owned(wanted.min(most)).await;
            room.push(acquired.map_err(|_| WriteError::Stopped)?);
        }
        let (reply, answer) = oneshot::channel();
        let task = Task::Transfers { group, entries, room, reply };
        let place = self.queue.reserve().await.map_err(|_| WriteError::Stopped)?;
        self.backlog.add(task.writes());
        place.send(task);
        self.observe_depth();
        Ok(Queued(answer))
    }

    /// Does an act of administration and writes it down.
    pub async fn act(&self, act: Act, actor: Actor) -> Result<Acted, WriteError> {
        self.hand_in(|reply| Task::Act(Deed { act, actor }, reply)).await
    }

    pub async fn currency(
        &self,
        body: CurrencyBody,
        actor: Actor,
    ) -> Result<Created<CurrencyBody>, WriteError> {
        match self.act(Act::CreateCurrency(body), actor).await? {
            Acted::Currency(created) => Ok(created),
            other => unreachable!("a currency became {other:?}"),
        }
    }

    /// How far webhooks have come.
    pub async fn webhook_progress(&self, rows: Vec<Progress>) -> Result<(), WriteError> {
        self.act(Act::NoteProgress(rows), Actor::Service).await.map(drop)
    }

    /// Key and time of last use, in microseconds since 1970.
    pub async fn key_uses(&self, uses: Vec<(i64, i64)>) -> Result<(), WriteError> {
        self.act(Act::NoteUses(uses), Actor::Service).await.map(drop)
    }

    pub async fn account(&self, body: AccountBody) -> Result<Created<Account>, WriteError> {
        self.hand_in(|reply| Task::Account(body, reply)).await
    }

    /// Succeeds once a write has really been committed after this call.
    pub async fn probe(&self) -> Result<(), WriteError> {
        self.hand_in(Task::Probe).await
    }

    async fn hand_in<T>(&self, task: impl FnOnce(Reply<T>) -> Task) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        let place = self.queue.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => WriteError::QueueFull("writes"),
            mpsc::error::TrySendError::Closed(()) => WriteError::Stopped,
        })?;
        let task = task(reply);
        self.backlog.add(task.writes());
        place.send(task);
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
    ahead: store::Ahead,
    limits: Limits,
    metrics: Metrics,
) -> (Handle, tokio::task::JoinHandle<Result<(), StoreError>>) {
    let (queue, waiting) = mpsc::channel(limits.queue_max);
    metrics.queue_capacity.set(i64::try_from(limits.queue_max).unwrap_or(i64::MAX));
    metrics.queue_entries_capacity.set(i64::from(limits.queue_entries_max));
    metrics
        .accounts_known_capacity
        .set(i64::try_from(limits.accounts_known_max).unwrap_or(i64::MAX));
    let backlog = Arc::new(Backlog::new(limits.batch_max.div_ceil(run::PART)));
    let balances = Published::new(limits.accounts_known_max, metrics.clone());
    let waiting = Waiting::new(waiting, Arc::clone(&backlog), limits.batch_max);
    let telling = Telling { balances: balances.clone(), metrics: metrics.clone() };
    let running = run::run(store, ahead, waiting, limits, telling);
    let task = tokio::spawn(running);
    let streamed_max = (limits.queue_entries_max / 2).max(1);
    let handle = Handle {
        queue,
        backlog,
        entries: Arc::new(Semaphore::new(limits.queue_entries_max as usize)),
        entries_max: limits.queue_entries_max,
        streamed: Arc::new(Semaphore::new(streamed_max as usize)),
        streamed_max,
        balances,
        metrics,
    };
    (handle, task)
}
