//! The rules run over an account: what is read for them, what of the proposals is taken, and what a line without an entry
//! is adjusted by.

mod looking;

use jiff::civil::Date;
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;
use utoipa::ToSchema;

pub use self::looking::{LeftOut, Looked};
use crate::account::Side;
use crate::act::{Act, Acted, Actor};
use crate::interchange::{Fault, Faults};
use crate::link::Hash;
use crate::metadata::Metadata;
use crate::metrics::Metrics;
use crate::money::format_minor;
use crate::posting::{Rejection, Standing};
use crate::reconcile::statement::cut;
use crate::reconcile::table::Mapping;
use crate::reconcile::{
    Adjusted, ImportWarning, Match, MatchError, MatchRow, NAME_CHARS_MAX, NewAdjustment, NewMatch,
    NewStatement, NotSearched, Proposal, RepeatedLine, Rule, Rules, StatementFormat, WithdrawError,
    camt, overlap, table,
};
use crate::store::{Reader, StoreError};
use crate::transfer::{BatchItem, EntryBody, ItemError, TransferBody};
use crate::writer::{Handle, WriteError};

/// What reconciliation works with.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    pub reader: &'a Reader,
    pub writer: &'a Handle,
    pub metrics: &'a Metrics,
    pub actor: &'a Actor,
    /// The account's code and how it stands.
    pub code: &'a str,
    pub account: &'a Standing,
}

/// What came of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reconciled {
    /// Booked now.
    pub matches: Vec<Match>,
    /// For a person to decide.
    pub suggestions: Vec<Proposal>,
    pub left_out: LeftOut,
    pub not_searched: NotSearched,
}

/// Why something of it is not done.
#[derive(Debug, Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error(transparent)]
    Match(#[from] MatchError),
    #[error(transparent)]
    Withdraw(#[from] WithdrawError),
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Item(#[from] ItemError),
    #[error(
        "line {0} was adjusted before, by another transfer or by one that was reversed since; book what is missing and match it by hand"
    )]
    AdjustedOtherwise(i64),
    #[error("an adjustment against the account itself moves nothing; name another one")]
    AgainstItself,
}

/// What a line without an entry is booked as.
#[derive(Clone, Debug)]
pub struct Adjustment {
    pub line: i64,
    /// The account on the other side.
    pub against: String,
    pub reason: String,
    /// The line's own date when there is none.
    pub effective_date: Option<Date>,
}

/// What came of a statement.
pub struct Imported {
    /// Its number.
    pub id: i64,
    pub new: bool,
    /// Its lines that are lines of earlier statements.
    pub repeated: Vec<RepeatedLine>,
    pub warnings: Vec<ImportWarning>,
}

impl Desk<'_> {
    /// Reads and stores a statement.
    pub async fn import(
        &self,
        format: StatementFormat,
        text: &str,
        mapping: Option<&Mapping>,
        name: Option<&str>,
    ) -> Result<Imported, ReconcileError> {
        let mut read = match (format, mapping) {
            (StatementFormat::Csv, Some(mapping)) => {
                table::read(text, mapping, &self.account.currency)?
            }
            _ => {
                let of = camt::Of { currency: &self.account.currency, normal: self.account.normal };
                camt::read(text, of)?
            }
        };
        // One that says what the balance is, and that nothing happened, is one all the same.
        if read.lines.is_empty() && (read.closing_minor.is_none() || read.closing_date.is_none()) {
            let message = "the statement has no line".to_owned();
            return Err(Faults(vec![Fault { line: 1, message }]).into());
        }
        let mut warnings = overlap::distinct(&mut read.lines);
        let own = read.name.clone().unwrap_or_default();
        let new = NewStatement {
            account_id: self.account.account_id,
            name: cut(name.unwrap_or(&own), NAME_CHARS_MAX),
            format,
            hash: self.hash(format, text),
            read,
        };
        match self.writer.act(Act::ImportStatement(new), self.actor.clone()).await? {
            Acted::Statement(id, found) => {
                warnings.extend(found);
                let repeated = self.reader.repeated_lines(id).await?;
                Ok(Imported { id, new: true, repeated, warnings })
            }
            Acted::StatementBefore(id) => {
                let repeated = self.reader.repeated_lines(id).await?;
                Ok(Imported { id, new: false, repeated, warnings: Vec::new() })
            }
            other => unreachable!("a statement became {other:?}"),
        }
    }

    /// Withdraws a statement of the account, none of whose lines is matched.
    pub async fn withdraw(&self, statement: i64, reason: &str) -> Result<(), ReconcileError> {
        let (account_id, reason) = (Some(self.account.account_id), reason.to_owned());
        let act = Act::WithdrawStatement { account_id, statement, reason };
        match self.writer.act(act, self.actor.clone()).await? {
            Acted::Withdrawn => Ok(()),
            Acted::NotWithdrawn(error) => Err(error.into()),
            other => unreachable!("a withdrawal became {other:?}"),
        }
    }

    /// What a text is known by. Earlier versions read camt.053 of accounts that grow by credits with every sign the other
    /// way round; what they stored is another statement.
    fn hash(&self, format: StatementFormat, text: &str) -> Hash {
        let mut digest = Sha256::new();
        if format == StatementFormat::Camt053 && self.account.normal == Side::Credit {
            digest.update(b"credit\n");
        }
        digest.update(text);
        digest.finalize().into()
    }

    /// Books the sure proposals of these rules; the others are suggestions.
    pub async fn run(&self, rules: Rules, taken: &[Rule]) -> Result<Reconciled, ReconcileError> {
        let Looked { proposals, left_out, not_searched } = self.proposals(rules).await?;
        let (sure, suggestions): (Vec<Proposal>, Vec<Proposal>) =
            proposals.into_iter().partition(|one| one.sure && taken.contains(&one.rule));
        let account_id = self.account.account_id;
        let new: Vec<NewMatch> = sure
            .into_iter()
            .map(|Proposal { rule, lines, entries, .. }| NewMatch {
                account_id,
                rule,
                reason: String::new(),
                lines,
                entries,
            })
            .collect();
        let mut reconciled =
            Reconciled { matches: Vec::new(), suggestions, left_out, not_searched };
        // Each batch is one act: what somebody matched meanwhile is passed over.
        for new in new.chunks(100) {
            for matched in self.book(new.to_vec()).await? {
                reconciled.matches.extend(matched.ok());
            }
        }
        Ok(reconciled)
    }

    /// Joins what a person says is the same.
    pub async fn join(
        &self,
        rule: Rule,
        reason: &str,
        lines: Vec<i64>,
        entries: Vec<i64>,
    ) -> Result<Match, ReconcileError> {
        let (account_id, reason) = (self.account.account_id, reason.to_owned());
        let new = NewMatch { account_id, rule, reason, lines, entries };
        match self.book(vec![new]).await?.pop() {
            Some(matched) => Ok(matched?),
            None => Err(MatchError::Size.into()),
        }
    }

    async fn book(
        &self,
        new: Vec<NewMatch>,
    ) -> Result<Vec<Result<Match, MatchError>>, ReconcileError> {
        match self.writer.act(Act::Match(new), self.actor.clone()).await? {
            Acted::Matches(matches) => {
                let told = |matched: Result<MatchRow, _>| matched.map(MatchRow::told);
                Ok(matches.into_iter().map(told).collect())
            }
            other => unreachable!("matches became {other:?}"),
        }
    }

    /// Books a transfer for a line that has no entry, and matches it: both or neither. Asked again, it books nothing twice.
    pub async fn adjust(&self, adjustment: &Adjustment) -> Result<Match, ReconcileError> {
        if adjustment.against == self.code {
            return Err(ReconcileError::AgainstItself);
        }
        let id = adjustment.line;
        let line = self.reader.external_line(id).await?;
        let of_account = |(_, account): &(_, i64)| *account == self.account.account_id;
        let (line, _) = line.filter(of_account).ok_or(MatchError::Line(id))?;
        let date = line.date.parse().map_err(|_| StoreError::Corrupt("a line's date".into()))?;
        let raises = line.amount_minor > 0;
        let (normal, scale) = (self.account.normal, self.account.currency.scale);
        let own = if raises { normal } else { normal.opposite() };
        let text = format_minor(i128::from(line.amount_minor).abs(), scale);
        let amount = text.parse().map_err(|error| Rejection::Amount { entry: 0, error })?;
        let entry = |account: &str, direction: Side| EntryBody {
            account: account.to_owned(),
            direction,
            amount,
        };
        let names = [
            ("reconciliation.line", id.to_string()),
            ("reconciliation.reason", adjustment.reason.clone()),
        ];
        let description = if line.text.is_empty() { &adjustment.reason } else { &line.text };
        let body = TransferBody {
            description: description.clone(),
            effective_date: Some(adjustment.effective_date.unwrap_or(date)),
            pending: false,
            expires_at: None,
            entries: vec![entry(self.code, own), entry(&adjustment.against, own.opposite())],
            split: Vec::new(),
            metadata: Metadata(names.map(|(name, value)| (name.to_owned(), value)).into()),
            expect: Vec::new(),
        };
        let request = BatchItem::transfer(format!("reconciliation:line:{id}"), body).request(2)?;
        let (account_id, reason) = (self.account.account_id, adjustment.reason.clone());
        let new = NewAdjustment { account_id, line: id, reason, request };
        match self.writer.adjust(new, self.actor.clone()).await? {
            Adjusted::Matched(row) => Ok(row.told()),
            Adjusted::Refused(error) => Err(error.into()),
            Adjusted::Rejected(rejection) => Err(rejection.into()),
            Adjusted::Otherwise => Err(ReconcileError::AdjustedOtherwise(id)),
        }
    }
}
