//! What rows mean, whichever engine they come from. The statements of all engines give the same
//! columns in the same order; each reader below says which.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, ValueRef};
use uuid::Uuid;

use super::statement::Point;
use super::{StoreError, impossible};
use crate::account::{CurrencyBody, Side};
use crate::batch::{Answer, Last, StoredAnswer};
use crate::chain::Head;
use crate::money::{Currency, format_minor};
use crate::posting::{Balance, Limits, Standing, Target, TargetEntry};
use crate::report::{
    Account, AccountBalance, AccountEntry, CurrencyTotals, Page, TransferSummary, TrialBalance,
};
use crate::transfer::{Transfer, TransferEntry, TransferKind};

/// Columns by their place, counted from 0.
pub trait Columns {
    fn long(&self, index: usize) -> Result<i64, StoreError>;
    fn text(&self, index: usize) -> Result<&str, StoreError>;
    fn bytes(&self, index: usize) -> Result<&[u8], StoreError>;
    /// Text in SQLite, 16 bytes in MySQL, a type of its own in PostgreSQL.
    fn uuid(&self, index: usize) -> Result<Uuid, StoreError>;
    fn long_if_any(&self, index: usize) -> Result<Option<i64>, StoreError>;
    fn is_null(&self, index: usize) -> Result<bool, StoreError>;

    fn uuid_if_any(&self, index: usize) -> Result<Option<Uuid>, StoreError> {
        if self.is_null(index)? { Ok(None) } else { self.uuid(index).map(Some) }
    }

    fn kind(&self, index: usize) -> Result<TransferKind, StoreError> {
        let word = self.text(index)?;
        TransferKind::from_word(word).ok_or_else(|| impossible("a kind of transfer", &word))
    }

    /// The kind of the transfer that followed, if one did.
    fn kind_if_any(&self, index: usize) -> Result<Option<TransferKind>, StoreError> {
        if self.is_null(index)? { Ok(None) } else { self.kind(index).map(Some) }
    }

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

    fn instant_if_any(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        if self.is_null(index)? { Ok(None) } else { self.instant(index).map(Some) }
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
    fn long_if_any(&self, index: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn is_null(&self, index: usize) -> Result<bool, StoreError> {
        Ok(self.try_get_raw(index)?.is_null())
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
    fn long_if_any(&self, index: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn is_null(&self, index: usize) -> Result<bool, StoreError> {
        Ok(self.try_get_raw(index)?.is_null())
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
    fn long_if_any(&self, index: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(index)?)
    }
    fn is_null(&self, index: usize) -> Result<bool, StoreError> {
        Ok(self.try_get_raw(index)?.is_null())
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

/// Code, name, currency, normal side, created at, id.
pub fn account(row: &(impl Columns + ?Sized)) -> Result<Account, StoreError> {
    Ok(Account {
        id: row.long(5)?,
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
    let accounts = rows.iter().map(|row| account(row)).collect::<Result<_, _>>()?;
    Ok(Page::cut(accounts, limit, |account: &Account| account.code.clone()))
}

/// Code, currency, scale, normal side, id, debits, credits, entries, pending debits, pending credits,
/// lowest balance, highest balance.
pub fn balance(row: &impl Columns) -> Result<AccountBalance, StoreError> {
    let (code, Standing { currency, normal, balance, limits, .. }) = standing(row)?;
    let text = |minor: i128| format_minor(minor, currency.scale);
    Ok(AccountBalance {
        account: code,
        normal_balance: normal,
        debits: text(balance.debits_minor.into()),
        credits: text(balance.credits_minor.into()),
        balance: text(normal.balance(balance.debits_minor, balance.credits_minor)),
        pending_debits: text(balance.pending_debits_minor.into()),
        pending_credits: text(balance.pending_credits_minor.into()),
        available: text(balance.available(normal)),
        balance_min: limits.min_minor.map(|minor| text(minor.into())),
        balance_max: limits.max_minor.map(|minor| text(minor.into())),
        entries: balance.entries,
        currency: currency.code,
    })
}

/// The same columns as `balance`.
pub fn standing(row: &impl Columns) -> Result<(String, Standing), StoreError> {
    let standing = Standing {
        account_id: row.long(4)?,
        currency: Currency { code: row.string(1)?, scale: row.small(2)? },
        normal: row.side(3)?,
        balance: Balance {
            debits_minor: row.long(5)?,
            credits_minor: row.long(6)?,
            entries: row.long(7)?,
            pending_debits_minor: row.long(8)?,
            pending_credits_minor: row.long(9)?,
        },
        limits: Limits { min_minor: row.long_if_any(10)?, max_minor: row.long_if_any(11)? },
    };
    Ok((row.string(0)?, standing))
}

/// Booked at, debits after, credits after.
pub fn point(row: &impl Columns) -> Result<Point, StoreError> {
    Ok(Point {
        booked_at_us: row.long(0)?,
        debits_minor: row.long(1)?,
        credits_minor: row.long(2)?,
    })
}

/// A head of the chain: number, hash.
pub fn head(row: &impl Columns) -> Result<Head, StoreError> {
    let hash = row.bytes(1)?.try_into().map_err(|_| impossible("a hash", &"another length"))?;
    Ok(Head { seq: row.long(0)?, hash })
}

/// The last transfer's number, the last entry's id, the last pending entry's id, the last booking.
pub fn last(row: &impl Columns) -> Result<Last, StoreError> {
    Ok(Last {
        transfer_seq: row.long(0)?,
        entry_id: row.long(1)?,
        pending_entry_id: row.long(2)?,
        booked_at_us: row.long(3)?,
    })
}

/// Sequence number, id, kind, description, expires at, first entry's id, number of entries, follower's
/// id, follower's kind.
pub fn target(row: &impl Columns) -> Result<(Target, i64), StoreError> {
    let follower = row.uuid_if_any(7)?.zip(row.kind_if_any(8)?);
    let target = Target {
        seq: row.long(0)?,
        id: row.uuid(1)?,
        kind: row.kind(2)?,
        description: row.string(3)?,
        expires_at: row.instant_if_any(4)?,
        entry_id_first: row.long(5)?,
        entries: Vec::new(),
        followed_by: follower,
    };
    Ok((target, row.long(6)?))
}

/// Id, account, direction, amount.
pub fn target_entry(row: &impl Columns) -> Result<(i64, TargetEntry), StoreError> {
    let entry = TargetEntry {
        account: row.string(1)?,
        direction: row.side(2)?,
        amount_minor: row.long(3)?,
    };
    Ok((row.long(0)?, entry))
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

/// `row`: description, effective date, booked at, first entry's id, number of entries, kind, expires
/// at, id of the transfer it follows, follower's id, follower's kind. `entries`: account, direction,
/// amount, scale, currency.
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
    let kind = row.kind(5)?;
    Ok(Transfer {
        id,
        kind,
        state: kind.state(row.kind_if_any(9)?),
        description: row.string(0)?,
        effective_date: row.date(1)?,
        booked_at: row.instant(2)?,
        expires_at: row.instant_if_any(6)?,
        of: row.uuid_if_any(7)?,
        followed_by: row.uuid_if_any(8)?,
        entries: rendered,
    })
}

/// Id, description, effective date, booked at, number of entries, sequence number, kind, follower's
/// kind.
pub fn transfers(rows: &[impl Columns], limit: usize) -> Result<Page<TransferSummary>, StoreError> {
    let mut summaries = Vec::with_capacity(rows.len());
    for row in rows {
        let kind = row.kind(6)?;
        let summary = TransferSummary {
            id: row.uuid(0)?,
            kind,
            state: kind.state(row.kind_if_any(7)?),
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
