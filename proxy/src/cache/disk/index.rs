//! What a cache has on disk, bounded in bytes: where each record is, and what is known of it without
//! reading it. No file is touched here; what is to be removed is handed out.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use http::HeaderMap;

use crate::cache::budget::Lease;
use crate::cache::key::Key;
use crate::cache::purge::{Cursor, STEP, Scope, Sweep, SweepId};
use crate::cache::tags::Tags;
use crate::cache::vary::Selection;

/// Files take whole blocks.
const BLOCK: u64 = 4096;
/// What an entry costs beyond the bytes of its key, selection and tags.
const ENTRY_OVERHEAD: u64 = 384;
/// Purges remembered for records that are not indexed yet; with more, none of those is kept.
const REMEMBERED_MAX: usize = 4096;

/// Names a record: higher is newer, over restarts too.
pub type Number = u64;

/// What identifies a record among others of its URI.
#[derive(Clone, Debug)]
pub struct Identity {
    pub key: Key,
    pub selection: Selection,
    pub tags: Tags,
}

impl Identity {
    /// Memory that an entry takes.
    pub fn cost(&self) -> u64 {
        ENTRY_OVERHEAD + self.key.cost() + self.selection.cost() + self.tags.cost()
    }
}

struct Entry {
    number: Number,
    identity: Identity,
    bytes: u64,
    used: u64,
    _memory: Lease,
}

/// Bytes a record takes of the file system.
pub fn on_disk(record_bytes: u64) -> u64 {
    record_bytes.next_multiple_of(BLOCK)
}

/// A record on its way to the disk.
struct Pending {
    uri: Arc<str>,
    tags: Tags,
}

pub struct Index {
    pub bytes_max: u64,
    bytes: u64,
    by_uri: BTreeMap<Arc<str>, Vec<Entry>>,
    /// Least recently used first.
    order: BTreeMap<u64, (Arc<str>, Number)>,
    uses: u64,
    last: Number,
    pending: BTreeMap<Number, Pending>,
    sweeps: Vec<Sweep>,
    sweeps_begun: u64,
    /// Until every record is indexed: purges that those still to come must obey.
    remembered: Option<Vec<Scope>>,
    /// The directory is gone: what is known of it answers nothing until it was looked through again.
    away: bool,
    /// Up to this number no record is taken in that is not known already.
    settled: Number,
}

/// What a step of a purge took out or is to mark on disk.
pub struct Swept {
    pub numbers: Vec<Number>,
    pub done: bool,
}

impl Index {
    /// `first` is above the number of every record there may be.
    pub fn new(bytes_max: u64, first: Number) -> Index {
        Index {
            bytes_max,
            bytes: 0,
            by_uri: BTreeMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            last: first,
            pending: BTreeMap::new(),
            sweeps: Vec::new(),
            sweeps_begun: 0,
            remembered: Some(Vec::new()),
            away: false,
            settled: 0,
        }
    }

    /// The directory is gone. What comes back of it counts only as far as it is known here by then: it may have
    /// missed being replaced or purged. `next` is above the number of every record there may be.
    pub fn lose(&mut self, next: Number) {
        (self.away, self.settled) = (true, self.last);
        self.last = self.last.max(next);
        self.remembered = Some(Vec::new());
    }

    pub fn is_away(&self) -> bool {
        self.away
    }

    /// Whether a record that is found again was known, and is as it was; `None` for one of another process.
    pub fn knows(&self, uri: &Arc<str>, number: Number) -> Option<bool> {
        let entries = || self.by_uri.get(uri).into_iter().flatten();
        (number <= self.settled).then(|| entries().any(|entry| entry.number == number))
    }

    /// Takes out whatever is not to stay.
    pub fn keep(&mut self, stays: impl Fn(Number) -> bool) {
        let gone: Vec<_> = self.order.values().filter(|(_, at)| !stays(*at)).cloned().collect();
        for (uri, number) in gone {
            self.remove(&uri, number);
        }
    }

    /// Bytes and records that are there.
    pub fn counts(&self) -> (u64, usize) {
        if self.away { (0, 0) } else { (self.bytes, self.order.len()) }
    }

    /// The record that answers the request; it counts as used now.
    pub fn find(&mut self, key: &Key, request: &HeaderMap) -> Option<Number> {
        if self.away {
            return None;
        }
        let sweeps = &self.sweeps;
        let entries = self.by_uri.get_mut(&key.uri)?.iter_mut();
        let fitting = entries.filter(|entry| {
            let Identity { key: own, selection, tags } = &entry.identity;
            let purged = |sweep: &Sweep| sweep.covers(entry.number, &own.uri, tags);
            own == key && selection.fits(request) && !sweeps.iter().any(purged)
        });
        let entry = fitting.max_by_key(|entry| entry.number)?;
        self.uses += 1;
        let at = self.order.remove(&entry.used)?;
        entry.used = self.uses;
        self.order.insert(entry.used, at);
        Some(entry.number)
    }

    /// Takes out what a newer answer replaces.
    pub fn replace(&mut self, key: &Key, selection: &Selection) -> Vec<Number> {
        self.take(&key.uri, |entry| {
            entry.identity.key == *key && entry.identity.selection == *selection
        })
    }

    pub fn remove(&mut self, uri: &Arc<str>, number: Number) -> Vec<Number> {
        self.take(uri, |entry| entry.number == number)
    }

    /// A number for a record that is to be written.
    pub fn begin(&mut self, uri: Arc<str>, tags: Tags) -> Number {
        self.last += 1;
        self.pending.insert(self.last, Pending { uri, tags });
        self.last
    }

    /// Whether a record on its way is still wanted.
    pub fn is_wanted(&self, number: Number) -> bool {
        self.pending.contains_key(&number)
    }

    pub fn give_up(&mut self, number: Number) {
        self.pending.remove(&number);
    }

    /// Takes the least recently used out until so many bytes more fit; `None` when they never will.
    pub fn make_room(&mut self, bytes: u64) -> Option<Vec<Number>> {
        if bytes > self.bytes_max {
            return None;
        }
        let mut removed = Vec::new();
        while self.bytes + bytes > self.bytes_max {
            let (uri, number) = self.order.first_key_value().map(|(_, at)| at.clone())?;
            removed.extend(self.remove(&uri, number));
        }
        Some(removed)
    }

    /// Adds a record that is whole on disk. Hands out the numbers of those whose files are to be
    /// removed: of what it replaces, or its own when it is not wanted any more.
    pub fn add(
        &mut self,
        number: Number,
        identity: Identity,
        bytes: u64,
        lease: Lease,
    ) -> Vec<Number> {
        if self.pending.remove(&number).is_none() {
            return vec![number];
        }
        self.insert(number, identity, bytes, lease)
    }

    /// Adds a record found on disk at the start.
    pub fn add_found(
        &mut self,
        number: Number,
        identity: Identity,
        bytes: u64,
        lease: Lease,
    ) -> Vec<Number> {
        let purged = |scope: &Scope| scope.covers(&identity.key.uri, &identity.tags);
        let known = self.by_uri.get(&identity.key.uri).into_iter().flatten();
        let newer = known.filter(|entry| entry.number > number).any(|entry| {
            entry.identity.key == identity.key && entry.identity.selection == identity.selection
        });
        if newer || self.remembered.iter().flatten().any(purged) {
            return vec![number];
        }
        self.insert(number, identity, bytes, lease)
    }

    fn insert(
        &mut self,
        number: Number,
        identity: Identity,
        bytes: u64,
        lease: Lease,
    ) -> Vec<Number> {
        let removed = self.replace(&identity.key, &identity.selection);
        self.uses += 1;
        self.bytes += bytes;
        let uri = Arc::clone(&identity.key.uri);
        self.order.insert(self.uses, (Arc::clone(&uri), number));
        let entry = Entry { number, identity, bytes, used: self.uses, _memory: lease };
        self.by_uri.entry(uri).or_default().push(entry);
        removed
    }

    fn take(&mut self, uri: &Arc<str>, mut pick: impl FnMut(&Entry) -> bool) -> Vec<Number> {
        let Some(entries) = self.by_uri.get_mut(uri) else { return Vec::new() };
        let taken: Vec<Entry> = entries.extract_if(.., |entry| pick(entry)).collect();
        if entries.is_empty() {
            self.by_uri.remove(uri);
        }
        for entry in &taken {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
        taken.iter().map(|entry| entry.number).collect()
    }

    /// Puts a purge in force, for what is there, on its way, and not indexed yet.
    pub fn begin_purge(&mut self, scope: &Scope, soft_ms: Option<u64>) -> SweepId {
        self.pending.retain(|_, on_its_way| !scope.covers(&on_its_way.uri, &on_its_way.tags));
        if let Some(remembered) = &mut self.remembered {
            if remembered.len() >= REMEMBERED_MAX {
                *remembered = vec![Scope::All];
            }
            remembered.push(scope.clone());
        }
        self.sweeps_begun += 1;
        let id = SweepId(self.sweeps_begun);
        let mut sweep = Sweep::new(id, scope.clone(), soft_ms, self.last);
        if matches!(scope, Scope::Tag(_)) {
            // There is no index by tag here: every entry is looked at.
            sweep.cursor = Cursor::Uri(Bound::Unbounded);
        }
        self.sweeps.push(sweep);
        id
    }

    /// One step of a purge. What is to be stale stays in force until [`Index::end_purge`].
    pub fn sweep(&mut self, id: SweepId) -> Swept {
        let mut swept = Swept { numbers: Vec::new(), done: true };
        let Some(at) = self.sweeps.iter().position(|sweep| sweep.id == id) else { return swept };
        let mut sweep = self.sweeps[at].clone();
        let Cursor::Uri(from) = &sweep.cursor else { return swept };
        let inside = |uri: &Arc<str>| match &sweep.scope {
            Scope::Uri(wanted) => uri == wanted,
            Scope::Prefix(prefix) => uri.starts_with(&**prefix),
            _ => true,
        };
        let range =
            self.by_uri.range::<str, _>((from.as_ref().map(|uri| &**uri), Bound::Unbounded));
        let uris: Vec<_> =
            range.map(|(uri, _)| uri).take_while(|uri| inside(uri)).take(STEP).cloned().collect();
        for uri in &uris {
            let covered = |entry: &Entry| sweep.covers(entry.number, uri, &entry.identity.tags);
            if sweep.soft_ms.is_none() {
                swept.numbers.extend(self.take(uri, covered));
            } else {
                let entries = self.by_uri.get(uri).into_iter().flatten();
                swept.numbers.extend(entries.filter(|e| covered(e)).map(|entry| entry.number));
            }
        }
        if let Some(last) = uris.last().filter(|_| uris.len() == STEP) {
            sweep.cursor = Cursor::Uri(Bound::Excluded(Arc::clone(last)));
            swept.done = false;
            self.sweeps[at] = sweep;
        }
        swept
    }

    pub fn end_purge(&mut self, id: SweepId) {
        self.sweeps.retain(|sweep| sweep.id != id);
    }

    /// Every record that was there at the start is indexed.
    pub fn complete(&mut self) {
        (self.remembered, self.away) = (None, false);
    }

    pub fn is_complete(&self) -> bool {
        self.remembered.is_none()
    }
}
