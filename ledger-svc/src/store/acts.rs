//! How acts of administration are stored, and what is read of keys and of the audit log.

use jiff::Timestamp;

use super::engine::Batch;
use super::error::{StoreError, impossible};
use super::reader::{Arg, Reader};
use super::row::{Columns, one_more};
use super::rows;
use crate::act::{Act, Acted, AuditEntry, AuditRow, Booked, RevocationRow};
use crate::key::rate::Rate;
use crate::key::{ApiKey, ApiKeyRow, NewKey, Role};
use crate::report::Page;

const KEYS: &str = "SELECT k.id, k.name, k.prefix, k.hash, k.role, k.rate_per_second, k.rate_burst, k.created_at_us, k.expires_at_us,
        r.revoked_at_us, u.last_used_at_us
     FROM api_keys AS k
     LEFT JOIN api_key_revocations AS r ON r.key_id = k.id
     LEFT JOIN api_key_uses AS u ON u.key_id = k.id
     WHERE k.id > ? ORDER BY k.id LIMIT ?";
const KEY: &str = "SELECT k.id, k.name, k.prefix, k.hash, k.role, k.rate_per_second, k.rate_burst, k.created_at_us, k.expires_at_us,
        r.revoked_at_us, u.last_used_at_us
     FROM api_keys AS k
     LEFT JOIN api_key_revocations AS r ON r.key_id = k.id
     LEFT JOIN api_key_uses AS u ON u.key_id = k.id
     WHERE k.id = ?";
const LAST_KEY: &str = "SELECT coalesce(max(id), 0) FROM api_keys";
const KEYS_REVOKED: &str = "SELECT count(*) FROM api_key_revocations";
const KEYS_EXPIRED: &str = "SELECT count(*) FROM api_keys AS k WHERE k.expires_at_us IS NOT NULL AND k.expires_at_us <= NOW
        AND NOT EXISTS (SELECT 1 FROM api_key_revocations AS r WHERE r.key_id = k.id)";
const NEXT_AUDIT: &str = "SELECT coalesce(max(id), 0) + 1 FROM audit_log";
const AUDIT_LOG: &str = "SELECT id, at_us, actor, action, subject, detail FROM audit_log WHERE id > ? ORDER BY id LIMIT ?";
/// Keys read at once.
const PAGE: usize = 1000;

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[KEYS, KEY, LAST_KEY, NEXT_AUDIT, AUDIT_LOG];

/// A key with when it was revoked and last used, in microseconds since 1970.
type Known = (ApiKeyRow, Option<i64>, Option<i64>);

fn key_row(row: &dyn Columns) -> Result<ApiKeyRow, StoreError> {
    let rate = match (row.long_if_any(5)?, row.long_if_any(6)?) {
        (None, None) => None,
        (Some(per_second), Some(burst)) => Some((per_second, burst)),
        (one, other) => return Err(impossible("half a rate", &format!("{one:?} and {other:?}"))),
    };
    let count = |found: i64| u32::try_from(found).map_err(|_| impossible("a rate", &found));
    let rate = rate.map(|(per_second, burst)| {
        Ok::<_, StoreError>(Rate { per_second: count(per_second)?, burst: count(burst)? })
    });
    let role = row.text(4)?;
    Ok(ApiKeyRow {
        id: row.long(0)?,
        name: row.string(1)?,
        prefix: row.string(2)?,
        hash: row
            .bytes(3)?
            .try_into()
            .map_err(|_| impossible("a key's hash", &"another length"))?,
        role: Role::from_word(role).ok_or_else(|| impossible("a role", &role))?,
        rate: rate.transpose()?,
        created_at_us: row.long(7)?,
        expires_at_us: row.long_if_any(8)?,
    })
}

/// A key as the audit reads it.
pub(super) fn stored_key(row: &dyn Columns) -> Result<ApiKeyRow, StoreError> {
    key_row(row)
}

fn known(row: &dyn Columns) -> Result<Known, StoreError> {
    Ok((key_row(row)?, row.long_if_any(9)?, row.long_if_any(10)?))
}

fn listed((row, revoked_at_us, last_used_at_us): Known) -> Result<ApiKey, StoreError> {
    let instant = |us: i64| Timestamp::from_microsecond(us).map_err(|_| impossible("a time", &us));
    Ok(ApiKey {
        id: row.id,
        name: row.name,
        prefix: row.prefix,
        role: row.role,
        rate: row.rate,
        created_at: instant(row.created_at_us)?,
        expires_at: row.expires_at_us.map(instant).transpose()?,
        revoked_at: revoked_at_us.map(instant).transpose()?,
        last_used_at: last_used_at_us.map(instant).transpose()?,
    })
}

impl ApiKeyRow {
    /// As listed when it is new.
    pub fn listed(self) -> Result<ApiKey, StoreError> {
        listed((self, None, None))
    }
}

fn entry(row: &dyn Columns) -> Result<AuditEntry, StoreError> {
    let detail = row.text(5)?;
    Ok(AuditEntry {
        id: row.long(0)?,
        at: row.instant(1)?,
        actor: row.string(2)?,
        action: row.string(3)?,
        subject: row.string(4)?,
        detail: serde_json::from_str(detail).map_err(|_| impossible("a detail", &detail))?,
    })
}

impl Batch<'_> {
    /// Does one act, under the write lock. What it adds to the chain is given with it.
    pub async fn act(
        &mut self,
        act: &Act,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        Ok(match act {
            Act::CreateCurrency(body) => {
                let created = self.create_currency(body).await?;
                let booked = created.created().cloned().map(Booked::Currency);
                (Acted::Currency(created), booked.into_iter().collect())
            }
            Act::SetLimits { account_id, seen, limits, .. } => {
                match self.set_limits(*account_id, *seen, *limits, now).await? {
                    Some(row) => (Acted::LimitsSet, vec![Booked::Limits(row)]),
                    None => (Acted::Changed, Vec::new()),
                }
            }
            Act::Close(new) => {
                let (closing, row) = self.create_close(new, now).await?;
                (Acted::Closing(closing), row.map(Booked::Close).into_iter().collect())
            }
            Act::CreateKey { key, keys_max } => self.create_key(key, *keys_max, now).await?,
            Act::RevokeKey { id, seen } => self.revoke_key(*id, seen.as_ref(), now).await?,
            Act::CreateEndpoint { endpoint, endpoints_max } => {
                self.create_endpoint(endpoint, *endpoints_max, now).await?
            }
            Act::RemoveEndpoint { id, seen } => {
                self.remove_endpoint(*id, seen.as_ref(), now).await?
            }
            Act::ResumeEndpoint { id, seen } => self.resume_endpoint(*id, seen.as_ref()).await?,
            Act::CreateSet(body) => self.store_set(body, now).await?,
            Act::AddMembers(new) => self.store_members(new, now).await?,
            Act::ImportStatement(new) => self.store_statement(new, now).await?,
            Act::WithdrawStatement { account_id, statement, reason } => {
                self.store_withdrawal(*account_id, *statement, reason, now).await?
            }
            Act::Match(new) => self.store_matches(new, now).await?,
            Act::Unmatch { match_id, reason } => self.store_unmatch(*match_id, reason, now).await?,
            Act::Sign(signed) => self.store_signature(signed).await?,
            Act::NoteProgress(progress) => {
                self.insert(&[rows::of_progress(progress)]).await?;
                (Acted::Noted, Vec::new())
            }
            Act::NoteUses(uses) => {
                let uses = uses.iter().map(|(key, at)| (*key, Some(*at)));
                self.insert(&[rows::of_key_uses(uses)]).await?;
                (Acted::Noted, Vec::new())
            }
        })
    }

    async fn create_key(
        &mut self,
        new: &NewKey,
        keys_max: usize,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let number = |rows: Vec<i64>| rows.first().copied().unwrap_or(0);
        let last = number(self.query(LAST_KEY, |row| row.long(0)).await?);
        let expired = KEYS_EXPIRED.replace("NOW", &now.as_microsecond().to_string());
        let gone = number(self.query(KEYS_REVOKED, |row| row.long(0)).await?)
            + number(self.query(&expired, |row| row.long(0)).await?);
        if usize::try_from(last - gone).is_ok_and(|in_force| in_force >= keys_max) {
            return Ok((Acted::TooManyKeys, Vec::new()));
        }
        let row = ApiKeyRow {
            id: last + 1,
            name: new.body.name.clone(),
            prefix: new.prefix.clone(),
            hash: new.hash,
            role: new.body.role,
            rate: new.body.rate,
            created_at_us: now.as_microsecond(),
            expires_at_us: new.body.expires_at.map(Timestamp::as_microsecond),
        };
        self.insert(&rows::of_key(&row)).await?;
        Ok((Acted::Key(row.clone()), vec![Booked::Key(row)]))
    }

    async fn revoke_key(
        &mut self,
        id: i64,
        seen: Option<&ApiKey>,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let sql = KEY.replace('?', &id.to_string());
        let Some((key, revoked, used)) = self.query(&sql, known).await?.pop() else {
            return Ok((Acted::NoSuchKey, Vec::new()));
        };
        let current = listed((key.clone(), revoked, used))?;
        if seen.is_some_and(|seen| *seen != current) {
            return Ok((Acted::Changed, Vec::new()));
        }
        if revoked.is_some() {
            return Ok((Acted::RevokedBefore(current), Vec::new()));
        }
        let row = RevocationRow { key_id: id, revoked_at_us: now.as_microsecond() };
        self.insert(&[rows::of_revocation(row)]).await?;
        let listed = listed((key, Some(row.revoked_at_us), used))?;
        Ok((Acted::Revoked(listed), vec![Booked::Revocation(row)]))
    }

    /// The number of the next entry of the audit log.
    pub async fn next_audit(&mut self) -> Result<i64, StoreError> {
        Ok(self.query(NEXT_AUDIT, |row| row.long(0)).await?.pop().unwrap_or(1))
    }

    /// Writes an entry of the audit log.
    pub async fn note(&mut self, row: &AuditRow) -> Result<(), StoreError> {
        self.insert(&[rows::of_audit(row)]).await
    }
}

impl Reader {
    /// Keys after the `after`th, revoked and expired ones too.
    pub async fn keys(&self, after: i64, limit: usize) -> Result<Page<ApiKey>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit))];
        let rows = self.rows(KEYS, &arguments, |row| listed(known(row)?)).await?;
        Ok(Page::cut(rows, limit, |key| key.id.to_string()))
    }

    pub async fn key(&self, id: i64) -> Result<Option<ApiKey>, StoreError> {
        self.row(KEY, &[Arg::Long(id)], |row| listed(known(row)?)).await
    }

    /// Every key that is not revoked.
    pub async fn keys_in_force(&self) -> Result<Vec<ApiKeyRow>, StoreError> {
        let (mut in_force, mut after) = (Vec::new(), 0);
        loop {
            let arguments = [Arg::Long(after), Arg::Long(one_more(PAGE) - 1)];
            let page = self.rows(KEYS, &arguments, known).await?;
            let Some((last, ..)) = page.last() else { return Ok(in_force) };
            after = last.id;
            let valid = page.into_iter().filter(|(_, revoked, _)| revoked.is_none());
            in_force.extend(valid.map(|(row, ..)| row));
        }
    }

    /// The audit log after its `after`th entry.
    pub async fn audit_log(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Page<AuditEntry>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(one_more(limit))];
        let rows = self.rows(AUDIT_LOG, &arguments, entry).await?;
        Ok(Page::cut(rows, limit, |entry| entry.id.to_string()))
    }
}
