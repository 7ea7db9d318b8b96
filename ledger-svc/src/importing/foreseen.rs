//! What the books would say to a plan, found out before anything of it is done: the same decisions as the writer's, on the
//! books as of the last commit and the accounts that the plan opens.

use std::collections::BTreeSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::outcome::{BATCH, ImportError};
use crate::batch::{self, Group, Snapshot, Verdict};
use crate::interchange::Found;
use crate::interchange::check::Plan;
use crate::money::Currency;
use crate::posting::{Balance, Limits, Standing};
use crate::store::Reader;

/// Notes every transfer that would be refused, at its line.
pub async fn try_out(reader: &Reader, plan: &Plan, found: &mut Found) -> Result<(), ImportError> {
    let mut snapshot = Snapshot::default();
    snapshot.books.closed_through = reader.last_close().await?.map(|close| close.through);
    let moves = plan.planned.iter().flat_map(|planned| &planned.moves);
    let codes: BTreeSet<&str> = moves.map(|(code, _, _)| code.as_str()).collect();
    for code in codes {
        if let Some(standing) = reader.standing(code).await? {
            snapshot.books.accounts.0.insert(code.to_owned(), standing);
        }
    }
    snapshot.books.accounts.0.extend(opened(plan));
    let now = Timestamp::now();
    for part in plan.planned.chunks(BATCH) {
        let requests = part.iter().map(|planned| planned.request.clone()).collect();
        let group = [Group { requests, all_or_nothing: false }];
        let (verdicts, _) = batch::decide(&group, &mut snapshot, now, Uuid::now_v7);
        for (planned, verdict) in part.iter().zip(verdicts.into_iter().flatten()) {
            if let Verdict::Rejected(rejection) = verdict {
                found.at(planned.line, rejection.to_string());
            }
        }
    }
    Ok(())
}

/// The accounts that are opened, as they will stand. No account there is has a number below 1.
fn opened(plan: &Plan) -> impl Iterator<Item = (String, Standing)> {
    (1..).zip(&plan.accounts).filter_map(|(number, (_, account))| {
        let scale = *plan.scales.get(&account.currency)?;
        let standing = Standing {
            account_id: -number,
            currency: Currency { code: account.currency.clone(), scale },
            normal: account.normal_balance,
            balance: Balance::default(),
            limits: Limits::default(),
            last_entry_id: 0,
        };
        Some((account.code.clone(), standing))
    })
}
