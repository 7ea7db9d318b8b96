//! `forebay-ledger backup` and `restore`: verified copies of the embedded engine's file.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::output::print;
use super::verify::text;
use crate::store::{self, DatabaseUrl, SqliteFile};
use crate::verify;

#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The database: sqlite:PATH. A service may be writing it
    #[arg(long, env = "FOREBAY_LEDGER_DATABASE", hide_env_values = true, value_name = "URL")]
    database: String,
    /// The copy, where there must be nothing yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// A copy made by backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The database to make of it: sqlite:PATH, where there must be nothing yet
    #[arg(long, env = "FOREBAY_LEDGER_DATABASE", hide_env_values = true, value_name = "URL")]
    database: String,
}

pub fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let from = embedded(&args.database)?;
    let to = SqliteFile { path: args.to.clone(), ..from.clone() };
    copied(&from, &to)
}

pub fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let to = embedded(&args.database)?;
    let from = SqliteFile { path: args.from.clone(), ..to.clone() };
    copied(&from, &to)
}

fn embedded(url: &str) -> anyhow::Result<SqliteFile> {
    match url.parse()? {
        DatabaseUrl::Sqlite(file) => Ok(file),
        url => bail!(
            "{url} is on a server, which has tools of its own: mariadb-backup, mysqldump --single-transaction, pg_basebackup, or snapshots"
        ),
    }
}

/// A copy that is not right is no copy: it is verified as a whole before anybody relies on it.
fn copied(from: &SqliteFile, to: &SqliteFile) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(store::copy(from, to))?;
    let copy = DatabaseUrl::Sqlite(to.clone());
    let verified = runtime.block_on(verify::verify(&copy, None))?;
    print(&text(&copy, &verified))
}
