//! Gives the entries of earlier versions their ways back (`trail`): they are copied from `entries_before`, where the
//! migration has put them, a part in each SQL transaction, and that table is dropped when all of them are there. Broken
//! off, it goes on where it was.

use std::collections::HashMap;

use super::audit::{Audit, entry};
use super::engine::Writer;
use super::error::StoreError;
use super::rows;
use crate::trail::Trail;

/// Entries in one SQL transaction.
const PART: usize = 20_000;
/// The log says how far it is every so many entries.
const TOLD_EVERY: i64 = 1_000_000;

impl Audit {
    /// Whether every entry has its way back.
    pub(super) async fn is_threaded(&mut self) -> Result<bool, StoreError> {
        Ok(!self.has_table("entries_before").await?)
    }
}

pub async fn thread(writer: &mut Writer) -> Result<(), StoreError> {
    let mut trails: HashMap<i64, Trail> = HashMap::new();
    let mut batch = writer.begin().await?;
    let there = "SELECT coalesce(max(id), 0) FROM entries";
    let there = batch.query(there, |row| row.long(0)).await?.pop().unwrap_or(0);
    let mut after = 0;
    loop {
        let sql = format!(
            "SELECT id, transfer_seq, account_id, direction, amount_minor, number, debits_after_minor, credits_after_minor
             FROM entries_before WHERE id > {after} ORDER BY id LIMIT {PART}"
        );
        let mut part = batch.query_once(&sql, entry).await?;
        let Some(last) = part.last().map(|row| row.id) else { break };
        for row in &mut part {
            let trail = trails.entry(row.account_id).or_default();
            row.back = trail.append(row.id);
            trail.ends_at(row.number)?;
        }
        part.retain(|row| row.id > there);
        if !part.is_empty() {
            batch.insert(&[rows::of_entries(&part)]).await?;
        }
        batch.commit().await?;
        if after == 0 || last / TOLD_EVERY > after / TOLD_EVERY {
            tracing::info!(
                entries = last,
                "entries of an earlier version are given their ways back"
            );
        }
        after = last;
        batch = writer.begin().await?;
    }
    batch.run("DROP TABLE entries_before".into()).await?;
    batch.commit().await
}
