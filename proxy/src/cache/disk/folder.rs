//! The directory of a cache: `FORMAT` names it, `lock` belongs to the process that uses it, `new/` has
//! records being written, `records/00` to `records/ff` have whole ones, named by number.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat};
use thiserror::Error;

use crate::cache::disk::index::Number;
use crate::cache::disk::record::{STALE_SINCE_AT, START_BYTES, Start, Written};
use crate::cache::object::Stored;

const FORMAT: &str = "forebay cache 1\n";
/// What every version of `FORMAT` begins with.
const ANY_FORMAT: &str = "forebay cache ";

/// Why a directory cannot hold a cache.
#[derive(Debug, Error)]
pub enum FolderFault {
    #[error(
        "{path} has files and is not a directory of a cache (it has no FORMAT): name an empty or a \
         new one",
        path = .0.display()
    )]
    NotOurs(PathBuf),
    #[error("{path} cannot be used: {error}", path = path.display())]
    Unusable { path: PathBuf, error: io::Error },
}

/// A directory that is known to be ours, or empty.
pub struct Folder {
    path: PathBuf,
}

/// A directory that no other process uses. Records are reached from the directory itself: where another takes its
/// place under its path, nothing is written there.
pub struct Held {
    folder: Folder,
    at: File,
    lock: File,
}

impl Folder {
    /// Makes the directory if it is missing; leaves alone what is not a cache.
    pub fn prepare(path: &Path) -> Result<Folder, FolderFault> {
        let unusable = |error| FolderFault::Unusable { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(unusable)?;
        match whose(path).map_err(unusable)? {
            Whose::Ours => {}
            Whose::Nobodys => write_format(path).map_err(unusable)?,
            Whose::Others => return Err(FolderFault::NotOurs(path.to_owned())),
        }
        Ok(Folder { path: path.to_owned() })
    }

    /// Takes the directory for this process; gives it back when another one has it. What another
    /// version wrote is removed, as is what was being written when a process ended.
    pub fn hold(self) -> Result<Result<Held, Folder>, io::Error> {
        let at = File::open(&self.path)?;
        let lock = open(&at, "lock", OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(self)),
            Err(error) => return Err(error.into()),
        }
        if fs::read_to_string(self.path.join("FORMAT"))? != FORMAT {
            tracing::warn!(path = %self.path.display(), "another version's cache is removed");
            remove_all(&self.path.join("records"))?;
            write_format(&self.path)?;
        }
        remove_all(&self.path.join("new"))?;
        fs::create_dir_all(self.path.join("new"))?;
        for shard in 0..=u8::MAX {
            fs::create_dir_all(self.path.join(format!("records/{shard:02x}")))?;
        }
        let held = Held { folder: self, at, lock };
        match held.is_there() {
            true => Ok(Ok(held)),
            false => Err(io::Error::other("it was replaced meanwhile")),
        }
    }
}

/// Who has files in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A cache, of whatever version.
    Ours,
    Nobodys,
    Others,
}

/// Looks, and makes nothing.
pub fn whose(path: &Path) -> io::Result<Whose> {
    match fs::read_to_string(path.join("FORMAT")) {
        Ok(text) if text.starts_with(ANY_FORMAT) => Ok(Whose::Ours),
        Ok(_) => Ok(Whose::Others),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            for entry in fs::read_dir(path)? {
                let name = entry?.file_name();
                // A file system of its own has the first from the start.
                if name != "lost+found" && name != "FORMAT.new" {
                    return Ok(Whose::Others);
                }
            }
            Ok(Whose::Nobodys)
        }
        Err(error) => Err(error),
    }
}

fn open(at: &File, name: &str, how: OFlags) -> io::Result<File> {
    let mode = Mode::from_raw_mode(0o666);
    Ok(File::from(openat(at, name, how | OFlags::CLOEXEC, mode)?))
}

/// Whether what failed so will go on failing until the directory is opened anew.
pub fn tells_of_a_loss(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StaleNetworkFileHandle
    )
}

fn write_format(path: &Path) -> io::Result<()> {
    fs::write(path.join("FORMAT.new"), FORMAT)?;
    fs::rename(path.join("FORMAT.new"), path.join("FORMAT"))
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A record as it was found.
pub struct Found {
    pub number: Number,
    pub start: Start,
    pub head: Written,
}

fn record(number: Number) -> String {
    format!("records/{:02x}/{number:016x}", number & 0xff)
}

impl Held {
    /// Whether the directory is still under its path, and whole.
    pub fn is_there(&self) -> bool {
        let path = &self.folder.path;
        let same = match (fs::metadata(path.join("lock")), self.lock.metadata()) {
            (Ok(there), Ok(own)) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
            _ => false,
        };
        same && ["FORMAT", "new", "records"].iter().all(|name| path.join(name).exists())
    }

    /// Gives the directory up, though somebody may still be reading from it.
    pub fn release(&self) {
        // What cannot be unlocked is unlocked by being closed.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }

    /// Writes a record beside the others and then gives it its name, so that it is there whole or not.
    pub fn write(&self, number: Number, start: &[u8], stored: &Stored) -> io::Result<()> {
        let new = format!("new/{number:016x}");
        let written = (|| {
            let mut file = open(&self.at, &new, OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY)?;
            file.write_all(start)?;
            for block in stored.body.blocks.iter() {
                file.write_all(block)?;
            }
            Ok(renameat(&self.at, &new, &self.at, record(number))?)
        })();
        if written.is_err() {
            // It may not even be there.
            let _ = unlinkat(&self.at, &new, AtFlags::empty());
        }
        written
    }

    pub fn read(&self, number: Number) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        open(&self.at, &record(number), OFlags::RDONLY)?.read_to_end(&mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    /// Removes a record; one that is not there is removed.
    pub fn remove(&self, number: Number) -> io::Result<()> {
        match unlinkat(&self.at, record(number), AtFlags::empty()) {
            Err(error) if error != rustix::io::Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub fn mark_stale(&self, number: Number, since_ms: u64) -> io::Result<()> {
        let file = open(&self.at, &record(number), OFlags::WRONLY)?;
        file.write_all_at(&since_ms.to_le_bytes(), STALE_SINCE_AT)
    }

    /// Hands out every record whose start and head are whole, oldest number first in each of the 256
    /// folders; removes what is none, and passes by what cannot be read. Stops when `found` says so.
    pub fn scan(&self, mut found: impl FnMut(Found) -> bool) -> Scanned {
        let mut scanned = Scanned::default();
        for shard in 0..=u8::MAX {
            let folder = self.folder.path.join(format!("records/{shard:02x}"));
            let files = match numbered(&folder) {
                Ok(files) => files,
                Err(error) => {
                    scanned.passed_by(folder, error);
                    continue;
                }
            };
            for (number, path) in files {
                let read = match head_of(&path) {
                    Ok(Some((start, head))) => {
                        if !found(Found { number, start, head }) {
                            return scanned;
                        }
                        continue;
                    }
                    Ok(None) => fs::remove_file(&path),
                    Err(error) => Err(error),
                };
                match read {
                    // Removed meanwhile, by a purge.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => scanned.passed_by(path, error),
                    Ok(()) => {}
                }
            }
        }
        scanned
    }
}

/// What a scan could not look at: it is left where it is, and counts for nothing.
#[derive(Default)]
pub struct Scanned {
    pub passed_by: u64,
    pub first: Option<(PathBuf, io::Error)>,
}

impl Scanned {
    fn passed_by(&mut self, path: PathBuf, error: io::Error) {
        self.passed_by += 1;
        self.first.get_or_insert((path, error));
    }
}

/// The records of a folder, oldest number first.
fn numbered(folder: &Path) -> io::Result<Vec<(Number, PathBuf)>> {
    let mut files: Vec<(Number, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Ok(number) = Number::from_str_radix(name, 16) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Start and head of a record; `None` when it is none, or cut off.
fn head_of(path: &Path) -> io::Result<Option<(Start, Written)>> {
    let mut file = File::open(path)?;
    let mut start = [0; START_BYTES];
    match file.read_exact(&mut start) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let Some(start) = Start::read(&start) else { return Ok(None) };
    if file.metadata()?.len() != start.record_bytes() {
        return Ok(None);
    }
    let mut head = vec![0; usize::try_from(start.head_bytes).unwrap_or(0)];
    file.read_exact(&mut head)?;
    Ok(start.head(&head).map(|head| (start, head)))
}
