//! Answers in memory, bounded in bytes: heads, keys, bodies and bookkeeping together.
//!
//! Admission and eviction go by size class. Each class has a share that the other cannot take:
//! `large_objects_max` for large answers, the rest for small ones. Beyond its share a class borrows
//! what the other leaves free. Large answers make room among themselves before they take back what
//! small ones borrowed, so a film is churned by films and leaves the live window alone. Answers being
//! sent are not evicted: that would free nothing. What finds no room is not stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use http::HeaderMap;

use crate::cache::budget::{Budget, Class, Lease};
use crate::cache::key::Key;
use crate::cache::object::Stored;
use crate::cache::purge::{Busy, Cursor, STEP, SWEEPS_MAX, Scope, Sweep, SweepId};

/// Answers to one URI kept at once (`Vary`, key headers, cookies); the oldest makes room.
const VARIANTS_MAX: usize = 64;
/// Answers being sent that eviction skips before it gives up.
const PINNED_SKIPPED_MAX: usize = 1024;

/// What a document says about a cache's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory_max: u64,
    pub object_max: u64,
    /// Share of all large answers together.
    pub large_max: u64,
    /// Body size from which an answer is large.
    pub large_min: u64,
}

/// There is no room, and none can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

struct Slot {
    stored: Arc<Stored>,
    class: Class,
    used: u64,
    /// In the order of being stored.
    number: u64,
}

impl Slot {
    /// Whether dropping it would free nothing, because somebody else holds it too.
    fn is_pinned(&self) -> bool {
        Arc::strong_count(&self.stored) > 1 || Arc::strong_count(&self.stored.body) > 1
    }

    fn is_covered(&self, sweep: &Sweep) -> bool {
        sweep.covers(self.number, &self.stored.key.uri, &self.stored.head.tags)
    }
}

pub struct Store {
    limits: Limits,
    budget: Arc<Budget>,
    by_uri: HashMap<Arc<str>, Vec<Slot>>,
    /// Least recently used first, by class.
    order: [BTreeMap<u64, Arc<str>>; 2],
    /// Every URI once, for purges by prefix.
    uris: BTreeSet<Arc<str>>,
    /// Answers with a tag, by their numbers.
    by_tag: HashMap<Arc<str>, BTreeMap<u64, Arc<str>>>,
    sweeps: Vec<Sweep>,
    sweeps_begun: u64,
    puts: u64,
    uses: u64,
    evicted: [u64; 2],
}

/// What one step of a purge did.
pub struct Swept {
    /// Answers made stale or taken out.
    pub count: usize,
    pub done: bool,
    /// To be dropped where nobody waits for it.
    pub taken: Vec<Arc<Stored>>,
}

impl Store {
    pub fn new(limits: Limits) -> Store {
        Store {
            limits,
            budget: Arc::default(),
            by_uri: HashMap::new(),
            order: Default::default(),
            uris: BTreeSet::new(),
            by_tag: HashMap::new(),
            sweeps: Vec::new(),
            sweeps_begun: 0,
            puts: 0,
            uses: 0,
            evicted: [0; 2],
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub fn objects(&self, class: Class) -> usize {
        self.order[class as usize].len()
    }

    /// Answers evicted so far.
    pub fn evicted(&self, class: Class) -> u64 {
        self.evicted[class as usize]
    }

    /// Takes new limits into force and evicts what is above them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        while self.budget.used(Class::Large) > limits.large_max && self.evict(Class::Large) {}
        while self.budget.total() > limits.memory_max
            && (self.evict(Class::Large) || self.evict(Class::Small))
        {}
    }

    /// Room for this many bytes of an answer, making it where need be.
    pub fn reserve(&mut self, class: Class, bytes: u64) -> Result<Lease, NoRoom> {
        self.make_room(class, bytes)?;
        Ok(self.budget.lease(class, bytes))
    }

    /// More room for an answer that grows; it may become a large one by that.
    pub fn grow(&mut self, lease: &mut Lease, by: u64) -> Result<(), NoRoom> {
        let bytes = lease.bytes() + by;
        if lease.class() == Class::Small && bytes > self.limits.large_min {
            let large = self.reserve(Class::Large, bytes)?;
            *lease = large;
            return Ok(());
        }
        self.make_room(lease.class(), by)?;
        lease.add(by);
        Ok(())
    }

    /// The class of an answer whose body has this many bytes.
    pub fn class_of(&self, body_bytes: u64) -> Class {
        if body_bytes > self.limits.large_min { Class::Large } else { Class::Small }
    }

    fn make_room(&mut self, class: Class, bytes: u64) -> Result<(), NoRoom> {
        let Limits { memory_max, large_max, .. } = self.limits;
        if bytes > memory_max || (class == Class::Large && bytes > large_max) {
            return Err(NoRoom);
        }
        loop {
            let (small, large) = (self.budget.used(Class::Small), self.budget.used(Class::Large));
            let large_fits = class == Class::Small || large + bytes <= large_max;
            if large_fits && small + large + bytes <= memory_max {
                return Ok(());
            }
            let small_share = memory_max - large_max.min(memory_max);
            let order = match class {
                Class::Large if !large_fits => [Class::Large, Class::Large],
                Class::Large => [Class::Large, Class::Small],
                Class::Small if small + bytes > small_share => [Class::Small, Class::Large],
                Class::Small => [Class::Large, Class::Small],
            };
            if !self.evict(order[0]) && !self.evict(order[1]) {
                return Err(NoRoom);
            }
        }
    }

    /// Evicts the least recently used answer that nobody is being sent.
    fn evict(&mut self, class: Class) -> bool {
        let victim =
            self.order[class as usize].iter().take(PINNED_SKIPPED_MAX).find(|(used, uri)| {
                let slots = self.by_uri.get(*uri);
                slots.is_some_and(|s| s.iter().any(|slot| slot.used == **used && !slot.is_pinned()))
            });
        let Some((used, uri)) = victim.map(|(used, uri)| (*used, Arc::clone(uri))) else {
            return false;
        };
        self.take(&uri, |slot| slot.used == used);
        self.evicted[class as usize] += 1;
        true
    }

    /// Takes the answers to a URI out that `pick` picks.
    fn take(&mut self, uri: &Arc<str>, mut pick: impl FnMut(&Slot) -> bool) -> Vec<Arc<Stored>> {
        let Some(slots) = self.by_uri.get_mut(uri) else { return Vec::new() };
        let taken: Vec<Slot> = slots.extract_if(.., |slot| pick(slot)).collect();
        if slots.is_empty() {
            self.by_uri.remove(uri);
            self.uris.remove(uri);
        }
        for slot in &taken {
            self.order[slot.class as usize].remove(&slot.used);
            for tag in slot.stored.head.tags.iter() {
                if let Some(tagged) = self.by_tag.get_mut(tag) {
                    tagged.remove(&slot.number);
                    if tagged.is_empty() {
                        self.by_tag.remove(tag);
                    }
                }
            }
        }
        taken.into_iter().map(|slot| slot.stored).collect()
    }

    /// Stores an answer in place of those that would have answered the same request.
    pub fn put(&mut self, stored: Arc<Stored>, request: &HeaderMap) {
        let uri = Arc::clone(&stored.key.uri);
        let same =
            |slot: &Slot| slot.stored.key == stored.key && slot.stored.head.selection.fits(request);
        self.take(&uri, same);
        if self.by_uri.get(&uri).is_some_and(|slots| slots.len() >= VARIANTS_MAX) {
            let oldest = self.by_uri[&uri].iter().map(|slot| slot.used).min();
            self.take(&uri, |slot| Some(slot.used) == oldest);
        }
        self.uses += 1;
        self.puts += 1;
        let (class, used, number) = (stored.body.lease.class(), self.uses, self.puts);
        self.order[class as usize].insert(used, Arc::clone(&uri));
        for tag in stored.head.tags.iter() {
            let tagged = self.by_tag.entry(Arc::clone(tag)).or_default();
            tagged.insert(number, Arc::clone(&uri));
        }
        self.uris.insert(Arc::clone(&uri));
        self.by_uri.entry(uri).or_default().push(Slot { stored, class, used, number });
    }

    /// The newest answer that fits the request; it counts as used now.
    pub fn find(&mut self, key: &Key, request: &HeaderMap) -> Option<Arc<Stored>> {
        let slots = self.by_uri.get_mut(&key.uri)?;
        let sweeps = &self.sweeps;
        let fitting = slots
            .iter_mut()
            .filter(|slot| slot.stored.key == *key && slot.stored.head.selection.fits(request))
            .filter(|slot| !is_purged(sweeps, slot));
        let slot = fitting.max_by_key(|slot| slot.stored.times().arrived_ms())?;
        let order = &mut self.order[slot.class as usize];
        if let Some(uri) = order.remove(&slot.used) {
            self.uses += 1;
            slot.used = self.uses;
            order.insert(slot.used, uri);
        }
        Some(Arc::clone(&slot.stored))
    }

    /// Some answer to the key, whatever request it was for.
    pub fn any(&self, key: &Key) -> Option<&Arc<Stored>> {
        let slots = self.by_uri.get(&key.uri)?;
        slots.iter().map(|slot| &slot.stored).find(|stored| stored.key == *key)
    }

    /// Forgets one answer, if it is still there.
    pub fn forget(&mut self, stored: &Arc<Stored>) {
        let uri = Arc::clone(&stored.key.uri);
        self.take(&uri, |slot| Arc::ptr_eq(&slot.stored, stored));
    }

    /// Forgets every answer to a URI; says how many there were.
    pub fn forget_uri(&mut self, uri: &Arc<str>) -> usize {
        self.take(uri, |_| true).len()
    }

    /// Forgets every answer with a tag, in one go.
    pub fn forget_tag(&mut self, tag: &str) {
        let tagged =
            self.by_tag.get(tag).map(|tagged| tagged.values().cloned().collect::<Vec<_>>());
        for uri in tagged.unwrap_or_default() {
            self.take(&uri, |slot| slot.stored.head.tags.contains(tag));
        }
    }

    /// Puts a purge in force; [`Store::sweep`] does the rest. Softly: what it covers is stale from
    /// `soft_ms` on.
    pub fn begin_purge(&mut self, scope: Scope, soft_ms: Option<u64>) -> Result<SweepId, Busy> {
        if self.sweeps.len() >= SWEEPS_MAX {
            return Err(Busy);
        }
        self.sweeps_begun += 1;
        let id = SweepId(self.sweeps_begun);
        self.sweeps.push(Sweep::new(id, scope, soft_ms, self.puts));
        Ok(id)
    }

    /// One step of a purge.
    pub fn sweep(&mut self, id: SweepId) -> Swept {
        let mut swept = Swept { count: 0, done: true, taken: Vec::new() };
        let Some(at) = self.sweeps.iter().position(|sweep| sweep.id == id) else { return swept };
        let (uris, next) = self.next_uris(&self.sweeps[at]);
        swept.done = next.is_none();
        let mut sweep = self.sweeps.swap_remove(at);
        for uri in &uris {
            match sweep.soft_ms {
                None => swept.taken.extend(self.take(uri, |slot| slot.is_covered(&sweep))),
                Some(since_ms) => {
                    let slots = self.by_uri.get(uri).into_iter().flatten();
                    for slot in slots.filter(|slot| slot.is_covered(&sweep)) {
                        slot.stored.make_stale(since_ms);
                        swept.count += 1;
                    }
                }
            }
        }
        swept.count += swept.taken.len();
        if let Some(next) = next {
            sweep.cursor = next;
            self.sweeps.push(sweep);
        }
        swept
    }

    /// URIs that a sweep looks at next, and where it goes on after them; `None`: nowhere.
    fn next_uris(&self, sweep: &Sweep) -> (Vec<Arc<str>>, Option<Cursor>) {
        match (&sweep.scope, &sweep.cursor) {
            (Scope::Uri(uri), _) => (vec![Arc::clone(uri)], None),
            (Scope::Tag(tag), Cursor::Number(last)) => {
                let Some(tagged) = self.by_tag.get(tag) else { return (Vec::new(), None) };
                let from = (Bound::Excluded(*last), Bound::Included(sweep.up_to.max(last + 1)));
                let next: Vec<_> = tagged.range(from).take(STEP).collect();
                let goes_on = next.last().filter(|_| next.len() == STEP);
                let cursor = goes_on.map(|(number, _)| Cursor::Number(**number));
                (next.into_iter().map(|(_, uri)| Arc::clone(uri)).collect(), cursor)
            }
            (scope, Cursor::Uri(from)) => {
                let from = from.as_ref().map(|uri| &**uri);
                let uris = self.uris.range::<str, _>((from, Bound::Unbounded)).take(STEP);
                let inside = |uri: &&Arc<str>| match scope {
                    Scope::Prefix(prefix) => uri.starts_with(&**prefix),
                    _ => true,
                };
                let next: Vec<_> = uris.take_while(inside).cloned().collect();
                let goes_on = next.last().filter(|_| next.len() == STEP);
                let cursor = goes_on.map(|uri| Cursor::Uri(Bound::Excluded(Arc::clone(uri))));
                (next, cursor)
            }
            (_, Cursor::Number(_)) => (Vec::new(), None),
        }
    }
}

/// Whether a purge under way has taken this answer out, though it is still there; one that is to be
/// stale is made so.
fn is_purged(sweeps: &[Sweep], slot: &Slot) -> bool {
    let mut covering = sweeps.iter().filter(|sweep| slot.is_covered(sweep));
    covering.any(|sweep| {
        sweep.soft_ms.is_none_or(|since_ms| {
            slot.stored.make_stale(since_ms);
            false
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::freshness::Times;
    use crate::cache::object::{Blocks, Body, Head};
    use crate::cache::tags::Tags;
    use crate::cache::vary::Selection;
    use bytes::Bytes;
    use pingora::http::ResponseHeader;
    use proptest::prelude::*;

    const KIB: u64 = 1024;

    fn limits() -> Limits {
        Limits {
            memory_max: 1024 * KIB,
            object_max: 1024 * KIB,
            large_max: 512 * KIB,
            large_min: 64 * KIB,
        }
    }

    fn key(name: &str) -> Key {
        Key { uri: name.into(), extras: Arc::new([]) }
    }

    fn answer(store: &mut Store, name: &str, bytes: u64) -> Result<Arc<Stored>, NoRoom> {
        let head = Head {
            response: ResponseHeader::build(200, None).unwrap(),
            selection: Selection::default(),
            times: None,
            length: Some(bytes),
            tags: Tags::default(),
            layout: None,
        };
        let head_lease = store.reserve(Class::Small, head.cost(&key(name)))?;
        let lease = store.reserve(store.class_of(bytes), bytes)?;
        let mut blocks = Blocks::default();
        blocks.push(Bytes::from(vec![0; usize::try_from(bytes).unwrap()]));
        let body = Arc::new(Body { blocks, pages: None, lease });
        let (times, head) = (Times::spent(store.uses), Arc::new(head));
        Ok(Arc::new(Stored::new(key(name), head, times, body, head_lease)))
    }

    fn put(store: &mut Store, name: &str, bytes: u64) -> Result<(), NoRoom> {
        let stored = answer(store, name, bytes)?;
        store.put(stored, &HeaderMap::new());
        Ok(())
    }

    fn has(store: &mut Store, name: &str) -> bool {
        store.find(&key(name), &HeaderMap::new()).is_some()
    }

    #[test]
    fn films_are_churned_by_films() {
        let mut store = Store::new(limits());
        (0..20).for_each(|n| put(&mut store, &format!("live{n}"), 20 * KIB).unwrap());
        for n in 0..20 {
            put(&mut store, &format!("film{n}"), 200 * KIB).unwrap();
        }
        assert!((0..20).all(|n| has(&mut store, &format!("live{n}"))));
        assert_eq!((store.objects(Class::Large), store.evicted(Class::Small)), (2, 0));
        assert_eq!(put(&mut store, "epic", 600 * KIB), Err(NoRoom), "more than the large share");
        assert!(
            has(&mut store, "film19") && has(&mut store, "live0"),
            "and nothing made way for it"
        );
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_borrowed_is_given_back() {
        let mut store = Store::new(limits());
        (0..45).for_each(|n| put(&mut store, &format!("s{n}"), 20 * KIB).unwrap());
        assert!(has(&mut store, "s0"));
        (0..10).for_each(|n| put(&mut store, &format!("t{n}"), 20 * KIB).unwrap());
        assert!(has(&mut store, "s0") && !has(&mut store, "s1"));
        put(&mut store, "film", 400 * KIB).unwrap();
        assert!(has(&mut store, "film") && has(&mut store, "t9"));
        assert!(store.budget().total() <= limits().memory_max);
    }

    #[test]
    fn what_is_being_sent_stays_counted() {
        let mut store = Store::new(limits());
        let held: Vec<_> = (0..45)
            .map(|n| {
                put(&mut store, &format!("s{n}"), 20 * KIB).unwrap();
                store.find(&key(&format!("s{n}")), &HeaderMap::new()).unwrap()
            })
            .collect();
        assert_eq!(put(&mut store, "more", 200 * KIB), Err(NoRoom));
        assert_eq!(store.forget_uri(&"s0".into()), 1);
        let before = store.budget().total();
        drop(held);
        assert!(store.budget().total() < before, "now it is given back");
        store.set_limits(Limits::default());
        assert_eq!((store.budget().total(), store.objects(Class::Small)), (0, 0));
    }

    #[test]
    fn a_purge_is_in_force_at_once_and_leaves_what_comes_after_it() {
        let mut store = Store::new(limits());
        (0..2 * STEP).for_each(|n| put(&mut store, &format!("p/{n:04}"), 10).unwrap());
        put(&mut store, "q", 10).unwrap();
        let id = store.begin_purge(Scope::Prefix("p/".into()), None).unwrap();
        assert!(!has(&mut store, "p/0000") && !has(&mut store, "p/0400") && has(&mut store, "q"));
        put(&mut store, "p/0400", 10).unwrap();
        let (mut count, mut steps) = (0, 0);
        loop {
            let swept = store.sweep(id);
            (count, steps) = (count + swept.count, steps + 1);
            if swept.done {
                break;
            }
        }
        assert_eq!((count, steps), (2 * STEP - 1, 3));
        assert!(has(&mut store, "p/0400") && has(&mut store, "q") && !has(&mut store, "p/0001"));
        assert_eq!((store.uris.len(), store.objects(Class::Small)), (2, 2));
        let ids: Vec<_> =
            (0..=SWEEPS_MAX).map(|_| store.begin_purge(Scope::All, Some(1))).collect();
        assert_eq!(ids.iter().filter(|id| **id == Err(Busy)).count(), 1);
    }

    #[derive(Clone, Debug)]
    enum Operation {
        Put(u8, u64),
        Hold(u8),
        Release,
        Forget(u8),
        Grow(u64),
        Limit(u64),
    }

    fn operations() -> impl Strategy<Value = Vec<Operation>> {
        let operation = prop_oneof![
            6 => (0u8..40, 0u64..700 * KIB).prop_map(|(n, bytes)| Operation::Put(n, bytes / (1 + u64::from(n % 7) * 5))),
            3 => (0u8..40).prop_map(Operation::Hold),
            2 => Just(Operation::Release),
            1 => (0u8..40).prop_map(Operation::Forget),
            2 => (0u64..100 * KIB).prop_map(Operation::Grow),
            1 => (512u64..2048).prop_map(Operation::Limit),
        ];
        proptest::collection::vec(operation, 1..120)
    }

    proptest! {
        /// The bound holds after every step, and what is counted is what is there.
        #[test]
        fn never_more_than_allowed(operations in operations()) {
            let mut store = Store::new(limits());
            let (mut held, mut growing) = (Vec::new(), None);
            for operation in operations {
                let before = store.budget().total();
                match operation {
                    Operation::Put(n, bytes) => { let _ = put(&mut store, &n.to_string(), bytes); }
                    Operation::Hold(n) => held.extend(store.find(&key(&n.to_string()), &HeaderMap::new())),
                    Operation::Release => { held.pop(); growing = None; }
                    Operation::Forget(n) => { store.forget_uri(&n.to_string().as_str().into()); }
                    Operation::Grow(by) => {
                        if growing.is_none() {
                            growing = store.reserve(Class::Small, 0).ok();
                        }
                        if let Some(lease) = &mut growing {
                            let _ = store.grow(lease, by);
                        }
                    }
                    Operation::Limit(kib) => {
                        let memory_max = kib * KIB;
                        store.set_limits(Limits { memory_max, large_max: memory_max / 2, ..limits() });
                    }
                }
                let total = store.budget().total();
                // What is being sent when a limit shrinks is still there, but nothing is added.
                prop_assert!(total <= store.limits().memory_max || total <= before);
            }
            let leases = |stored: &Arc<Stored>| stored.head_lease.bytes() + stored.body.lease.bytes();
            drop((held, growing));
            let there: u64 = store.by_uri.values().flatten().map(|slot| leases(&slot.stored)).sum();
            prop_assert_eq!(store.budget().total(), there);
            let objects: usize = store.by_uri.values().map(Vec::len).sum();
            prop_assert_eq!(objects, store.objects(Class::Small) + store.objects(Class::Large));
        }
    }
}
