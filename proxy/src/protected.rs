//! What is protected from the proxy's own writing: no cache, no spill and no folder of bodies may share a file system with one of the
//! document's `protected_paths`, a ledger's data say. A full or busy disk would be theirs as well.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use proxy_config::Config;
use thiserror::Error;

use crate::cache::disk::folder::{self, Folder, FolderFault, Whose};

/// Why the directories of a document cannot be used.
#[derive(Debug, Error)]
pub enum PathFault {
    #[error(
        "`{key}` ({path}) is on the file system of the protected path {protected}: give it a disk \
         or partition of its own",
        path = path.display(),
        protected = protected.display()
    )]
    Shared { key: String, path: PathBuf, protected: PathBuf },
    #[error("`{key}`: {fault}")]
    Folder { key: String, fault: FolderFault },
    #[error("{path} cannot be looked at: {error}", path = path.display())]
    Look { path: PathBuf, error: io::Error },
}

/// A directory that a document has written to.
struct Written<'a> {
    key: String,
    /// The path of its value in the document.
    at: String,
    path: &'a Path,
    is_cache: bool,
}

fn written(config: &Config) -> Vec<Written<'_>> {
    let caches = config.caches.iter().filter_map(|(name, cache)| {
        let key = format!("caches.{name}.disk.path");
        Some((key.clone(), key, &cache.disk.as_ref()?.path, true))
    });
    let spills = config.lanes.iter().filter_map(|(name, lane)| {
        let key = format!("lanes.{name}.spill.path");
        Some((key.clone(), key, &lane.spill.as_ref()?.path, false))
    });
    let bodies = config.routes.iter().enumerate().filter_map(|(index, route)| {
        let folder = route.kept_body.as_ref()?.folder.as_ref()?;
        let key = format!("routes.{}.kept_body.folder", route.name);
        Some((key, format!("routes[{index}].kept_body.folder"), folder, false))
    });
    let all = caches.chain(spills).chain(bodies);
    all.map(|(key, at, path, is_cache)| Written { key, at, path, is_cache }).collect()
}

impl Written<'_> {
    fn apart_from(&self, protected: &[PathBuf]) -> Result<(), PathFault> {
        let (key, path) = (self.key.clone(), self.path.to_owned());
        match sharing(self.path, protected)? {
            Some(protected) => Err(PathFault::Shared { key, path, protected }),
            None => Ok(()),
        }
    }

    fn not_ours(&self) -> PathFault {
        PathFault::Folder {
            key: self.key.clone(),
            fault: FolderFault::NotOurs(self.path.to_owned()),
        }
    }
}

/// Holds every directory the document writes to against its protected paths, and against what is in
/// it. A directory that cannot be reached now is no fault: a cache goes on without it.
pub fn check(config: &Config) -> Result<(), PathFault> {
    for written in written(config) {
        written.apart_from(&config.protected_paths)?;
        if written.is_cache
            && let Err(FolderFault::NotOurs(_)) = Folder::prepare(written.path)
        {
            return Err(written.not_ours());
        }
    }
    Ok(())
}

/// The same of all of them, each with the path of its value, and without making any.
pub fn look(config: &Config) -> Vec<(String, PathFault)> {
    let looked = written(config).into_iter().filter_map(|written| {
        let apart = written.apart_from(&config.protected_paths);
        let is_foreign =
            || written.is_cache && matches!(folder::whose(written.path), Ok(Whose::Others));
        let fault = apart.err().or_else(|| is_foreign().then(|| written.not_ours()))?;
        Some((written.at, fault))
    });
    looked.collect()
}

/// The protected path on the same file system.
pub fn sharing(path: &Path, protected: &[PathBuf]) -> Result<Option<PathBuf>, PathFault> {
    for one in protected {
        if device(path)? == device(one)? {
            return Ok(Some(one.clone()));
        }
    }
    Ok(None)
}

/// The file system a path is on, or will be on once it is made.
fn device(path: &Path) -> Result<u64, PathFault> {
    for existing in path.ancestors() {
        match fs::metadata(existing) {
            Ok(metadata) => return Ok(metadata.dev()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(PathFault::Look { path: existing.to_owned(), error }),
        }
    }
    let error = io::Error::from(io::ErrorKind::NotFound);
    Err(PathFault::Look { path: path.to_owned(), error })
}
