//! Deciding a batch before it is its turn: while the one before it is being written, from what that one will
//! have made of the books. Should it fail, everything decided after it is forgotten.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::gathered::{Gathered, Outcome};
use super::ids::Ids;
use super::memory::Memory;
use crate::batch::{self, Changes, Snapshot, Verdict, Wanted};
use crate::naming::validate_code;
use crate::store::{Ahead, Batch, Inserts, StoreError};

/// A decided batch.
pub struct Prepared {
    verdicts: Vec<Vec<Verdict>>,
    changes: Changes,
    /// What writes them, until it is sent; nothing where there is nothing to write.
    own: Option<Inserts>,
    shared: Option<Inserts>,
    /// Whether its keys were not looked up: the index tells if one of them is known.
    pub unchecked: bool,
}

/// Decides a batch of new transfers; nothing when it needs more than that, and has to be decided under the lock.
/// `wary` of keys that are known already, it looks them up.
pub async fn prepare(
    ahead: &Ahead,
    gathered: &Gathered,
    memory: &mut Memory,
    ids: &mut Ids,
    (wary, behind_max): (bool, i64),
) -> Option<Prepared> {
    let now = Timestamp::now();
    if !gathered.is_plain() || !memory.suffices(now) {
        return None;
    }
    let requests = || gathered.groups.iter().flat_map(|group| &group.requests);
    // What is asked again is answered from what is stored, and what is stored is known only once it is.
    if requests().any(|request| memory.sent(&request.key)) {
        return None;
    }
    let unchecked = !wary && !memory.snapshot.keys_apart;
    if !unchecked {
        let keys: Vec<&str> = requests().map(|request| request.key.as_str()).collect();
        if ahead.knows_any(&keys).await.ok()? {
            return None;
        }
    }
    let known = &memory.snapshot.books.accounts.0;
    let unknown: BTreeSet<&str> = requests()
        .flat_map(|request| request.action.accounts())
        // No account is called what is no code.
        .filter(|code| !known.contains_key(*code) && validate_code(code).is_ok())
        .collect();
    if !unknown.is_empty() {
        let codes: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
        ahead.look_up_accounts(&codes, &mut memory.snapshot).await.ok()?;
    }
    let (verdicts, mut changes) =
        batch::decide(&gathered.groups, &mut memory.snapshot, now, || ids.next());
    if unchecked && knows_refused(ahead, gathered, &verdicts).await {
        // It was booked before, and is to be answered as it was then. What was decided is void, and so is what memory
        // made of it.
        *memory = Memory::default();
        memory.wary = true;
        return None;
    }
    if changes.thread(&mut memory.snapshot.trails).is_err() {
        // Decided under the lock it fails, and says why.
        *memory = Memory::default();
        return None;
    }
    changes.chain(&mut memory.snapshot.head);
    if !changes.transfers.is_empty() {
        let last = memory.snapshot.last.entry_id;
        changes.settle(&mut memory.snapshot.behind, last, behind_max);
    }
    memory.opened(&changes);
    memory.send(requests().map(|request| request.key.clone()).collect());
    let [own, shared] = match changes.transfers.is_empty() {
        true => [None, None],
        false => match ahead.inserts(&changes) {
            Ok(inserts) => inserts.map(Some),
            Err(_) => {
                // As above.
                *memory = Memory::default();
                return None;
            }
        },
    };
    Some(Prepared { verdicts, changes, own, shared, unchecked })
}

/// Whether a key is known of a request that would be refused now: nothing is inserted for it, so no index would tell.
/// True where that cannot be found out.
async fn knows_refused(ahead: &Ahead, gathered: &Gathered, verdicts: &[Vec<Verdict>]) -> bool {
    let requests = gathered.groups.iter().flat_map(|group| &group.requests);
    let refused =
        requests.zip(verdicts.iter().flatten()).filter(|(_, verdict)| !verdict.is_booked());
    let keys: Vec<&str> = refused.map(|(request, _)| request.key.as_str()).collect();
    !keys.is_empty() && ahead.knows_any(&keys).await.unwrap_or(true)
}

impl Prepared {
    /// Inserts what no other batch touches, so that it does not matter whether the one before is committed.
    pub async fn write_own(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        match self.own.take() {
            Some(inserts) => batch.insert_made(inserts).await,
            None => Ok(()),
        }
    }

    /// Takes the write lock, if this is still the service to write, and writes what other batches change too.
    pub async fn write_shared(&mut self, batch: &mut Batch<'_>) -> Result<(), StoreError> {
        batch.lock_and_read(&Wanted::default(), &mut Snapshot::default()).await?;
        if let Some(inserts) = self.shared.take() {
            batch.insert_made(inserts).await?;
        }
        batch.mark(&self.changes).await
    }

    pub fn outcome(self, commit: Duration) -> Outcome {
        let entries = self.changes.moved().count() as u64;
        let balances = self.changes.balances;
        Outcome { verdicts: self.verdicts, entries, balances, commit, ..Outcome::default() }
    }
}
