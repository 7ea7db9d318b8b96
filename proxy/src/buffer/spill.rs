//! Where bodies go when memory is out: one unlinked file for each in the lane's spill directory, made when
//! it is first needed. A file is a set of blocks that are used again as they are read, so it never grows
//! beyond what its body may hold there; what it has grown to counts against the lane until it is gone.
//! Nothing is left behind by a process that ends, however it ends.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::task::spawn_blocking;

use crate::metrics::Metrics;

/// Bytes of a block.
pub const BLOCK: u64 = 64 * 1024;
const BLOCK_GAUGE: i64 = 64 * 1024;

/// A directory, and the bytes that may be used there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub bytes_max: u64,
}

/// The spill directory of a lane, which may have none.
pub struct Spill {
    place: Mutex<Option<Place>>,
    used: AtomicU64,
    used_gauge: IntGauge,
    max_gauge: IntGauge,
    written: IntCounter,
    full: IntCounter,
    failed_writes: IntCounter,
    failed_reads: IntCounter,
}

impl Spill {
    pub fn new(lane: &str, metrics: &Metrics) -> Arc<Spill> {
        let failed = |what| metrics.buffers.spill_failures.with_label_values(&[lane, what]);
        Arc::new(Spill {
            place: Mutex::new(None),
            used: AtomicU64::new(0),
            used_gauge: metrics.buffers.spill_bytes.with_label_values(&[lane]),
            max_gauge: metrics.buffers.spill_max.with_label_values(&[lane]),
            written: metrics.buffers.spilled_bytes.with_label_values(&[lane]),
            full: failed("full"),
            failed_writes: failed("write"),
            failed_reads: failed("read"),
        })
    }

    /// What is there already stays where it is.
    pub fn set_place(&self, place: Option<Place>) {
        let max = place.as_ref().map_or(0, |place| place.bytes_max);
        self.max_gauge.set(i64::try_from(max).unwrap_or(i64::MAX));
        if let Some(place) = &place
            && let Err(error) = std::fs::create_dir_all(&place.path)
        {
            tracing::warn!(path = %place.path.display(), %error, "bodies cannot spill there; they wait in memory");
        }
        *self.place.lock() = place;
    }

    /// Takes a block's worth of the directory.
    fn grow(&self) -> bool {
        let max = self.place.lock().as_ref().map_or(0, |place| place.bytes_max);
        let took = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(BLOCK).filter(|sum| *sum <= max)
        });
        match took {
            Ok(_) => self.used_gauge.add(BLOCK_GAUGE),
            Err(_) => self.full.inc(),
        }
        took.is_ok()
    }

    fn create(&self) -> io::Result<File> {
        let place = self.place.lock().clone();
        let place = place.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        tempfile::tempfile_in(place.path)
    }
}

/// One body's file.
pub struct SpillFile {
    spill: Arc<Spill>,
    file: Arc<Mutex<Option<Arc<File>>>>,
    free: Vec<u64>,
    blocks: u64,
}

/// A way to a body's file that outlives a lock on the body.
#[derive(Clone)]
pub struct Access {
    spill: Arc<Spill>,
    file: Arc<Mutex<Option<Arc<File>>>>,
}

impl SpillFile {
    pub fn new(spill: &Arc<Spill>) -> SpillFile {
        let (spill, file) = (Arc::clone(spill), Arc::default());
        SpillFile { spill, file, free: Vec::new(), blocks: 0 }
    }

    /// The place of a block that is free; `None` when the lane's directory is full.
    pub fn take_block(&mut self) -> Option<u64> {
        if let Some(at) = self.free.pop() {
            return Some(at);
        }
        if !self.spill.grow() {
            return None;
        }
        self.blocks += 1;
        Some((self.blocks - 1) * BLOCK)
    }

    /// Nothing in the block with this byte is needed any more.
    pub fn give_block(&mut self, at: u64) {
        self.free.push(at / BLOCK * BLOCK);
    }

    pub fn access(&self) -> Access {
        Access { spill: Arc::clone(&self.spill), file: Arc::clone(&self.file) }
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let bytes = self.blocks * BLOCK;
        self.spill.used.fetch_sub(bytes, Ordering::AcqRel);
        self.spill.used_gauge.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl Access {
    fn open(&self) -> io::Result<Arc<File>> {
        let mut file = self.file.lock();
        if let Some(file) = &*file {
            return Ok(Arc::clone(file));
        }
        Ok(Arc::clone(file.insert(Arc::new(self.spill.create()?))))
    }

    /// Writes without holding a thread of the runtime.
    pub async fn write(&self, at: u64, bytes: Bytes) -> io::Result<()> {
        let (access, count) = (self.clone(), bytes.len() as u64);
        let writing = spawn_blocking(move || access.open()?.write_all_at(&bytes, at));
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match &written {
            Ok(()) => self.spill.written.inc_by(count),
            Err(error) => {
                self.spill.failed_writes.inc();
                tracing::debug!(%error, "a body could not spill");
            }
        }
        written
    }

    pub async fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let access = self.clone();
        let reading = spawn_blocking(move || {
            let mut bytes = vec![0; length];
            access.open()?.read_exact_at(&mut bytes, at)?;
            Ok(Bytes::from(bytes))
        });
        let read = reading.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        read.inspect_err(|error| {
            self.spill.failed_reads.inc();
            tracing::warn!(%error, "what spilled cannot be read back");
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn blocks_are_used_again_and_what_a_file_grew_to_counts_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let spill = Spill::new("bulk", &metrics);
        let mut none = SpillFile::new(&spill);
        assert_eq!(none.take_block(), None, "there is no directory");
        let path = folder.path().join("made");
        spill.set_place(Some(Place { path: path.clone(), bytes_max: 2 * BLOCK }));
        let mut file = SpillFile::new(&spill);
        let (first, second) = (file.take_block().unwrap(), file.take_block().unwrap());
        assert_eq!((first, second, file.take_block()), (0, BLOCK, None));
        let access = file.access();
        access.write(second + 3, Bytes::from_static(b"there")).await.unwrap();
        assert_eq!(access.read(second + 3, 5).await.unwrap(), "there");
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "it has no name");
        file.give_block(second + 3);
        assert_eq!(file.take_block(), Some(second));
        assert_eq!(spill.used_gauge.get(), 2 * BLOCK_GAUGE);
        drop(file);
        assert_eq!((spill.used_gauge.get(), spill.used.load(Ordering::Acquire)), (0, 0));
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error_to_be_waited_out() {
        let spill = Spill::new("bulk", &Metrics::new());
        spill.set_place(Some(Place { path: "/dev/null/x".into(), bytes_max: BLOCK }));
        let mut file = SpillFile::new(&spill);
        let at = file.take_block().unwrap();
        assert!(file.access().write(at, Bytes::from_static(b"x")).await.is_err());
        assert_eq!(spill.failed_writes.get(), 1);
    }
}
