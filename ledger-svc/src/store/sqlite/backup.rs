//! Copies of the embedded engine's file: whole, of one moment, also while a service writes.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::super::error::StoreError;
use super::{BUSY_TIMEOUT, inspect, named};

/// Copies the database at `from` to `to`, where there must be nothing. When it is done the copy is on the disk
/// under its name; before, there is nothing under it.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |path: &Path, reason: String| StoreError::Open { database: named(path), reason };
    if !from.exists() {
        return Err(failed(from, "there is no such file".into()));
    }
    if to.exists() {
        let reason = "it is there already, and a copy never takes the place of anything";
        return Err(failed(to, reason.into()));
    }
    inspect(from).await?;
    let beside = beside(to);
    // What an earlier attempt left half-made.
    let _ = std::fs::remove_file(&beside);
    let options =
        SqliteConnectOptions::new().filename(from).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut connection =
        options.connect().await.map_err(|error| failed(from, error.to_string()))?;
    sqlx::query("VACUUM INTO ?")
        .bind(beside.display().to_string())
        .execute(&mut connection)
        .await
        .map_err(|error| failed(to, error.to_string()))?;
    let flushed = File::open(&beside).and_then(|file| file.sync_all());
    let placed = flushed.and_then(|()| std::fs::rename(&beside, to));
    placed.and_then(|()| flush_folder(to)).map_err(|error| failed(to, error.to_string()))
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = OsString::from(path.as_os_str());
    beside.push(".part");
    beside.into()
}

/// A new name is only on the disk once its folder is.
fn flush_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}
