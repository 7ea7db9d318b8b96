//! Account sets: under the write lock what is written, beside it totals, which are sums over balances of one moment.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::current::late;
use super::engine::Batch;
use super::error::StoreError;
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use super::rows;
use crate::account::Created;
use crate::account_set::{
    AccountSet, Member, MemberRow, NewMembers, SETS_MAX, SetBody, SetError, SetRow,
};
use crate::act::{Acted, Booked};
use crate::naming::validate_code;
use crate::report::{CurrencyTotals, Page};

const SETS: &str =
    "SELECT id, code, name, created_at_us FROM account_sets WHERE code > ? ORDER BY code LIMIT ?";
const SET: &str = "SELECT id, code, name, created_at_us FROM account_sets WHERE code = ?";
const MEMBERS: &str = "SELECT m.id, a.code, s.code FROM account_set_members AS m
     LEFT JOIN accounts AS a ON a.id = m.account_id
     LEFT JOIN account_sets AS s ON s.id = m.member_set_id
     WHERE m.id > ? AND m.set_id = ? ORDER BY m.id LIMIT ?";
/// Sets within a set, each once.
const TOTALS: &str = concat!(
    "WITH RECURSIVE within (id) AS (
        SELECT id FROM account_sets WHERE id = ?
        UNION SELECT m.member_set_id FROM within JOIN account_set_members AS m ON m.set_id = within.id
        WHERE m.member_set_id IS NOT NULL
     )
     SELECT a.currency, c.scale, HIGH(debits), LOW(debits), HIGH(credits), LOW(credits)
     FROM (SELECT DISTINCT m.account_id FROM within JOIN account_set_members AS m ON m.set_id = within.id
        WHERE m.account_id IS NOT NULL) AS held
     JOIN balances AS b ON b.account_id = held.account_id
     JOIN accounts AS a ON a.id = b.account_id
     JOIN currencies AS c ON c.code = a.currency
     ",
    late!(),
    "
     GROUP BY a.currency, c.scale ORDER BY a.currency"
);
/// An account and all below it: codes from `code:` to before `code;`, which follows the colon.
const TREE: &str = concat!(
    "SELECT a.currency, c.scale, HIGH(debits), LOW(debits), HIGH(credits), LOW(credits)
     FROM (SELECT id, currency FROM accounts WHERE code = ?
        UNION ALL SELECT id, currency FROM accounts WHERE code >= ? AND code < ?) AS a
     JOIN balances AS b ON b.account_id = a.id
     JOIN currencies AS c ON c.code = a.currency
     ",
    late!(),
    "
     GROUP BY a.currency, c.scale ORDER BY a.currency"
);

#[cfg(test)]
pub const STATEMENTS: &[&str] = &[SETS, SET];

/// Id, code, name, created at.
pub(super) fn set_row(row: &dyn Columns) -> Result<SetRow, StoreError> {
    Ok(SetRow {
        id: row.long(0)?,
        code: row.string(1)?,
        name: row.string(2)?,
        created_at_us: row.long(3)?,
    })
}

/// Id, set, account, set within, added at.
pub(super) fn member_row(row: &dyn Columns) -> Result<MemberRow, StoreError> {
    Ok(MemberRow {
        id: row.long(0)?,
        set_id: row.long(1)?,
        account_id: row.long_if_any(2)?,
        member_set_id: row.long_if_any(3)?,
        added_at_us: row.long(4)?,
    })
}

impl Batch<'_> {
    pub(super) async fn store_set(
        &mut self,
        body: &SetBody,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let all = "SELECT id, code, name, created_at_us FROM account_sets ORDER BY id";
        let all = self.query(all, set_row).await?;
        if let Some(there) = all.iter().find(|row| row.code == body.code) {
            let there = there.clone();
            let same = there.name == body.name;
            let created = if same { Created::Existing(there) } else { Created::Conflict(there) };
            return Ok((Acted::Set(created), Vec::new()));
        }
        let id = all.last().map_or(0, |row| row.id) + 1;
        if id > SETS_MAX {
            return Ok((Acted::NoMembers(SetError::TooMany), Vec::new()));
        }
        let (code, name) = (body.code.clone(), body.name.clone());
        let row = SetRow { id, code, name, created_at_us: now.as_microsecond() };
        self.insert(&[rows::of_set(&row)]).await?;
        Ok((Acted::Set(Created::New(row.clone())), vec![Booked::Set(row)]))
    }

    /// Adds what is not there yet.
    pub(super) async fn store_members(
        &mut self,
        new: &NewMembers,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let set_id = new.set_id;
        if !new.sets.is_empty() && self.is_within(set_id, &new.sets).await? {
            return Ok((Acted::NoMembers(SetError::Cycle), Vec::new()));
        }
        let sql = format!(
            "SELECT id, set_id, account_id, member_set_id, added_at_us FROM account_set_members WHERE set_id = {set_id}"
        );
        let there = self.query_once(&sql, member_row).await?;
        let known: BTreeSet<(Option<i64>, Option<i64>)> =
            there.iter().map(|row| (row.account_id, row.member_set_id)).collect();
        let wanted: BTreeSet<(Option<i64>, Option<i64>)> = (new.accounts.iter())
            .map(|id| (Some(*id), None))
            .chain(new.sets.iter().map(|id| (None, Some(*id))))
            .collect();
        let last = "SELECT coalesce(max(id), 0) FROM account_set_members";
        let last = self.query(last, |row| row.long(0)).await?.pop().unwrap_or(0);
        let members: Vec<MemberRow> = (last + 1..)
            .zip(wanted.difference(&known))
            .map(|(id, (account_id, member_set_id))| MemberRow {
                id,
                set_id,
                account_id: *account_id,
                member_set_id: *member_set_id,
                added_at_us: now.as_microsecond(),
            })
            .collect();
        if !members.is_empty() {
            self.insert(&[rows::of_members(&members)]).await?;
        }
        let added = members.len();
        Ok((Acted::Members(added), members.into_iter().map(Booked::Member).collect()))
    }

    /// Whether one of the sets is the set, or has it within.
    async fn is_within(&mut self, set_id: i64, sets: &[i64]) -> Result<bool, StoreError> {
        let all =
            "SELECT id, set_id, account_id, member_set_id, added_at_us FROM account_set_members
             WHERE member_set_id IS NOT NULL";
        let edges = self.query(all, member_row).await?;
        let mut seen: BTreeSet<i64> = sets.iter().copied().collect();
        let mut ahead: Vec<i64> = sets.to_vec();
        while let Some(at) = ahead.pop() {
            if at == set_id {
                return Ok(true);
            }
            let below = edges.iter().filter(|row| row.set_id == at);
            ahead.extend(below.filter_map(|row| row.member_set_id).filter(|id| seen.insert(*id)));
        }
        Ok(false)
    }
}

impl Reader {
    /// Sets with a code after `after`.
    pub async fn sets(&self, after: &str, limit: usize) -> Result<Page<AccountSet>, StoreError> {
        let arguments = [Arg::Text(after), Arg::Long(one_more(limit))];
        let rows = self.rows(SETS, &arguments, |row| Ok(set_row(row)?.listed())).await?;
        Ok(Page::cut(rows, limit, |set| set.code.clone()))
    }

    pub async fn set(&self, code: &str) -> Result<Option<AccountSet>, StoreError> {
        if validate_code(code).is_err() {
            return Ok(None);
        }
        self.row(SET, &[Arg::Text(code)], |row| Ok(set_row(row)?.listed())).await
    }

    /// Members of a set after the `after`th of all.
    pub async fn members(
        &self,
        set_id: i64,
        after: i64,
        limit: usize,
    ) -> Result<Page<Member>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(set_id), Arg::Long(one_more(limit))];
        let code = |row: &dyn Columns, place| {
            if row.is_null(place)? { Ok(None) } else { row.string(place).map(Some) }
        };
        let member = |row: &dyn Columns| {
            Ok(Member { id: row.long(0)?, account: code(row, 1)?, set: code(row, 2)? })
        };
        let rows = self.rows(MEMBERS, &arguments, member).await?;
        Ok(Page::cut(rows, limit, |member| member.id.to_string()))
    }

    /// What all accounts within a set come to.
    pub async fn set_totals(&self, set_id: i64) -> Result<Vec<CurrencyTotals>, StoreError> {
        self.rows(&self.in_halves(TOTALS), &[Arg::Long(set_id)], |row| row::totals(row)).await
    }

    /// What an account and all below it come to.
    pub async fn tree_totals(&self, code: &str) -> Result<Vec<CurrencyTotals>, StoreError> {
        let (from, to) = (format!("{code}:"), format!("{code};"));
        let arguments = [Arg::Text(code), Arg::Text(&from), Arg::Text(&to)];
        self.rows(&self.in_halves(TREE), &arguments, |row| row::totals(row)).await
    }
}
