//! The heart: one request, the accounts as they stand and the transfer it follows go in; entries and
//! new balances, or a rejection, come out. No clock, no input or output, no rounding, no wrapping.

mod balance;
mod expect;
#[cfg(test)]
mod lifecycle_tests;
mod rejection;
mod share;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

pub use self::balance::{Balance, Broken, Limits, LimitsRow, Standing};
pub use self::rejection::{Imbalance, Rejection};
pub use self::share::ShareError;
use crate::account::Side;
use crate::metadata::Metadata;
use crate::money::{Currency, format_minor};
use crate::transfer::{Action, EntryBody, Split, Transfer, TransferEntry, TransferKind};

/// The accounts a batch touches, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts(pub HashMap<String, Standing>);

/// An earlier transfer that a request of the batch follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub seq: i64,
    pub id: Uuid,
    pub kind: TransferKind,
    pub of: Option<Uuid>,
    pub description: String,
    pub metadata: Metadata,
    pub effective_date: Date,
    pub booked_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Where its entries are stored.
    pub entry_id_first: i64,
    pub entries: Vec<TargetEntry>,
    /// The transfer that followed it already.
    pub followed_by: Option<(Uuid, TransferKind)>,
}

/// One entry of an earlier transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEntry {
    pub account: String,
    pub direction: Side,
    pub amount_minor: i64,
}

/// All that a posting may depend on.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub accounts: Accounts,
    pub targets: HashMap<Uuid, Target>,
    /// Nothing counts for this day, or one before, any more.
    pub closed_through: Option<Date>,
}

/// An entry that may be written: moved, held or released, as the posting's kind says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedEntry {
    pub account_id: i64,
    pub account: String,
    pub currency: Currency,
    pub direction: Side,
    pub amount_minor: i64,
    /// The account's totals with this entry; gives running balances without summing.
    pub after: Balance,
}

/// What one accepted request writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub kind: TransferKind,
    pub of: Option<Uuid>,
    pub description: String,
    pub metadata: Metadata,
    pub effective_date: Date,
    pub expires_at: Option<Timestamp>,
    /// In the order of the request, or of the transfer it follows.
    pub entries: Vec<PostedEntry>,
    /// The new balance of every account touched, by code.
    pub balances: BTreeMap<String, Balance>,
}

/// Judges one request against the books, as of the instant it would be booked at.
pub fn post(action: &Action, books: &Books, at: Timestamp) -> Result<Posting, Rejection> {
    let today = at.to_zoned(TimeZone::UTC).date();
    let mut draft = Draft::new(&books.accounts);
    let (kind, words, effective_date, expires_at) = match action {
        Action::Transfer(body) => {
            let kind = if body.pending { TransferKind::Pending } else { TransferKind::Transfer };
            if body.expires_at.is_some_and(|expires_at| expires_at <= at) {
                return Err(Rejection::ExpiresInPast(at));
            }
            expect::check(&body.expect, &books.accounts)?;
            let mut lines = draft.read(&body.entries)?;
            draft.share(&body.split, &mut lines)?;
            draft.book(kind, &lines)?;
            let words = (body.description.clone(), body.metadata.clone());
            (kind, words, body.effective_date, body.expires_at)
        }
        Action::Post { of, body } => {
            let target = pending(books, *of, at)?;
            let held = draft.lines_of(target)?;
            draft.release(&held)?;
            let lines = match &body.entries {
                None => held,
                Some(entries) => within(draft.read(entries)?, &held)?,
            };
            draft.book(TransferKind::Post, &lines)?;
            let words = target.words(body.description.as_ref(), body.metadata.as_ref());
            (TransferKind::Post, words, body.effective_date, None)
        }
        Action::Void { of, body } => {
            let target = pending(books, *of, at)?;
            let held = draft.lines_of(target)?;
            draft.release(&held)?;
            let words = target.words(body.description.as_ref(), body.metadata.as_ref());
            (TransferKind::Void, words, None, None)
        }
        Action::Reverse { of, body } => {
            let target = reversible(books, *of)?;
            let mut lines = draft.lines_of(target)?;
            lines.iter_mut().for_each(|line| line.direction = line.direction.opposite());
            draft.book(TransferKind::Reverse, &lines)?;
            let words = target.words(body.description.as_ref(), body.metadata.as_ref());
            (TransferKind::Reverse, words, body.effective_date, None)
        }
    };
    draft.check_limits()?;
    let effective_date = effective_date.unwrap_or(today);
    if let Some(through) = books.closed_through
        && effective_date <= through
    {
        return Err(Rejection::PeriodClosed { date: effective_date, through });
    }
    Ok(draft.posting(kind, action.of(), words, effective_date, expires_at))
}

/// Releases a pending transfer whose time is up.
pub fn expire(target: &Target, accounts: &Accounts, at: Timestamp) -> Result<Posting, Rejection> {
    let mut draft = Draft::new(accounts);
    let held = draft.lines_of(target)?;
    draft.release(&held)?;
    let today = at.to_zoned(TimeZone::UTC).date();
    let words = target.words(None, None);
    Ok(draft.posting(TransferKind::Expire, Some(target.id), words, today, None))
}

/// The transfer, if it can still be posted or voided.
fn pending(books: &Books, id: Uuid, at: Timestamp) -> Result<&Target, Rejection> {
    let target = books.targets.get(&id).ok_or(Rejection::UnknownTransfer(id))?;
    let follower = if target.expires_at.is_some_and(|expires_at| expires_at <= at) {
        target.followed_by.map(|(_, kind)| kind).or(Some(TransferKind::Expire))
    } else {
        target.followed_by.map(|(_, kind)| kind)
    };
    if target.kind == TransferKind::Pending && follower.is_none() {
        return Ok(target);
    }
    let state = target.kind.state(follower);
    Err(Rejection::NotPending { id, state, by: target.followed_by.map(|(by, _)| by) })
}

/// The transfer, if it moved something and that was not reversed.
fn reversible(books: &Books, id: Uuid) -> Result<&Target, Rejection> {
    let target = books.targets.get(&id).ok_or(Rejection::UnknownTransfer(id))?;
    let moved = matches!(target.kind, TransferKind::Transfer | TransferKind::Post);
    match target.followed_by {
        None if moved => Ok(target),
        by => Err(Rejection::NotReversible {
            id,
            kind: target.kind,
            state: target.kind.state(by.map(|(_, kind)| kind)),
            by: by.map(|(by, _)| by),
        }),
    }
}

/// `lines`, if no side of an account has more of them than of `held`.
fn within<'a>(lines: Vec<Line<'a>>, held: &[Line<'a>]) -> Result<Vec<Line<'a>>, Rejection> {
    let mut room: HashMap<(&str, Side), (i128, i128)> = HashMap::new();
    for line in held {
        let room = room.entry((line.account, line.direction)).or_default();
        room.0 += i128::from(line.minor);
        room.1 += i128::from(line.minor);
    }
    for (entry, line) in lines.iter().enumerate() {
        let room = room.entry((line.account, line.direction)).or_default();
        room.0 -= i128::from(line.minor);
        if room.0 < 0 {
            let currency = &line.standing.currency;
            return Err(Rejection::ExceedsHold {
                entry,
                account: line.account.to_owned(),
                direction: line.direction,
                held: format_minor(room.1, currency.scale),
                currency: currency.code.clone(),
            });
        }
    }
    Ok(lines)
}

/// An amount on one side of an account that exists.
#[derive(Clone, Copy)]
struct Line<'a> {
    account: &'a str,
    standing: &'a Standing,
    direction: Side,
    minor: i64,
}

/// A posting in the making.
struct Draft<'a> {
    accounts: &'a Accounts,
    entries: Vec<PostedEntry>,
    balances: BTreeMap<String, Balance>,
}

impl<'a> Draft<'a> {
    fn new(accounts: &'a Accounts) -> Self {
        Self { accounts, entries: Vec::new(), balances: BTreeMap::new() }
    }

    /// Entries as a client wrote them: their accounts must exist, their amounts fit.
    fn read<'b>(&self, entries: &'b [EntryBody]) -> Result<Vec<Line<'b>>, Rejection>
    where
        'a: 'b,
    {
        let unknown: Vec<String> = entries
            .iter()
            .filter(|entry| !self.accounts.0.contains_key(&entry.account))
            .map(|entry| entry.account.clone())
            .collect();
        if !unknown.is_empty() {
            return Err(Rejection::UnknownAccounts(unknown));
        }
        let line = |(index, entry): (usize, &'b EntryBody)| {
            let standing = &self.accounts.0[&entry.account];
            let minor = entry
                .amount
                .to_minor(&standing.currency)
                .map_err(|error| Rejection::Amount { entry: index, error })?;
            Ok(Line { account: &entry.account, standing, direction: entry.direction, minor })
        };
        entries.iter().enumerate().map(line).collect()
    }

    /// Adds what amounts that are shared out come to.
    fn share<'b>(&self, splits: &'b [Split], lines: &mut Vec<Line<'b>>) -> Result<(), Rejection>
    where
        'a: 'b,
    {
        for (index, split) in splits.iter().enumerate() {
            let refused = |error| Rejection::Split { index, error };
            let standing = |code: &str| {
                let unknown = || Rejection::UnknownAccounts(vec![code.to_owned()]);
                self.accounts.0.get(code).ok_or_else(unknown)
            };
            let Some(first) = split.parts.first() else { continue };
            let currency = &standing(&first.account)?.currency;
            let shares = share::share(split, currency).map_err(refused)?;
            for (part, minor) in split.parts.iter().zip(shares) {
                let standing = standing(&part.account)?;
                if standing.currency != *currency {
                    let (one, other) = (currency.code.clone(), standing.currency.code.clone());
                    return Err(refused(ShareError::Currencies(one, other)));
                }
                // A part that comes to nothing is no entry.
                if minor > 0 {
                    let (account, direction) = (part.account.as_str(), split.direction);
                    lines.push(Line { account, standing, direction, minor });
                }
            }
        }
        Ok(())
    }

    /// The entries of an earlier transfer.
    fn lines_of<'b>(&self, target: &'b Target) -> Result<Vec<Line<'b>>, Rejection>
    where
        'a: 'b,
    {
        let line = |entry: &'b TargetEntry| {
            let standing = self.accounts.0.get(&entry.account);
            let unknown = || Rejection::UnknownAccounts(vec![entry.account.clone()]);
            Ok(Line {
                account: &entry.account,
                standing: standing.ok_or_else(unknown)?,
                direction: entry.direction,
                minor: entry.amount_minor,
            })
        };
        target.entries.iter().map(line).collect()
    }

    /// Moves or holds the lines, if they balance.
    fn book(&mut self, kind: TransferKind, lines: &[Line<'_>]) -> Result<(), Rejection> {
        let unbalanced = imbalances(lines);
        if !unbalanced.is_empty() {
            return Err(Rejection::Unbalanced(unbalanced));
        }
        self.entries.clear();
        for (index, line) in lines.iter().enumerate() {
            let step = if kind.moves() { Balance::moved } else { Balance::held };
            let overflow = || Rejection::Overflow {
                entry: index,
                account: line.account.to_owned(),
                direction: line.direction,
            };
            let after = self.step(line, step).ok_or_else(overflow)?;
            self.entries.push(line.entry(after));
        }
        Ok(())
    }

    /// Gives back what a pending transfer held.
    fn release(&mut self, held: &[Line<'_>]) -> Result<(), Rejection> {
        for line in held {
            let broken = || Rejection::HoldBroken(line.account.to_owned());
            let after = self.step(line, Balance::released).ok_or_else(broken)?;
            self.entries.push(line.entry(after));
        }
        Ok(())
    }

    fn step(
        &mut self,
        line: &Line<'_>,
        step: impl Fn(Balance, Side, i64) -> Option<Balance>,
    ) -> Option<Balance> {
        let balance = self.balances.entry(line.account.to_owned()).or_insert(line.standing.balance);
        *balance = step(*balance, line.direction, line.minor)?;
        Some(*balance)
    }

    /// Limits are judged once all entries are in: one transfer may take and give.
    fn check_limits(&self) -> Result<(), Rejection> {
        for (code, after) in &self.balances {
            let standing = &self.accounts.0[code];
            let currency = &standing.currency;
            let text = |minor: i128| format_minor(minor, currency.scale);
            match standing.broken_by(after) {
                None => {}
                Some(Broken::Min { limit_minor, available_minor }) => {
                    return Err(Rejection::BelowMin {
                        account: code.clone(),
                        currency: currency.code.clone(),
                        available: text(available_minor),
                        limit: text(limit_minor.into()),
                    });
                }
                Some(Broken::Max { limit_minor, highest_minor }) => {
                    return Err(Rejection::AboveMax {
                        account: code.clone(),
                        currency: currency.code.clone(),
                        highest: text(highest_minor),
                        limit: text(limit_minor.into()),
                    });
                }
            }
        }
        Ok(())
    }

    fn posting(
        self,
        kind: TransferKind,
        of: Option<Uuid>,
        (description, metadata): (String, Metadata),
        effective_date: Date,
        expires_at: Option<Timestamp>,
    ) -> Posting {
        let Self { entries, balances, .. } = self;
        Posting { kind, of, description, metadata, effective_date, expires_at, entries, balances }
    }
}

impl Line<'_> {
    fn entry(&self, after: Balance) -> PostedEntry {
        PostedEntry {
            account_id: self.standing.account_id,
            account: self.account.to_owned(),
            currency: self.standing.currency.clone(),
            direction: self.direction,
            amount_minor: self.minor,
            after,
        }
    }
}

impl Books {
    /// Takes over an accepted posting, booked as `id`, for the next request of the batch.
    pub fn apply(&mut self, posting: &Posting, id: Uuid) {
        for (code, balance) in &posting.balances {
            if let Some(standing) = self.accounts.0.get_mut(code) {
                standing.balance = *balance;
            }
        }
        if let Some(target) = posting.of.and_then(|of| self.targets.get_mut(&of)) {
            target.followed_by = Some((id, posting.kind));
        }
    }
}

impl Target {
    /// Description and metadata of what follows it: its own where nothing else was said.
    fn words(
        &self,
        description: Option<&String>,
        metadata: Option<&Metadata>,
    ) -> (String, Metadata) {
        let description = description.unwrap_or(&self.description).clone();
        (description, metadata.unwrap_or(&self.metadata).clone())
    }

    /// The transfer as it was when it was booked; all its accounts are among those read with it.
    pub fn as_booked(&self, accounts: &Accounts) -> Transfer {
        let entry = |entry: &TargetEntry| {
            let currency = accounts.0.get(&entry.account).map(|standing| &standing.currency);
            TransferEntry {
                account: entry.account.clone(),
                direction: entry.direction,
                amount: format_minor(
                    entry.amount_minor.into(),
                    currency.map_or(0, |currency| currency.scale),
                ),
                currency: currency.map_or_else(String::new, |currency| currency.code.clone()),
            }
        };
        Transfer {
            id: self.id,
            kind: self.kind,
            state: self.kind.state(None),
            description: self.description.clone(),
            effective_date: self.effective_date,
            booked_at: self.booked_at,
            expires_at: self.expires_at,
            of: self.of,
            followed_by: None,
            entries: self.entries.iter().map(entry).collect(),
            metadata: self.metadata.clone(),
        }
    }
}

/// The currencies whose sides differ. A transfer has far fewer than 2^63 entries, so 128 bits do.
fn imbalances(lines: &[Line<'_>]) -> Vec<Imbalance> {
    let mut sums: BTreeMap<&str, (i128, i128, u8)> = BTreeMap::new();
    for line in lines {
        let currency = &line.standing.currency;
        let sum = sums.entry(&currency.code).or_insert((0, 0, currency.scale));
        match line.direction {
            Side::Debit => sum.0 += i128::from(line.minor),
            Side::Credit => sum.1 += i128::from(line.minor),
        }
    }
    let differing = sums.into_iter().filter(|(_, (debits, credits, _))| debits != credits);
    differing
        .map(|(currency, (debits, credits, scale))| Imbalance {
            currency: currency.to_owned(),
            debits: format_minor(debits, scale),
            credits: format_minor(credits, scale),
            difference: format_minor(debits - credits, scale),
        })
        .collect()
}
