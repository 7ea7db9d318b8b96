//! Folders in which bodies of requests become files: a name for each, and no more bytes than there may be. Files that
//! are to stay are removed by somebody else, so what lies there is looked at now and then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use proxy_config::kept_body::KeptBody as Rules;
use tokio::task::spawn_blocking;

use crate::failure::Failure;
use crate::metrics::Metrics;

/// Read from a file at once.
const PART_BYTES: usize = 32 * 1024;
/// Numbers that are tried for the name of a file: another process may give them out as well.
const NAMES_MAX: u64 = 10_000;
/// One more than the last number of ten digits.
const NUMBERS: u64 = 10_000_000_000;
/// How old what is known of a folder may be, and how old where it is full.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LOOK_WHEN_FULL: Duration = Duration::from_secs(1);

/// The folders of the process, by path.
#[derive(Default)]
pub struct Folders(Mutex<BTreeMap<PathBuf, Arc<Folder>>>);

impl Folders {
    fn at(&self, path: &Path, metrics: &Metrics) -> Arc<Folder> {
        let mut all = self.0.lock();
        if let Some(known) = all.get(path) {
            return Arc::clone(known);
        }
        let folder = Arc::new(Folder::new(path, metrics));
        all.insert(path.to_owned(), Arc::clone(&folder));
        folder
    }
}

struct Folder {
    path: PathBuf,
    filled: Mutex<Filled>,
    bytes: IntGauge,
    refused: IntCounter,
}

/// What is known of what lies in a folder.
#[derive(Default)]
struct Filled {
    bytes: u64,
    /// So many of them are being written.
    on_their_way: u64,
    looked: Option<Instant>,
    number: u64,
}

impl Folder {
    fn new(path: &Path, metrics: &Metrics) -> Folder {
        let name = path.display().to_string();
        Folder {
            path: path.to_owned(),
            filled: Mutex::default(),
            bytes: metrics.kept_folder_bytes.with_label_values(&[&name]),
            refused: metrics.kept_folder_refused.with_label_values(&[&name]),
        }
    }

    /// Makes room for bytes of a file, if there is any. Blocks.
    fn reserve(&self, bytes: u64, most: u64) -> io::Result<bool> {
        let mut filled = self.filled.lock();
        let fits = |filled: &Filled| filled.bytes.saturating_add(bytes) <= most;
        let old = if fits(&filled) { LOOK_EVERY } else { LOOK_WHEN_FULL };
        if filled.looked.is_none_or(|at| at.elapsed() >= old) {
            self.look(&mut filled)?;
        }
        let fits = fits(&filled);
        if fits {
            filled.bytes += bytes;
            filled.on_their_way += bytes;
        } else {
            self.refused.inc();
        }
        self.tell(&filled);
        Ok(fits)
    }

    /// So many bytes were written, or will not be.
    fn written(&self, bytes: u64) {
        let mut filled = self.filled.lock();
        filled.on_their_way = filled.on_their_way.saturating_sub(bytes);
    }

    /// A file of so many bytes is gone.
    fn release(&self, bytes: u64) {
        let mut filled = self.filled.lock();
        filled.bytes = filled.bytes.saturating_sub(bytes);
        self.tell(&filled);
    }

    fn tell(&self, filled: &Filled) {
        self.bytes.set(i64::try_from(filled.bytes).unwrap_or(i64::MAX));
    }

    /// Sums up what lies there under names of ten digits. What is being written is counted as if nothing of it were there.
    fn look(&self, filled: &mut Filled) -> io::Result<()> {
        let mut bytes = filled.on_their_way;
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(number) = number(&entry.file_name().to_string_lossy()) else { continue };
            filled.number = filled.number.max(number);
            // One that is gone meanwhile counts for nothing.
            bytes += entry.metadata().map_or(0, |file| file.len());
        }
        (filled.bytes, filled.looked) = (bytes, Some(Instant::now()));
        Ok(())
    }

    /// A file that was not there, behind all that lie there. Blocks.
    fn create(&self) -> io::Result<(PathBuf, File)> {
        std::fs::create_dir_all(&self.path)?;
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        for _ in 0..NAMES_MAX {
            let number = {
                let mut filled = self.filled.lock();
                if filled.looked.is_none() {
                    self.look(&mut filled)?;
                }
                filled.number = (filled.number + 1) % NUMBERS;
                filled.number
            };
            let path = self.path.join(format!("{number:010}"));
            match options.open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }
}

/// The number that a body's file has for its name.
fn number(name: &str) -> Option<u64> {
    let is_one = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| name.parse().ok()).flatten()
}

/// A file that goes with its request, unless it is to stay.
pub struct KeptFile {
    pub path: PathBuf,
    file: Arc<File>,
    folder: Arc<Folder>,
    bytes: u64,
    most: u64,
    stays: bool,
}

impl Drop for KeptFile {
    fn drop(&mut self) {
        // What could not be removed still lies there.
        if !self.stays && std::fs::remove_file(&self.path).is_ok() {
            self.folder.release(self.bytes);
        }
    }
}

impl KeptFile {
    pub async fn create(
        folders: &Folders,
        rules: &Rules,
        metrics: &Metrics,
    ) -> Result<KeptFile, Failure> {
        let folder = folders.at(rules.folder.as_deref().unwrap_or(Path::new("")), metrics);
        let at = Arc::clone(&folder);
        let made = spawn_blocking(move || at.create()).await.map_err(|_| Failure::Internal)?;
        let (path, file) = made.map_err(|error| unusable(&folder.path, &error))?;
        let (most, stays) = (rules.bytes_max.as_bytes(), rules.files_stay);
        Ok(KeptFile { path, file: Arc::new(file), folder, bytes: 0, most, stays })
    }

    /// Errors: `BodiesFull` where the folder has no room for it. A file that is not whole does not stay.
    pub async fn write(&mut self, at: u64, bytes: Bytes) -> Result<(), Failure> {
        let (file, folder) = (Arc::clone(&self.file), Arc::clone(&self.folder));
        let (length, most) = (bytes.len() as u64, self.most);
        let written = spawn_blocking(move || match folder.reserve(length, most) {
            Ok(true) => {
                let written = file.write_all_at(&bytes, at);
                folder.written(length);
                (true, written)
            }
            Ok(false) => (false, Ok(())),
            Err(error) => (false, Err(error)),
        });
        let written = written.await.unwrap_or_else(|error| (false, Err(io::Error::other(error))));
        self.bytes += if written.0 { length } else { 0 };
        self.stays &= matches!(written, (true, Ok(())));
        match written {
            (_, Err(error)) => Err(unusable(&self.path, &error)),
            (false, Ok(())) => Err(Failure::BodiesFull),
            (true, Ok(())) => Ok(()),
        }
    }

    /// What lies there; nothing at its end.
    pub async fn read(&self, at: u64) -> Result<Bytes, Failure> {
        let file = Arc::clone(&self.file);
        let read = spawn_blocking(move || {
            let mut part = vec![0; PART_BYTES];
            let length = file.read_at(&mut part, at)?;
            part.truncate(length);
            Ok(Bytes::from(part))
        });
        let read = read.await.map_err(|_| Failure::Internal)?;
        read.map_err(|error| unusable(&self.path, &error))
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    tracing::warn!(path = %path.display(), %error, "a request's body cannot be kept there");
    Failure::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &Path) -> Folder {
        Folder::new(path, &Metrics::new())
    }

    #[test]
    fn names_begin_behind_what_lies_there_already() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0000000007", "0000020000", "notes.txt", "00000000000000000099"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let of_this_process = folder(dir.path());
        let (path, _) = of_this_process.create().unwrap();
        assert_eq!(path.file_name().unwrap(), "0000020001");
        let (next, _) = folder(dir.path()).create().unwrap();
        assert_eq!(next.file_name().unwrap(), "0000020002", "another process");
        let (again, _) = of_this_process.create().unwrap();
        assert_eq!(again.file_name().unwrap(), "0000020003", "what the other has made is passed");
    }

    #[test]
    fn a_folder_has_no_more_than_it_may_and_what_is_removed_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("0000000001"), "12345").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "of somebody else").unwrap();
        let folder = folder(dir.path());
        assert!(folder.reserve(5, 10).unwrap());
        assert!(!folder.reserve(1, 10).unwrap());
        assert_eq!((folder.bytes.get(), folder.refused.get()), (10, 1));
        folder.release(5);
        folder.written(5);
        assert!(folder.reserve(5, 10).unwrap());
        std::fs::remove_file(dir.path().join("0000000001")).unwrap();
        // Looked at again when that is old enough.
        folder.filled.lock().looked = None;
        assert!(folder.reserve(5, 10).unwrap(), "what is on its way counts");
        assert!(!folder.reserve(1, 10).unwrap());
    }
}
