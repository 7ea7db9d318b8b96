//! One service per database: an advisory lock on a file beside it, and one on the database itself, which may have another
//! name in another place. The kernel releases both whatever way the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::error::StoreError;
use super::named;

/// Held as long as the service may write.
#[derive(Debug)]
pub struct Lock {
    _beside: File,
    database: Option<Unclosed>,
}

/// A handle on the database. Closing it would drop the engine's own locks on the file, all that this process has; so it
/// stays open until the process ends, and only its lock goes. That one (flock(2)) and the engine's (fcntl(2)) do not meet.
#[derive(Debug)]
struct Unclosed(ManuallyDrop<File>);

impl Drop for Unclosed {
    fn drop(&mut self) {
        // Where it was not taken there is nothing to give back.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Takes the database itself, which is there by now. Whoever has it by another name holds another lock file, and writes
    /// another log: what one of them books, the other does not see and overwrites.
    pub fn hold(&mut self, path: &Path) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| StoreError::Open {
            database: named(path),
            reason: error.to_string(),
        };
        let file = Unclosed(ManuallyDrop::new(File::open(path).map_err(failed)?));
        match file.0.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    database: named(path),
                    holder: ", by another of its names, such as a hard link or a mount".into(),
                    lock: "a lock on the file itself".into(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let names = file.0.metadata().map_err(failed)?.nlink();
        if names > 1 {
            let reason = format!(
                "its file has {names} names (hard links), and what a service that was killed left in its log is found beside one of them only; leave it the one it was served by"
            );
            return Err(StoreError::Unsupported { database: named(path), reason });
        }
        self.database = Some(file);
        Ok(())
    }
}

/// Takes the lock of the database at `path` or says who holds it. This one is on a file of its own, which is there before the
/// database is. That file stays: removing it could let two services lock two files of the same name.
pub fn acquire(path: &Path) -> Result<Lock, StoreError> {
    let open = |reason: std::io::Error| StoreError::Open {
        database: named(path),
        reason: reason.to_string(),
    };
    let lock = lock_path(path).map_err(open)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock)
        .map_err(|error| StoreError::Open { database: named(&lock), reason: error.to_string() })?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Only for the message: whoever holds the lock wrote its process id here.
            let holder = match file.read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => format!(" by process {}", pid.trim()),
                _ => String::new(),
            };
            let lock = format!("lock file {}", lock.display());
            return Err(StoreError::Locked { database: named(path), holder, lock });
        }
        Err(TryLockError::Error(error)) => return Err(open(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(open)?;
    Ok(Lock { _beside: file, database: None })
}

/// `PATH.lock` of the real file, so that two links to one database share one lock.
fn lock_path(path: &Path) -> std::io::Result<PathBuf> {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(_) => {
            let parent = match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            parent.canonicalize()?.join(path.file_name().unwrap_or_default())
        }
    };
    let mut name = real.into_os_string();
    name.push(".lock");
    Ok(PathBuf::from(name))
}
