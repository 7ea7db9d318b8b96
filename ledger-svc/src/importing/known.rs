//! What of a plan was booked before: under the same key, or, in a text that this ledger wrote itself, as the transfer whose
//! id is the key.

use uuid::Uuid;

use super::outcome::{ImportError, KEY_REUSED};
use crate::interchange::check::{Plan, Planned};
use crate::interchange::{Found, named};
use crate::money::Amount;
use crate::store::Reader;
use crate::transfer::{Action, Transfer, TransferBody};

/// Takes out of the plan what was booked before, and gives it. A key of something else is a fault.
pub async fn take_known(
    reader: &Reader,
    plan: &mut Plan,
    found: &mut Found,
) -> Result<Vec<Planned>, ImportError> {
    let keys: Vec<&str> = plan.planned.iter().map(|it| it.request.key.as_str()).collect();
    let booked = reader.booked_under(&keys).await?;
    let ids: Vec<Uuid> = keys.iter().filter_map(|key| named(key)).collect();
    let there = reader.there_are(&ids).await?;
    let (mut known, mut new) = (Vec::new(), Vec::with_capacity(plan.planned.len()));
    for planned in std::mem::take(&mut plan.planned) {
        let key = planned.request.key.as_str();
        let id = match booked.get(key) {
            Some((fingerprint, _)) if *fingerprint == planned.request.fingerprint => {
                known.push(planned);
                continue;
            }
            Some((_, id)) => *id,
            None => match named(key).filter(|id| there.contains(id)) {
                Some(id) => id,
                None => {
                    new.push(planned);
                    continue;
                }
            },
        };
        // Where a request left its day to the booking, the text that was written of it has one.
        let transfer = reader.transfer(id).await?;
        if transfer.is_some_and(|transfer| says(&transfer, &planned.request.action)) {
            known.push(planned);
        } else {
            found.at(planned.line, KEY_REUSED);
        }
    }
    plan.planned = new;
    Ok(known)
}

/// Whether a transfer moved what an action asks for, and says the same of it.
fn says(transfer: &Transfer, action: &Action) -> bool {
    let Action::Transfer(TransferBody { description, effective_date, entries, metadata, .. }) =
        action
    else {
        return false;
    };
    let same = |amount: &str, other: &Amount| {
        amount.parse::<Amount>().is_ok_and(|amount| amount.canonical() == other.canonical())
    };
    transfer.kind.moves()
        && transfer.description == *description
        && Some(transfer.effective_date) == *effective_date
        && transfer.metadata == *metadata
        && transfer.entries.len() == entries.len()
        && transfer.entries.iter().zip(entries).all(|(there, asked)| {
            there.account == asked.account
                && there.direction == asked.direction
                && same(&there.amount, &asked.amount)
        })
}
