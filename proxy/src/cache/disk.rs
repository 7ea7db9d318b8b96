//! The second tier: what was stored in memory is written behind it to a directory, and found there
//! after it was evicted, or after a restart.
//!
//! - [`record`]: an answer as bytes, with checksums. [`folder`]: records in files, each there whole or
//!   not. [`index`]: what is there, in memory, bounded in bytes; decides what goes.
//! - One thread per directory writes, evicts and removes. Reads and purges run beside it. No file is
//!   touched under a lock.
//! - Whatever goes wrong is a miss and a metric. The directory may even come later, or go and come back: until
//!   this process has it, and for what is not indexed yet, there are no hits.

pub mod folder;
pub mod index;
pub mod record;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGauge};
use tokio::task::spawn_blocking;

use crate::cache::budget::Lease;
use crate::cache::disk::folder::{Folder, Found, Held, tells_of_a_loss};
use crate::cache::disk::index::{Identity, Index, Number, Swept, on_disk};
use crate::cache::disk::record::{NEVER, Start, Written};
use crate::cache::key::Key;
use crate::cache::now_ms;
use crate::cache::object::Stored;
use crate::cache::purge::{Scope, SweepId};
use crate::metrics::Metrics;
use crate::operator_log::Moderation;
use crate::protected;

/// Answers that wait to be written; more are dropped.
const QUEUE_MAX: usize = 1024;
/// Bytes of their bodies. They stay in memory while they wait.
const QUEUE_BYTES_MAX: u64 = 32 << 20;
/// An answer that is of use for a shorter time is not worth a write: a live playlist, say.
const USABLE_MS_MIN: u64 = 5000;
/// After a write that failed, so long none is tried.
const PAUSE_MS: u64 = 5000;
/// How often a directory that another process has, or that cannot be used, is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(500);
/// How often it looks whether the directory is still there.
const LOOK_FOR_FOLDER: Duration = Duration::from_secs(1);
/// How often the thread looks for what to remove when there is nothing to write.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// The names of all results, as label values.
pub const READS: [&str; 5] = ["loaded", "gone", "corrupt", "failed", "no_room"];
pub const WRITES: [&str; 5] = ["written", "dropped", "cancelled", "too_large", "failed"];

/// Memory for the index, where there is some.
pub type Reserve = Box<dyn Fn(u64) -> Option<Lease> + Send + Sync>;

pub struct Series {
    pub cache: String,
    pub ready: IntGauge,
    pub reads: IntCounterVec,
    pub writes: IntCounterVec,
    pub remove_failures: IntCounterVec,
    pub evictions: IntCounterVec,
}

impl Series {
    pub fn new(cache: &str, metrics: &Metrics) -> Series {
        for result in READS {
            metrics.cache_disk_reads.with_label_values(&[cache, result]);
        }
        for result in WRITES {
            metrics.cache_disk_writes.with_label_values(&[cache, result]);
        }
        metrics.cache_disk_remove_failures.with_label_values(&[cache]);
        metrics.cache_disk_evictions.with_label_values(&[cache]);
        Series {
            cache: cache.to_owned(),
            ready: metrics.cache_disk_ready.with_label_values(&[cache]),
            reads: metrics.cache_disk_reads.clone(),
            writes: metrics.cache_disk_writes.clone(),
            remove_failures: metrics.cache_disk_remove_failures.clone(),
            evictions: metrics.cache_disk_evictions.clone(),
        }
    }

    pub fn count_read(&self, result: &str) {
        self.count_reads(result, 1);
    }

    fn count_reads(&self, result: &str, count: u64) {
        self.reads.with_label_values(&[self.cache.as_str(), result]).inc_by(count);
    }

    fn count_evictions(&self, count: usize) {
        self.evictions.with_label_values(&[self.cache.as_str()]).inc_by(count as u64);
    }

    fn count_write(&self, result: &str) {
        self.writes.with_label_values(&[self.cache.as_str(), result]).inc();
    }
}

struct Shared {
    path: PathBuf,
    index: Mutex<Index>,
    /// Nothing is written on a file system of these.
    protected: Mutex<Vec<PathBuf>>,
    held: Mutex<Option<Arc<Held>>>,
    closed: AtomicBool,
    queued_bytes: AtomicU64,
    paused_until_ms: AtomicU64,
    /// Records that are out of the index, to be removed.
    doomed: Mutex<Vec<Number>>,
    reserve: Reserve,
    series: Series,
    moderation: Moderation,
}

struct Write {
    number: Number,
    stored: Arc<Stored>,
    identity: Identity,
    lease: Lease,
}

/// A record that was read.
pub struct Loaded {
    pub start: Start,
    pub head: Written,
    pub body: Bytes,
}

pub struct Disk {
    shared: Arc<Shared>,
    queue: SyncSender<Write>,
}

impl Disk {
    /// Returns at once; a thread takes the directory and indexes what is there.
    pub fn open(
        (path, protected): (&Path, &[PathBuf]),
        bytes_max: u64,
        reserve: Reserve,
        series: Series,
    ) -> io::Result<Disk> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            protected: Mutex::new(protected.to_owned()),
            // A number holds the time, so that it is above those of all runs before.
            index: Mutex::new(Index::new(bytes_max, now_ms() << 20)),
            held: Mutex::default(),
            closed: AtomicBool::new(false),
            queued_bytes: AtomicU64::new(0),
            paused_until_ms: AtomicU64::new(0),
            doomed: Mutex::default(),
            reserve,
            series,
            moderation: Moderation::default(),
        });
        let (queue, orders) = sync_channel(QUEUE_MAX);
        let on = Arc::clone(&shared);
        thread::Builder::new().name("cache-disk".to_owned()).spawn(move || on.run(&orders))?;
        Ok(Disk { shared, queue })
    }

    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    pub fn set_protected(&self, protected: &[PathBuf]) {
        protected.clone_into(&mut self.shared.protected.lock());
    }

    pub fn set_bytes_max(&self, bytes_max: u64) {
        let mut index = self.shared.index.lock();
        index.bytes_max = bytes_max;
        let removed = index.make_room(0).unwrap_or_default();
        self.shared.series.count_evictions(removed.len());
        self.shared.doomed.lock().extend(removed);
    }

    /// Bytes and records on disk.
    pub fn counts(&self) -> (u64, usize) {
        self.shared.index.lock().counts()
    }

    /// The record that answers the request.
    pub fn find(&self, key: &Key, request: &HeaderMap) -> Option<Number> {
        self.shared.index.lock().find(key, request)
    }

    /// Takes note of an answer that was stored in memory: what it replaces goes, and it is written
    /// when it is worth it and there is time. `lease` makes room in memory for its place in the index.
    pub fn store(&self, stored: &Arc<Stored>, lease: impl FnOnce(u64) -> Option<Lease>) {
        self.forget(stored);
        if stored.times().usable_for_ms(now_ms()) < USABLE_MS_MIN {
            return;
        }
        let head = &stored.head;
        let (key, selection, tags) =
            (stored.key.clone(), head.selection.clone(), head.tags.clone());
        let identity = Identity { key, selection, tags };
        let (bytes, shared) = (stored.length(), &self.shared);
        let waiting = shared.queued_bytes.load(Ordering::Acquire);
        let paused = now_ms() < shared.paused_until_ms.load(Ordering::Acquire);
        let lease = (!paused && waiting + bytes <= QUEUE_BYTES_MAX).then(|| lease(identity.cost()));
        let Some(lease) = lease.flatten() else { return shared.series.count_write("dropped") };
        let uri = Arc::clone(&identity.key.uri);
        let number = shared.index.lock().begin(uri, identity.tags.clone());
        shared.queued_bytes.fetch_add(bytes, Ordering::AcqRel);
        let write = Write { number, stored: Arc::clone(stored), identity, lease };
        if self.queue.try_send(write).is_err() {
            shared.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
            shared.index.lock().give_up(number);
            shared.series.count_write("dropped");
        }
    }

    /// Takes the record of an answer out.
    pub fn forget(&self, stored: &Stored) {
        let removed = self.shared.index.lock().replace(&stored.key, &stored.head.selection);
        self.shared.doomed.lock().extend(removed);
    }

    /// Takes the records of a URI out, those not indexed yet included.
    pub fn forget_uri(&self, uri: &Arc<str>) {
        self.forget_covered(&Scope::Uri(Arc::clone(uri)));
    }

    /// Takes out what a scope covers, in one go.
    pub fn forget_covered(&self, scope: &Scope) {
        let mut index = self.shared.index.lock();
        let id = index.begin_purge(scope, None);
        let mut removed = Vec::new();
        loop {
            let swept = index.sweep(id);
            removed.extend(swept.numbers);
            if swept.done {
                break;
            }
        }
        index.end_purge(id);
        self.shared.doomed.lock().extend(removed);
    }

    /// Takes a record out that is of no use.
    pub fn remove(&self, uri: &Arc<str>, number: Number) {
        let removed = self.shared.index.lock().remove(uri, number);
        self.shared.doomed.lock().extend(removed);
    }

    /// Reads a record; `None` when it is not to be had.
    pub async fn load(&self, uri: &Arc<str>, number: Number) -> Option<Loaded> {
        let shared = Arc::clone(&self.shared);
        let read = spawn_blocking(move || {
            let bytes = shared.held()?.read(number);
            Some(bytes.map(|bytes| record::read(&bytes)))
        });
        let result = match read.await.ok().flatten() {
            Some(Ok(Some((start, head, body)))) => return Some(Loaded { start, head, body }),
            Some(Ok(None)) => "corrupt",
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => "gone",
            Some(Err(error)) => {
                self.shared.tell("read", &error);
                "failed"
            }
            None => "gone",
        };
        self.shared.series.count_read(result);
        self.remove(uri, number);
        None
    }

    pub fn count_read(&self, result: &str) {
        self.shared.series.count_read(result);
    }

    /// Puts a purge in force.
    pub fn begin_purge(&self, scope: &Scope, soft_ms: Option<u64>) -> SweepId {
        self.shared.index.lock().begin_purge(scope, soft_ms)
    }

    /// Carries a purge out: what it covers is gone from the disk, or marked there, when this returns.
    /// Says how many records that were.
    pub async fn sweep(&self, id: SweepId, soft_ms: Option<u64>) -> usize {
        let mut count = 0;
        loop {
            let Swept { numbers, done } = self.shared.index.lock().sweep(id);
            count += numbers.len();
            let shared = Arc::clone(&self.shared);
            // A panic there is a bug; the purge is still in force in memory.
            let _ = spawn_blocking(move || shared.remove_or_mark(&numbers, soft_ms)).await;
            if done {
                break;
            }
        }
        let shared = &self.shared;
        let indexing = || shared.held().is_some() && !shared.index.lock().is_complete();
        while indexing() && !shared.closed.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK_AROUND).await;
        }
        shared.index.lock().end_purge(id);
        count
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.series.ready.set(0);
    }
}

impl Shared {
    fn held(&self) -> Option<Arc<Held>> {
        self.held.lock().clone()
    }

    /// The thread: take the directory, index it, then write and remove until the cache is closed. A directory that
    /// is lost is taken anew.
    fn run(&self, orders: &Receiver<Write>) {
        while let Some(held) = self.hold() {
            let held = Arc::new(held);
            *self.held.lock() = Some(Arc::clone(&held));
            self.series.ready.set(1);
            self.index_all(&held);
            if !self.is_lost_after_serving(&held, orders) {
                return;
            }
            self.lose(&held);
        }
    }

    fn index_all(&self, held: &Held) {
        let mut again = HashSet::new();
        let scanned = held.scan(|found| self.index_found(held, found, &mut again));
        if let Some((path, error)) = &scanned.first {
            let (path, count) = (path.display(), scanned.passed_by);
            tracing::error!(%path, %error, count, "what the cache has on disk cannot all be read");
            self.series.count_reads("failed", count);
        }
        let mut index = self.index.lock();
        if index.is_away() {
            index.keep(|number| again.contains(&number));
        }
        index.complete();
    }

    /// Does what there is to do until the directory is lost; `false` when the cache was closed.
    fn is_lost_after_serving(&self, held: &Held, orders: &Receiver<Write>) -> bool {
        let mut looked = Instant::now();
        while !self.closed.load(Ordering::Acquire) {
            let doomed = std::mem::take(&mut *self.doomed.lock());
            self.remove_or_mark(&doomed, None);
            let is_lost = match orders.recv_timeout(LOOK_AROUND) {
                Ok(write) => !self.write(held, write),
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return false,
            };
            let is_due = looked.elapsed() >= LOOK_FOR_FOLDER;
            if is_lost || is_due && !held.is_there() {
                return true;
            }
            looked = if is_due { Instant::now() } else { looked };
        }
        false
    }

    /// From here on there are no hits, until the directory was taken and looked through again.
    fn lose(&self, held: &Held) {
        self.series.ready.set(0);
        self.index.lock().lose(now_ms() << 20);
        *self.held.lock() = None;
        held.release();
        let path = self.path.display();
        tracing::error!(%path, "the directory of the cache on disk is gone, or cannot be written");
    }

    fn hold(&self) -> Option<Held> {
        let mut told = false;
        while !self.closed.load(Ordering::Acquire) {
            let why = match self.prepare().and_then(Folder::hold) {
                Ok(Ok(held)) => return Some(held),
                Ok(Err(_)) => "another process uses it".to_owned(),
                Err(error) => error.to_string(),
            };
            if !told {
                tracing::warn!(path = %self.path.display(), why, "the cache on disk is not there yet");
                told = true;
            }
            thread::sleep(OPEN_AGAIN);
        }
        None
    }

    /// Held against what is protected each time: it may be on another file system than it was.
    fn prepare(&self) -> io::Result<Folder> {
        let protected = self.protected.lock().clone();
        match protected::sharing(&self.path, &protected).map_err(io::Error::other)? {
            Some(one) => Err(io::Error::other(format!(
                "it is on the file system of the protected path {}",
                one.display()
            ))),
            None => Folder::prepare(&self.path).map_err(io::Error::other),
        }
    }

    /// `again` takes the numbers of what was found again in a directory that was lost.
    fn index_found(&self, held: &Held, found: Found, again: &mut HashSet<Number>) -> bool {
        let Found { number, start, head } = found;
        let bytes = on_disk(start.record_bytes());
        let identity = head.key().zip(head.selection());
        let identity =
            identity.map(|(key, selection)| Identity { key, selection, tags: head.tags() });
        let knows = |of: &Identity| self.index.lock().knows(&of.key.uri, number);
        let known = identity.as_ref().and_then(knows);
        if known != Some(false) && self.index.lock().is_away() {
            again.insert(number);
        }
        if known == Some(true) {
            return !self.closed.load(Ordering::Acquire);
        }
        let leased = identity.filter(|_| known.is_none()).and_then(|identity| {
            let lease = (self.reserve)(identity.cost())?;
            Some((identity, lease))
        });
        let removed = match leased {
            None => vec![number],
            Some((identity, lease)) => {
                let mut index = self.index.lock();
                match index.make_room(bytes) {
                    None => vec![number],
                    Some(mut removed) => {
                        self.series.count_evictions(removed.len());
                        removed.extend(index.add_found(number, identity, bytes, lease));
                        removed
                    }
                }
            }
        };
        self.remove_all(held, &removed);
        !self.closed.load(Ordering::Acquire)
    }

    /// Says whether the directory is still of use.
    fn write(&self, held: &Held, write: Write) -> bool {
        let Write { number, stored, identity, lease } = write;
        self.queued_bytes.fetch_sub(stored.length(), Ordering::AcqRel);
        if !self.index.lock().is_wanted(number) {
            self.series.count_write("cancelled");
            return true;
        }
        let start = record::write(&stored);
        let bytes = start.as_ref().map(|start| on_disk(start.len() as u64 + stored.length()));
        let room = bytes.and_then(|bytes| self.index.lock().make_room(bytes));
        let (Some(start), Some(bytes), Some(removed)) = (start, bytes, room) else {
            self.index.lock().give_up(number);
            self.series.count_write("too_large");
            return true;
        };
        self.series.count_evictions(removed.len());
        self.remove_all(held, &removed);
        if let Err(error) = held.write(number, &start, &stored) {
            self.index.lock().give_up(number);
            self.tell("write", &error);
            self.series.count_write("failed");
            let is_lost = tells_of_a_loss(&error) || !held.is_there();
            if !is_lost {
                self.paused_until_ms.store(now_ms() + PAUSE_MS, Ordering::Release);
            }
            return !is_lost;
        }
        let removed = self.index.lock().add(number, identity, bytes, lease);
        let written = !removed.contains(&number);
        self.remove_all(held, &removed);
        self.series.count_write(if written { "written" } else { "cancelled" });
        true
    }

    /// What cannot be marked, or is not there to be, is not used again.
    fn remove_or_mark(&self, numbers: &[Number], soft_ms: Option<u64>) {
        let held = self.held();
        let remove = |numbers: &[Number]| held.iter().for_each(|on| self.remove_all(on, numbers));
        let Some(since_ms) = soft_ms else { return remove(numbers) };
        let mut unmarked = HashSet::new();
        for number in numbers {
            let marked = held.as_ref().map(|held| held.mark_stale(*number, since_ms));
            if let Some(Err(error)) = &marked
                && error.kind() != io::ErrorKind::NotFound
            {
                self.tell("mark", error);
                remove(&[*number]);
            }
            if !matches!(marked, Some(Ok(()))) {
                unmarked.insert(*number);
            }
        }
        if !unmarked.is_empty() {
            self.index.lock().keep(|number| !unmarked.contains(&number));
        }
    }

    fn remove_all(&self, held: &Held, numbers: &[Number]) {
        for number in numbers {
            if let Err(error) = held.remove(*number) {
                self.series.remove_failures.with_label_values(&[self.series.cache.as_str()]).inc();
                self.tell("remove", &error);
            }
        }
    }

    fn tell(&self, what: &str, error: &io::Error) {
        if self.moderation.may_tell() {
            tracing::error!(path = %self.path.display(), what, %error, "the cache on disk fails");
        }
    }
}

/// When a purge made a record stale.
pub fn stale_since(start: &Start) -> Option<u64> {
    (start.stale_since_ms != NEVER).then_some(start.stale_since_ms)
}
