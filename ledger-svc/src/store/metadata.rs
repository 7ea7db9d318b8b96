//! Metadata of accounts: rows of their own, with an index by name and value.

use std::collections::HashMap;

use super::StoreError;
use super::engine::Batch;
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use crate::metadata::{Filter, Metadata};
use crate::report::{Account, Page};

const OF_ACCOUNT: &str =
    "SELECT account_id, name, value FROM account_metadata WHERE account_id = ?";
/// The page is cut before anything is joined to it.
const FILTERED: &str = "SELECT a.code, a.name, a.currency, a.normal_balance, a.created_at_us, a.id
     FROM (SELECT account_id FROM account_metadata
        WHERE name = ? AND value = ? AND account_id > ? ORDER BY account_id LIMIT ?) AS m
     JOIN accounts AS a ON a.id = m.account_id
     ORDER BY m.account_id";

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[OF_ACCOUNT, FILTERED];

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

impl Batch<'_> {
    pub(super) async fn metadata_of(
        &mut self,
        mut account: Account,
    ) -> Result<Account, StoreError> {
        let sql = OF_ACCOUNT.replace('?', &account.id.to_string());
        let rows = self.query(&sql, metadata_row).await?;
        fill(std::slice::from_mut(&mut account), rows);
        Ok(account)
    }
}
