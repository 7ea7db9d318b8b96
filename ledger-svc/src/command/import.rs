//! `forebay-ledger import`: books what another program wrote, or what is in another program's tables.

mod tables;
mod told;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use self::tables::TablesArgs;
use self::told::{SERVED, alike, planned, told};
use super::database::DatabaseArgs;
use super::offline::{Offline, runtime};
use super::output::print;
use crate::act::Actor;
use crate::importing::{self, Moved};
use crate::interchange::check;
use crate::interchange::{self, Format, LeftOut};
use crate::transfer::ENTRIES_MAX_DEFAULT;

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Book a file of CSV, beancount or ledger-cli
    File(FileArgs),
    /// Book what a MySQL or MariaDB database of another program holds, and compare counts and sums with it
    Tables(TablesArgs),
}

#[derive(Debug, Args)]
pub struct FileArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// How it is written
    #[arg(long, value_enum)]
    format: Format,
    /// A directive to pass over, such as `price`, `balance` or `option`; may be given several times
    #[arg(long, value_name = "WORD")]
    leave_out: Vec<String>,
    /// Read and check everything, and book nothing
    #[arg(long)]
    check: bool,
    /// Size of the file at most
    #[arg(long, default_value_t = 256 << 20, value_name = "BYTES")]
    bytes_max: u64,
    /// The file; `-` reads standard input
    file: PathBuf,
}

pub fn import(command: &ImportCommand) -> anyhow::Result<()> {
    match command {
        ImportCommand::File(args) => file(args),
        ImportCommand::Tables(args) => tables::tables(args),
    }
}

fn file(args: &FileArgs) -> anyhow::Result<()> {
    let text = text(&args.file, args.bytes_max)?;
    let left_out: LeftOut = args.leave_out.iter().cloned().collect();
    let document = interchange::read(args.format, &text, &left_out)?;
    let said = runtime()?.block_on(async {
        let offline = Offline::open(&args.database, SERVED).await?;
        let booked = async {
            offline.release_due().await?;
            let chart = importing::chart(&offline.reader).await?;
            let plan = check::check(document, chart, ENTRIES_MAX_DEFAULT)?;
            let foreseen = importing::foresee(&offline.reader, plan).await?;
            let alike = alike(&foreseen);
            if args.check {
                let would = planned(&foreseen);
                return Ok(format!("nothing is wrong; it would book {would}\n{alike}"));
            }
            let (writer, mut moved) = (&offline.writer, Moved::new());
            let booked = importing::book(writer, foreseen, &Actor::Command, &mut moved).await?;
            anyhow::Ok(format!("booked {}\n{alike}", told(&booked)))
        }
        .await;
        offline.close().await?;
        booked
    })?;
    print(&said)
}

/// The whole of a file, which must be UTF-8.
fn text(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read =
        |from: &mut dyn Read, bytes: &mut Vec<u8>| from.take(bytes_max + 1).read_to_end(bytes);
    if path == Path::new("-") {
        read(&mut std::io::stdin().lock(), &mut bytes).context("cannot read standard input")?;
    } else {
        let opened = std::fs::File::open(path);
        let mut file = opened.with_context(|| format!("cannot read {}", path.display()))?;
        read(&mut file, &mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    }
    if bytes.len() as u64 > bytes_max {
        bail!("{} is larger than {bytes_max} bytes; raise --bytes-max, or cut it", path.display());
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        anyhow::anyhow!("{}: line {line}: it is not UTF-8; convert it (iconv)", path.display())
    })
}
