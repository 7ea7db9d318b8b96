//! Books what a document asks for: the chart first, then transfers, batch after batch, each under a key, so that an
//! import that was interrupted is begun again and books nothing twice.

mod foreseen;
mod known;
mod outcome;

use std::collections::{BTreeMap, HashMap};

use self::outcome::{BATCH, KEY_REUSED};
pub use self::outcome::{ImportError, Imported};
use crate::account::{AccountBody, Created, Side};
use crate::act::Actor;
use crate::batch::{Group, Verdict};
use crate::interchange::check::{Chart, Plan, Planned};
use crate::interchange::{Fault, Found};
use crate::store::{Reader, StoreError};
use crate::writer::Handle;

/// Rows read at once.
const PAGE: usize = 1000;
/// Lines named at most.
const LINES_MAX: usize = 100;

/// What entries moved by account: debits and credits in minor units, and how many.
pub type Moved = BTreeMap<String, (i128, i128, i64)>;

/// The whole chart.
pub async fn chart(reader: &Reader) -> Result<Chart, StoreError> {
    let mut chart = Chart::default();
    let mut after = String::new();
    loop {
        let page = reader.currencies(&after, PAGE).await?;
        let listed = page.items.into_iter().map(|currency| (currency.code, currency.scale));
        chart.currencies.extend(listed);
        let Some(next) = page.next_cursor else { break };
        after = next;
    }
    after.clear();
    loop {
        let page = reader.accounts(&after, PAGE).await?;
        for account in page.items {
            let body = AccountBody {
                code: account.code.clone(),
                name: account.name,
                currency: account.currency,
                normal_balance: account.normal_balance,
                metadata: account.metadata,
            };
            chart.accounts.insert(account.code, body);
        }
        let Some(next) = page.next_cursor else { return Ok(chart) };
        after = next;
    }
}

/// A plan of which nothing stands in the way.
#[derive(Debug)]
pub struct Foreseen {
    /// What is to be booked.
    pub plan: Plan,
    /// What was booked before.
    pub known: Vec<Planned>,
}

impl Foreseen {
    /// Lines that are taken for what was booked before because they say the same, and nothing tells them apart.
    pub fn alike(&self) -> impl Iterator<Item = usize> {
        self.known.iter().filter(|known| known.keyless).map(|known| known.line)
    }

    /// What of it is there already.
    fn before(&self) -> Imported {
        let taken_for_the_same = self.alike().take(LINES_MAX).collect();
        Imported { booked_before: self.known.len(), taken_for_the_same, ..Imported::default() }
    }

    /// What it would come to.
    pub fn imported(&self) -> Imported {
        Imported {
            accounts: self.plan.accounts.len(),
            transfers: self.plan.planned.len(),
            entries: self.plan.entries(),
            ..self.before()
        }
    }
}

/// Tells what was booked before from what is to be booked, or says what stands in the way of it.
pub async fn foresee(reader: &Reader, mut plan: Plan) -> Result<Foreseen, ImportError> {
    let mut found = Found::default();
    let known = known::take_known(reader, &mut plan, &mut found).await?;
    foreseen::try_out(reader, &plan, &mut found).await?;
    Ok(found.end(Foreseen { plan, known })?)
}

/// Opens what a plan opens.
pub async fn open(
    writer: &Handle,
    plan: &Plan,
    actor: &Actor,
    imported: &mut Imported,
) -> Result<(), ImportError> {
    for currency in &plan.currencies {
        if writer.currency(currency.clone(), actor.clone()).await?.created().is_some() {
            imported.currencies += 1;
        }
    }
    for (line, account) in &plan.accounts {
        match writer.account(account.clone()).await? {
            Created::New(_) => imported.accounts += 1,
            Created::Existing(_) => {}
            Created::Conflict(_) | Created::UnknownCurrency => {
                let message = format!("{} was opened otherwise meanwhile", account.code);
                let fault = Fault { line: *line, message };
                return Err(ImportError::Refused { fault, before: imported.clone() });
            }
        }
    }
    Ok(())
}

/// Books everything, in order. `moved` takes up what was booked now.
pub async fn book(
    writer: &Handle,
    foreseen: Foreseen,
    actor: &Actor,
    moved: &mut Moved,
) -> Result<Imported, ImportError> {
    let mut imported = foreseen.before();
    let plan = foreseen.plan;
    open(writer, &plan, actor, &mut imported).await?;
    let mut waiting = plan.planned.into_iter().peekable();
    while waiting.peek().is_some() {
        let batch: Vec<Planned> = waiting.by_ref().take(BATCH).collect();
        let requests = batch.iter().map(|planned| planned.request.clone()).collect();
        let entries = batch.iter().map(|planned| planned.moves.len()).sum();
        let group = Group { requests, all_or_nothing: true };
        let verdicts = writer.transfers_in_turn(group, entries).await?;
        settle_all(batch, verdicts, moved, &mut imported)?;
    }
    Ok(imported)
}

/// Books a plan that fits one batch, as a whole or not at all.
pub async fn book_whole(
    writer: &Handle,
    foreseen: Foreseen,
    actor: &Actor,
) -> Result<Imported, ImportError> {
    let mut imported = foreseen.before();
    let plan = foreseen.plan;
    open(writer, &plan, actor, &mut imported).await?;
    if plan.planned.is_empty() {
        return Ok(imported);
    }
    let requests = plan.planned.iter().map(|planned| planned.request.clone()).collect();
    let group = Group { requests, all_or_nothing: true };
    let entries = plan.entries();
    let verdicts = writer.transfers(group, entries).await?;
    settle_all(plan.planned, verdicts, &mut Moved::new(), &mut imported)?;
    Ok(imported)
}

/// Counts a batch that was booked as a whole or not at all.
fn settle_all(
    batch: Vec<Planned>,
    verdicts: Vec<Verdict>,
    moved: &mut Moved,
    imported: &mut Imported,
) -> Result<(), ImportError> {
    let judged = batch.into_iter().zip(verdicts);
    // The one to blame is told, not those withheld for it.
    let (blamed, others): (Vec<_>, Vec<_>) = judged
        .partition(|(_, verdict)| matches!(verdict, Verdict::Rejected(_) | Verdict::KeyReused));
    for (planned, verdict) in blamed.into_iter().chain(others) {
        settle(&planned, verdict, moved, imported)?;
    }
    Ok(())
}

fn settle(
    planned: &Planned,
    verdict: Verdict,
    moved: &mut Moved,
    imported: &mut Imported,
) -> Result<(), ImportError> {
    let why = match verdict {
        Verdict::Posted(_) => {
            imported.transfers += 1;
            imported.entries += planned.moves.len();
            add(moved, &planned.moves);
            return Ok(());
        }
        Verdict::Replayed(_) => {
            imported.booked_before += 1;
            return Ok(());
        }
        Verdict::KeyReused => KEY_REUSED.to_owned(),
        Verdict::Rejected(rejection) => rejection.to_string(),
        Verdict::Withheld => "another transfer of the batch was refused".to_owned(),
    };
    let fault = Fault { line: planned.line, message: why };
    Err(ImportError::Refused { fault, before: imported.clone() })
}

/// Adds entries up.
pub fn add(moved: &mut Moved, moves: &[(String, Side, i64)]) {
    for (account, direction, minor) in moves {
        let (debits, credits, count) = moved.entry(account.clone()).or_default();
        match direction {
            Side::Debit => *debits += i128::from(*minor),
            Side::Credit => *credits += i128::from(*minor),
        }
        *count += 1;
    }
}

/// What the books say by account, as `moved` counts.
pub async fn totals(reader: &Reader) -> Result<HashMap<String, (i128, i128, i64)>, StoreError> {
    let mut totals = HashMap::new();
    let mut after = String::new();
    loop {
        let page = reader.standings_by_code(&after, PAGE).await?;
        for (code, standing) in page.items {
            let balance = standing.balance;
            let sums = (balance.debits_minor.into(), balance.credits_minor.into(), balance.entries);
            totals.insert(code, sums);
        }
        let Some(next) = page.next_cursor else { return Ok(totals) };
        after = next;
    }
}
