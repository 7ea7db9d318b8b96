//! Rows that change are no links of the chain: each must be there once for what it is about, and bear the seal of what it says.

use std::collections::BTreeSet;

use super::chart::Chart;
use super::finding::{Finding, VerifyError, wrong};
use crate::seal;
use crate::store::Audit;

/// What there must be a row for.
#[derive(Debug)]
pub struct Sealed {
    endpoints: BTreeSet<i64>,
    keys: BTreeSet<i64>,
}

impl Sealed {
    pub fn new(chart: &Chart) -> Self {
        Self {
            endpoints: chart.endpoints.keys().copied().collect(),
            keys: chart.keys.keys().copied().collect(),
        }
    }

    pub async fn check(self, audit: &mut Audit) -> Result<(), VerifyError> {
        let progress = audit.progress().await?.into_iter();
        let progress =
            progress.map(|(row, seal)| (row.endpoint_id, seal == seal::of_progress(&row)));
        each_is_sealed("webhook_progress", "endpoint_id", self.endpoints, progress)?;
        let uses = audit.key_uses().await?.into_iter();
        let uses = uses.map(|(key, at, seal)| (key, seal == seal::of_key_use(key, at)));
        each_is_sealed("api_key_uses", "key_id", self.keys, uses)?;
        let service = audit.service().await?;
        let service = service.map(|(row, seal)| (1, seal == seal::of_service(&row)));
        Ok(each_is_sealed("service", "id", BTreeSet::from([1]), service.into_iter())?)
    }
}

/// `rows` have a key and whether the seal is theirs.
fn each_is_sealed(
    table: &'static str,
    key: &str,
    mut due: BTreeSet<i64>,
    rows: impl Iterator<Item = (i64, bool)>,
) -> Result<(), Finding> {
    for (id, sealed) in rows {
        let row = format!("{key} {id}");
        if !due.remove(&id) {
            return Err(wrong(table, row, "it is about nothing the ledger knows"));
        }
        if !sealed {
            return Err(wrong(
                table,
                row,
                "it is not as the service wrote it: its seal is of something else",
            ));
        }
    }
    due.first().map_or(Ok(()), |id| Err(wrong(table, format!("{key} {id}"), "it is gone")))
}
