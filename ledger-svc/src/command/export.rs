//! `forebay-ledger export`: everything booked, as text that other programs read and `import` books again.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufWriter, Write};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;

use super::DatabaseArgs;
use crate::account::{AccountBody, CurrencyBody, Side};
use crate::chain::TransferRow;
use crate::interchange::beancount::Names;
use crate::interchange::rows::Known;
use crate::interchange::{Booking, Format, Leg, Unwritable, beancount, journal, rows};
use crate::money::format_minor;
use crate::store::{Audit, DatabaseUrl, StoreError, Stream};
use crate::transfer::TransferKind;

/// Years before it are none to beancount.
const BEANCOUNT_FROM: i16 = 1700;

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

/// The chart by what entries say of it.
struct Chart {
    currencies: Vec<CurrencyBody>,
    accounts: Vec<AccountBody>,
    /// Code, currency and scale by number.
    by_id: HashMap<i64, (String, String, u8)>,
}

/// Everything that moved, in booking order and of one moment. Says how many transfers are only held.
async fn write(
    database: &DatabaseUrl,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<usize> {
    let mut audit = Audit::open(database).await?;
    audit.check_migrations(database).await?;
    let chart = chart(&mut audit).await?;
    let mut names = Names::default();
    match format {
        Format::Csv => out.write_all(rows::entries_heading().as_bytes())?,
        Format::CsvAccounts => {
            out.write_all(rows::chart(&chart.currencies, &chart.accounts).as_bytes())?;
            audit.close().await?;
            return Ok(0);
        }
        Format::Ledger => {
            out.write_all(journal::chart(&chart.currencies, &chart.accounts)?.as_bytes())?;
        }
        Format::Beancount => {
            let opened = first_day(&mut audit).await?;
            let text;
            (text, names) = beancount::chart(&chart.currencies, &chart.accounts, opened)?;
            out.write_all(text.as_bytes())?;
        }
    }
    let mut stream = Stream::default();
    while let Some(transfer) = stream.next(&mut audit).await? {
        if transfer.kind.moves() {
            let text = text(format, &transfer, &chart, &names);
            let text = text.with_context(|| format!("transfer {}", transfer.id))?;
            out.write_all(text.as_bytes())?;
        }
    }
    let held = audit.holds().await?.len();
    audit.close().await?;
    Ok(held)
}

async fn chart(audit: &mut Audit) -> Result<Chart, StoreError> {
    let all = audit.currencies().await?;
    let scales: HashMap<&str, u8> = all.iter().map(|row| (row.code.as_str(), row.scale)).collect();
    let (mut accounts, mut by_id, mut used) = (Vec::new(), HashMap::new(), BTreeSet::new());
    for row in audit.accounts().await? {
        let scale = scales.get(row.currency.as_str()).copied().unwrap_or_default();
        by_id.insert(row.id, (row.code.clone(), row.currency.clone(), scale));
        used.insert(row.currency.clone());
        accounts.push(AccountBody {
            code: row.code,
            name: row.name,
            currency: row.currency,
            normal_balance: row.normal_balance,
            metadata: row.metadata,
        });
    }
    accounts.sort_by(|one, other| one.code.cmp(&other.code));
    let currencies = all.iter().filter(|row| used.contains(&row.code)).cloned().collect();
    Ok(Chart { currencies, accounts, by_id })
}

/// The day everything is open from: beancount wants accounts to be older than what is on them.
async fn first_day(audit: &mut Audit) -> anyhow::Result<Date> {
    let mut first = jiff::civil::date(1970, 1, 1);
    let mut stream = Stream::default();
    while let Some(transfer) = stream.next(audit).await? {
        first = first.min(transfer.effective_date.parse()?);
    }
    Ok(first)
}

fn text(
    format: Format,
    transfer: &TransferRow,
    chart: &Chart,
    names: &Names,
) -> anyhow::Result<String> {
    let booking = booking(transfer, chart)?;
    let id = transfer.id.to_string();
    let booked_at = format!("{:.6}", Timestamp::from_microsecond(transfer.booked_at_us)?);
    // A comment: another ledger gives a transfer a name and a time of its own.
    let comment = format!("\n; {} {id}, booked {booked_at}\n", transfer.kind.as_str());
    Ok(match format {
        Format::Csv | Format::CsvAccounts => {
            let (first_entry, kind) = (transfer.entry_id_first, transfer.kind.as_str());
            rows::booking(
                &booking,
                Known { first_entry, transfer: &id, kind, booked_at: &booked_at },
            )
        }
        Format::Ledger => comment + &journal::booking(&booking)?,
        Format::Beancount if booking.date.year() < BEANCOUNT_FROM => {
            return Err(
                Unwritable(format!("beancount knows no year {}", booking.date.year())).into()
            );
        }
        Format::Beancount => comment + &beancount::booking(&booking, names)?,
    })
}

fn booking(transfer: &TransferRow, chart: &Chart) -> anyhow::Result<Booking> {
    let mut legs = Vec::with_capacity(transfer.entries.len());
    for entry in &transfer.entries {
        let missing = || StoreError::Corrupt(format!("entry {} on no account", entry.id));
        let (code, currency, scale) = chart.by_id.get(&entry.account_id).ok_or_else(missing)?;
        legs.push(Leg {
            line: 0,
            account: code.clone(),
            direction: if entry.debit { Side::Debit } else { Side::Credit },
            amount: format_minor(entry.amount_minor.into(), *scale).parse()?,
            currency: currency.clone(),
        });
    }
    // The key of what followed another transfer meant another request.
    let key = transfer.key.as_ref().filter(|_| transfer.kind == TransferKind::Transfer);
    Ok(Booking {
        key: key.map(|row| row.key.clone()),
        date: transfer.effective_date.parse()?,
        description: transfer.description.clone(),
        metadata: transfer.metadata.clone(),
        legs,
    })
}
