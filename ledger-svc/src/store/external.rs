//! Statements of others as they are stored: imported once, withdrawn once, and never changed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use sha2::{Digest, Sha256};

use super::audit::{Audit, stray};
use super::engine::Batch;
use super::error::StoreError;
use super::reader::{Arg, Reader};
use super::reconcile::line_row;
use super::row::{Columns, one_more};
use super::rows;
use crate::act::{Acted, Booked};
use crate::link::Hash;
use crate::money::format_minor;
use crate::reconcile::overlap::{self, Known, Overlap};
use crate::reconcile::{
    ExternalStatement, LineRow, NewStatement, ReadLine, RepeatRow, RepeatedLine, StatementRow,
    WithdrawError, WithdrawalRow,
};
use crate::report::Page;

const LAST_STATEMENT: &str = "SELECT coalesce(max(id), 0) FROM external_statements";
const LAST_LINE: &str = "SELECT coalesce(max(id), 0) FROM external_lines";
/// Those that were withdrawn, too.
const STATEMENTS: &str =
    "SELECT s.id, a.code, a.currency, c.scale, s.name, s.format, s.opening_minor, s.closing_minor,
        s.first_date, s.last_date, s.line_count, s.imported_at_us, w.withdrawn_at_us,
        (SELECT count(*) FROM external_repeats AS r WHERE r.statement_id = s.id)
     FROM external_statements AS s
     JOIN accounts AS a ON a.id = s.account_id
     JOIN currencies AS c ON c.code = a.currency
     LEFT JOIN external_withdrawals AS w ON w.statement_id = s.id";
const REPEATED: &str = "SELECT r.number, r.line_id, l.statement_id
     FROM external_repeats AS r JOIN external_lines AS l ON l.id = r.line_id
     WHERE r.statement_id = ? ORDER BY r.number";

#[cfg(test)]
pub const STATEMENTS_READ: &[&str] = &[LAST_STATEMENT, LAST_LINE, REPEATED];

fn statement(row: &dyn Columns) -> Result<ExternalStatement, StoreError> {
    let scale = row.small(3)?;
    let text = |minor: Option<i64>| minor.map(|minor| format_minor(minor.into(), scale));
    Ok(ExternalStatement {
        id: row.long(0)?,
        account: row.string(1)?,
        currency: row.string(2)?,
        name: row.string(4)?,
        format: row.string(5)?,
        opening_balance: text(row.long_if_any(6)?),
        closing_balance: text(row.long_if_any(7)?),
        first_date: row.date(8)?,
        last_date: row.date(9)?,
        lines: row.long(10)?,
        repeated: row.long(13)?,
        imported_at: row.instant(11)?,
        withdrawn_at: row.instant_if_any(12)?,
    })
}

/// What a statement is known by where the account had one of that hash and withdrew it: it may be imported again.
fn once_more(hash: &Hash) -> Hash {
    let mut digest = Sha256::new();
    digest.update("withdrawn\n");
    digest.update(hash);
    digest.finalize().into()
}

/// A statement that is stored, as one that comes is held against it.
struct Stored {
    id: i64,
    hash: Vec<u8>,
    withdrawn: bool,
    /// Whether balances, days and the number of lines are the same.
    alike: bool,
}

/// What is compared of a line: day, amount and identity, and its texts where they are the statement's own.
type Compared = (Date, i64, String, Option<(String, String)>);

impl Batch<'_> {
    async fn stored(&mut self, new: &NewStatement) -> Result<Vec<Stored>, StoreError> {
        let sql = format!(
            "SELECT s.id, s.hash, s.opening_minor, s.closing_minor, s.first_date, s.last_date, s.line_count, w.statement_id
             FROM external_statements AS s LEFT JOIN external_withdrawals AS w ON w.statement_id = s.id
             WHERE s.account_id = {} ORDER BY s.id",
            new.account_id
        );
        let (first, last) = new.read.days();
        let balances = (new.read.opening_minor, new.read.closing_minor);
        let count = i64::try_from(new.read.lines.len()).unwrap_or(i64::MAX);
        let read = |row: &dyn Columns| {
            let alike = (row.long_if_any(2)?, row.long_if_any(3)?) == balances
                && row.text(4)? == first.to_string()
                // How far it goes tells apart those that say nothing else.
                && (count > 0 || row.text(5)? == last.to_string())
                && row.long(6)? == count;
            let (id, hash, withdrawn) = (row.long(0)?, row.bytes(1)?.to_vec(), !row.is_null(7)?);
            Ok(Stored { id, hash, withdrawn, alike })
        };
        self.query_once(&sql, read).await
    }

    /// A statement of the account that has the same text, or says the same: sent again it may have another head, or other
    /// ends of lines. Or else the hash it is to be stored by.
    async fn known_statement(
        &mut self,
        new: &NewStatement,
    ) -> Result<Result<i64, Hash>, StoreError> {
        let stored = self.stored(new).await?;
        let mut hash = new.hash;
        while let Some(same_text) = stored.iter().find(|stored| stored.hash == hash) {
            if !same_text.withdrawn {
                return Ok(Ok(same_text.id));
            }
            hash = once_more(&hash);
        }
        for Stored { id, .. } in stored.iter().filter(|stored| stored.alike && !stored.withdrawn) {
            if self.says_the_same(*id, &new.read.lines).await? {
                return Ok(Ok(*id));
            }
        }
        Ok(Err(hash))
    }

    async fn says_the_same(&mut self, id: i64, read: &[ReadLine]) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT number, date, amount_minor, identity, reference, text FROM external_lines WHERE statement_id = {id}"
        );
        let own = |row: &dyn Columns| {
            let texts = Some((row.string(4)?, row.string(5)?));
            Ok((row.long(0)?, (row.date(1)?, row.long(2)?, row.string(3)?, texts)))
        };
        let mut lines: BTreeMap<i64, Compared> =
            self.query_once(&sql, own).await?.into_iter().collect();
        // The texts are those of the statement that had the line first, which may say it in other words.
        let sql = format!(
            "SELECT r.number, l.date, l.amount_minor, l.identity FROM external_repeats AS r
             JOIN external_lines AS l ON l.id = r.line_id WHERE r.statement_id = {id}"
        );
        let repeated = |row: &dyn Columns| -> Result<(i64, Compared), StoreError> {
            Ok((row.long(0)?, (row.date(1)?, row.long(2)?, row.string(3)?, None)))
        };
        lines.extend(self.query_once(&sql, repeated).await?);
        let is_same = |((date, minor, identity, texts), line): (&Compared, &ReadLine)| {
            let said = texts
                .as_ref()
                .is_none_or(|(reference, text)| (reference, text) == (&line.reference, &line.text));
            said && (*date, *minor) == (line.date, line.minor)
                && !overlap::told_apart(identity, &line.identity)
        };
        Ok(lines.len() == read.len() && lines.values().zip(read).all(is_same))
    }

    /// What of a statement is there already.
    async fn overlap(&mut self, new: &NewStatement) -> Result<Overlap, StoreError> {
        let (first, last) = new.read.days();
        let sql = format!(
            "SELECT l.id, l.statement_id, l.number, l.date, l.amount_minor, l.reference, l.text, l.identity, s.format
             FROM external_statements AS s JOIN external_lines AS l ON l.statement_id = s.id
             WHERE s.account_id = {} AND s.last_date >= '{first}' AND s.first_date <= '{last}'
                AND l.date >= '{first}' AND l.date <= '{last}'
                AND NOT EXISTS (SELECT 1 FROM external_withdrawals AS w WHERE w.statement_id = s.id)
             ORDER BY l.id",
            new.account_id
        );
        let known = |row: &dyn Columns| {
            let line = ReadLine {
                date: row.date(3)?,
                minor: row.long(4)?,
                reference: row.string(5)?,
                text: row.string(6)?,
                identity: row.string(7)?,
            };
            let same_format = row.text(8)? == new.format.as_str();
            Ok(Known { id: row.long(0)?, statement: row.long(1)?, same_format, line })
        };
        Ok(overlap::find(&new.read.lines, &self.query_once(&sql, known).await?))
    }

    /// Stores a statement with its lines, unless the account has the same already. Lines that another statement has are not
    /// stored again.
    pub(super) async fn store_statement(
        &mut self,
        new: &NewStatement,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        let hash = match self.known_statement(new).await? {
            Ok(id) => return Ok((Acted::StatementBefore(id), Vec::new())),
            Err(hash) => hash,
        };
        let overlap = self.overlap(new).await?;
        let id = self.number(LAST_STATEMENT).await? + 1;
        let first = self.number(LAST_LINE).await? + 1;
        let numbered = (1..).zip(&new.read.lines);
        let (mut lines, mut repeats) = (Vec::new(), Vec::new());
        let mut ids = first..;
        for (number, read) in numbered {
            if let Some(line_id) = overlap.repeated.get(&number) {
                repeats.push(RepeatRow { number, line_id: *line_id });
                continue;
            }
            lines.push(LineRow {
                id: ids.next().unwrap_or(i64::MAX),
                statement_id: id,
                number,
                date: read.date.to_string(),
                amount_minor: read.minor,
                reference: read.reference.clone(),
                text: read.text.clone(),
                identity: read.identity.clone(),
            });
        }
        let (first_day, last_day) = new.read.days();
        let row = StatementRow {
            id,
            account_id: new.account_id,
            name: new.name.clone(),
            format: new.format.as_str().to_owned(),
            hash: hash.to_vec(),
            opening_minor: new.read.opening_minor,
            closing_minor: new.read.closing_minor,
            first_date: first_day.to_string(),
            last_date: last_day.to_string(),
            line_count: i64::try_from(new.read.lines.len()).unwrap_or(i64::MAX),
            imported_at_us: now.as_microsecond(),
            lines,
            repeats,
        };
        self.insert(&rows::of_statement(&row)).await?;
        Ok((Acted::Statement(id, overlap.warnings), vec![Booked::Statement(Box::new(row))]))
    }

    /// Withdraws a statement: its lines are open no more. All of them must be.
    pub(super) async fn store_withdrawal(
        &mut self,
        account_id: Option<i64>,
        statement: i64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(Acted, Vec<Booked>), StoreError> {
        if let Some(error) = self.cannot_withdraw(account_id, statement).await? {
            return Ok((Acted::NotWithdrawn(error), Vec::new()));
        }
        let (reason, withdrawn_at_us) = (reason.to_owned(), now.as_microsecond());
        let row = WithdrawalRow { statement_id: statement, reason, withdrawn_at_us };
        self.insert(&[rows::of_withdrawal(&row)]).await?;
        let sql = format!(
            "DELETE FROM open_lines WHERE line_id IN (SELECT id FROM external_lines WHERE statement_id = {statement})"
        );
        self.run(sql).await?;
        Ok((Acted::Withdrawn, vec![Booked::Withdrawal(row)]))
    }

    async fn cannot_withdraw(
        &mut self,
        account_id: Option<i64>,
        statement: i64,
    ) -> Result<Option<WithdrawError>, StoreError> {
        let sql = format!("SELECT account_id FROM external_statements WHERE id = {statement}");
        let found = self.query_once(&sql, |row| row.long(0)).await?.pop();
        if found.is_none_or(|of| account_id.is_some_and(|account_id| account_id != of)) {
            return Ok(Some(WithdrawError::NoStatement(statement)));
        }
        let sql = format!(
            "SELECT statement_id FROM external_withdrawals WHERE statement_id = {statement}"
        );
        if !self.query_once(&sql, |row| row.long(0)).await?.is_empty() {
            return Ok(Some(WithdrawError::Before(statement)));
        }
        let sql = format!(
            "SELECT l.id FROM external_lines AS l LEFT JOIN open_lines AS o ON o.line_id = l.id
             WHERE l.statement_id = {statement} AND o.line_id IS NULL ORDER BY l.id"
        );
        let lines = self.query_once(&sql, |row| row.long(0)).await?;
        if !lines.is_empty() {
            return Ok(Some(WithdrawError::Matched { statement, lines }));
        }
        // Its lines are theirs as well, and would be open nowhere.
        let sql = format!(
            "SELECT DISTINCT r.statement_id FROM external_lines AS l
             JOIN external_repeats AS r ON r.line_id = l.id
             LEFT JOIN external_withdrawals AS w ON w.statement_id = r.statement_id
             WHERE l.statement_id = {statement} AND w.statement_id IS NULL ORDER BY r.statement_id"
        );
        let others = self.query_once(&sql, |row| row.long(0)).await?;
        Ok((!others.is_empty()).then_some(WithdrawError::Repeated { statement, others }))
    }
}

impl Reader {
    /// Statements of an account after the `after`th of all.
    pub async fn external_statements(
        &self,
        account_id: i64,
        after: i64,
        limit: usize,
    ) -> Result<Page<ExternalStatement>, StoreError> {
        let arguments = [Arg::Long(after), Arg::Long(account_id), Arg::Long(one_more(limit))];
        let of = "WHERE s.id > ? AND s.account_id = ? ORDER BY s.id LIMIT ?";
        let rows = self.rows(&format!("{STATEMENTS} {of}"), &arguments, statement).await?;
        Ok(Page::cut(rows, limit, |statement| statement.id.to_string()))
    }

    /// The one that goes furthest, of those that were not withdrawn.
    pub async fn last_statement(
        &self,
        account_id: i64,
    ) -> Result<Option<ExternalStatement>, StoreError> {
        let last = "WHERE s.account_id = ? AND w.statement_id IS NULL ORDER BY s.last_date DESC, s.id DESC LIMIT 1";
        self.row(&format!("{STATEMENTS} {last}"), &[Arg::Long(account_id)], statement).await
    }

    /// Lines of a statement that are lines of earlier ones.
    pub async fn repeated_lines(&self, statement: i64) -> Result<Vec<RepeatedLine>, StoreError> {
        let read = |row: &dyn Columns| {
            let (number, line, statement) = (row.long(0)?, row.long(1)?, row.long(2)?);
            Ok(RepeatedLine { number, line, statement })
        };
        self.rows(REPEATED, &[Arg::Long(statement)], read).await
    }
}

impl Audit {
    /// Statements of others, with their lines and those they repeat.
    pub async fn statements(&mut self) -> Result<Vec<StatementRow>, StoreError> {
        let sql = "SELECT id, account_id, name, format, hash, opening_minor, closing_minor, first_date, last_date, line_count,
                imported_at_us
             FROM external_statements ORDER BY id";
        let read = self.rows(sql.to_owned(), |row| {
            Ok(StatementRow {
                id: row.long(0)?,
                account_id: row.long(1)?,
                name: row.string(2)?,
                format: row.string(3)?,
                hash: row.bytes(4)?.to_vec(),
                opening_minor: row.long_if_any(5)?,
                closing_minor: row.long_if_any(6)?,
                first_date: row.string(7)?,
                last_date: row.string(8)?,
                line_count: row.long(9)?,
                imported_at_us: row.long(10)?,
                lines: Vec::new(),
                repeats: Vec::new(),
            })
        });
        let mut statements = read.await?;
        let sql = "SELECT id, statement_id, number, date, amount_minor, reference, text, identity
             FROM external_lines ORDER BY statement_id, number";
        for line in self.rows(sql.to_owned(), line_row).await? {
            let place = statements.binary_search_by_key(&line.statement_id, |row| row.id);
            match place {
                Ok(place) => statements[place].lines.push(line),
                Err(_) => return Err(stray("external_lines", line.id)),
            }
        }
        let sql = "SELECT statement_id, number, line_id FROM external_repeats ORDER BY statement_id, number";
        let repeat = |row: &dyn Columns| {
            Ok((row.long(0)?, RepeatRow { number: row.long(1)?, line_id: row.long(2)? }))
        };
        for (id, repeat) in self.rows(sql.to_owned(), repeat).await? {
            match statements.binary_search_by_key(&id, |row| row.id) {
                Ok(place) => statements[place].repeats.push(repeat),
                Err(_) => return Err(stray("external_repeats", id)),
            }
        }
        Ok(statements)
    }

    pub async fn withdrawals(&mut self) -> Result<Vec<WithdrawalRow>, StoreError> {
        let sql = "SELECT statement_id, reason, withdrawn_at_us FROM external_withdrawals ORDER BY statement_id";
        self.rows(sql.to_owned(), |row| {
            let (statement_id, reason) = (row.long(0)?, row.string(1)?);
            Ok(WithdrawalRow { statement_id, reason, withdrawn_at_us: row.long(2)? })
        })
        .await
    }
}
