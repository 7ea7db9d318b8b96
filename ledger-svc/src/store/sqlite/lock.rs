//! One service per database: an advisory lock on a file beside it, which the kernel releases
//! whatever way the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::super::error::StoreError;
use super::named;

/// Held as long as the service may write.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of the database at `path` or says who holds it. The lock is on a file of its own
/// because closing any handle on the database would drop the engine's own locks on it. That file
/// stays: removing it could let two services lock two files of the same name.
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
    Ok(Lock { _file: file })
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
