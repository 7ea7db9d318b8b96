//! `forebay-ledger migrate`: creates or updates the tables, and says what of their triggers and unique indexes is not as it
//! should be.

use clap::Args;

use super::database::DatabaseArgs;
use super::output::print;
use crate::store::{self, DatabaseUrl};
use crate::verify::VerifyError;

#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Make again what keeps rows from being changed, or from being there twice, and is gone or not what it was: triggers and
    /// unique indexes
    #[arg(long)]
    mend: bool,
}

pub fn migrate(args: &MigrateArgs) -> anyhow::Result<()> {
    let database: DatabaseUrl = args.database.database.parse()?;
    let allow_unsafe = args.database.allow_unsafe_durability;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let migrated = runtime.block_on(store::migrate(&database, allow_unsafe))?;
    print(&match migrated.applied {
        0 => format!("{database} is current (version {})\n", migrated.version),
        applied => {
            format!("{database}: {applied} migrations, now at version {}\n", migrated.version)
        }
    })?;
    let unguarded = runtime.block_on(store::unguarded(&database))?;
    if unguarded.is_empty() {
        return Ok(());
    }
    if !args.mend {
        return Err(VerifyError::Unguarded(unguarded).into());
    }
    runtime.block_on(store::mend(&database, &unguarded, allow_unsafe))?;
    let left = runtime.block_on(store::unguarded(&database))?;
    if !left.is_empty() {
        return Err(VerifyError::Unguarded(left).into());
    }
    // Whoever took them away may have changed rows since.
    print(&format!(
        "{unguarded}; they are made again. What was changed meanwhile, forebay-ledger verify finds\n"
    ))
}
