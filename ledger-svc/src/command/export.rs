//! `forebay-ledger export`: everything booked, as text that other programs read.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::DatabaseArgs;
use crate::chain::{EntryRow, TransferRow};
use crate::money::format_minor;
use crate::store::{Audit, DatabaseUrl, StoreError, Stream};

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

/// What other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An entry a line (RFC 4180), a heading line first
    Csv,
    /// The journal format of ledger-cli and hledger
    Ledger,
}

/// What an entry's account says.
struct Account {
    code: String,
    currency: String,
    scale: u8,
}

pub fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let database: DatabaseUrl = args.database.database.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = runtime.block_on(write(&database, args.format, &mut out));
    match written.and_then(|()| Ok(out.flush()?)) {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        written => written,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Everything that moved, in booking order and of one moment. What is only held is not booked yet.
async fn write(database: &DatabaseUrl, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    let mut audit = Audit::open(database).await?;
    audit.check_migrations(database).await?;
    let scales: HashMap<String, u8> =
        audit.currencies().await?.into_iter().map(|row| (row.code, row.scale)).collect();
    let mut accounts = HashMap::new();
    for row in audit.accounts().await? {
        let scale = scales.get(&row.currency).copied().unwrap_or_default();
        let account = Account { code: row.code, currency: row.currency, scale };
        accounts.insert(row.id, account);
    }
    if format == Format::Csv {
        write!(
            out,
            "entry,transfer,kind,booked_at,effective_date,description,account,direction,amount,currency\r\n"
        )?;
    }
    let mut stream = Stream::default();
    while let Some(transfer) = stream.next(&mut audit).await? {
        if transfer.kind.moves() {
            match format {
                Format::Csv => csv(out, &transfer, &accounts)?,
                Format::Ledger => ledger(out, &transfer, &accounts)?,
            }
        }
    }
    audit.close().await?;
    Ok(())
}

fn account<'a>(
    accounts: &'a HashMap<i64, Account>,
    entry: &EntryRow,
) -> Result<&'a Account, StoreError> {
    let missing = || StoreError::Corrupt(format!("entry {} on no account", entry.id));
    accounts.get(&entry.account_id).ok_or_else(missing)
}

fn csv(
    out: &mut impl Write,
    transfer: &TransferRow,
    accounts: &HashMap<i64, Account>,
) -> anyhow::Result<()> {
    for entry in &transfer.entries {
        let Account { code, currency, scale } = account(accounts, entry)?;
        // Of all fields only the description is a person's text.
        write!(
            out,
            "{},{},{},{:.6},{},\"{}\",{code},{},{},{currency}\r\n",
            entry.id,
            transfer.id,
            transfer.kind.as_str(),
            Timestamp::from_microsecond(transfer.booked_at_us)?,
            transfer.effective_date,
            transfer.description.replace('"', "\"\""),
            if entry.debit { "debit" } else { "credit" },
            format_minor(entry.amount_minor.into(), *scale),
        )?;
    }
    Ok(())
}

/// Debits are positive, as everywhere in plain-text accounting.
fn ledger(
    out: &mut impl Write,
    transfer: &TransferRow,
    accounts: &HashMap<i64, Account>,
) -> anyhow::Result<()> {
    let described = match transfer.description.as_str() {
        "" => transfer.kind.as_str(),
        description => description,
    };
    writeln!(out, "{} ({}) {described}", transfer.effective_date, transfer.id)?;
    for entry in &transfer.entries {
        let Account { code, currency, scale } = account(accounts, entry)?;
        let minor = i128::from(entry.amount_minor) * if entry.debit { 1 } else { -1 };
        // A code of digits only would read as a number.
        writeln!(out, "    {code}  {} \"{currency}\"", format_minor(minor, *scale))?;
    }
    writeln!(out)?;
    Ok(())
}
