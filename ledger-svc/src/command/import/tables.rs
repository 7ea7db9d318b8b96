//! `forebay-ledger import tables`: takes over what another program keeps in MySQL or MariaDB. A mapping file says by which
//! queries; afterwards counts and sums are held against those that the source itself adds up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::super::database::DatabaseArgs;
use super::super::offline::{Offline, runtime};
use super::super::output::print;
use super::told::{SERVED, alike, planned, told};
use crate::account::Side;
use crate::act::Actor;
use crate::importing::{self, Imported, Moved};
use crate::interchange::check::{self, Chart};
use crate::interchange::rows;
use crate::interchange::{Booking, Document};
use crate::json;
use crate::money::format_minor;
use crate::store::{DatabaseUrl, Source, SourceSum, Texts};
use crate::transfer::ENTRIES_MAX_DEFAULT;

#[derive(Debug, Args)]
pub struct TablesArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The other program's database: mysql://USER:PASSWORD@HOST/DATABASE
    // Not parsed by clap, whose messages repeat the value and so the password.
    #[arg(long, env = "FOREBAY_LEDGER_SOURCE", hide_env_values = true, value_name = "URL")]
    source: String,
    /// The mapping (JSON): queries for `accounts` and `entries`, whose columns are named as those of the CSV formats
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    /// Read and check everything, compare, and book nothing
    #[arg(long)]
    check: bool,
}

/// How another program's tables become a chart and entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    /// Columns `code`, `name`, `currency`, `scale`, `normal_balance`, `metadata`; without it all accounts must be there.
    #[serde(default)]
    accounts: Option<String>,
    /// Columns `transfer`, `effective_date`, `description`, `account`, `direction`, `amount`, `currency`, `key`, `metadata`.
    entries: String,
    #[serde(default)]
    amounts: Amounts,
}

/// What the source's amounts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Amounts {
    /// `12.34`
    #[default]
    Decimal,
    /// `1234`
    Minor,
}

pub fn tables(args: &TablesArgs) -> anyhow::Result<()> {
    let path = args.mapping.display();
    let mapping = std::fs::read(&args.mapping).with_context(|| format!("cannot read {path}"))?;
    let mapping: Mapping = json::read(&mapping).with_context(|| format!("in {path}"))?;
    let source: DatabaseUrl = args.source.parse()?;
    let said = runtime()?.block_on(async {
        let offline = Offline::open(&args.database, SERVED).await?;
        let taken = Box::pin(take_over(&offline, &source, &mapping, args.check)).await;
        offline.close().await?;
        taken
    })?;
    print(&said)
}

async fn take_over(
    offline: &Offline,
    source: &DatabaseUrl,
    mapping: &Mapping,
    check_only: bool,
) -> anyhow::Result<String> {
    offline.release_due().await?;
    let chart = importing::chart(&offline.reader).await?;
    let mut source = Source::open(source).await?;
    let mut document = Document::default();
    if let Some(query) = &mapping.accounts {
        let accounts = source.accounts(query).await.context("the query for accounts")?;
        document = rows::read_accounts(&csv(accounts)).context(PLACES)?;
    }
    let scales = scales(&document, &chart);
    let entries = source.entries(&mapping.entries).await.context("the query for entries")?;
    let entries = exact(entries, mapping.amounts, &scales)?;
    document.bookings = rows::read_entries(&csv(entries)).context(PLACES)?.bookings;
    let sums = source.sums(&mapping.entries).await.context("the sums of the entries")?;
    source.close().await?;
    let read = compared(&sums, &document, mapping.amounts, &scales)?;
    let plan = check::check(document, chart, ENTRIES_MAX_DEFAULT).context(PLACES)?;
    let foreseen = importing::foresee(&offline.reader, plan).await.context(PLACES)?;
    let alike = alike(&foreseen);
    if check_only {
        let would = planned(&foreseen);
        return Ok(format!("nothing is wrong; it would book {would}\n{read}{alike}"));
    }
    let before = importing::totals(&offline.reader).await?;
    let mut moved = Moved::new();
    let imported = importing::book(&offline.writer, foreseen, &Actor::Command, &mut moved);
    let imported = imported.await.context(PLACES)?;
    let after = importing::totals(&offline.reader).await?;
    for (account, (debits, credits, count)) in &moved {
        let was = before.get(account).copied().unwrap_or_default();
        let is = after.get(account).copied().unwrap_or_default();
        if (is.0 - was.0, is.1 - was.1, is.2 - was.2) != (*debits, *credits, *count) {
            bail!(
                "the books of {account} did not grow by what was taken over; run forebay-ledger verify"
            );
        }
    }
    Ok(format!("booked {}\n{read}{}", told(&imported), grown(&imported, &moved)) + &alike)
}

/// Faults name rows of a query, after a heading.
const PLACES: &str = "line 2 is the first row of a query";

fn grown(imported: &Imported, moved: &Moved) -> String {
    let accounts = moved.len();
    format!(
        "the books grew by {} entries on {accounts} accounts, by the same sums\n",
        imported.entries
    )
}

fn scales(document: &Document, chart: &Chart) -> BTreeMap<String, u8> {
    let known = chart.currencies.iter().map(|(code, scale)| (code.clone(), *scale));
    let new = document.currencies.iter().map(|c| (c.it.code.clone(), c.it.scale));
    known.chain(new).collect()
}

/// Rows of a query as the CSV of the same columns.
fn csv(texts: Texts) -> String {
    let mut csv = texts.columns.join(",") + "\n";
    for row in texts.rows {
        let field = |field: Option<String>| {
            field.map(|text| format!("\"{}\"", text.replace('"', "\"\""))).unwrap_or_default()
        };
        let fields: Vec<String> = row.into_iter().map(field).collect();
        csv.push_str(&fields.join(","));
        csv.push('\n');
    }
    csv
}

/// Amounts as they are written here. Zeros behind the last decimal are only how wide the source's column is.
fn exact(
    mut texts: Texts,
    amounts: Amounts,
    scales: &BTreeMap<String, u8>,
) -> anyhow::Result<Texts> {
    let place = |name: &str| texts.columns.iter().position(|column| column == name);
    let (Some(amount), Some(currency)) = (place("amount"), place("currency")) else {
        return Ok(texts);
    };
    for (number, row) in (2..).zip(&mut texts.rows) {
        let Some(text) = row[amount].as_deref() else { continue };
        let code = row[currency].as_deref().unwrap_or_default();
        let exact = written(text, amounts, scales.get(code).copied().unwrap_or_default());
        let exact = exact.with_context(|| {
            format!("line {number}: {text:?} is no amount in whole minor units")
        })?;
        row[amount] = Some(exact);
    }
    Ok(texts)
}

fn written(text: &str, amounts: Amounts, scale: u8) -> Option<String> {
    match amounts {
        Amounts::Minor => {
            let whole = text.trim_end_matches('0').strip_suffix('.').unwrap_or(text);
            Some(format_minor(whole.parse().ok()?, scale))
        }
        Amounts::Decimal if text.contains('.') => {
            Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
        }
        Amounts::Decimal => Some(text.to_owned()),
    }
}

/// Counts and sums of the source against those of what was read from it.
fn compared(
    sums: &[SourceSum],
    document: &Document,
    amounts: Amounts,
    scales: &BTreeMap<String, u8>,
) -> anyhow::Result<String> {
    let mut read: BTreeMap<(&str, Side), (i64, Decimal, u8)> = BTreeMap::new();
    let legs = document.bookings.iter().flat_map(|booking| {
        let Booking { legs, .. } = &booking.it;
        legs
    });
    for leg in legs {
        let scale = scales.get(&leg.currency).copied().unwrap_or_default();
        let (count, sum, of) = read.entry((&leg.account, leg.direction)).or_default();
        *count += 1;
        *of = scale;
        *sum = sum.checked_add(leg.amount.decimal()).context("the sums are too large")?;
    }
    let mut entries = 0;
    for SourceSum { account, direction, count, sum } in sums {
        let side = Side::from_word(direction)
            .with_context(|| format!("{direction:?} is neither debit nor credit"))?;
        let found = read.remove(&(account.as_str(), side));
        let (found_count, found_sum, scale) = found.unwrap_or_default();
        let text = written(sum, amounts, scale).unwrap_or_default();
        let source: Decimal =
            Decimal::from_str_exact(&text).with_context(|| format!("{sum:?} is no sum"))?;
        if (found_count, found_sum) != (*count, source) {
            bail!(
                "the source counts {count} {direction}s of {source} on {account}, and {found_count} of {found_sum} were read"
            );
        }
        entries += count;
    }
    if let Some(((account, side), _)) = read.first_key_value() {
        bail!("{side}s were read on {account} that the source does not count");
    }
    Ok(format!(
        "the source counts {entries} entries on {} sides of accounts, with the same sums\n",
        sums.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        for (text, amounts, scale, expected) in [
            ("12.3400", Amounts::Decimal, 2, Some("12.34")),
            ("1200", Amounts::Decimal, 2, Some("1200")),
            ("12.000", Amounts::Decimal, 2, Some("12")),
            ("1234", Amounts::Minor, 2, Some("12.34")),
            ("1200.00", Amounts::Minor, 2, Some("12.00")),
            ("12.5", Amounts::Minor, 2, None),
        ] {
            assert_eq!(written(text, amounts, scale).as_deref(), expected, "{text}");
        }
    }
}
