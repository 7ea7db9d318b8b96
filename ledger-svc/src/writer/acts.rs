//! Acts of administration within a batch: each is done, written down in the audit log, and remembered by the writer.

use jiff::Timestamp;

use super::memory::Memory;
use crate::act::{Act, Acted, Actor, AuditRow, Booked, Deed};
use crate::store::{self, StoreError};

/// Does them in their order. Says what became of each, and what all of them add to the chain.
pub async fn perform(
    batch: &mut store::Batch<'_>,
    deeds: &[Deed],
    memory: &mut Memory,
    now: Timestamp,
) -> Result<(Vec<Acted>, Vec<Booked>), StoreError> {
    let (mut acted, mut booked) = (Vec::with_capacity(deeds.len()), Vec::new());
    for deed in deeds {
        let (became, added) = batch.act(&deed.act, now).await?;
        for row in added {
            remember(memory, &deed.act, &row);
            let subject = match &deed.act {
                Act::SetLimits { account, .. } => account.as_str(),
                _ => "",
            };
            write_down(batch, row, (&deed.actor, subject), now, &mut booked).await?;
        }
        acted.push(became);
    }
    Ok((acted, booked))
}

/// Takes what is booked to the rest, and what the audit log says of it.
pub async fn write_down(
    batch: &mut store::Batch<'_>,
    row: Booked,
    (actor, subject): (&Actor, &str),
    now: Timestamp,
    booked: &mut Vec<Booked>,
) -> Result<(), StoreError> {
    let told = row.told(subject);
    booked.push(row);
    if let Some((action, subject, detail)) = told {
        let row = AuditRow {
            id: batch.next_audit().await?,
            at_us: now.as_microsecond(),
            actor: actor.to_string(),
            action: action.to_owned(),
            subject,
            detail: detail.to_string(),
        };
        batch.note(&row).await?;
        booked.push(Booked::Audit(row));
    }
    Ok(())
}

/// What later batches have to know.
fn remember(memory: &mut Memory, act: &Act, row: &Booked) {
    match (act, row) {
        (_, Booked::Limits(row)) => memory.set_limits(row.account_id, row.limits),
        (Act::Close(new), Booked::Close(_)) => {
            memory.snapshot.books.closed_through = Some(new.body.through);
        }
        _ => {}
    }
}
