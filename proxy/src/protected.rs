//! What is protected from the proxy's own writing: no cache, no spill and no folder of bodies may share a file system with one of the
//! document's `protected_paths`, a ledger's data say. A full or busy disk would be theirs as well.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use proxy_config::Config;
use thiserror::Error;

use crate::cache::disk::folder::{Folder, FolderFault};

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

/// Holds every directory the document writes to against its protected paths, and against what is in
/// it. A directory that cannot be reached now is no fault: a cache goes on without it.
pub fn check(config: &Config) -> Result<(), PathFault> {
    for (name, cache) in &config.caches {
        let Some(disk) = &cache.disk else { continue };
        let (key, path) = (format!("caches.{name}.disk.path"), disk.path.clone());
        if let Some(protected) = sharing(&path, &config.protected_paths)? {
            return Err(PathFault::Shared { key, path, protected });
        }
        if let Err(fault @ FolderFault::NotOurs(_)) = Folder::prepare(&path) {
            return Err(PathFault::Folder { key, fault });
        }
    }
    let spills = config.lanes.iter().filter_map(|(name, lane)| {
        Some((format!("lanes.{name}.spill.path"), &lane.spill.as_ref()?.path))
    });
    let bodies = config.routes.iter().filter_map(|route| {
        let folder = route.kept_body.as_ref()?.folder.as_ref()?;
        Some((format!("routes.{}.kept_body.folder", route.name), folder))
    });
    for (key, path) in spills.chain(bodies) {
        if let Some(protected) = sharing(path, &config.protected_paths)? {
            return Err(PathFault::Shared { key, path: path.clone(), protected });
        }
    }
    Ok(())
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
