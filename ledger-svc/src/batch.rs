//! What a batch of requests comes to: who is answered from before, who is posted, who is
//! rejected, and the rows to write. Pure, so that the writer around it only moves data.

mod decide;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

pub use self::decide::decide;
use crate::chain::Head;
use crate::posting::{Balance, Books, PostedEntry, Rejection};
use crate::transfer::{Transfer, TransferKind, TransferRequest};

/// Requests that came together.
#[derive(Clone, Debug)]
pub struct Group {
    pub requests: Vec<TransferRequest>,
    /// Either all of them are booked or none is.
    pub all_or_nothing: bool,
}

impl Group {
    pub fn one(request: TransferRequest) -> Self {
        Self { requests: vec![request], all_or_nothing: false }
    }
}

/// An answer that has been, or is about to be, stored under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub transfer_id: Uuid,
    pub status: u16,
    /// The JSON body, byte for byte what the first request got.
    pub body: Arc<str>,
}

/// An answer as stored, with the fingerprint of the request that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub fingerprint: [u8; 32],
    pub transfer_id: Uuid,
    pub status: u16,
    /// Nothing when it is what `Transfer::first_answer` says of the transfer, which need not be kept twice.
    pub body: Option<Arc<str>>,
}

/// What a batch needs to know beforehand and the writer does not know yet.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    pub keys: Vec<&'a str>,
    /// Codes.
    pub accounts: Vec<&'a str>,
    /// Transfers that are followed.
    pub targets: Vec<Uuid>,
    /// Pending transfers that expire until then.
    pub due: Option<Timestamp>,
    /// Where the books and the chain end.
    pub ends: bool,
}

/// What is known of the books when a batch is decided, all of it read under the store's lock or written
/// by this writer since.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Those of the batch's accounts and transfers that exist, and accounts of batches before.
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
    /// Nothing was wrong with it, but with another of its group.
    Withheld,
}

impl Verdict {
    /// Whether its transfer is in the books.
    pub fn is_booked(&self) -> bool {
        matches!(self, Self::Posted(_) | Self::Replayed(_))
    }
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

    /// Entries that count and whose effective date is not the day (UTC) they are booked on: id, entry,
    /// effective date, day of booking.
    pub fn backdated(&self) -> impl Iterator<Item = (i64, &PostedEntry, Date, Date)> {
        let dated = |new: &NewTransfer| {
            let booked = new.transfer.booked_at.to_zoned(TimeZone::UTC).date();
            (new.transfer.effective_date, booked)
        };
        let apart = move |new: &&NewTransfer| {
            let (effective, booked) = dated(new);
            new.transfer.kind.moves() && effective != booked
        };
        self.transfers.iter().filter(apart).flat_map(move |new| {
            let (effective, booked) = dated(new);
            let numbered = (new.entry_id_first..).zip(&new.entries);
            numbered.map(move |(id, entry)| (id, entry, effective, booked))
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
