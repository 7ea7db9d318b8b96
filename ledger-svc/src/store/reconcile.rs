//! Reconciliation as it is stored: under the write lock what is written, beside it what is read.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::engine::Batch;
use super::error::{StoreError, impossible};
use super::list::List;
use super::reader::{Arg, Reader};
use super::row::{self, Columns, one_more};
use super::rows;
use super::way::along;
use crate::act::{Acted, Booked};
use crate::money::format_minor;
use crate::posting::Standing;
use crate::reconcile::{
    ExternalLine, LineRow, MATCH_MAX, MatchError, MatchRow, NewMatch, UnmatchRow, UnmatchedEntry,
    signed,
};
use crate::report::Page;
use crate::when::end_of;

const LAST_MATCH: &str = "SELECT coalesce(max(id), 0) FROM matches";
const OPEN_LINES: &str =
    "SELECT l.id, l.statement_id, l.number, l.date, l.amount_minor, l.reference, l.text, l.identity
     FROM (SELECT line_id FROM open_lines WHERE account_id = ? AND line_id > ? ORDER BY line_id LIMIT ?) AS o
     JOIN external_lines AS l ON l.id = o.line_id
     ORDER BY o.line_id";
const LINE: &str =
    "SELECT l.id, l.statement_id, l.number, l.date, l.amount_minor, l.reference, l.text, l.identity, s.account_id
     FROM external_lines AS l JOIN external_statements AS s ON s.id = l.statement_id
     WHERE l.id = ?";
/// With what those that are matched are left out by.
const UNMATCHED: &str = along!(
    "SELECT e.id, e.number, e.direction, e.amount_minor, t.id, t.effective_date, t.description,
        m.entry_id
     FROM way AS w
     JOIN entries AS e ON e.id = w.id
     JOIN transfers AS t ON t.seq = e.transfer_seq
     LEFT JOIN matched_entries AS m ON m.entry_id = e.id
     WHERE w.number <= ? ORDER BY w.number"
);
const MATCHES: &str = "SELECT m.id, m.account_id, m.rule, m.reason, m.matched_at_us
     FROM matches AS m LEFT JOIN unmatches AS u ON u.match_id = m.id
     WHERE m.id > ? AND m.account_id = ? AND u.match_id IS NULL ORDER BY m.id LIMIT ?";
const MATCH_LINES: &str = "SELECT match_id, line_id FROM match_lines WHERE match_id >= ? AND match_id <= ? ORDER BY match_id, line_id";
const MATCH_ENTRIES: &str = "SELECT match_id, entry_id FROM match_entries WHERE match_id >= ? AND match_id <= ? ORDER BY match_id, entry_id";

#[cfg(test)]
pub const STATEMENTS_READ: &[&str] =
    &[MATCHES, LAST_MATCH, OPEN_LINES, LINE, UNMATCHED, MATCH_LINES, MATCH_ENTRIES];

/// Id, statement, number, date, amount, reference, text, identity.
pub(super) fn line_row(row: &dyn Columns) -> Result<LineRow, StoreError> {
    Ok(LineRow {
        id: row.long(0)?,
        statement_id: row.long(1)?,
        number: row.long(2)?,
        date: row.string(3)?,
        amount_minor: row.long(4)?,
        reference: row.string(5)?,
        text: row.string(6)?,
        identity: row.string(7)?,
    })
}

fn line(scale: u8, row: &dyn Columns) -> Result<ExternalLine, StoreError> {
    let minor = row.long(4)?;
    Ok(ExternalLine {
        id: row.long(0)?,
        statement: row.long(1)?,
        number: row.long(2)?,
        date: row.date(3)?,
        amount: format_minor(minor.into(), scale),
        reference: row.string(5)?,
        text: row.string(6)?,
        identity: row.string(7)?,
        minor,
    })
}

/// Numbers between commas.
fn listed(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

impl Batch<'_> {
    pub(super) async fn number(&mut self, sql: &str) -> Result<i64, StoreError> {
        Ok(self.query(sql, |row| row.long(0)).await?.pop().unwrap_or(0))
    }

    /// Joins lines and entries, each judged by itself: what is no match leaves the others be.
    pub async fn store_matches(
        &mut self,
        new: &[NewMatch],
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let (mut acted, mut booked) = (Vec::new(), Vec::new());
        for new in new {
            match self.judge(new).await? {
                Err(error) => acted.push(Err(error)),
                Ok(()) => {
                    let row = self.store_match(new, now).await?;
                    acted.push(Ok(row.clone()));
                    booked.push(Booked::Match(row));
                }
            }
        }
        Ok((Acted::Matches(acted), booked))
    }

    /// Whether no match has an account's line.
    pub async fn is_open(&mut self, line: i64, account_id: i64) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT line_id FROM open_lines WHERE line_id = {line} AND account_id = {account_id}"
        );
        Ok(!self.query_once(&sql, |row| row.long(0)).await?.is_empty())
    }

    /// An account's entry in a transfer that stands; nothing when the transfer was reversed.
    pub async fn entry_in(
        &mut self,
        transfer: Uuid,
        account_id: i64,
    ) -> Result<Option<i64>, StoreError> {
        let found = self.look_up(List::Targets(&[transfer]), |row| row::target(row)).await?;
        let Some((target, entries)) = found.into_iter().next() else { return Ok(None) };
        if target.followed_by.is_some() {
            return Ok(None);
        }
        let (first, end) = (target.entry_id_first, target.entry_id_first + entries);
        let sql = format!(
            "SELECT id FROM entries WHERE id >= {first} AND id < {end} AND account_id = {account_id} ORDER BY id LIMIT 1"
        );
        Ok(self.query_once(&sql, |row| row.long(0)).await?.pop())
    }

    async fn judge(&mut self, new: &NewMatch) -> Result<Result<(), MatchError>, StoreError> {
        let once = |ids: &[i64]| ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
        let sizes = [&new.lines, &new.entries];
        if sizes.iter().any(|ids| ids.is_empty() || ids.len() > MATCH_MAX || !once(ids)) {
            return Ok(Err(MatchError::Size));
        }
        let sql = format!(
            "SELECT l.id, l.amount_minor FROM external_lines AS l JOIN open_lines AS o ON o.line_id = l.id
             WHERE l.id IN ({}) AND o.account_id = {}",
            listed(&new.lines), new.account_id
        );
        let amounts = |row: &dyn Columns| Ok((row.long(0)?, row.long(1)?));
        let lines: HashMap<i64, i64> = self.query_once(&sql, amounts).await?.into_iter().collect();
        if let Some(missing) = new.lines.iter().find(|id| !lines.contains_key(id)) {
            return Ok(Err(MatchError::Line(*missing)));
        }
        let sql = format!(
            "SELECT e.id, a.normal_balance, e.direction, e.amount_minor, c.scale FROM entries AS e
             JOIN accounts AS a ON a.id = e.account_id
             JOIN currencies AS c ON c.code = a.currency
             WHERE e.id IN ({0}) AND e.account_id = {1}
                AND NOT EXISTS (SELECT 1 FROM matched_entries AS m WHERE m.entry_id = e.id)",
            listed(&new.entries),
            new.account_id
        );
        let mut scale = 0;
        let read = self
            .query_once(&sql, |row| {
                let minor = signed(row.side(1)?, row.side(2)?, row.long(3)?);
                Ok((row.long(0)?, minor, row.small(4)?))
            })
            .await?;
        let mut entries = HashMap::new();
        for (id, minor, of) in read {
            entries.insert(id, minor);
            scale = of;
        }
        if let Some(missing) = new.entries.iter().find(|id| !entries.contains_key(id)) {
            return Ok(Err(MatchError::Entry(*missing)));
        }
        let sum =
            |minors: &HashMap<i64, i64>| minors.values().map(|m| i128::from(*m)).sum::<i128>();
        let (lines, entries) = (sum(&lines), sum(&entries));
        if lines == entries {
            return Ok(Ok(()));
        }
        let text = |minor: i128| format_minor(minor, scale);
        Ok(Err(MatchError::Sums { lines: text(lines), entries: text(entries) }))
    }

    async fn store_match(
        &mut self,
        new: &NewMatch,
        now: Timestamp,
    ) -> Result<MatchRow, StoreError> {
        let sorted = |ids: &[i64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        let row = MatchRow {
            id: self.number(LAST_MATCH).await? + 1,
            account_id: new.account_id,
            rule: new.rule.as_str().to_owned(),
            reason: new.reason.clone(),
            matched_at_us: now.as_microsecond(),
            lines: sorted(&new.lines),
            entries: sorted(&new.entries),
        };
        self.insert(&rows::of_match(&row)).await?;
        let gone = self
            .run(format!("DELETE FROM open_lines WHERE line_id IN ({})", listed(&row.lines)))
            .await?;
        if gone == row.lines.len() as u64 {
            return Ok(row);
        }
        Err(impossible("a match", &format!("{gone} lines closed instead of {}", row.lines.len())))
    }

    /// Takes a match back: its lines are open again, its entries free.
    pub(super) async fn store_unmatch(
        &mut self,
        match_id: i64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let sql = format!("SELECT account_id FROM matches WHERE id = {match_id}");
        let Some(account_id) = self.query_once(&sql, |row| row.long(0)).await?.pop() else {
            return Ok((Acted::NoMatch(MatchError::NoMatch(match_id)), Vec::new()));
        };
        let sql = format!("SELECT match_id FROM unmatches WHERE match_id = {match_id}");
        if !self.query_once(&sql, |row| row.long(0)).await?.is_empty() {
            return Ok((Acted::NoMatch(MatchError::TakenBack(match_id)), Vec::new()));
        }
        let sql =
            format!("SELECT line_id FROM match_lines WHERE match_id = {match_id} ORDER BY line_id");
        let lines = self.query_once(&sql, |row| row.long(0)).await?;
        let (reason, unmatched_at_us) = (reason.to_owned(), now.as_microsecond());
        let row = UnmatchRow { match_id, reason, unmatched_at_us };
        self.insert(&[rows::of_unmatch(&row), rows::of_open_lines(account_id, &lines)]).await?;
        let sql = format!(
            "DELETE FROM matched_entries WHERE entry_id IN (SELECT entry_id FROM match_entries WHERE match_id = {match_id})"
        );
        self.run(sql).await?;
        Ok((Acted::Unmatched, vec![Booked::Unmatch(row)]))
    }
}

impl Reader {
    /// Lines of an account that no match has.
    pub async fn open_lines(
        &self,
        account: &Standing,
        after: i64,
        limit: usize,
    ) -> Result<Page<ExternalLine>, StoreError> {
        let scale = account.currency.scale;
        let arguments =
            [Arg::Long(account.account_id), Arg::Long(after), Arg::Long(one_more(limit))];
        let rows = self.rows(OPEN_LINES, &arguments, |row| line(scale, row)).await?;
        Ok(Page::cut(rows, limit, |line| line.id.to_string()))
    }

    /// A line, and the account it is of.
    pub async fn external_line(&self, id: i64) -> Result<Option<(LineRow, i64)>, StoreError> {
        let read = |row: &dyn Columns| Ok((line_row(row)?, row.long(8)?));
        self.row(LINE, &[Arg::Long(id)], read).await
    }

    /// Entries of an account that no match has, of those numbered after `after`.
    pub async fn unmatched_entries(
        &self,
        account: &Standing,
        after: i64,
        limit: usize,
    ) -> Result<Page<UnmatchedEntry>, StoreError> {
        let entry = |row: &dyn Columns| {
            if !row.is_null(7)? {
                return Ok(None);
            }
            let direction = row.side(2)?;
            let minor = signed(account.normal, direction, row.long(3)?);
            Ok(Some(UnmatchedEntry {
                id: row.long(0)?,
                number: row.long(1)?,
                transfer: row.uuid(4)?,
                effective_date: row.date(5)?,
                description: row.string(6)?,
                direction,
                amount: format_minor(minor.into(), account.currency.scale),
                minor,
            }))
        };
        let numbers = (after, account.balance.entries);
        let rows = self.along(UNMATCHED, account, numbers, one_more(limit), entry).await?;
        Ok(Page::cut(rows, limit, |entry| entry.number.to_string()))
    }

    /// How many of an account's entries were booked before a day began.
    pub async fn entries_before_day(
        &self,
        account: &Standing,
        day: Date,
    ) -> Result<i64, StoreError> {
        let Ok(before) = day.yesterday() else { return Ok(0) };
        let mut moment = self.moment().await?;
        let totals = moment.booked_until(account, end_of(before)).await?;
        moment.end().await?;
        Ok(totals.entries)
    }

    /// Matches of an account that were not taken back, after the `after`th of all.
    pub async fn matches(
        &self,
        account_id: i64,
        after: i64,
        limit: usize,
    ) -> Result<Page<MatchRow>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(account_id), Arg::Long(one_more(limit))];
        let rows = self.rows(MATCHES, &arguments, match_row).await?;
        let mut page = Page::cut(rows, limit, |row| row.id.to_string());
        let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else {
            return Ok(page);
        };
        let ends = [Arg::Long(first.id), Arg::Long(last.id)];
        let pair = |row: &dyn Columns| Ok((row.long(0)?, row.long(1)?));
        let lines = self.rows(MATCH_LINES, &ends, pair).await?;
        let entries = self.rows(MATCH_ENTRIES, &ends, pair).await?;
        for (id, line) in lines {
            if let Ok(place) = page.items.binary_search_by_key(&id, |row| row.id) {
                page.items[place].lines.push(line);
            }
        }
        for (id, entry) in entries {
            if let Ok(place) = page.items.binary_search_by_key(&id, |row| row.id) {
                page.items[place].entries.push(entry);
            }
        }
        Ok(page)
    }
}

/// Id, account, rule, reason, matched at.
pub(super) fn match_row(row: &dyn Columns) -> Result<MatchRow, StoreError> {
    Ok(MatchRow {
        id: row.long(0)?,
        account_id: row.long(1)?,
        rule: row.string(2)?,
        reason: row.string(3)?,
        matched_at_us: row.long(4)?,
        lines: Vec::new(),
        entries: Vec::new(),
    })
}
