//! What a batch of requests comes to: who is answered from before, who is posted, who is
//! rejected, and the rows to write. Pure, so that the writer around it only moves data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::chain::Head;
use crate::money::format_minor;
use crate::posting::{self, Balance, Books, PostedEntry, Posting, Rejection};
use crate::transfer::{Transfer, TransferEntry, TransferKind, TransferRequest};

/// The status of every booked transfer, first time and replayed.
const STATUS_CREATED: u16 = 201;

/// An answer that has been, or is about to be, stored under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub transfer_id: Uuid,
    pub status: u16,
    /// The JSON body, byte for byte what the first request got.
    pub body: Arc<str>,
}

/// An answer with the fingerprint of the request that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub fingerprint: [u8; 32],
    pub answer: Answer,
}

/// What a batch needs to know beforehand.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    pub keys: Vec<&'a str>,
    /// Codes.
    pub accounts: Vec<&'a str>,
    /// Transfers that are followed.
    pub targets: Vec<Uuid>,
    /// Pending transfers that expire until then are read as well.
    pub now: Option<Timestamp>,
}

/// What the store read, under its lock, for one batch.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Those of the batch's accounts and transfers that exist.
    pub books: Books,
    /// Pending transfers whose time is up; of many, the earliest.
    pub due: Vec<Uuid>,
    /// Those of the batch's keys that were answered before.
    pub answers: HashMap<String, StoredAnswer>,
    pub last: Last,
    /// Where the chain ends.
    pub head: Head,
}

/// Where the books end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    pub transfer_seq: i64,
    pub entry_id: i64,
    pub pending_entry_id: i64,
    /// Microseconds since 1970; 0 when there is no transfer yet.
    pub booked_at_us: i64,
}

/// How one request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Posted(Answer),
    /// The key was used by the same request before; this is its answer.
    Replayed(Answer),
    /// The key was used by another request before.
    KeyReused,
    Rejected(Rejection),
}

/// A transfer to write with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransfer {
    pub seq: i64,
    /// Of `entries` or of `pending_entries`, as the kind says.
    pub entry_id_first: i64,
    pub of_seq: Option<i64>,
    pub transfer: Transfer,
    pub entries: Vec<PostedEntry>,
    /// The key and its answer; what the service books of its own accord has none.
    pub keyed: Option<(String, StoredAnswer)>,
}

/// Everything a batch writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub transfers: Vec<NewTransfer>,
    /// The final balance of every account touched, by account id.
    pub balances: BTreeMap<i64, Balance>,
}

impl Changes {
    /// Entries that count, with their id and their transfer.
    pub fn moved(&self) -> impl Iterator<Item = (i64, i64, &PostedEntry)> {
        self.entries_of(TransferKind::moves)
    }

    /// Entries that are held from now on.
    pub fn held(&self) -> impl Iterator<Item = (i64, i64, &PostedEntry)> {
        self.entries_of(|kind| kind == TransferKind::Pending)
    }

    fn entries_of(
        &self,
        wanted: impl Fn(TransferKind) -> bool,
    ) -> impl Iterator<Item = (i64, i64, &PostedEntry)> {
        self.transfers.iter().filter(move |new| wanted(new.transfer.kind)).flat_map(|new| {
            (new.entry_id_first..).zip(&new.entries).map(|(id, entry)| (id, new.seq, entry))
        })
    }

    /// Pending transfers that begin to hold, with when they expire in microseconds since 1970.
    pub fn opened(&self) -> impl Iterator<Item = (i64, Option<i64>)> {
        let pending = |new: &&NewTransfer| new.transfer.kind == TransferKind::Pending;
        let expires_at = |new: &NewTransfer| new.transfer.expires_at.map(Timestamp::as_microsecond);
        self.transfers.iter().filter(pending).map(move |new| (new.seq, expires_at(new)))
    }

    /// Pending transfers that hold no longer.
    pub fn closed(&self) -> impl Iterator<Item = i64> {
        let settling = self.transfers.iter().filter(|new| new.transfer.kind.settles());
        settling.filter_map(|new| new.of_seq)
    }

    pub fn answers(&self) -> impl Iterator<Item = (i64, &str, &StoredAnswer)> {
        self.transfers.iter().filter_map(|new| {
            new.keyed.as_ref().map(|(key, stored)| (new.seq, key.as_str(), stored))
        })
    }
}

/// Releases what is due, then judges the requests in order; each sees what the ones before it did,
/// and a rejected one leaves no trace, not even its key. `new_id` names transfers.
pub fn decide(
    requests: &[TransferRequest],
    mut snapshot: Snapshot,
    now: Timestamp,
    new_id: impl FnMut() -> Uuid,
) -> (Vec<Verdict>, Changes) {
    // A clock set back must not book before what is already booked.
    let booked_at = match Timestamp::from_microsecond(snapshot.last.booked_at_us) {
        Ok(last) if last > now => last,
        _ => Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
    };
    let mut booking = Booking {
        books: std::mem::take(&mut snapshot.books),
        last: snapshot.last,
        booked_at,
        new_id,
        changes: Changes::default(),
    };
    for id in &snapshot.due {
        let Some(target) = booking.books.targets.get(id).cloned() else { continue };
        match posting::expire(&target, &booking.books.accounts, booked_at) {
            Ok(posting) => {
                booking.book(posting, None);
            }
            // It stays pending, and every request about it is told the same.
            Err(rejection) => tracing::error!(%id, %rejection, "a hold cannot be released"),
        }
    }
    let mut answers = snapshot.answers;
    let verdicts = requests
        .iter()
        .map(|request| {
            if let Some(stored) = answers.get(request.key.as_str()) {
                return if stored.fingerprint == request.fingerprint {
                    Verdict::Replayed(stored.answer.clone())
                } else {
                    Verdict::KeyReused
                };
            }
            let posting = match posting::post(&request.action, &booking.books, booked_at) {
                Ok(posting) => posting,
                Err(rejection) => return Verdict::Rejected(rejection),
            };
            let stored = booking.book(posting, Some(request));
            let answer = stored.answer.clone();
            answers.insert(request.key.as_str().to_owned(), stored);
            Verdict::Posted(answer)
        })
        .collect();
    (verdicts, booking.changes)
}

/// A batch while it is being decided.
struct Booking<N> {
    books: Books,
    last: Last,
    booked_at: Timestamp,
    new_id: N,
    changes: Changes,
}

impl<N: FnMut() -> Uuid> Booking<N> {
    /// Numbers an accepted posting, takes it into the books and renders its answer.
    fn book(&mut self, posting: Posting, request: Option<&TransferRequest>) -> StoredAnswer {
        let id = (self.new_id)();
        self.books.apply(&posting, id);
        for (code, balance) in &posting.balances {
            if let Some(standing) = self.books.accounts.0.get(code) {
                self.changes.balances.insert(standing.account_id, *balance);
            }
        }
        let target = posting.of.and_then(|of| self.books.targets.get(&of));
        let written = i64::try_from(posting.entries.len()).expect("entries are limited");
        let entry_id_first = match (posting.kind, target) {
            (TransferKind::Void | TransferKind::Expire, Some(target)) => target.entry_id_first,
            (TransferKind::Pending, _) => take(&mut self.last.pending_entry_id, written),
            _ => take(&mut self.last.entry_id, written),
        };
        let transfer = Transfer {
            id,
            kind: posting.kind,
            state: posting.kind.state(None),
            description: posting.description,
            effective_date: posting.effective_date,
            booked_at: self.booked_at,
            expires_at: posting.expires_at,
            of: posting.of,
            followed_by: None,
            entries: posting.entries.iter().map(rendered).collect(),
        };
        let body = serde_json::to_string(&transfer).expect("strings and numbers always serialise");
        let stored = StoredAnswer {
            fingerprint: request.map_or([0; 32], |request| request.fingerprint),
            answer: Answer { transfer_id: id, status: STATUS_CREATED, body: body.into() },
        };
        let keyed = request.map(|request| (request.key.as_str().to_owned(), stored.clone()));
        let of_seq = target.map(|target| target.seq);
        let seq = take(&mut self.last.transfer_seq, 1);
        let entries = posting.entries;
        let new = NewTransfer { seq, entry_id_first, of_seq, transfer, entries, keyed };
        self.changes.transfers.push(new);
        stored
    }
}

/// The first of `count` numbers after `last`.
fn take(last: &mut i64, count: i64) -> i64 {
    let first = *last + 1;
    *last += count;
    first
}

fn rendered(entry: &PostedEntry) -> TransferEntry {
    TransferEntry {
        account: entry.account.clone(),
        direction: entry.direction,
        amount: format_minor(i128::from(entry.amount_minor), entry.currency.scale),
        currency: entry.currency.code.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::account::Side;
    use crate::money::Currency;
    use crate::posting::{Accounts, Limits, Standing};
    use crate::transfer::{self, IdempotencyKey};

    const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];

    fn snapshot(debits_minor: i64) -> Snapshot {
        let standing = |account_id| Standing {
            account_id,
            currency: Currency { code: "EUR".into(), scale: 2 },
            normal: Side::Debit,
            balance: Balance { debits_minor, ..Balance::default() },
            limits: Limits::default(),
        };
        let accounts = ACCOUNTS.iter().zip(1..).map(|(code, id)| ((*code).into(), standing(id)));
        let books = Books { accounts: Accounts(accounts.collect()), ..Books::default() };
        Snapshot { books, ..Snapshot::default() }
    }

    fn request(key: &str, from: &str, to: &str, debit: &str, credit: &str) -> TransferRequest {
        let body = format!(
            r#"{{"description":"","entries":[{{"account":"{from}","direction":"debit","amount":"{debit}"}},{{"account":"{to}","direction":"credit","amount":"{credit}"}}]}}"#
        );
        let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
        transfer::parse(key, body.as_bytes(), 10).unwrap()
    }

    /// Ids that only depend on how many were drawn.
    fn decided(requests: &[TransferRequest], snapshot: Snapshot) -> (Vec<Verdict>, Changes) {
        let mut drawn = 0;
        decide(requests, snapshot, Timestamp::UNIX_EPOCH, || {
            drawn += 1;
            Uuid::from_u128(drawn)
        })
    }

    /// Requests of which some are unbalanced, name no account, overflow, or repeat a key.
    fn any_requests() -> impl Strategy<Value = Vec<TransferRequest>> {
        let account = || prop::sample::select(vec!["a", "b", "c", "d", "nowhere"]);
        let amount = || prop::sample::select(vec!["1.00", "1.01", "7", "9.99"]);
        let one = (0..30_u32, account(), account(), amount(), amount(), any::<bool>());
        prop::collection::vec(one, 0..20).prop_map(|requests| {
            let one = |(key, from, to, debit, credit, balanced): (u32, &str, &str, _, _, bool)| {
                request(&key.to_string(), from, to, debit, if balanced { debit } else { credit })
            };
            requests.into_iter().map(one).collect()
        })
    }

    proptest! {
        #[test]
        fn a_rejected_transfer_changes_nothing(
            requests in any_requests(),
            room_minor in prop::sample::select(vec![500, 3_000, i64::MAX]),
        ) {
            let start = snapshot(i64::MAX - room_minor);
            let (verdicts, changes) = decided(&requests, start.clone());
            prop_assert_eq!(verdicts.len(), requests.len());
            let posted: Vec<TransferRequest> = requests
                .iter()
                .zip(&verdicts)
                .filter(|(_, verdict)| matches!(verdict, Verdict::Posted(_)))
                .map(|(request, _)| request.clone())
                .collect();
            let (again, same) = decided(&posted, start);
            prop_assert_eq!(changes, same);
            prop_assert!(again.iter().all(|verdict| matches!(verdict, Verdict::Posted(_))));
        }

        #[test]
        fn each_key_posts_once_and_numbers_have_no_gaps(requests in any_requests()) {
            let (verdicts, changes) = decided(&requests, snapshot(0));
            let mut first: HashMap<&str, (&TransferRequest, &Answer)> = HashMap::new();
            for (request, verdict) in requests.iter().zip(&verdicts) {
                match (first.get(request.key.as_str()), verdict) {
                    (None, Verdict::Posted(answer)) => {
                        first.insert(request.key.as_str(), (request, answer));
                    }
                    (None, Verdict::Rejected(_)) => {}
                    (Some((earlier, answer)), Verdict::Replayed(replayed)) => {
                        prop_assert_eq!(earlier.fingerprint, request.fingerprint);
                        prop_assert_eq!(*answer, replayed);
                    }
                    (Some((earlier, _)), Verdict::KeyReused) => {
                        prop_assert_ne!(earlier.fingerprint, request.fingerprint);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(changes.transfers.len(), first.len());
            for (new, seq) in changes.transfers.iter().zip(1..) {
                prop_assert_eq!((new.seq, new.entry_id_first), (seq, 2 * seq - 1));
            }
        }

        #[test]
        fn the_order_of_requests_does_not_change_the_balances(
            (one, other) in prop::collection::vec((0..4_usize, 0..4_usize, 1..500_u32), 0..12)
                .prop_map(|moves| {
                    let one = |(index, (from, to, euro)): (usize, (usize, usize, u32))| {
                        let amount = euro.to_string();
                        request(&index.to_string(), ACCOUNTS[from], ACCOUNTS[to], &amount, &amount)
                    };
                    moves.into_iter().enumerate().map(one).collect::<Vec<_>>()
                })
                .prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        ) {
            let (one, other) = (decided(&one, snapshot(0)).1, decided(&other, snapshot(0)).1);
            prop_assert_eq!(one.balances, other.balances);
        }
    }

    #[test]
    fn known_keys_are_answered_from_before() {
        let before = request("k", "a", "b", "1", "1");
        let (verdicts, changes) = decided(std::slice::from_ref(&before), snapshot(0));
        let Verdict::Posted(answer) = &verdicts[0] else { panic!() };
        let mut known = snapshot(0);
        known.answers.insert("k".into(), changes.transfers[0].keyed.clone().unwrap().1);
        let other = request("k", "a", "b", "2", "2");
        let (verdicts, changes) = decided(&[before, other], known);
        assert_eq!(verdicts, [Verdict::Replayed(answer.clone()), Verdict::KeyReused]);
        assert_eq!(changes, Changes::default());
    }

    #[test]
    fn a_clock_set_back_books_at_the_last_time() {
        let mut later = snapshot(0);
        later.last.booked_at_us = 86_400_000_000;
        let (_, changes) = decided(&[request("k", "a", "b", "1", "1")], later);
        let transfer = &changes.transfers[0].transfer;
        assert_eq!(transfer.booked_at.as_microsecond(), 86_400_000_000);
        assert_eq!(transfer.effective_date.to_string(), "1970-01-02");
        assert_eq!(transfer.entries[0].direction, Side::Debit);
    }
}
