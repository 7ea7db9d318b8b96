//! Metadata of accounts and of transfers: rows of their own, with an index by name and value.

use std::collections::HashMap;

use uuid::Uuid;

use super::engine::Batch;
use super::error::StoreError;
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use crate::account::Account;
use crate::metadata::{Filter, Metadata};
use crate::report::{AccountEntry, Page, TransferSummary};

const OF_ACCOUNT: &str =
    "SELECT account_id, name, value FROM account_metadata WHERE account_id = ?";
/// The page is cut before anything is joined to it.
const FILTERED: &str = "SELECT a.code, a.name, a.currency, a.normal_balance, a.created_at_us, a.id
     FROM (SELECT account_id FROM account_metadata
        WHERE name = ? AND value = ? AND account_id > ? ORDER BY account_id LIMIT ?) AS m
     JOIN accounts AS a ON a.id = m.account_id
     ORDER BY m.account_id";
const OF_TRANSFERS: &str = "SELECT t.id, m.name, m.value FROM transfers AS t
     JOIN transfer_metadata AS m ON m.transfer_seq = t.seq
     WHERE t.id IN (?)";
const FILTERED_TRANSFERS: &str =
    "SELECT t.id, t.description, t.effective_date, t.booked_at_us, t.entries, t.seq, t.kind, f.kind
     FROM (SELECT transfer_seq FROM transfer_metadata
        WHERE name = ? AND value = ? AND transfer_seq > ? ORDER BY transfer_seq LIMIT ?) AS m
     JOIN transfers AS t ON t.seq = m.transfer_seq
     LEFT JOIN transfers AS f ON f.of_seq = t.seq
     ORDER BY m.transfer_seq";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[OF_ACCOUNT, FILTERED, OF_TRANSFERS, FILTERED_TRANSFERS];

/// A row: account, name, value.
pub(super) type MetadataRow = (i64, String, String);

pub(super) fn metadata_row(row: &dyn Columns) -> Result<MetadataRow, StoreError> {
    Ok((row.long(0)?, row.string(1)?, row.string(2)?))
}

/// Gives accounts what is theirs.
pub(super) fn fill(accounts: &mut [Account], rows: Vec<MetadataRow>) {
    let mut metadata: HashMap<i64, Metadata> = HashMap::new();
    for (id, name, value) in rows {
        metadata.entry(id).or_default().0.insert(name, value);
    }
    for account in accounts {
        account.metadata = metadata.remove(&account.id).unwrap_or_default();
    }
}

impl Reader {
    pub(super) async fn with_metadata(
        &self,
        mut accounts: Vec<Account>,
    ) -> Result<Vec<Account>, StoreError> {
        let rows = match accounts.as_slice() {
            [] => return Ok(accounts),
            [account] => self.rows(OF_ACCOUNT, &[Arg::Long(account.id)], metadata_row).await?,
            _ => {
                let ids: Vec<String> =
                    accounts.iter().map(|account| account.id.to_string()).collect();
                let sql = OF_ACCOUNT.replace("= ?", &format!("IN ({})", ids.join(", ")));
                self.rows_once(&sql, &[], metadata_row).await?
            }
        };
        fill(&mut accounts, rows);
        Ok(accounts)
    }

    /// Accounts with that value of that name, in the order they were opened, after the one with the id `after`.
    pub async fn accounts_with(
        &self,
        filter: &Filter,
        after: i64,
        limit: usize,
    ) -> Result<Page<Account>, StoreError> {
        let arguments = [
            Arg::Text(&filter.name),
            Arg::Text(&filter.value),
            Arg::Long(after),
            Arg::Long(one_more(limit)),
        ];
        let rows = self.rows(FILTERED, &arguments, |row| row::account(row)).await?;
        let rows = self.with_metadata(rows).await?;
        Ok(Page::cut(rows, limit, |account| account.id.to_string()))
    }
}

impl Reader {
    /// What transfers are called, by their ids; those without metadata are not in it.
    pub async fn called(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Metadata>, StoreError> {
        let read = |row: &dyn Columns| Ok((row.uuid(0)?, row.string(1)?, row.string(2)?));
        let arguments: Vec<Arg<'_>> = ids.iter().copied().map(Arg::Uuid).collect();
        let rows = match ids {
            [] => Vec::new(),
            [_] => self.rows(OF_TRANSFERS, &arguments, read).await?,
            _ => {
                let list = vec!["?"; ids.len()].join(", ");
                let sql = OF_TRANSFERS.replace("IN (?)", &format!("IN ({list})"));
                self.rows_once(&sql, &arguments, read).await?
            }
        };
        let mut called: HashMap<Uuid, Metadata> = HashMap::new();
        for (id, name, value) in rows {
            called.entry(id).or_default().0.insert(name, value);
        }
        Ok(called)
    }

    /// Gives entries the metadata of their transfers.
    pub(super) async fn call_entries<'a>(
        &self,
        entries: impl Iterator<Item = &'a mut AccountEntry>,
    ) -> Result<(), StoreError> {
        let entries: Vec<&mut AccountEntry> = entries.collect();
        let mut ids: Vec<Uuid> = entries.iter().map(|entry| entry.transfer).collect();
        ids.sort_unstable();
        ids.dedup();
        let called = self.called(&ids).await?;
        for entry in entries {
            entry.metadata = called.get(&entry.transfer).cloned().unwrap_or_default();
        }
        Ok(())
    }

    pub(super) async fn call_summaries(
        &self,
        summaries: &mut [(i64, TransferSummary)],
    ) -> Result<(), StoreError> {
        let ids: Vec<Uuid> = summaries.iter().map(|(_, summary)| summary.id).collect();
        let mut called = self.called(&ids).await?;
        for (_, summary) in summaries {
            summary.metadata = called.remove(&summary.id).unwrap_or_default();
        }
        Ok(())
    }

    /// Transfers with that value of that name, in booking order, after the `after`th of all.
    pub async fn transfers_with(
        &self,
        filter: &Filter,
        after: i64,
        limit: usize,
    ) -> Result<Page<TransferSummary>, StoreError> {
        let arguments = [
            Arg::Text(&filter.name),
            Arg::Text(&filter.value),
            Arg::Long(after),
            Arg::Long(one_more(limit)),
        ];
        let summary = |row: &dyn Columns| Ok((row.long(5)?, row::transfer_summary(row)?));
        let mut rows = self.rows(FILTERED_TRANSFERS, &arguments, summary).await?;
        self.call_summaries(&mut rows).await?;
        Ok(Page::cut(rows, limit, |(seq, _)| seq.to_string()).map(|(_, summary)| summary))
    }
}

impl Batch<'_> {
    pub(super) async fn metadata_of(
        &mut self,
        mut account: Account,
    ) -> Result<Account, StoreError> {
        let sql = OF_ACCOUNT.replace('?', &account.id.to_string());
        let rows = self.query_once(&sql, metadata_row).await?;
        fill(std::slice::from_mut(&mut account), rows);
        Ok(account)
    }
}
