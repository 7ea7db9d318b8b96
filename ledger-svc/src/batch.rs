//! What a batch of requests comes to: who is answered from before, who is posted, who is
//! rejected, and the rows to write. Pure, so that the writer around it only moves data.

mod decide;
mod new;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

pub use self::decide::decide;
pub use self::new::{Changes, Day, Keyed, NewTransfer, STATUS_CREATED};
use crate::behind::Behind;
use crate::link::Head;
use crate::posting::{Books, Rejection};
use crate::trail::Trail;
use crate::transfer::TransferRequest;

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

/// The answer to a booked request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub transfer_id: Uuid,
    pub status: u16,
    said: Said,
}

/// What an answer's body comes from.
#[derive(Clone, Debug)]
enum Said {
    Before(Arc<str>),
    /// Written when it is asked for: many clients do without, and the writer need not wait for it.
    Of(Arc<NewTransfer>),
}

impl Answer {
    /// The JSON body, byte for byte what the first request got.
    pub fn body(&self) -> Cow<'_, str> {
        match &self.said {
            Said::Before(body) => Cow::Borrowed(body),
            Said::Of(new) => Cow::Owned(new.first_answer()),
        }
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        let head = |answer: &Self| (answer.transfer_id, answer.status);
        head(self) == head(other) && self.body() == other.body()
    }
}

impl Eq for Answer {}

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
    /// The way back through the entries of the same accounts, by their ids.
    pub trails: HashMap<i64, Trail>,
    /// Pending transfers whose time is up; of many, the earliest.
    pub due: Vec<Uuid>,
    /// Those of the batch's keys that were answered before.
    pub answers: HashMap<String, StoredAnswer>,
    pub last: Last,
    /// Where the chain ends.
    pub head: Head,
    /// Accounts whose balances' rows are behind.
    pub behind: Behind,
    /// Whether an earlier version kept keys apart from their transfers, where no index of the transfers sees them.
    pub keys_apart: bool,
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
