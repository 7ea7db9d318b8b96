//! What a batch books: new transfers with all that belongs to them, as they are about to be written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::behind::{Behind, Touched, Written};
use crate::link::Head;
use crate::metadata::Metadata;
use crate::money::format_minor;
use crate::posting::{Balance, PostedEntry};
use crate::trail::{Back, Broken, Trail};
use crate::transfer::{IdempotencyKey, Transfer, TransferEntry, TransferKind};

/// The status of every booked transfer, first time and replayed.
pub const STATUS_CREATED: u16 = 201;

/// A transfer to write with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransfer {
    pub seq: i64,
    /// Of `entries` or of `pending_entries`, as the kind says.
    pub entry_id_first: i64,
    pub of_seq: Option<i64>,
    pub id: Uuid,
    pub kind: TransferKind,
    pub description: String,
    pub metadata: Metadata,
    pub effective_date: Date,
    pub booked_at: Timestamp,
    /// The day of `booked_at` (UTC).
    pub booked_on: Date,
    pub expires_at: Option<Timestamp>,
    pub of: Option<Uuid>,
    pub entries: Vec<PostedEntry>,
    /// What the service books of its own accord has none.
    pub keyed: Option<Keyed>,
}

/// The key a transfer was asked for under, and what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    pub key: IdempotencyKey,
    pub fingerprint: [u8; 32],
}

/// Everything a batch writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub transfers: Vec<Arc<NewTransfer>>,
    /// The chain's head after each of them, once it is chained.
    pub links: Vec<Head>,
    /// The final balance of every account touched, by account id.
    pub balances: BTreeMap<i64, Balance>,
    /// Where each of the entries that count points, in their order, once they are threaded.
    pub backs: Vec<Back>,
    /// The last entry of every account touched, in the order of `balances`, once they are threaded.
    pub last_ids: Vec<i64>,
    /// Which balances are written with it, once that is decided.
    pub written: Option<Written>,
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
        self.transfers.iter().filter(move |new| wanted(new.kind)).flat_map(|new| {
            (new.entry_id_first..).zip(&new.entries).map(|(id, entry)| (id, new.seq, entry))
        })
    }

    /// Entries that count and whose effective date is not the day (UTC) they are booked on: id, entry,
    /// effective date, day of booking.
    pub fn backdated(&self) -> impl Iterator<Item = (i64, &PostedEntry, Date, Date)> {
        let apart =
            |new: &&Arc<NewTransfer>| new.kind.moves() && new.effective_date != new.booked_on;
        self.transfers.iter().filter(apart).flat_map(|new| {
            let numbered = (new.entry_id_first..).zip(&new.entries);
            numbered.map(|(id, entry)| (id, entry, new.effective_date, new.booked_on))
        })
    }

    /// Pending transfers that begin to hold, with when they expire in microseconds since 1970.
    pub fn opened(&self) -> impl Iterator<Item = (i64, Option<i64>)> {
        let pending = self.transfers.iter().filter(|new| new.kind == TransferKind::Pending);
        pending.map(|new| (new.seq, new.expires_at.map(Timestamp::as_microsecond)))
    }

    /// Pending transfers that hold no longer.
    pub fn closed(&self) -> impl Iterator<Item = i64> {
        let settling = self.transfers.iter().filter(|new| new.kind.settles());
        settling.filter_map(|new| new.of_seq)
    }

    /// Finds where the entries point, and takes them into their accounts' trails. An error where a trail is not the one
    /// that the balances go on from: nothing may be written then.
    pub fn thread(&mut self, trails: &mut HashMap<i64, Trail>) -> Result<(), Broken> {
        let mut backs = Vec::with_capacity(self.transfers.len() * 2);
        for (id, _, entry) in self.moved() {
            let trail = trails.entry(entry.account_id).or_default();
            backs.push(trail.append(id));
            trail.ends_at(entry.after.entries)?;
        }
        self.backs = backs;
        for (account_id, balance) in &self.balances {
            let trail = trails.entry(*account_id).or_default();
            trail.ends_at(balance.entries)?;
            self.last_ids.push(trail.last_id());
        }
        Ok(())
    }

    /// Decides which balances are written with it, those of others that are behind among them. `last_entry_id` is the last
    /// entry there is with the changes.
    pub fn settle(&mut self, behind: &mut Behind, last_entry_id: i64, behind_max: i64) {
        let first = self.moved().next().map_or(last_entry_id + 1, |(id, _, _)| id);
        let touched = Touched {
            balances: &self.balances,
            last_ids: &self.last_ids,
            entries: (first - 1, last_entry_id),
            holds: self.opened().next().is_some() || self.closed().next().is_some(),
        };
        self.written = Some(behind.take(touched, behind_max));
    }

    /// Whether everything is there that belongs to the transfers: their links, where their entries point, and their balances.
    pub fn are_complete(&self) -> bool {
        self.links.len() == self.transfers.len()
            && self.backs.len() == self.moved().count()
            && self.last_ids.len() == self.balances.len()
            && self.written.is_some()
    }
}

impl NewTransfer {
    /// What booking it is answered with.
    pub fn first_answer(&self) -> String {
        let entry = |entry: &PostedEntry| TransferEntry {
            account: entry.account.clone(),
            direction: entry.direction,
            amount: format_minor(i128::from(entry.amount_minor), entry.currency.scale),
            currency: entry.currency.code.clone(),
        };
        let transfer = Transfer {
            id: self.id,
            kind: self.kind,
            state: self.kind.state(None),
            description: self.description.clone(),
            effective_date: self.effective_date,
            booked_at: self.booked_at,
            expires_at: self.expires_at,
            of: self.of,
            followed_by: None,
            entries: self.entries.iter().map(entry).collect(),
            metadata: self.metadata.clone(),
        };
        transfer.first_answer()
    }
}

/// Dates as text, for many that are mostly the same.
#[derive(Default)]
pub struct Day(Option<(Date, Arc<str>)>);

impl Day {
    pub fn text(&mut self, date: Date) -> Arc<str> {
        match &self.0 {
            Some((known, text)) if *known == date => Arc::clone(text),
            _ => Arc::clone(&self.0.insert((date, date.to_string().into())).1),
        }
    }
}
