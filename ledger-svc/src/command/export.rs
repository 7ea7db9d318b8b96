//! `forebay-ledger export`: everything booked, as text that other programs read and `import` books again.

use std::io::{self, BufWriter, Write};

use clap::Args;

use super::database::DatabaseArgs;
use crate::exporting::Export;
use crate::interchange::Format;
use crate::store::{Audit, DatabaseUrl};

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let database: DatabaseUrl = args.database.database.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = runtime.block_on(write(&database, args.format, &mut out));
    match written.and_then(|held| Ok((held, out.flush()?))) {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        Err(error) => Err(error),
        Ok((0, ())) => Ok(()),
        Ok((held, ())) => {
            eprintln!(
                "forebay-ledger: {held} pending transfers are held and not booked, so they are not written"
            );
            Ok(())
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Says how many transfers are only held.
async fn write(
    database: &DatabaseUrl,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<usize> {
    let mut audit = Audit::open(database).await?;
    audit.check_migrations(database).await?;
    let mut export = Export::begin(audit, format).await?;
    while let Some(piece) = export.piece().await? {
        out.write_all(piece.as_bytes())?;
    }
    let held = export.held().await?;
    export.close().await?;
    Ok(held)
}
