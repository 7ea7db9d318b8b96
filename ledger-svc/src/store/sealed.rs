//! Rows that change and bear a seal: reading them, the service's own, and sealing what earlier versions left unsealed.

use jiff::Timestamp;

use super::audit::Audit;
use super::engine::{Batch, Writer};
use super::error::{StoreError, impossible};
use super::row::Columns;
use super::rows;
use super::service::SERVICE;
use crate::batch::Changes;
use crate::outbox::Progress;
use crate::seal::ServiceRow;

const PROGRESS: &str =
    "SELECT endpoint_id, delivered_seq, failures, next_attempt_at_us, suspended_at_us, error, seal
     FROM webhook_progress ORDER BY endpoint_id";
const KEY_USES: &str = "SELECT key_id, last_used_at_us, seal FROM api_key_uses ORDER BY key_id";
/// There until everything is sealed.
const UNSEALED: &str = "rows_to_seal";

/// As the first columns of `PROGRESS` are.
fn progress(row: &dyn Columns) -> Result<Progress, StoreError> {
    Ok(Progress {
        endpoint_id: row.long(0)?,
        delivered_seq: row.long(1)?,
        failures: row.long(2)?,
        next_attempt_at_us: row.long_if_any(3)?,
        suspended_at_us: row.long_if_any(4)?,
        error: row.string(5)?,
    })
}

fn service(row: &dyn Columns) -> Result<ServiceRow, StoreError> {
    Ok(ServiceRow::found((row.long(0)?, row.long(1)?, row.long(2)?)))
}

impl Audit {
    /// Whether every row that changes bears a seal.
    pub(super) async fn is_sealed(&mut self) -> Result<bool, StoreError> {
        Ok(!self.has_table(UNSEALED).await?)
    }

    /// How far each webhook has come, and the seal that its row bears.
    pub async fn progress(&mut self) -> Result<Vec<(Progress, String)>, StoreError> {
        self.rows(PROGRESS.to_owned(), |row| Ok((progress(row)?, row.string(6)?))).await
    }

    /// Key, time of last use in microseconds since 1970, and the seal that the row bears.
    pub async fn key_uses(&mut self) -> Result<Vec<(i64, Option<i64>, String)>, StoreError> {
        let read = |row: &dyn Columns| Ok((row.long(0)?, row.long_if_any(1)?, row.string(2)?));
        self.rows(KEY_USES.to_owned(), read).await
    }

    /// The service's own row and its seal, where it is there.
    pub async fn service(&mut self) -> Result<Option<(ServiceRow, String)>, StoreError> {
        let sql = SERVICE.replace(" FROM", ", seal FROM");
        Ok(self.rows(sql, |row| Ok((service(row)?, row.string(3)?))).await?.pop())
    }
}

impl Batch<'_> {
    /// Writes up to which entry all balances are written, where the changes say so.
    pub async fn mark(&mut self, changes: &Changes) -> Result<(), StoreError> {
        match changes.written.as_ref().and_then(|written| written.through) {
            Some(through) => self.change_service(|row| row.balances_through = through).await,
            None => Ok(()),
        }
    }

    /// A write that changes nothing of the books; proves that the database can be written.
    pub async fn probe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.change_service(|row| row.probed_at_us = now.as_microsecond()).await
    }

    async fn change_service(
        &mut self,
        change: impl FnOnce(&mut ServiceRow),
    ) -> Result<(), StoreError> {
        let found = self.query(SERVICE, service).await?.pop();
        let mut row = found.ok_or_else(|| impossible("the service's row", &"gone"))?;
        change(&mut row);
        match self.run(row.update()).await? {
            1 => Ok(()),
            others => Err(impossible("the service's row", &format!("{others} rows"))),
        }
    }
}

/// Seals the rows that an earlier version wrote.
pub async fn seal(writer: &mut Writer) -> Result<(), StoreError> {
    let mut batch = writer.begin().await?;
    let unsealed = batch.query_once(PROGRESS, progress).await?;
    if !unsealed.is_empty() {
        batch.insert(&[rows::of_progress(&unsealed)]).await?;
    }
    let unsealed =
        batch.query_once(KEY_USES, |row| Ok((row.long(0)?, row.long_if_any(1)?))).await?;
    if !unsealed.is_empty() {
        batch.insert(&[rows::of_key_uses(unsealed.into_iter())]).await?;
    }
    batch.change_service(|_| ()).await?;
    batch.run(format!("DROP TABLE {UNSEALED}")).await?;
    batch.commit().await
}
