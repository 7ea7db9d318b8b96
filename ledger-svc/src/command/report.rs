//! `forebay-ledger report`: trial balance, statement and general ledger, read beside the service. Everything is as of one
//! time, now unless another is given: what is booked meanwhile is in none of the pages.

use std::io::StdoutLock;

use anyhow::bail;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use super::database::DatabaseArgs;
use super::offline::runtime;
use super::sheet::{Align, Column, Format, Sheet};
use super::values::day;
use crate::as_of::AsOf;
use crate::report::{AccountEntry, AccountTotals, JournalEntry, Statement, StatementBy};
use crate::store::{self, DatabaseUrl, Days, Period, Place, Reader};
use crate::when;

/// Rows read at once.
const PAGE: usize = 1000;
/// Accounts of a trial balance, which is put together in memory.
const ACCOUNTS_MAX: usize = 1_000_000;

#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// All accounts against each other
    TrialBalance(TrialBalanceArgs),
    /// What an account did over a time, with the balance after each entry
    Statement(StatementArgs),
    /// The entries of all accounts in booking order
    GeneralLedger(GeneralLedgerArgs),
}

#[derive(Debug, Args)]
struct Output {
    #[command(flatten)]
    database: DatabaseArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Args)]
pub struct TrialBalanceArgs {
    #[command(flatten)]
    output: Output,
    /// Entries booked before this time: RFC 3339, or a day, which begins at midnight UTC
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "effective_through")]
    booked_before: Option<Timestamp>,
    /// Entries that count for this day or one before
    #[arg(long, value_name = "DAY", value_parser = day)]
    effective_through: Option<Date>,
}

#[derive(Debug, Args)]
pub struct StatementArgs {
    #[command(flatten)]
    output: Output,
    /// The account's code
    account: String,
    /// By which date
    #[arg(long, value_enum, default_value_t = StatementBy::Booking)]
    by: StatementBy,
    /// At or after this time, or with `--by effective` day
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time, or day
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

#[derive(Debug, Args)]
pub struct GeneralLedgerArgs {
    #[command(flatten)]
    output: Output,
    /// Booked at or after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Booked before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
}

pub fn report(command: &ReportCommand) -> anyhow::Result<()> {
    let output = match command {
        ReportCommand::TrialBalance(args) => &args.output,
        ReportCommand::Statement(args) => &args.output,
        ReportCommand::GeneralLedger(args) => &args.output,
    };
    let database: DatabaseUrl = output.database.database.parse()?;
    runtime()?.block_on(async {
        let reader = store::read_only(&database).await?;
        let written = match command {
            ReportCommand::TrialBalance(args) => trial_balance(&reader, args).await,
            ReportCommand::Statement(args) => statement(&reader, args).await,
            ReportCommand::GeneralLedger(args) => general_ledger(&reader, args).await,
        };
        reader.close().await;
        written
    })
}

/// A report with its rows in the field `list`, whose other fields are the rest of it.
fn sheet(
    output: &Output,
    columns: &'static [Column],
    report: &impl Serialize,
    list: &str,
) -> anyhow::Result<Sheet<StdoutLock<'static>>> {
    let mut head = serde_json::to_value(report)?;
    if let Some(fields) = head.as_object_mut() {
        fields.retain(|name, _| name != list && name != "next_cursor");
    }
    Sheet::within(std::io::stdout().lock(), output.format, columns, &head, list)
}

const fn left(name: &'static str) -> Column {
    Column { name, align: Align::Left }
}

const fn right(name: &'static str) -> Column {
    Column { name, align: Align::Right }
}

const TRIAL_BALANCE: &[Column] = &[
    left("account"),
    left("currency"),
    left("normal_balance"),
    right("debits"),
    right("credits"),
    right("balance"),
    right("entries"),
];

async fn trial_balance(reader: &Reader, args: &TrialBalanceArgs) -> anyhow::Result<()> {
    let (at, said) = match (args.booked_before, args.effective_through) {
        (_, Some(day)) => (AsOf::EffectiveThrough(day), format!("effective through {day}")),
        (booked, None) => {
            let at = booked.unwrap_or_else(Timestamp::now);
            (AsOf::BookedBefore(at), format!("booked before {at:.0}"))
        }
    };
    let report = reader.trial_balance_as_of(at, "", ACCOUNTS_MAX).await?;
    if report.next_cursor.is_some() {
        bail!("there are more than {ACCOUNTS_MAX} accounts; read /v1/trial-balance/as-of by pages");
    }
    let mut sheet = sheet(&args.output, TRIAL_BALANCE, &report, "accounts")?;
    sheet.line(&format!("Trial balance, {said}"))?;
    let accounts = &report.accounts;
    let cells = |row: &AccountTotals| {
        vec![
            row.account.clone(),
            row.currency.clone(),
            row.normal_balance.to_string(),
            row.debits.clone(),
            row.credits.clone(),
            row.balance.clone(),
            row.entries.to_string(),
        ]
    };
    for page in accounts.chunks(PAGE) {
        sheet.page(page, cells)?;
    }
    if accounts.is_empty() {
        sheet.page(&[], cells)?;
    }
    for total in &report.currencies {
        let (currency, debits, credits) = (&total.currency, &total.debits, &total.credits);
        let difference = &total.difference;
        sheet.line(&format!(
            "{currency}: debits {debits}, credits {credits}, difference {difference}"
        ))?;
    }
    sheet.end()
}

const STATEMENT: &[Column] = &[
    right("number"),
    left("booked_at"),
    left("effective_date"),
    left("transfer"),
    left("description"),
    left("direction"),
    right("amount"),
    right("balance"),
];

fn entry_cells(entry: &AccountEntry) -> Vec<String> {
    vec![
        entry.number.to_string(),
        format!("{:.6}", entry.booked_at),
        entry.effective_date.to_string(),
        entry.transfer.to_string(),
        entry.description.clone(),
        entry.direction.to_string(),
        entry.amount.clone(),
        entry.balance.clone(),
    ]
}

async fn statement(reader: &Reader, args: &StatementArgs) -> anyhow::Result<()> {
    let asked = Asked::new(args)?;
    let mut page = asked.page(reader, None).await?;
    let mut sheet = sheet(&args.output, STATEMENT, &page, "entries")?;
    let ends = |from: &str, to: &str| match (args.from.as_deref(), args.to.as_deref()) {
        (None, None) => String::new(),
        (begin, end) => {
            format!(", {from} {} {to} {}", begin.unwrap_or("the first"), end.unwrap_or("now"))
        }
    };
    sheet.line(&format!(
        "Statement of {} in {}{}",
        page.account,
        page.currency,
        ends("from", "to")
    ))?;
    sheet.line(&format!("opening balance {}", page.opening_balance))?;
    let sums = format!(
        "debits {}, credits {}, closing balance {}",
        page.debits, page.credits, page.closing_balance
    );
    loop {
        sheet.page(&page.entries, entry_cells)?;
        let Some(cursor) = page.next_cursor.take() else { break };
        page = asked.page(reader, Some(&cursor)).await?;
    }
    sheet.line(&sums)?;
    sheet.end()
}

/// Which statement.
struct Asked<'a> {
    account: &'a str,
    over: Over,
}

enum Over {
    Times(Period),
    Days(Days),
}

impl<'a> Asked<'a> {
    fn new(args: &'a StatementArgs) -> anyhow::Result<Self> {
        let over = match args.by {
            StatementBy::Booking => {
                let parsed = |text: &Option<String>| {
                    text.as_deref().map(time).transpose().map_err(anyhow::Error::msg)
                };
                Over::Times(Period {
                    from: parsed(&args.from)?,
                    to: Some(parsed(&args.to)?.unwrap_or_else(Timestamp::now)),
                })
            }
            StatementBy::Effective => {
                let parsed = |text: &Option<String>| {
                    text.as_deref().map(day).transpose().map_err(anyhow::Error::msg)
                };
                Over::Days(Days { from: parsed(&args.from)?, to: parsed(&args.to)? })
            }
        };
        let reversed = match &over {
            Over::Times(period) => period.from.is_some_and(|from| Some(from) > period.to),
            Over::Days(days) => days.from.zip(days.to).is_some_and(|(from, to)| from > to),
        };
        if reversed {
            bail!("--from is later than --to");
        }
        Ok(Self { account: &args.account, over })
    }

    async fn page(&self, reader: &Reader, cursor: Option<&str>) -> anyhow::Result<Statement> {
        let read = match &self.over {
            Over::Times(period) => {
                let after = cursor.map_or(Ok(0), str::parse)?;
                reader.statement(self.account, *period, after, PAGE).await?
            }
            Over::Days(days) => {
                let place = cursor.and_then(Place::parse);
                reader.effective_statement(self.account, *days, place, PAGE).await?
            }
        };
        read.ok_or_else(|| anyhow::anyhow!("there is no account {:?}", self.account))
    }
}

const GENERAL_LEDGER: &[Column] = &[
    right("id"),
    left("booked_at"),
    left("effective_date"),
    left("transfer"),
    left("description"),
    left("account"),
    left("direction"),
    right("amount"),
    left("currency"),
    right("balance"),
];

async fn general_ledger(reader: &Reader, args: &GeneralLedgerArgs) -> anyhow::Result<()> {
    let period = Period { from: args.from, to: Some(args.to.unwrap_or_else(Timestamp::now)) };
    let mut sheet = Sheet::begin(std::io::stdout().lock(), args.output.format, GENERAL_LEDGER)?;
    sheet.line("General ledger")?;
    let mut after = 0;
    loop {
        let page = reader.journal(period, after, PAGE).await?;
        after = page.items.last().map_or(after, |entry| entry.id);
        sheet.page(&page.items, |row: &JournalEntry| {
            let entry = &row.entry;
            vec![
                row.id.to_string(),
                format!("{:.6}", entry.booked_at),
                entry.effective_date.to_string(),
                entry.transfer.to_string(),
                entry.description.clone(),
                row.account.clone(),
                entry.direction.to_string(),
                entry.amount.clone(),
                row.currency.clone(),
                entry.balance.clone(),
            ]
        })?;
        if page.next_cursor.is_none() {
            return sheet.end();
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    when::time(text).ok_or_else(|| format!("{text:?} is no time; {}", when::TIME))
}
