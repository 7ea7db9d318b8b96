//! `forebay-ledger reconcile`: statements of a bank against an account's entries, at the database itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;

use super::database::DatabaseArgs;
use super::offline::{Offline, runtime};
use super::output::print;
use super::values::day;
use crate::act::Actor;
use crate::interchange::{Fault, Faults};
use crate::json;
use crate::naming::validate_text;
use crate::posting::Standing;
use crate::reconcile::table::Mapping;
use crate::reconcile::{
    ImportWarning, Proposal, REASON_CHARS_MAX, RepeatedLine, Rule, Rules, StatementFormat,
};
use crate::reconciling::{Adjustment, Desk, LeftOut, Reconciled};

const SERVED: &str = "while the service runs, use its API: /v1/accounts/{code}/reconciliation";
/// Exceptions printed at most.
const LISTED: usize = 1000;

#[derive(Debug, Subcommand)]
pub enum ReconcileCommand {
    /// Read a statement; its lines are open until they are matched
    Import(ImportArgs),
    /// Run the rules: what they are sure of is matched, the rest is suggested
    Run(RunArgs),
    /// Print what is open on either side
    Exceptions(AccountArgs),
    /// Book a transfer for a line that has no entry, and match it
    Adjust(AdjustArgs),
    /// Withdraw a statement that should not have been imported; none of its lines may be matched
    Withdraw(WithdrawArgs),
}

#[derive(Debug, Args)]
pub struct AccountArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The account's code
    #[arg(long)]
    account: String,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(flatten)]
    of: AccountArgs,
    /// How it is written
    #[arg(long, value_enum)]
    format: StatementFormat,
    /// How a table is read (JSON): its `date` and `amount` columns and the rest, as the API takes it
    #[arg(long, value_name = "FILE", required_if_eq("format", "csv"))]
    mapping: Option<PathBuf>,
    /// The statement
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    of: AccountArgs,
    /// A rule whose sure matches are booked; reference, exact and window when none is given
    #[arg(long, value_name = "RULE", value_parser = finding())]
    rule: Vec<Rule>,
    /// Days that a line and its entry may be apart
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(0..=31))]
    days: i32,
}

#[derive(Debug, Args)]
pub struct AdjustArgs {
    #[command(flatten)]
    of: AccountArgs,
    /// The line's id
    #[arg(long)]
    line: i64,
    /// The account on the other side
    #[arg(long)]
    against: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// The day it counts for; the line's own when left out
    #[arg(long, value_name = "DAY", value_parser = day)]
    effective_date: Option<Date>,
}

#[derive(Debug, Args)]
pub struct WithdrawArgs {
    #[command(flatten)]
    of: AccountArgs,
    /// The statement's number, as import prints it
    #[arg(long)]
    statement: i64,
    /// Why
    #[arg(long)]
    reason: String,
}

pub fn reconcile(command: &ReconcileCommand) -> anyhow::Result<()> {
    let of = match command {
        ReconcileCommand::Import(args) => &args.of,
        ReconcileCommand::Run(args) => &args.of,
        ReconcileCommand::Exceptions(args) => args,
        ReconcileCommand::Adjust(args) => &args.of,
        ReconcileCommand::Withdraw(args) => &args.of,
    };
    let said = runtime()?.block_on(async {
        let offline = Offline::open(&of.database, SERVED).await?;
        let done = Box::pin(done(&offline, of, command)).await;
        offline.close().await?;
        done
    })?;
    print(&said)
}

async fn done(
    offline: &Offline,
    of: &AccountArgs,
    command: &ReconcileCommand,
) -> anyhow::Result<String> {
    let code = of.account.as_str();
    let Some(account) = offline.reader.standing(code).await? else {
        bail!("there is no account {code:?}");
    };
    let Offline { reader, writer, metrics, .. } = offline;
    let (actor, account) = (&Actor::Command, &account);
    let desk = Desk { reader, writer, metrics, actor, code, account };
    match command {
        ReconcileCommand::Import(args) => import(&desk, args).await,
        ReconcileCommand::Run(args) => {
            let usual = [Rule::Reference, Rule::Exact, Rule::Window];
            let taken = if args.rule.is_empty() { &usual[..] } else { &args.rule };
            let rules = Rules { days: args.days, ..Rules::default() };
            Ok(told(&desk.run(rules, taken).await?))
        }
        ReconcileCommand::Exceptions(_) => exceptions(offline, account).await,
        ReconcileCommand::Adjust(args) => {
            reason(&args.reason)?;
            let adjustment = Adjustment {
                line: args.line,
                against: args.against.clone(),
                reason: args.reason.clone(),
                effective_date: args.effective_date,
            };
            let matched = desk.adjust(&adjustment).await?;
            let entry = matched.entries[0];
            Ok(format!("line {} is entry {entry} now (match {})\n", args.line, matched.id))
        }
        ReconcileCommand::Withdraw(args) => {
            reason(&args.reason)?;
            desk.withdraw(args.statement, &args.reason).await?;
            Ok(format!("statement {} is withdrawn\n", args.statement))
        }
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let message = format!(
            "it is not written in UTF-8; write it anew: iconv -f ISO-8859-1 -t UTF-8 {} > NEW, or from another encoding if it is in one",
            path.display()
        );
        Faults(vec![Fault { line, message }]).into()
    })
}

async fn import(desk: &Desk<'_>, args: &ImportArgs) -> anyhow::Result<String> {
    let mapping = match &args.mapping {
        None => None,
        Some(path) => {
            let within = || format!("in {}", path.display());
            let mapping: Mapping = json::read(text(path)?.as_bytes()).with_context(within)?;
            mapping.validate().with_context(within)?;
            Some(mapping)
        }
    };
    let text = text(&args.file)?;
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned());
    let imported = desk.import(args.format, &text, mapping.as_ref(), name.as_deref()).await?;
    let before = if imported.new { "" } else { " was imported before" };
    let mut said = format!("statement {}{before}\n", imported.id);
    if !imported.repeated.is_empty() {
        let count = imported.repeated.len();
        let _ =
            writeln!(said, "{count} of its lines were there already, and are not open once more:");
    }
    for RepeatedLine { number, line, statement } in &imported.repeated {
        let _ = writeln!(said, "  its number {number} is line {line} of statement {statement}");
    }
    for ImportWarning { number, warning } in &imported.warnings {
        let _ = writeln!(said, "warning: its number {number}: {warning}");
    }
    Ok(said)
}

/// As the API takes it.
fn reason(text: &str) -> anyhow::Result<()> {
    validate_text("reason", text, REASON_CHARS_MAX)?;
    if text.trim() != text || text.is_empty() {
        bail!("the reason is empty, or begins or ends with a space");
    }
    Ok(())
}

fn listed(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

fn told(reconciled: &Reconciled) -> String {
    let ids = listed;
    let mut text = String::new();
    for matched in &reconciled.matches {
        let (lines, entries) = (ids(&matched.lines), ids(&matched.entries));
        text.push_str(&format!(
            "matched by {}: lines {lines} and entries {entries}\n",
            matched.rule
        ));
    }
    for Proposal { rule, lines, entries, .. } in &reconciled.suggestions {
        let (rule, lines, entries) = (rule.as_str(), ids(lines), ids(entries));
        text.push_str(&format!("suggested by {rule}: lines {lines} and entries {entries}\n"));
    }
    if text.is_empty() {
        text.push_str("nothing matches\n");
    }
    let not = &reconciled.not_searched;
    for (what, ids, in_all) in
        [("lines", &not.lines, not.lines_in_all), ("entries", &not.entries, not.entries_in_all)]
    {
        if in_all > 0 {
            let more = if in_all > ids.len() { " and more" } else { "" };
            let _ = writeln!(
                text,
                "not searched for groups, as too many may belong to them: {what} {}{more}",
                listed(ids)
            );
        }
    }
    let LeftOut { lines, entries_before } = reconciled.left_out;
    if lines > 0 {
        let _ = writeln!(text, "not looked at: the {lines} open lines that were imported first");
    }
    if let Some(day) = entries_before {
        let _ = writeln!(text, "not looked at: entries booked before {day}");
    }
    if lines > 0 || entries_before.is_some() {
        text.push_str("match or adjust by hand what is old, or withdraw its statement\n");
    }
    text
}

/// The rules that find matches.
fn finding() -> impl TypedValueParser<Value = Rule> {
    let rules = Rule::value_variants().iter().filter(|rule| rule.finds());
    let parser = PossibleValuesParser::new(rules.filter_map(Rule::to_possible_value));
    parser.try_map(|name| Rule::from_str(&name, false))
}

async fn exceptions(offline: &Offline, account: &Standing) -> anyhow::Result<String> {
    let mut text = String::new();
    let lines = offline.reader.open_lines(account, 0, LISTED).await?;
    for line in &lines.items {
        text.push_str(&format!(
            "line {} of {}: {} {} {}\n",
            line.id, line.date, line.amount, line.reference, line.text
        ));
    }
    let entries = offline.reader.unmatched_entries(account, 0, LISTED).await?;
    for entry in &entries.items {
        text.push_str(&format!(
            "entry {} of {}: {} {}\n",
            entry.id, entry.effective_date, entry.amount, entry.description
        ));
    }
    if lines.next_cursor.is_some() || entries.next_cursor.is_some() {
        text.push_str("and more; the API lists them by pages\n");
    }
    Ok(if text.is_empty() { "nothing is open\n".into() } else { text })
}
