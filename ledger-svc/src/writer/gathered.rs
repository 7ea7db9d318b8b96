//! What waits for the writer, and what it takes of it for one batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use super::{Published, WriteError};
use crate::account::{Account, AccountBody, Created};
use crate::act::{Act, Acted, Actor, Deed};
use crate::batch::{Group, Verdict};
use crate::posting::{Balance, Limits};
use crate::reconcile::{Adjusted, NewAdjustment};
use crate::transfer::Action;

/// Entries after which a batch is closed, however few transfers it has: a thousand transfers of a
/// thousand entries each must not become one commit.
const BATCH_ENTRIES_MAX: usize = 20_000;

/// Entries of an adjustment.
pub const ADJUSTMENT_ENTRIES: usize = 2;

pub type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// One write that waits.
pub enum Task {
    Transfers {
        group: Group,
        entries: usize,
        room: Vec<OwnedSemaphorePermit>,
        reply: Reply<Vec<Verdict>>,
    },
    Act(Deed, Reply<Acted>),
    Adjustment {
        new: Box<NewAdjustment>,
        actor: Actor,
        room: OwnedSemaphorePermit,
        reply: Reply<Adjusted>,
    },
    Account(AccountBody, Reply<Created<Account>>),
    Probe(Reply<()>),
}

impl Task {
    /// How many writes it is.
    pub fn writes(&self) -> usize {
        match self {
            Self::Transfers { group, .. } => group.requests.len(),
            Self::Act(..) | Self::Adjustment { .. } | Self::Account(..) | Self::Probe(_) => 1,
        }
    }
}

/// The queue, and the task that did not fit the batch before.
pub struct Waiting {
    queue: mpsc::Receiver<Task>,
    held_back: Option<Task>,
    backlog: Arc<Backlog>,
    batch_max: usize,
}

/// How many writes wait, which a queue that holds several of them as one does not say.
#[derive(Debug)]
pub struct Backlog {
    writes: AtomicUsize,
    /// How many are the least that anybody waits for.
    least: usize,
    more: Notify,
}

impl Backlog {
    pub fn new(least: usize) -> Self {
        Self { writes: AtomicUsize::new(0), least, more: Notify::new() }
    }

    /// Before they are put into the queue. Wakes nobody for less than a good part of a batch: there may be as many to
    /// wake for as there are requests.
    pub fn add(&self, writes: usize) {
        let before = self.writes.fetch_add(writes, Ordering::Relaxed);
        if before + writes >= self.least {
            self.more.notify_one();
        }
    }

    /// When they are taken out.
    fn remove(&self, writes: usize) {
        self.writes.fetch_sub(writes, Ordering::Relaxed);
    }
}

/// The tasks of one batch, by kind: what is created first, so that transfers of the same batch
/// may use it. No client can tell the difference, as none of them has been answered yet.
#[derive(Default)]
pub struct Gathered {
    pub deeds: Vec<Deed>,
    pub accounts: Vec<AccountBody>,
    pub groups: Vec<Group>,
    /// Booked after the groups.
    pub adjustments: Vec<(Box<NewAdjustment>, Actor)>,
    pub probes: usize,
    replies: Replies,
    writes: usize,
    entries: usize,
}

/// Who waits for what, in the order of `Gathered`.
#[derive(Default)]
struct Replies {
    deeds: Vec<Reply<Acted>>,
    accounts: Vec<Reply<Created<Account>>>,
    groups: Vec<(Vec<OwnedSemaphorePermit>, Reply<Vec<Verdict>>)>,
    adjustments: Vec<(OwnedSemaphorePermit, Reply<Adjusted>)>,
    probes: Vec<Reply<()>>,
}

/// What a committed batch came to, in the order of `Gathered`.
#[derive(Default)]
pub struct Outcome {
    pub acted: Vec<Acted>,
    /// How many entries the audit log has more.
    pub audited: u64,
    pub accounts: Vec<Created<Account>>,
    /// Of the groups, and then of those adjustments whose lines were open.
    pub verdicts: Vec<Vec<Verdict>>,
    pub adjusted: Vec<Adjusted>,
    /// The balance of every account touched, by account id.
    pub balances: BTreeMap<i64, Balance>,
    /// How many entries were written.
    pub entries: u64,
    /// How many pending transfers were released because they were due.
    pub expired: u64,
    pub commit: Duration,
}

impl Waiting {
    pub fn new(queue: mpsc::Receiver<Task>, backlog: Arc<Backlog>, batch_max: usize) -> Self {
        Self { queue, held_back: None, backlog, batch_max }
    }

    /// What waits, as soon as something does; or nothing, when a pending transfer expires or readers want
    /// their balances confirmed. Ends with the last handle.
    pub async fn next(
        &mut self,
        expiry: Option<Instant>,
        balances: &Published,
    ) -> Option<Gathered> {
        if self.held_back.is_none() {
            let expires = async {
                match expiry {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            self.held_back = tokio::select! {
                biased;
                first = self.queue.recv() => Some(first?),
                () = expires => None,
                () = balances.unconfirmed() => None,
            };
        }
        let mut gathered = Gathered::default();
        self.top_up(&mut gathered);
        Some(gathered)
    }

    /// Adds what waits already.
    pub fn top_up(&mut self, gathered: &mut Gathered) {
        while !self.is_full(gathered) {
            let Some(task) = self.held_back.take().or_else(|| self.queue.try_recv().ok()) else {
                return;
            };
            // What came together is committed together: it is the next batch's when it is too much for this one.
            if gathered.writes > 0 && gathered.writes + task.writes() > self.batch_max {
                self.held_back = Some(task);
            } else {
                self.backlog.remove(task.writes());
                gathered.add(task);
            }
        }
    }

    /// Returns once so many writes wait, which are no fewer than the backlog's least. Takes nothing.
    pub async fn enough(&self, writes: usize) {
        loop {
            let more = self.backlog.more.notified();
            if self.backlog.writes.load(Ordering::Relaxed) >= writes {
                return;
            }
            more.await;
        }
    }

    fn is_full(&self, gathered: &Gathered) -> bool {
        gathered.writes >= self.batch_max
            || gathered.entries >= BATCH_ENTRIES_MAX
            || (self.held_back.is_some() && gathered.writes > 0)
    }
}

impl Gathered {
    fn add(&mut self, task: Task) {
        self.writes += task.writes();
        match task {
            Task::Transfers { group, entries, room, reply } => {
                self.entries += entries;
                self.groups.push(group);
                self.replies.groups.push((room, reply));
            }
            Task::Act(deed, reply) => {
                self.deeds.push(deed);
                self.replies.deeds.push(reply);
            }
            Task::Adjustment { new, actor, room, reply } => {
                self.entries += ADJUSTMENT_ENTRIES;
                self.adjustments.push((new, actor));
                self.replies.adjustments.push((room, reply));
            }
            Task::Account(body, reply) => {
                self.accounts.push(body);
                self.replies.accounts.push(reply);
            }
            Task::Probe(reply) => {
                self.probes += 1;
                self.replies.probes.push(reply);
            }
        }
    }

    pub fn writes(&self) -> usize {
        self.writes
    }

    /// Limits that were set, by account.
    pub fn limits(&self, acted: &[Acted]) -> Vec<(i64, Limits)> {
        let deeds = self.deeds.iter().zip(acted);
        let limits = deeds.filter_map(|(deed, became)| match (&deed.act, became) {
            (Act::SetLimits { account_id, limits, .. }, Acted::LimitsSet) => {
                Some((*account_id, *limits))
            }
            _ => None,
        });
        limits.collect()
    }

    /// Whether it is nothing but new transfers, which need no more than accounts and keys.
    pub fn is_plain(&self) -> bool {
        let others = self.deeds.len() + self.adjustments.len() + self.accounts.len() + self.probes;
        let mut requests = self.groups.iter().flat_map(|group| &group.requests);
        others == 0
            && !self.groups.is_empty()
            && requests.all(|request| matches!(request.action, Action::Transfer(_)))
    }

    pub fn answer(self, outcome: Outcome) {
        // A requester that has gone away misses its answer and finds it again under its key.
        for (reply, acted) in self.replies.deeds.into_iter().zip(outcome.acted) {
            let _ = reply.send(Ok(acted));
        }
        for (reply, created) in self.replies.accounts.into_iter().zip(outcome.accounts) {
            let _ = reply.send(Ok(created));
        }
        for ((_, reply), verdicts) in self.replies.groups.into_iter().zip(outcome.verdicts) {
            let _ = reply.send(Ok(verdicts));
        }
        for ((_, reply), adjusted) in self.replies.adjustments.into_iter().zip(outcome.adjusted) {
            let _ = reply.send(Ok(adjusted));
        }
        for reply in self.replies.probes {
            let _ = reply.send(Ok(()));
        }
    }

    pub fn fail(self, error: &WriteError) {
        for reply in self.replies.deeds {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.replies.accounts {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, reply) in self.replies.groups {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, reply) in self.replies.adjustments {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.replies.probes {
            let _ = reply.send(Err(error.clone()));
        }
    }
}
