//! Decides a batch, request by request.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::{
    Answer, Changes, Group, Keyed, Last, NewTransfer, STATUS_CREATED, Said, Snapshot, StoredAnswer,
    Verdict,
};
use crate::posting::{self, Balance, Books, Posting};
use crate::transfer::{TransferKind, TransferRequest};

/// Releases what is due, then judges the requests in order; each sees what the ones before it did,
/// and a rejected one leaves no trace, not even its key. `new_id` names transfers. Afterwards `snapshot`
/// is how the books stand once the changes are committed.
pub fn decide(
    groups: &[Group],
    snapshot: &mut Snapshot,
    now: Timestamp,
    new_id: impl FnMut() -> Uuid,
) -> (Vec<Vec<Verdict>>, Changes) {
    // A clock set back must not book before what is already booked.
    let booked_at = match Timestamp::from_microsecond(snapshot.last.booked_at_us) {
        Ok(last) if last > now => last,
        _ => Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
    };
    let mut booking = Booking {
        books: std::mem::take(&mut snapshot.books),
        last: snapshot.last,
        booked_at,
        booked_on: booked_at.to_zoned(TimeZone::UTC).date(),
        new_id,
        transfers: Vec::new(),
        touched: Vec::new(),
        stored: std::mem::take(&mut snapshot.answers),
        answered: HashMap::new(),
    };
    for id in std::mem::take(&mut snapshot.due) {
        let Some(target) = booking.books.targets.get(&id).cloned() else { continue };
        match posting::expire(&target, &booking.books.accounts, booked_at) {
            Ok(posting) => {
                booking.book(posting, None);
            }
            // It stays pending, and every request about it is told the same.
            Err(rejection) => tracing::error!(%id, %rejection, "a hold cannot be released"),
        }
    }
    let verdicts = groups.iter().map(|group| booking.decide(group)).collect();
    let changes = booking.changes();
    snapshot.books = booking.books;
    snapshot.last = booking.last;
    if let Some(new) = changes.transfers.last() {
        snapshot.last.booked_at_us = new.booked_at.as_microsecond();
    }
    (verdicts, changes)
}

/// A batch while it is being decided.
struct Booking<'a, N> {
    books: Books,
    last: Last,
    booked_at: Timestamp,
    booked_on: Date,
    new_id: N,
    transfers: Vec<Arc<NewTransfer>>,
    /// Codes of the accounts whose balance has changed, some of them more than once.
    touched: Vec<String>,
    /// Those of the keys that were answered before this batch.
    stored: HashMap<String, StoredAnswer>,
    /// Answers of this batch with the fingerprints of their requests, by key.
    answered: HashMap<&'a str, ([u8; 32], Answer)>,
}

/// How a booking stood before a group, to go back to.
struct Mark {
    last: Last,
    transfers: usize,
    touched: usize,
    accounts: Vec<(String, Balance)>,
    followed: Vec<(Uuid, Option<(Uuid, TransferKind)>)>,
}

impl<'a, N: FnMut() -> Uuid> Booking<'a, N> {
    fn decide(&mut self, group: &'a Group) -> Vec<Verdict> {
        if !group.all_or_nothing {
            return group.requests.iter().map(|request| self.judge(request)).collect();
        }
        let mark = self.mark(group);
        let mut verdicts = Vec::with_capacity(group.requests.len());
        for request in &group.requests {
            let verdict = self.judge(request);
            if !verdict.is_booked() {
                self.undo(mark);
                let mut withheld = vec![Verdict::Withheld; group.requests.len()];
                withheld[verdicts.len()] = verdict;
                return withheld;
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    fn judge(&mut self, request: &'a TransferRequest) -> Verdict {
        if let Some((fingerprint, answer)) = self.answered.get(request.key.as_str()) {
            if *fingerprint != request.fingerprint {
                return Verdict::KeyReused;
            }
            return Verdict::Replayed(answer.clone());
        }
        if let Some(stored) = self.stored.get(request.key.as_str()) {
            if stored.fingerprint != request.fingerprint {
                return Verdict::KeyReused;
            }
            return Verdict::Replayed(self.replayed(stored));
        }
        match posting::post(&request.action, &self.books, self.booked_at) {
            Ok(posting) => Verdict::Posted(self.book(posting, Some(request))),
            Err(rejection) => Verdict::Rejected(rejection),
        }
    }

    /// The answer as it was given the first time.
    fn replayed(&self, stored: &StoredAnswer) -> Answer {
        let body = stored.body.clone().unwrap_or_else(|| {
            let target = &self.books.targets[&stored.transfer_id];
            target.as_booked(&self.books.accounts).first_answer().into()
        });
        let said = Said::Before(body);
        Answer { transfer_id: stored.transfer_id, status: stored.status, said }
    }

    /// Numbers an accepted posting and takes it into the books.
    fn book(&mut self, posting: Posting, request: Option<&'a TransferRequest>) -> Answer {
        let id = (self.new_id)();
        self.books.apply(&posting, id);
        self.touched.extend(posting.balances.into_keys());
        let target = posting.of.and_then(|of| self.books.targets.get(&of));
        let written = i64::try_from(posting.entries.len()).expect("entries are limited");
        let entry_id_first = match (posting.kind, target) {
            (TransferKind::Void | TransferKind::Expire, Some(target)) => target.entry_id_first,
            (TransferKind::Pending, _) => take(&mut self.last.pending_entry_id, written),
            _ => take(&mut self.last.entry_id, written),
        };
        let new = Arc::new(NewTransfer {
            seq: take(&mut self.last.transfer_seq, 1),
            entry_id_first,
            of_seq: target.map(|target| target.seq),
            id,
            kind: posting.kind,
            description: posting.description,
            metadata: posting.metadata,
            effective_date: posting.effective_date,
            booked_at: self.booked_at,
            booked_on: self.booked_on,
            expires_at: posting.expires_at,
            of: posting.of,
            entries: posting.entries,
            keyed: request.map(|request| Keyed {
                key: request.key.clone(),
                fingerprint: request.fingerprint,
            }),
        });
        let said = Said::Of(Arc::clone(&new));
        let answer = Answer { transfer_id: id, status: STATUS_CREATED, said };
        if let Some(request) = request {
            self.answered.insert(request.key.as_str(), (request.fingerprint, answer.clone()));
        }
        self.transfers.push(new);
        answer
    }

    fn mark(&self, group: &Group) -> Mark {
        let targets = || group.requests.iter().filter_map(|request| request.action.of());
        let of_targets = targets()
            .filter_map(|id| self.books.targets.get(&id))
            .flat_map(|target| target.entries.iter().map(|entry| entry.account.as_str()));
        let codes: BTreeSet<&str> = group
            .requests
            .iter()
            .flat_map(|request| request.action.accounts())
            .chain(of_targets)
            .collect();
        let balance =
            |code: &str| Some((code.to_owned(), self.books.accounts.0.get(code)?.balance));
        let followed = |id: Uuid| Some((id, self.books.targets.get(&id)?.followed_by));
        Mark {
            last: self.last,
            transfers: self.transfers.len(),
            touched: self.touched.len(),
            accounts: codes.into_iter().filter_map(balance).collect(),
            followed: targets().filter_map(followed).collect(),
        }
    }

    /// As if the group had never been there.
    fn undo(&mut self, mark: Mark) {
        for new in self.transfers.drain(mark.transfers..) {
            if let Some(keyed) = &new.keyed {
                self.answered.remove(keyed.key.as_str());
            }
        }
        self.touched.truncate(mark.touched);
        self.last = mark.last;
        for (code, balance) in mark.accounts {
            if let Some(standing) = self.books.accounts.0.get_mut(&code) {
                standing.balance = balance;
            }
        }
        for (id, followed_by) in mark.followed {
            if let Some(target) = self.books.targets.get_mut(&id) {
                target.followed_by = followed_by;
            }
        }
    }

    fn changes(&mut self) -> Changes {
        let balances = self.touched.drain(..).filter_map(|code| {
            let standing = self.books.accounts.0.get(&code)?;
            Some((standing.account_id, standing.balance))
        });
        let transfers = std::mem::take(&mut self.transfers);
        Changes { balances: balances.collect(), transfers, ..Changes::default() }
    }
}

/// The first of `count` numbers after `last`.
fn take(last: &mut i64, count: i64) -> i64 {
    let first = *last + 1;
    *last += count;
    first
}
