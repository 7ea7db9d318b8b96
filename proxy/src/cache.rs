//! Answers kept in memory, and behind it on [`disk`]. The way of a request on a route with a cache policy:
//!
//! 1. [`answer`]: may this request be answered from a cache at all, and under which [`key`]?
//! 2. [`Cache::look`]: what is stored ([`store`], [`vary`]) and whether it may be used
//!    ([`directives`], [`freshness`]); which fill is under way. One lock, one decision.
//! 3. A hit is served ([`serve`], [`conditional`], [`range`]); a miss joins or begins a
//!    [`crate::fill`]; what cannot be cached passes through.
//!
//! What is large is kept in [`slices`] and read slice by slice ([`sliced`]). What is out of date before its
//! time is taken out ([`forgetting`], [`purge`]), by URI, prefix or one of its [`tags`], here and at other proxies
//! ([`fan_out`]).
//!
//! Beside the way: [`caches`] (all of a process), [`policy`] (a document's policy made ready), [`budget`] (who holds how many
//! bytes), [`clock`], [`object`] (a stored answer), [`paged`] (bodies the kernel sends).

pub mod answer;
pub mod backoff;
pub mod budget;
pub mod caches;
pub mod clock;
pub mod conditional;
pub mod date;
pub mod directives;
pub mod disk;
pub mod fan_out;
pub mod forgetting;
pub mod freshness;
pub mod heeded;
pub mod key;
pub mod object;
pub mod paged;
pub mod policy;
pub mod purge;
pub mod range;
pub mod series;
pub mod serve;
pub mod sliced;
pub mod slices;
pub mod store;
pub mod tags;
pub mod vary;
pub mod verdict;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use lru::LruCache;
use parking_lot::Mutex;
use proxy_config::cache::CacheDisk;

use crate::cache::backoff::Failures;
use crate::cache::budget::{Class, Lease};
pub use crate::cache::clock::now_ms;
use crate::cache::directives::Directives;
use crate::cache::disk::Disk;
use crate::cache::fan_out::FanOut;
use crate::cache::freshness::Plan;
use crate::cache::key::Key;
use crate::cache::object::Stored;
use crate::cache::policy::Policy;
use crate::cache::series::Series;
use crate::cache::store::{Limits, NoRoom, Store};
use crate::fill::load::Load;
use crate::fill::{Fill, Interest};
use crate::metrics::Metrics;
use crate::video::Video;

/// Fills under way at once in one cache; above it requests pass through.
const FILLS_MAX: usize = 4096;
/// How long requests for an answer that may not be stored go to the origin one by one, without
/// waiting for one another; and for a large one, each question about which costs a part of it.
pub const PASS_MS: u64 = 2000;
pub const LARGE_PASS_MS: u64 = 60_000;
/// Answers that may not be stored remembered at once; the oldest are forgotten first.
const PASSES_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// Keys whose uses are counted before they are stored; those not asked for longest are forgotten first.
const USES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not 0");

/// The next part of an id.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// One cache of a document. It belongs to the process: a reload changes its limits and keeps what
/// is in it.
pub struct Cache {
    pub name: String,
    inner: Mutex<Inner>,
    hasher: RandomState,
    series: Series,
    pub video: Video,
    /// Shares purges with other proxies.
    fan_out: Mutex<Option<Arc<FanOut>>>,
}

struct Inner {
    store: Store,
    disk: Option<Arc<Disk>>,
    fills: HashMap<Key, Vec<Arc<Fill>>>,
    fills_count: usize,
    /// Hashes of what may not be stored ([`Cache::pass_hash`]), and until when that is believed.
    passes: LruCache<u64, u64>,
    /// By the same hashes, what an origin has failed to refresh.
    failures: Failures,
    /// How often was asked for what is not stored, by the hash of its key.
    uses: LruCache<u64, u32>,
    /// Evictions that the metric has counted.
    evictions_counted: [u64; 2],
}

/// What a request asks of a cache.
pub struct Asking<'a> {
    pub key: &'a Key,
    pub headers: &'a HeaderMap,
    pub said: &'a Directives,
    /// A HEAD is answered from what is there, but fills nothing.
    pub is_head: bool,
    /// Whether it may still wait for somebody else's fill.
    pub may_wait: bool,
    /// Whether it may still be looked for on disk.
    pub may_load: bool,
}

/// What to do next for a request.
pub enum Step {
    /// Answer with this; `refresh` is a fill to run beside it.
    Serve { stored: Arc<Stored>, refresh: Option<Arc<Fill>> },
    /// Answer with this in place of an origin that has just failed.
    StandIn(Arc<Stored>),
    /// Wait for somebody else's fill. `stale` is what stands in when it fails.
    Join { fill: Arc<Fill>, interest: Interest, stale: Option<Arc<Stored>> },
    /// Load what is on disk into memory, then ask again. Others may join meanwhile.
    Load { load: Load, interest: Interest },
    /// Run this fill. `stale` is what it revalidates.
    Lead { fill: Arc<Fill>, interest: Interest, stale: Option<Arc<Stored>> },
    /// Ask the origin without the cache, for this reason.
    Pass(&'static str),
    /// `only-if-cached`, and it is not.
    Unanswerable,
}

impl Cache {
    fn new(name: &str, metrics: &Metrics) -> Cache {
        Cache {
            name: name.to_owned(),
            inner: Mutex::new(Inner {
                store: Store::new(Limits::default()),
                disk: None,
                fills: HashMap::new(),
                fills_count: 0,
                passes: LruCache::new(PASSES_MAX),
                failures: Failures::default(),
                uses: LruCache::new(USES_MAX),
                evictions_counted: [0; 2],
            }),
            hasher: RandomState::new(),
            series: Series::new(name, metrics),
            video: Video::new(name, metrics),
            fan_out: Mutex::default(),
        }
    }

    pub fn limits(&self) -> Limits {
        self.inner.lock().store.limits()
    }

    pub fn set_limits(&self, limits: Limits) {
        self.with(|inner| inner.store.set_limits(limits));
        self.series.bytes_max.set(i64::try_from(limits.memory_max).unwrap_or(i64::MAX));
    }

    /// Does something under the lock, then brings the metrics up to date.
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock();
        let done = work(&mut inner);
        for class in Class::ALL {
            let labels = [self.name.as_str(), class.name()];
            let evicted = inner.store.evicted(class);
            let counted = &mut inner.evictions_counted[class as usize];
            self.series.evictions.with_label_values(&labels).inc_by(evicted - *counted);
            *counted = evicted;
        }
        self.publish(&inner.store);
        self.series.fills_in_progress.set(i64::try_from(inner.fills_count).unwrap_or(i64::MAX));
        done
    }

    fn publish(&self, store: &Store) {
        for class in Class::ALL {
            let labels = [self.name.as_str(), class.name()];
            let bytes = i64::try_from(store.budget().used(class)).unwrap_or(i64::MAX);
            self.series.bytes.with_label_values(&labels).set(bytes);
            let objects = i64::try_from(store.objects(class)).unwrap_or(i64::MAX);
            self.series.objects.with_label_values(&labels).set(objects);
        }
    }

    /// Bytes in memory, and on their way into it.
    pub fn bytes(&self) -> u64 {
        self.inner.lock().store.budget().total()
    }

    /// Answers evicted from memory so far.
    pub fn evicted(&self) -> u64 {
        let inner = self.inner.lock();
        Class::ALL.iter().map(|class| inner.store.evicted(*class)).sum()
    }

    /// Brings the gauges up to date with what readers gave back since.
    pub fn refresh_metrics(&self) {
        self.video.refresh_metrics(now_ms());
        let inner = self.inner.lock();
        self.publish(&inner.store);
        let counts = inner.disk.as_ref().map(|disk| disk.counts());
        drop(inner);
        let (bytes, objects) = counts.unwrap_or_default();
        self.series.disk_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.series.disk_objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// Decides what to do for a request.
    pub fn look(&self, asking: &Asking<'_>, policy: &Policy, now_ms: u64) -> Step {
        let mut inner = self.inner.lock();
        let forced = asking.said.forced;
        let stored = (!forced).then(|| inner.store.find(asking.key, asking.headers)).flatten();
        if stored.is_none()
            && !forced
            && let Some(step) = inner.load(asking, policy)
        {
            return step;
        }
        let honor = policy.freshness.honor_request;
        let plan = freshness::plan(
            stored.as_ref().map(|s| s.times()).as_ref(),
            asking.said,
            honor,
            now_ms,
        );
        let has_failed = |inner: &Inner| {
            let waits =
                inner.failures.is_waited_for(self.pass_hash(asking.key, asking.headers), now_ms);
            self.series.refreshes_held.inc_by(u64::from(waits));
            waits
        };
        match (plan, stored) {
            (Plan::Hit, Some(stored)) => Step::Serve { stored, refresh: None },
            (Plan::HitAndRevalidate, Some(stored)) => {
                let running = inner.running(asking, policy, true).is_some();
                let begins = !running && inner.fills_count < FILLS_MAX && !has_failed(&inner);
                let refresh = begins.then(|| inner.begin(asking, true));
                Step::Serve { stored, refresh }
            }
            (Plan::Revalidate, Some(stored))
                if stored.times().serves_on_error(asking.said, honor, now_ms)
                    && has_failed(&inner) =>
            {
                Step::StandIn(stored)
            }
            (Plan::Unanswerable, _) => Step::Unanswerable,
            (_, stale) => {
                // Without asking whether it is still good, what was never fresh is of no use.
                let stale = stale.filter(|s| policy.revalidate || s.times().was_fresh());
                let step = self.fetch(&mut inner, asking, policy, now_ms, stale);
                self.series.fills_in_progress.set(i64::try_from(inner.fills_count).unwrap_or(0));
                step
            }
        }
    }

    /// What answers a request at once: fresh, whole and in memory. For what is not, nothing begins.
    pub fn at_hand(
        &self,
        (key, headers, said): (&Key, &HeaderMap, &Directives),
        policy: &Policy,
        now_ms: u64,
    ) -> Option<Arc<Stored>> {
        let stored = self.inner.lock().store.find(key, headers)?;
        let honor = policy.freshness.honor_request;
        let plan = freshness::plan(Some(&stored.times()), said, honor, now_ms);
        (plan == Plan::Hit && stored.head.layout.is_none()).then_some(stored)
    }

    fn fetch(
        &self,
        inner: &mut Inner,
        asking: &Asking<'_>,
        policy: &Policy,
        now_ms: u64,
        stale: Option<Arc<Stored>>,
    ) -> Step {
        if !asking.may_wait {
            return Step::Pass("waited");
        }
        if let Some(fill) = inner.running(asking, policy, false).filter(|_| policy.collapse) {
            let interest = Interest::in_fill(&fill);
            return Step::Join { fill, interest, stale };
        }
        if asking.is_head {
            return Step::Pass("head");
        }
        let hash = self.hasher.hash_one(asking.key);
        let pass = self.pass_hash(asking.key, asking.headers);
        if inner.passes.peek(&pass).is_some_and(|until| now_ms < *until) {
            return Step::Pass("uncacheable");
        }
        if inner.fills_count >= FILLS_MAX {
            return Step::Pass("fills_full");
        }
        if stale.is_none() && policy.uses_min > 1 && !inner.is_used_enough(hash, policy.uses_min) {
            return Step::Pass("uses_min");
        }
        let fill = inner.begin(asking, false);
        let interest = Interest::in_fill(&fill);
        Step::Lead { fill, interest, stale }
    }

    /// A fill that nobody has asked for yet; or why none is begun.
    pub fn begin_ahead(
        &self,
        key: &Key,
        headers: &HeaderMap,
        policy: &Policy,
    ) -> Result<Arc<Fill>, &'static str> {
        let said = Directives::default();
        let (is_head, may_wait, may_load) = (false, true, false);
        let asking = Asking { key, headers, said: &said, is_head, may_wait, may_load };
        let mut inner = self.inner.lock();
        let on_disk = inner.disk.as_ref().is_some_and(|disk| disk.find(key, headers).is_some());
        let known = on_disk || inner.store.find(key, headers).is_some();
        if known || inner.running(&asking, policy, true).is_some() {
            return Err("known");
        }
        // The other half is for those who wait.
        if inner.fills_count >= FILLS_MAX / 2 {
            return Err("full");
        }
        Ok(inner.begin(&asking, true))
    }

    /// Whether an answer to this request is stored, or on its way.
    pub fn knows(&self, key: &Key, headers: &HeaderMap) -> bool {
        let mut inner = self.inner.lock();
        let on_disk = inner.disk.as_ref().is_some_and(|disk| disk.find(key, headers).is_some());
        on_disk || inner.store.find(key, headers).is_some() || inner.fills.contains_key(key)
    }

    /// Remembers for so long that answers to requests like that of this fill are not to be waited for.
    pub fn mark_uncacheable(&self, fill: &Fill, now_ms: u64, for_ms: u64) {
        let pass = self.pass_hash(&fill.key, &fill.request);
        self.inner.lock().passes.put(pass, now_ms + for_ms);
    }

    /// What is stored is not to be refreshed for a while, since the origin has failed to; or it has not.
    pub fn note_refresh(&self, fill: &Fill, stale: &Stored, failed: bool, now_ms: u64) {
        let hash = self.pass_hash(&fill.key, &fill.request);
        let times = stale.times();
        let fresh_ms = u64::try_from(times.fresh_for_ms(times.arrived_ms())).unwrap_or(0);
        let failures = &mut self.inner.lock().failures;
        match failed {
            true => failures.note(hash, fresh_ms, now_ms),
            false => failures.forget(hash),
        }
    }

    /// What may not be stored for who names himself may be for everybody else.
    fn pass_hash(&self, key: &Key, request: &HeaderMap) -> u64 {
        self.hasher.hash_one((key, request.contains_key(AUTHORIZATION)))
    }

    /// Room for an answer: its head, and as much of its body as is known.
    pub fn reserve(&self, head_bytes: u64, body_bytes: u64) -> Result<(Lease, Lease), NoRoom> {
        self.with(|inner| {
            let head = inner.store.reserve(Class::Small, head_bytes)?;
            let class = inner.store.class_of(body_bytes);
            Ok((head, inner.store.reserve(class, body_bytes)?))
        })
    }

    /// The same for a slice of a large object, however small that is.
    pub fn reserve_slice(
        &self,
        head_bytes: u64,
        body_bytes: u64,
    ) -> Result<(Lease, Lease), NoRoom> {
        self.with(|inner| {
            let head = inner.store.reserve(Class::Large, head_bytes)?;
            Ok((head, inner.store.reserve(Class::Large, body_bytes)?))
        })
    }

    /// A number that no other version of any object has, nor had before a restart.
    pub fn new_id(&self) -> u64 {
        self.hasher.hash_one((now_ms(), NEXT_ID.fetch_add(1, Ordering::Relaxed)))
    }

    /// Begins the fill of a slice of which the first bytes are there already.
    pub fn begin_slice(&self, key: Key) -> Arc<Fill> {
        self.with(|inner| inner.begin_key(key, HeaderMap::new(), false))
    }

    /// Whether a slice is at hand, in memory or on disk.
    pub fn has(&self, key: &Key) -> bool {
        let none = HeaderMap::new();
        let mut inner = self.inner.lock();
        inner.store.find(key, &none).is_some()
            || inner.disk.as_ref().is_some_and(|disk| disk.find(key, &none).is_some())
    }

    /// More room for a body under way.
    pub fn grow(&self, flow: &crate::fill::flow::Flow, by: u64) -> Result<(), NoRoom> {
        let grown = self.with(|inner| flow.with_lease(|lease| inner.store.grow(lease, by)));
        grown.unwrap_or(Err(NoRoom))
    }

    /// Stores an answer and ends its fill in one step, so that nobody finds neither.
    pub fn complete(&self, fill: &Arc<Fill>, stored: Option<Arc<Stored>>) {
        self.with(|inner| {
            inner.retire(fill);
            if let Some(stored) = stored.filter(|_| !fill.is_doomed()) {
                inner.store.put(Arc::clone(&stored), &fill.request);
                // Under the same lock, so that no purge comes between the two tiers.
                if let Some(disk) = &inner.disk {
                    disk.store(&stored, |bytes| inner.store.reserve(Class::Small, bytes).ok());
                }
            }
        });
    }

    /// The same for an answer that comes from the disk.
    pub fn complete_load(&self, fill: &Arc<Fill>, stored: Option<Arc<Stored>>) {
        self.with(|inner| {
            inner.retire(fill);
            if let Some(stored) = stored.filter(|_| !fill.is_doomed()) {
                inner.store.put(stored, &fill.request);
            }
        });
    }

    /// Takes the disk tier of a document into force.
    pub fn set_disk(
        self: &Arc<Self>,
        (config, protected): (Option<&CacheDisk>, &[PathBuf]),
        metrics: &Metrics,
    ) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let Some(config) = config else {
            let closed = inner.disk.take();
            drop(inner);
            drop(closed);
            // What is not there is not late either.
            let _ = metrics.cache_disk_ready.remove_label_values(&[&self.name]);
            return Ok(());
        };
        let bytes_max = config.bytes_max.as_bytes();
        let same = inner.disk.as_ref().filter(|disk| disk.path() == config.path);
        if let Some(disk) = same {
            disk.set_bytes_max(bytes_max);
            disk.set_protected(protected);
        } else {
            let cache = Arc::downgrade(self);
            let reserve = move |bytes| Some(cache.upgrade()?.reserve(bytes, 0).ok()?.0);
            let series = disk::Series::new(&self.name, metrics);
            let opened =
                Disk::open((&config.path, protected), bytes_max, Box::new(reserve), series)?;
            let closed = inner.disk.replace(Arc::new(opened));
            drop(inner);
            drop(closed);
        }
        let labels = [self.name.as_str()];
        let gauge = metrics.cache_disk_bytes_max.with_label_values(&labels);
        gauge.set(i64::try_from(bytes_max).unwrap_or(i64::MAX));
        Ok(())
    }

    pub fn has_disk(&self) -> bool {
        self.inner.lock().disk.is_some()
    }

    /// Takes a document's `purge_redis` into force.
    fn set_fan_out(self: &Arc<Self>, url: Option<&str>, metrics: &Metrics) -> io::Result<()> {
        let mut fan_out = self.fan_out.lock();
        if fan_out.as_ref().map(|fan_out| fan_out.url.as_str()) != url {
            *fan_out = None;
            *fan_out = url.map(|url| FanOut::start(url, self, metrics)).transpose()?.map(Arc::new);
        }
        Ok(())
    }

    /// Ends a fill unless somebody has come to it since; says whether it ended.
    pub fn retire_if_left(&self, fill: &Arc<Fill>) -> bool {
        self.with(|inner| {
            let left = fill.is_left();
            if left {
                inner.retire(fill);
            }
            left
        })
    }
}

impl Inner {
    /// Counts a use; whether there were so many.
    fn is_used_enough(&mut self, hash: u64, uses_min: u32) -> bool {
        let uses = self.uses.get_or_insert_mut(hash, || 0);
        *uses = uses.saturating_add(1);
        let enough = *uses >= uses_min;
        if enough {
            self.uses.pop(&hash);
        }
        enough
    }

    /// A fill under way that will, as far as can be known, answer the request.
    fn running(
        &self,
        asking: &Asking<'_>,
        policy: &Policy,
        any_request: bool,
    ) -> Option<Arc<Fill>> {
        let fills = self.fills.get(asking.key)?;
        let fits = |fill: &&Arc<Fill>| {
            let known = self.store.any(asking.key).map(|stored| &stored.head.selection);
            fill.fits(asking, policy, known, any_request)
        };
        fills.iter().rev().find(fits).cloned()
    }

    /// What is on disk and not in memory is loaded before anything else is decided, by one for all.
    fn load(&mut self, asking: &Asking<'_>, policy: &Policy) -> Option<Step> {
        let disk = self.disk.as_ref().filter(|_| asking.may_load && asking.may_wait)?;
        let number = disk.find(asking.key, asking.headers)?;
        if let Some(fill) = self.running(asking, policy, false) {
            let interest = Interest::in_fill(&fill);
            return Some(Step::Join { fill, interest, stale: None });
        }
        if self.fills_count >= FILLS_MAX {
            return None;
        }
        let disk = Arc::clone(disk);
        let fill = self.begin(asking, false);
        let interest = Interest::in_fill(&fill);
        Some(Step::Load { load: Load { fill, disk, number }, interest })
    }

    fn begin(&mut self, asking: &Asking<'_>, background: bool) -> Arc<Fill> {
        self.begin_key(asking.key.clone(), asking.headers.clone(), background)
    }

    fn begin_key(&mut self, key: Key, request: HeaderMap, background: bool) -> Arc<Fill> {
        let fill = Fill::new(key.clone(), request, background);
        self.fills.entry(key).or_default().push(Arc::clone(&fill));
        self.fills_count += 1;
        fill
    }

    fn retire(&mut self, fill: &Arc<Fill>) {
        let Some(fills) = self.fills.get_mut(&fill.key) else { return };
        let before = fills.len();
        fills.retain(|other| !Arc::ptr_eq(other, fill));
        self.fills_count -= before - fills.len();
        if fills.is_empty() {
            self.fills.remove(&fill.key);
        }
    }
}
