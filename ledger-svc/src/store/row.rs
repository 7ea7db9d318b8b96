//! What rows mean, whichever engine they come from. The statements of all engines give the same
//! columns in the same order; each reader below says which.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::Row;
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::{StoreError, impossible};
use crate::account::{CurrencyBody, Side};
use crate::batch::{Answer, StoredAnswer};
use crate::money::{Currency, format_minor};
use crate::posting::{Balance, Standing};
use crate::report::{
    Account, AccountBalance, AccountEntry, CurrencyTotals, Page, TransferSummary, TrialBalance,
};
use crate::transfer::{Transfer, TransferEntry};

/// Columns by their place, counted from 0.
pub trait Columns {
    fn long(&self, index: usize) -> Result<i64, StoreError>;
    fn text(&self, index: usize) -> Result<&str, StoreError>;
    fn bytes(&self, index: usize) -> Result<&[u8], StoreError>;
    /// Text in SQLite, 16 bytes in MySQL, a type of its own in PostgreSQL.
    fn uuid(&self, index: usize) -> Result<Uuid, StoreError>;

    fn string(&self, index: usize) -> Result<String, StoreError> {
        Ok(self.text(index)?.to_owned())
    }

    fn small(&self, index: usize) -> Result<u8, StoreError> {
        let found = self.long(index)?;
        u8::try_from(found).map_err(|_| impossible("a small number", &found))
    }

    fn side(&self, index: usize) -> Result<Side, StoreError> {
        let word = self.text(index)?;
        Side::from_word(word).ok_or_else(|| impossible("a side", &word))
    }

    fn date(&self, index: usize) -> Result<Date, StoreError> {
        let text = self.text(index)?;
        text.parse().map_err(|_| impossible("a date", &text))
    }

    fn instant(&self, index: usize) -> Result<Timestamp, StoreError> {
        let microseconds = self.long(index)?;
        Timestamp::from_microsecond(microseconds).map_err(|_| impossible("a time", &microseconds))
    }

    /// A sum beyond 64 bits, which servers give as text.
    fn sum(&self, index: usize) -> Result<i128, StoreError> {
        let text = self.text(index)?;
        text.parse().map_err(|_| impossible("a sum", &text))
    }
}

impl Columns for SqliteRow {
    fn long(&self, index: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn text(&self, index: usize) -> Result<&str, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn bytes(&self, index: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get(index)?)
    }
    fn uuid(&self, index: usize) -> Result<Uuid, StoreError> {
        let text = self.text(index)?;
        text.parse().map_err(|_| impossible("a transfer id", &text))
    }
}

impl Columns for MySqlRow {
    fn long(&self, index: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn text(&self, index: usize) -> Result<&str, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn bytes(&self, index: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get(index)?)
    }
    fn uuid(&self, index: usize) -> Result<Uuid, StoreError> {
        Ok(self.try_get(index)?)
    }
}

impl Columns for PgRow {
    fn long(&self, index: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn text(&self, index: usize) -> Result<&str, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn bytes(&self, index: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get(index)?)
    }
    fn uuid(&self, index: usize) -> Result<Uuid, StoreError> {
        Ok(self.try_get(index)?)
    }
}

/// Code, name, currency, normal side, created at.
pub fn account(row: &impl Columns) -> Result<Account, StoreError> {
    Ok(Account {
        code: row.string(0)?,
        name: row.string(1)?,
        currency: row.string(2)?,
        normal_balance: row.side(3)?,
        created_at: row.instant(4)?,
    })
}

/// Code, scale.
pub fn currencies(rows: &[impl Columns], limit: usize) -> Result<Page<CurrencyBody>, StoreError> {
    let mut currencies = Vec::with_capacity(rows.len());
    for row in rows {
        currencies.push(CurrencyBody { code: row.string(0)?, scale: row.small(1)? });
    }
    Ok(Page::cut(currencies, limit, |currency| currency.code.clone()))
}

/// As `account`.
pub fn accounts(rows: &[impl Columns], limit: usize) -> Result<Page<Account>, StoreError> {
    let accounts = rows.iter().map(account).collect::<Result<_, _>>()?;
    Ok(Page::cut(accounts, limit, |account: &Account| account.code.clone()))
}

/// Code, currency, scale, normal side, debits, credits, entries.
pub fn balance(row: &impl Columns) -> Result<AccountBalance, StoreError> {
    let (scale, normal) = (row.small(2)?, row.side(3)?);
    let (debits, credits) = (row.long(4)?, row.long(5)?);
    Ok(AccountBalance {
        account: row.string(0)?,
        currency: row.string(1)?,
        normal_balance: normal,
        debits: format_minor(debits.into(), scale),
        credits: format_minor(credits.into(), scale),
        balance: format_minor(normal.balance(debits, credits), scale),
        entries: row.long(6)?,
    })
}

/// `owner`: id, scale, normal side. `rows`: number, transfer, description, effective date, booked
/// at, direction, amount, debits after, credits after.
pub fn entries(
    owner: &impl Columns,
    rows: &[impl Columns],
    limit: usize,
) -> Result<Page<AccountEntry>, StoreError> {
    let (scale, normal) = (owner.small(1)?, owner.side(2)?);
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        entries.push(AccountEntry {
            number: row.long(0)?,
            transfer: row.uuid(1)?,
            description: row.string(2)?,
            effective_date: row.date(3)?,
            booked_at: row.instant(4)?,
            direction: row.side(5)?,
            amount: format_minor(row.long(6)?.into(), scale),
            balance: format_minor(normal.balance(row.long(7)?, row.long(8)?), scale),
        });
    }
    Ok(Page::cut(entries, limit, |entry| entry.number.to_string()))
}

/// `row`: description, effective date, booked at, first entry's id, number of entries. `entries`:
/// account, direction, amount, scale, currency.
pub fn transfer(
    id: Uuid,
    row: &impl Columns,
    entries: &[impl Columns],
) -> Result<Transfer, StoreError> {
    let mut rendered = Vec::with_capacity(entries.len());
    for entry in entries {
        rendered.push(TransferEntry {
            account: entry.string(0)?,
            direction: entry.side(1)?,
            amount: format_minor(entry.long(2)?.into(), entry.small(3)?),
            currency: entry.string(4)?,
        });
    }
    Ok(Transfer {
        id,
        description: row.string(0)?,
        effective_date: row.date(1)?,
        booked_at: row.instant(2)?,
        entries: rendered,
    })
}

/// Id, description, effective date, booked at, number of entries, sequence number.
pub fn transfers(rows: &[impl Columns], limit: usize) -> Result<Page<TransferSummary>, StoreError> {
    let mut summaries = Vec::with_capacity(rows.len());
    for row in rows {
        let summary = TransferSummary {
            id: row.uuid(0)?,
            description: row.string(1)?,
            effective_date: row.date(2)?,
            booked_at: row.instant(3)?,
            entries: row.long(4)?,
        };
        summaries.push((row.long(5)?, summary));
    }
    let page = Page::cut(summaries, limit, |(seq, _)| seq.to_string());
    let items = page.items.into_iter().map(|(_, summary)| summary).collect();
    Ok(Page { items, next_cursor: page.next_cursor })
}

/// `row`: currency, scale; and its sums.
pub fn totals(
    row: &impl Columns,
    debits: i128,
    credits: i128,
) -> Result<CurrencyTotals, StoreError> {
    let scale = row.small(1)?;
    Ok(CurrencyTotals {
        currency: row.string(0)?,
        debits: format_minor(debits, scale),
        credits: format_minor(credits, scale),
        difference: format_minor(debits - credits, scale),
    })
}

/// `rows`: as `balance`.
pub fn trial_balance(
    currencies: Vec<CurrencyTotals>,
    rows: &[impl Columns],
    limit: usize,
) -> Result<TrialBalance, StoreError> {
    let accounts = rows.iter().map(balance).collect::<Result<_, _>>()?;
    let page = Page::cut(accounts, limit, |account: &AccountBalance| account.account.clone());
    Ok(TrialBalance { currencies, accounts: page.items, next_cursor: page.next_cursor })
}

/// Key, fingerprint, status, body, transfer's id.
pub fn answer(row: &impl Columns) -> Result<(String, StoredAnswer), StoreError> {
    let fingerprint = row.bytes(1)?;
    let status = row.long(2)?;
    let answer = Answer {
        transfer_id: row.uuid(4)?,
        status: u16::try_from(status).map_err(|_| impossible("a status", &status))?,
        body: Arc::from(row.text(3)?),
    };
    let fingerprint = fingerprint
        .try_into()
        .map_err(|_| impossible("a fingerprint", &format!("{} bytes", fingerprint.len())))?;
    Ok((row.string(0)?, StoredAnswer { fingerprint, answer }))
}

/// Code, id, currency, scale, debits, credits, entries.
pub fn standing(row: &impl Columns) -> Result<(String, Standing), StoreError> {
    let standing = Standing {
        account_id: row.long(1)?,
        currency: Currency { code: row.string(2)?, scale: row.small(3)? },
        balance: Balance {
            debits_minor: row.long(4)?,
            credits_minor: row.long(5)?,
            entries: row.long(6)?,
        },
    };
    Ok((row.string(0)?, standing))
}

/// A page is read with one row to spare, which tells whether there is another page.
pub fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}

/// Bytes as engines that have no binary JSON take them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
