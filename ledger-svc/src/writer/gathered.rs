//! What waits for the writer, and what it takes of it for one batch.

use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::WriteError;
use crate::account::{AccountBody, CurrencyBody};
use crate::batch::{Group, Verdict};
use crate::close::{Closing, NewClose};
use crate::posting::Limits;
use crate::report::Account;
use crate::store::Created;

/// Entries after which a batch is closed, however few transfers it has: a thousand transfers of a
/// thousand entries each must not become one commit.
const BATCH_ENTRIES_MAX: usize = 20_000;

pub type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// One write that waits.
pub enum Task {
    Transfers {
        group: Group,
        entries: usize,
        room: Vec<OwnedSemaphorePermit>,
        reply: Reply<Vec<Verdict>>,
    },
    Currency(CurrencyBody, Reply<Created<CurrencyBody>>),
    Account(AccountBody, Reply<Created<Account>>),
    Limits(i64, Limits, Reply<()>),
    Close(NewClose, Reply<Closing>),
    Probe(Reply<()>),
}

impl Task {
    /// How many writes it is.
    fn writes(&self) -> usize {
        match self {
            Self::Transfers { group, .. } => group.requests.len(),
            Self::Currency(..)
            | Self::Account(..)
            | Self::Limits(..)
            | Self::Close(..)
            | Self::Probe(_) => 1,
        }
    }
}

/// The queue, and the task that did not fit the batch before.
pub struct Waiting {
    queue: mpsc::Receiver<Task>,
    held_back: Option<Task>,
    batch_max: usize,
}

/// The tasks of one batch, by kind: what is created first, so that transfers of the same batch
/// may use it. No client can tell the difference, as none of them has been answered yet.
#[derive(Default)]
pub struct Gathered {
    pub currencies: Vec<CurrencyBody>,
    pub accounts: Vec<AccountBody>,
    pub groups: Vec<Group>,
    pub limits: Vec<(i64, Limits)>,
    pub closes: Vec<NewClose>,
    pub probes: usize,
    replies: Replies,
    writes: usize,
    entries: usize,
}

/// Who waits for what, in the order of `Gathered`.
#[derive(Default)]
struct Replies {
    currencies: Vec<Reply<Created<CurrencyBody>>>,
    accounts: Vec<Reply<Created<Account>>>,
    groups: Vec<(Vec<OwnedSemaphorePermit>, Reply<Vec<Verdict>>)>,
    closes: Vec<Reply<Closing>>,
    /// Limits and probes: that it is done is all there is to say.
    done: Vec<Reply<()>>,
}

/// What a committed batch came to, in the order of `Gathered`.
#[derive(Default)]
pub struct Outcome {
    pub currencies: Vec<Created<CurrencyBody>>,
    pub accounts: Vec<Created<Account>>,
    pub verdicts: Vec<Vec<Verdict>>,
    pub closes: Vec<Closing>,
    /// How many entries were written.
    pub entries: u64,
    /// How many pending transfers were released because they were due.
    pub expired: u64,
    pub commit: Duration,
}

impl Waiting {
    pub fn new(queue: mpsc::Receiver<Task>, batch_max: usize) -> Self {
        Self { queue, held_back: None, batch_max }
    }

    /// What waits, as soon as something does; or nothing but the time when a pending transfer expires.
    /// Ends with the last handle.
    pub async fn next(&mut self, expiry: Option<Instant>) -> Option<Gathered> {
        let first = match (self.held_back.take(), expiry) {
            (Some(first), _) => Some(first),
            (None, None) => self.queue.recv().await,
            (None, Some(at)) => match tokio::time::timeout_at(at.into(), self.queue.recv()).await {
                Ok(first) => first,
                Err(_) => return Some(Gathered::default()),
            },
        };
        let mut gathered = Gathered::default();
        gathered.add(first?);
        while gathered.writes < self.batch_max && gathered.entries < BATCH_ENTRIES_MAX {
            let Ok(task) = self.queue.try_recv() else { break };
            // What came together is committed together; it is the next batch's when it is too much for this one.
            if gathered.writes + task.writes() > self.batch_max {
                self.held_back = Some(task);
                break;
            }
            gathered.add(task);
        }
        Some(gathered)
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
            Task::Currency(body, reply) => {
                self.currencies.push(body);
                self.replies.currencies.push(reply);
            }
            Task::Account(body, reply) => {
                self.accounts.push(body);
                self.replies.accounts.push(reply);
            }
            Task::Limits(account_id, limits, reply) => {
                self.limits.push((account_id, limits));
                self.replies.done.push(reply);
            }
            Task::Close(new, reply) => {
                self.closes.push(new);
                self.replies.closes.push(reply);
            }
            Task::Probe(reply) => {
                self.probes += 1;
                self.replies.done.push(reply);
            }
        }
    }

    pub fn writes(&self) -> usize {
        self.writes
    }

    pub fn answer(self, outcome: Outcome) {
        // A requester that has gone away misses its answer and finds it again under its key.
        for (reply, created) in self.replies.currencies.into_iter().zip(outcome.currencies) {
            let _ = reply.send(Ok(created));
        }
        for (reply, created) in self.replies.accounts.into_iter().zip(outcome.accounts) {
            let _ = reply.send(Ok(created));
        }
        for ((_, reply), verdicts) in self.replies.groups.into_iter().zip(outcome.verdicts) {
            let _ = reply.send(Ok(verdicts));
        }
        for (reply, closing) in self.replies.closes.into_iter().zip(outcome.closes) {
            let _ = reply.send(Ok(closing));
        }
        for reply in self.replies.done {
            let _ = reply.send(Ok(()));
        }
    }

    pub fn fail(self, error: &WriteError) {
        for reply in self.replies.currencies {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.replies.accounts {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, reply) in self.replies.groups {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.replies.closes {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in self.replies.done {
            let _ = reply.send(Err(error.clone()));
        }
    }
}
