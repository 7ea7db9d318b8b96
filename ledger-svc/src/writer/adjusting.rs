//! Adjustments within a batch. Each is booked only while its line is open and matched with it in the same SQL transaction,
//! so that neither a crash nor anybody who wants the same line comes between the two.

use std::borrow::Cow;

use jiff::Timestamp;

use super::acts::write_down;
use super::gathered::Gathered;
use crate::act::{Acted, Booked};
use crate::batch::{Group, Verdict};
use crate::link::{Head, Link};
use crate::reconcile::{Adjusted, MatchError, MatchRow, NewAdjustment, NewMatch, Rule};
use crate::store::{self, StoreError};

/// What became of a batch's adjustments.
#[derive(Default)]
pub struct Joined {
    pub adjusted: Vec<Adjusted>,
    /// How many entries the audit log has more.
    pub audited: u64,
}

/// What is to be booked: the groups, and the adjustments whose lines are open. Says of each adjustment whether its line is.
pub async fn groups<'a>(
    batch: &mut store::Batch<'_>,
    gathered: &'a Gathered,
) -> Result<(Cow<'a, [Group]>, Vec<bool>), StoreError> {
    let mut groups = Cow::Borrowed(gathered.groups.as_slice());
    let mut open = Vec::with_capacity(gathered.adjustments.len());
    for (new, _) in &gathered.adjustments {
        let is_open = batch.is_open(new.line, new.account_id).await?;
        if is_open {
            groups.to_mut().push(Group::one(new.request.clone()));
        }
        open.push(is_open);
    }
    Ok((groups, open))
}

/// Matches what was booked with its line. `verdicts` are those of the adjustments whose lines were open.
pub async fn join(
    batch: &mut store::Batch<'_>,
    gathered: &Gathered,
    (open, verdicts): (&[bool], &[Vec<Verdict>]),
    head: &mut Head,
    now: Timestamp,
) -> Result<Joined, StoreError> {
    let (mut joined, mut booked) = (Joined::default(), Vec::new());
    let mut verdicts = verdicts.iter().flatten();
    for ((new, actor), open) in gathered.adjustments.iter().zip(open) {
        let verdict = if *open { verdicts.next() } else { None };
        let adjusted = match verdict {
            None => Adjusted::Refused(MatchError::Line(new.line)),
            Some(Verdict::Rejected(rejection)) => Adjusted::Rejected(rejection.clone()),
            Some(Verdict::KeyReused | Verdict::Withheld) => Adjusted::Otherwise,
            Some(Verdict::Posted(answer) | Verdict::Replayed(answer)) => {
                match batch.entry_in(answer.transfer_id, new.account_id).await? {
                    None => Adjusted::Otherwise,
                    Some(entry) => matched(batch, new, entry, now).await?,
                }
            }
        };
        // Somebody else in this batch may have had the line first, but then nothing was booked for this one.
        let posted = matches!(verdict, Some(Verdict::Posted(_)));
        match &adjusted {
            Adjusted::Matched(row) => {
                let row = Booked::Match(row.clone());
                write_down(batch, row, (actor, ""), now, &mut booked).await?;
            }
            other if posted => {
                let line = new.line;
                return Err(StoreError::Corrupt(format!("line {line} is booked and {other:?}")));
            }
            _ => {}
        }
        joined.adjusted.push(adjusted);
    }
    if !booked.is_empty() {
        let links: Vec<Link> =
            booked.iter().filter_map(Booked::record).map(|record| head.extend(record)).collect();
        batch.write_links(&links).await?;
    }
    joined.audited = booked.iter().filter(|row| matches!(row, Booked::Audit(_))).count() as u64;
    Ok(joined)
}

async fn matched(
    batch: &mut store::Batch<'_>,
    new: &NewAdjustment,
    entry: i64,
    now: Timestamp,
) -> Result<Adjusted, StoreError> {
    let wanted = NewMatch {
        account_id: new.account_id,
        rule: Rule::Adjustment,
        reason: new.reason.clone(),
        lines: vec![new.line],
        entries: vec![entry],
    };
    let (acted, _) = batch.store_matches(&[wanted], now).await?;
    let found: Option<Result<MatchRow, MatchError>> = match acted {
        Acted::Matches(matches) => matches.into_iter().next(),
        other => unreachable!("matches became {other:?}"),
    };
    Ok(match found {
        Some(Ok(row)) => Adjusted::Matched(row),
        Some(Err(error)) => Adjusted::Refused(error),
        None => Adjusted::Otherwise,
    })
}
