//! What a batch of requests comes to: who is answered from before, who is posted, who is
//! rejected, and the rows to write. Pure, so that the writer around it only moves data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::money::format_minor;
use crate::posting::{self, Accounts, Balance, PostedEntry, Rejection};
use crate::transfer::{Transfer, TransferEntry, TransferRequest};

/// The status of every posted transfer, first time and replayed.
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

/// What the store read, under its lock, for one batch.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Those of the batch's accounts that exist.
    pub accounts: Accounts,
    /// Those of the batch's keys that were answered before.
    pub answers: HashMap<String, StoredAnswer>,
    pub transfer_seq_last: i64,
    pub entry_id_last: i64,
    /// Microseconds since 1970; 0 when there is no transfer yet.
    pub booked_at_last_us: i64,
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
    pub entry_id_first: i64,
    pub transfer: Transfer,
    pub entries: Vec<PostedEntry>,
    pub key: String,
    pub stored: StoredAnswer,
}

/// Everything a batch writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub transfers: Vec<NewTransfer>,
    /// The final balance of every account touched, by account id.
    pub balances: BTreeMap<i64, Balance>,
}

/// Judges the requests in order; each sees what the ones before it did, and a rejected one leaves
/// no trace, not even its key. `new_id` names transfers.
pub fn decide(
    requests: &[TransferRequest],
    mut snapshot: Snapshot,
    now: Timestamp,
    mut new_id: impl FnMut() -> Uuid,
) -> (Vec<Verdict>, Changes) {
    let mut changes = Changes::default();
    // A clock set back must not book before what is already booked.
    let booked_at = match Timestamp::from_microsecond(snapshot.booked_at_last_us) {
        Ok(last) if last > now => last,
        _ => Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now),
    };
    let verdicts = requests
        .iter()
        .map(|request| {
            if let Some(stored) = snapshot.answers.get(request.key.as_str()) {
                return if stored.fingerprint == request.fingerprint {
                    Verdict::Replayed(stored.answer.clone())
                } else {
                    Verdict::KeyReused
                };
            }
            let posting = match posting::post(&request.transfer, &snapshot.accounts) {
                Ok(posting) => posting,
                Err(rejection) => return Verdict::Rejected(rejection),
            };
            snapshot.accounts.apply(&posting);
            let new = book(request, posting.entries, &mut snapshot, booked_at, new_id());
            for entry in &new.entries {
                changes.balances.insert(entry.account_id, entry.after);
            }
            snapshot.answers.insert(new.key.clone(), new.stored.clone());
            let answer = new.stored.answer.clone();
            changes.transfers.push(new);
            Verdict::Posted(answer)
        })
        .collect();
    (verdicts, changes)
}

/// Numbers an accepted transfer and renders its answer.
fn book(
    request: &TransferRequest,
    entries: Vec<PostedEntry>,
    snapshot: &mut Snapshot,
    booked_at: Timestamp,
    id: Uuid,
) -> NewTransfer {
    let entry_id_first = snapshot.entry_id_last + 1;
    snapshot.transfer_seq_last += 1;
    snapshot.entry_id_last += i64::try_from(entries.len()).expect("entries are limited");
    let booking_date = booked_at.to_zoned(TimeZone::UTC).date();
    let transfer = Transfer {
        id,
        description: request.transfer.description.clone(),
        effective_date: request.transfer.effective_date.unwrap_or(booking_date),
        booked_at,
        entries: entries.iter().map(rendered).collect(),
    };
    let body = serde_json::to_string(&transfer).expect("strings and numbers always serialise");
    NewTransfer {
        seq: snapshot.transfer_seq_last,
        entry_id_first,
        transfer,
        entries,
        key: request.key.as_str().to_owned(),
        stored: StoredAnswer {
            fingerprint: request.fingerprint,
            answer: Answer { transfer_id: id, status: STATUS_CREATED, body: body.into() },
        },
    }
}

fn rendered(entry: &PostedEntry) -> TransferEntry {
    TransferEntry {
        account: entry.account.clone(),
        direction: entry.direction,
        amount: format_minor(i128::from(entry.amount_minor), entry.currency.scale),
        currency: entry.currency.code.clone(),
    }
}
