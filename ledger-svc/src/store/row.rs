//! What rows mean, whichever engine they come from. The statements of all engines give the same
//! columns in the same order; each reader below says which.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, ValueRef};
use uuid::Uuid;

use super::error::{StoreError, impossible};
use crate::account::{Account, CurrencyBody, Side};
use crate::batch::{Last, StoredAnswer};
use crate::behind::BalanceNow;
pub use crate::hex::push_hex;
use crate::link::Head;
use crate::metadata::Metadata;
use crate::money::{Currency, format_minor};
use crate::posting::{Balance, Limits, Standing, Target, TargetEntry};
use crate::report::{AccountBalance, AccountEntry, CurrencyTotals, TransferSummary};
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
        let id: Uuid = text.parse().map_err(|_| impossible("a transfer id", &text))?;
        // Written otherwise it would be found in a list, and not by its id.
        let written = *id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *text;
        if written { Ok(id) } else { Err(impossible("a transfer id", &text)) }
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
    /// Small numbers are widened, as the other engines do it.
    fn long(&self, index: usize) -> Result<i64, StoreError> {
        Ok(match self.try_get(index) {
            Err(sqlx::Error::ColumnDecode { .. }) => i64::from(self.try_get::<i16, _>(index)?),
            found => found?,
        })
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

/// Code, name, currency, normal side, created at, id. Its metadata is read apart.
pub fn account(row: &(impl Columns + ?Sized)) -> Result<Account, StoreError> {
    Ok(Account {
        id: row.long(5)?,
        code: row.string(0)?,
        name: row.string(1)?,
        currency: row.string(2)?,
        normal_balance: row.side(3)?,
        created_at: row.instant(4)?,
        metadata: Metadata::default(),
    })
}

/// Code, scale.
pub fn currency(row: &(impl Columns + ?Sized)) -> Result<CurrencyBody, StoreError> {
    Ok(CurrencyBody { code: row.string(0)?, scale: row.small(1)? })
}

/// Code, currency, scale, normal side, id, debits, credits, entries, pending debits, pending credits,
/// lowest balance, highest balance, last entry.
pub fn balance(row: &(impl Columns + ?Sized)) -> Result<AccountBalance, StoreError> {
    let (code, standing) = standing(row)?;
    Ok(AccountBalance::of(code, &standing))
}

/// Debits, credits, entries, pending debits, pending credits, from that column on.
pub fn totals_at(row: &(impl Columns + ?Sized), first: usize) -> Result<Balance, StoreError> {
    Ok(Balance {
        debits_minor: row.long(first)?,
        credits_minor: row.long(first + 1)?,
        entries: row.long(first + 2)?,
        pending_debits_minor: row.long(first + 3)?,
        pending_credits_minor: row.long(first + 4)?,
    })
}

/// The same columns as `balance`.
pub fn standing(row: &(impl Columns + ?Sized)) -> Result<(String, Standing), StoreError> {
    let standing = Standing {
        account_id: row.long(4)?,
        currency: Currency { code: row.string(1)?, scale: row.small(2)? },
        normal: row.side(3)?,
        balance: totals_at(row, 5)?,
        limits: Limits { min_minor: row.long_if_any(10)?, max_minor: row.long_if_any(11)? },
        last_entry_id: row.long(12)?,
    };
    Ok((row.string(0)?, standing))
}

/// Account id, debits, credits, entries, pending debits, pending credits, last entry.
pub fn balance_now(row: &(impl Columns + ?Sized)) -> Result<BalanceNow, StoreError> {
    Ok(BalanceNow {
        account_id: row.long(0)?,
        balance: totals_at(row, 1)?,
        last_entry_id: row.long(6)?,
    })
}

/// A head of the chain: number, hash.
pub fn head(row: &(impl Columns + ?Sized)) -> Result<Head, StoreError> {
    let hash = row.bytes(1)?.try_into().map_err(|_| impossible("a hash", &"another length"))?;
    Ok(Head { seq: row.long(0)?, hash })
}

/// The last transfer's number, the last entry's id, the last pending entry's id, the last booking.
pub fn last(row: &(impl Columns + ?Sized)) -> Result<Last, StoreError> {
    Ok(Last {
        transfer_seq: row.long(0)?,
        entry_id: row.long(1)?,
        pending_entry_id: row.long(2)?,
        booked_at_us: row.long(3)?,
    })
}

/// Sequence number, id, kind, description, expires at, first entry's id, number of entries, follower's
/// id, follower's kind, effective date, booked at, id of the transfer it follows.
pub fn target(row: &(impl Columns + ?Sized)) -> Result<(Target, i64), StoreError> {
    let follower = row.uuid_if_any(7)?.zip(row.kind_if_any(8)?);
    let target = Target {
        seq: row.long(0)?,
        id: row.uuid(1)?,
        kind: row.kind(2)?,
        of: row.uuid_if_any(11)?,
        description: row.string(3)?,
        metadata: Metadata::default(),
        effective_date: row.date(9)?,
        booked_at: row.instant(10)?,
        expires_at: row.instant_if_any(4)?,
        entry_id_first: row.long(5)?,
        entries: Vec::new(),
        followed_by: follower,
    };
    Ok((target, row.long(6)?))
}

/// Id, account, direction, amount.
pub fn target_entry(row: &(impl Columns + ?Sized)) -> Result<(i64, TargetEntry), StoreError> {
    let entry = TargetEntry {
        account: row.string(1)?,
        direction: row.side(2)?,
        amount_minor: row.long(3)?,
    };
    Ok((row.long(0)?, entry))
}

/// Number, transfer, description, effective date, booked at, direction, amount, debits after, credits
/// after; of the account `owner`.
pub fn entry(owner: &Standing, row: &(impl Columns + ?Sized)) -> Result<AccountEntry, StoreError> {
    let scale = owner.currency.scale;
    Ok(AccountEntry {
        number: row.long(0)?,
        transfer: row.uuid(1)?,
        description: row.string(2)?,
        effective_date: row.date(3)?,
        booked_at: row.instant(4)?,
        direction: row.side(5)?,
        amount: format_minor(row.long(6)?.into(), scale),
        balance: format_minor(owner.normal.balance(row.long(7)?, row.long(8)?), scale),
        metadata: Metadata::default(),
    })
}

/// Account, direction, amount, scale, currency.
pub fn transfer_entry(row: &(impl Columns + ?Sized)) -> Result<TransferEntry, StoreError> {
    Ok(TransferEntry {
        account: row.string(0)?,
        direction: row.side(1)?,
        amount: format_minor(row.long(2)?.into(), row.small(3)?),
        currency: row.string(4)?,
    })
}

/// Description, effective date, booked at, first entry's id, number of entries, kind, expires at, id of the
/// transfer it follows, follower's id, follower's kind. Its entries are read apart.
pub fn transfer(id: Uuid, row: &(impl Columns + ?Sized)) -> Result<Transfer, StoreError> {
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
        entries: Vec::new(),
        metadata: Metadata::default(),
    })
}

/// Id, description, effective date, booked at, number of entries, sequence number, kind, follower's
/// kind.
pub fn transfer_summary(row: &(impl Columns + ?Sized)) -> Result<TransferSummary, StoreError> {
    let kind = row.kind(6)?;
    Ok(TransferSummary {
        id: row.uuid(0)?,
        kind,
        state: kind.state(row.kind_if_any(7)?),
        description: row.string(1)?,
        effective_date: row.date(2)?,
        booked_at: row.instant(3)?,
        entries: row.long(4)?,
        metadata: Metadata::default(),
    })
}

/// Currency, scale, and each side's sum in two halves of 32 bits, the high one first.
pub fn totals(row: &(impl Columns + ?Sized)) -> Result<CurrencyTotals, StoreError> {
    let sum = |high: usize| -> Result<i128, StoreError> {
        Ok((i128::from(row.long(high)?) << 32) + i128::from(row.long(high + 1)?))
    };
    Ok(CurrencyTotals::of(row.string(0)?, row.small(1)?, sum(2)?, sum(4)?))
}

/// Key, fingerprint, status, body, transfer's id.
pub fn answer(row: &(impl Columns + ?Sized)) -> Result<(String, StoredAnswer), StoreError> {
    let status = row.long(2)?;
    let fingerprint = row.bytes(1)?;
    let stored = StoredAnswer {
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| impossible("a fingerprint", &format!("{} bytes", fingerprint.len())))?,
        transfer_id: row.uuid(4)?,
        status: u16::try_from(status).map_err(|_| impossible("a status", &status))?,
        body: if row.is_null(3)? { None } else { Some(Arc::from(row.text(3)?)) },
    };
    Ok((row.string(0)?, stored))
}

/// A page is read with one row to spare, which tells whether there is another page.
pub fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).map_or(i64::MAX, |limit| limit.saturating_add(1))
}
