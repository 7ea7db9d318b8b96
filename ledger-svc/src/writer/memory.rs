//! What the writer knows of the books between batches. It is the only one to write them, as long as it
//! holds the lock and finds its epoch; after a failure it knows nothing.

use std::collections::{HashSet, VecDeque};

use jiff::Timestamp;

use crate::batch::{Changes, Snapshot, Wanted};
use crate::behind::ON_THEIR_WAY_MAX;
use crate::posting::Limits;
use crate::store::{Batch, StoreError};
use crate::transfer::IdempotencyKey;

#[derive(Debug, Default)]
pub struct Memory {
    /// Balances as committed, and where the books end.
    pub snapshot: Snapshot,
    /// Whether the ends and the next expiry have been read.
    fresh: bool,
    /// When the next pending transfer expires, in microseconds since 1970.
    next_expiry_us: Option<i64>,
    /// Keys of the last batches, which may still be on their way.
    keys: VecDeque<HashSet<IdempotencyKey>>,
    /// A key was met that was known already.
    pub wary: bool,
}

impl Memory {
    /// Adds to what a batch wants the things that only have to be read once.
    pub fn complete(&self, wanted: &mut Wanted<'_>, now: Timestamp) {
        let due = self.next_expiry_us.is_some_and(|at| at <= now.as_microsecond());
        wanted.ends = !self.fresh;
        wanted.due = (due || !self.fresh).then_some(now);
    }

    /// Whether everything is known that a batch of new transfers needs besides keys and accounts.
    pub fn suffices(&self, now: Timestamp) -> bool {
        self.fresh && self.next_expiry_us.is_none_or(|at| at > now.as_microsecond())
    }

    /// Whether a batch that may still be on its way has this key.
    pub fn sent(&self, key: &IdempotencyKey) -> bool {
        self.keys.iter().any(|keys| keys.contains(key))
    }

    /// The keys of a batch that goes on its way.
    pub fn send(&mut self, keys: HashSet<IdempotencyKey>) {
        self.keys.truncate(ON_THEIR_WAY_MAX - 1);
        self.keys.push_front(keys);
    }

    /// After changes that end no hold are decided.
    pub fn opened(&mut self, changes: &Changes) {
        let opened = changes.opened().filter_map(|(_, at)| at).min();
        self.next_expiry_us = self.next_expiry_us.into_iter().chain(opened).min();
    }

    /// After the changes are written and before they are committed.
    pub async fn follow(
        &mut self,
        batch: &mut Batch<'_>,
        changes: &Changes,
    ) -> Result<(), StoreError> {
        if !self.fresh || changes.closed().next().is_some() {
            self.next_expiry_us = batch.next_expiry().await?;
        } else {
            self.opened(changes);
        }
        self.fresh = true;
        Ok(())
    }

    pub fn set_limits(&mut self, account_id: i64, limits: Limits) {
        let accounts = self.snapshot.books.accounts.0.values_mut();
        for standing in accounts.filter(|standing| standing.account_id == account_id) {
            standing.limits = limits;
        }
    }

    /// Before a batch: no more accounts than that, and nothing of the batch before.
    pub fn trim(&mut self, accounts_max: usize) {
        self.snapshot.books.targets.clear();
        if self.snapshot.books.accounts.0.len() > accounts_max {
            self.snapshot.books.accounts.0.clear();
            self.snapshot.trails.clear();
        }
    }

    pub fn accounts(&self) -> usize {
        self.snapshot.books.accounts.0.len()
    }

    pub fn next_expiry_us(&self) -> Option<i64> {
        self.next_expiry_us
    }
}
