//! The chain of hashes over all that is booked: each currency, account, setting of limits, transfer, close
//! and act of administration is one link, made of the link before it and of everything the database holds about it. Whoever
//! changes, inserts or removes a row has to forge every later link. Pure.

mod acts;

use uuid::Uuid;

use crate::account::{Account, CurrencyBody};
use crate::account_set::{MemberRow, SetRow};
use crate::act::{AuditRow, Booked, RevocationRow};
use crate::batch::{Changes, Day, NewTransfer, STATUS_CREATED};
use crate::close::CloseRow;
use crate::key::ApiKeyRow;
use crate::link::{Digesting, Head, Link};
use crate::metadata::Metadata;
use crate::outbox::{EndpointRow, RemovalRow};
use crate::posting::{LimitsRow, PostedEntry};
use crate::reconcile::{MatchRow, StatementRow, UnmatchRow, WithdrawalRow};
use crate::signature::SignatureRow;
use crate::trail::Back;
use crate::transfer::TransferKind;

const DOMAIN: &str = "forebay-ledger-chain-1";

/// A transfer as stored, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    pub seq: i64,
    pub id: Uuid,
    pub kind: TransferKind,
    pub of_seq: Option<i64>,
    pub description: String,
    pub effective_date: String,
    pub booked_at_us: i64,
    pub expires_at_us: Option<i64>,
    pub entry_id_first: i64,
    pub entry_count: i64,
    /// Of `entries` or `pending_entries`; none of a transfer that only releases.
    pub entries: Vec<EntryRow>,
    /// Its entries' rows among the backdated ones. They follow from the rest and are no part of the link.
    pub backdated: Vec<BackdatedRow>,
    pub key: Option<KeyRow>,
    pub metadata: Metadata,
}

/// An entry as stored. What is only held has no number and no totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRow {
    pub id: i64,
    pub transfer_seq: i64,
    pub account_id: i64,
    pub debit: bool,
    pub amount_minor: i64,
    pub number: i64,
    pub debits_after_minor: i64,
    pub credits_after_minor: i64,
    /// Follows from the account's entries before it and is no part of the link.
    pub back: Back,
}

/// A backdated entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackdatedRow {
    pub id: i64,
    pub account_id: i64,
    pub effective_date: String,
    pub number: i64,
}

/// An idempotency key with its answer, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    pub transfer_seq: i64,
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub status: i64,
    /// Nothing when it follows from the transfer.
    pub body: Option<String>,
}

/// What a link can be about.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    Currency(&'a CurrencyBody),
    Account(&'a Account),
    Limits(&'a LimitsRow),
    Transfer(&'a TransferRow),
    /// The same before it is stored, with its effective date as text.
    New(&'a NewTransfer, &'a str),
    Close(&'a CloseRow),
    Key(&'a ApiKeyRow),
    Revocation(&'a RevocationRow),
    Endpoint(&'a EndpointRow),
    Removal(&'a RemovalRow),
    Set(&'a SetRow),
    Member(&'a MemberRow),
    Statement(&'a StatementRow),
    Withdrawal(&'a WithdrawalRow),
    Match(&'a MatchRow),
    Unmatch(&'a UnmatchRow),
    Signature(&'a SignatureRow),
    Audit(&'a AuditRow),
}

impl Head {
    /// Appends a record.
    pub fn extend(&mut self, record: Record<'_>) -> Link {
        let subject = record.subject();
        let mut digest = Digesting::new(DOMAIN);
        digest.bytes(&self.hash);
        digest.text(&subject);
        record.digest(&mut digest);
        let link = Link { seq: self.seq + 1, subject, hash: digest.done() };
        *self = Self { seq: link.seq, hash: link.hash };
        link
    }
}

impl Booked {
    /// Its link of the chain, if it has one.
    pub fn record(&self) -> Option<Record<'_>> {
        Some(match self {
            Self::Currency(row) => Record::Currency(row),
            Self::Limits(row) => Record::Limits(row),
            Self::Close(row) => Record::Close(row),
            Self::Key(row) => Record::Key(row),
            Self::Revocation(row) => Record::Revocation(row),
            Self::Endpoint(row) => Record::Endpoint(row),
            Self::Removal(row) => Record::Removal(row),
            Self::Set(row) => Record::Set(row),
            Self::Member(row) => Record::Member(row),
            Self::Statement(row) => Record::Statement(row),
            Self::Withdrawal(row) => Record::Withdrawal(row),
            Self::Match(row) => Record::Match(row),
            Self::Unmatch(row) => Record::Unmatch(row),
            Self::Signature(row) => Record::Signature(row),
            Self::Resumed(_) => return None,
            Self::Audit(row) => Record::Audit(row),
        })
    }
}

impl Changes {
    /// Appends the transfers to the chain.
    pub fn chain(&mut self, head: &mut Head) {
        let mut day = Day::default();
        for new in &self.transfers {
            head.extend(Record::New(new, &day.text(new.effective_date)));
            self.links.push(*head);
        }
    }
}

impl Record<'_> {
    /// Names the record within its database.
    pub fn subject(&self) -> String {
        match self {
            Self::Currency(currency) => format!("currency:{}", currency.code),
            Self::Account(account) => format!("account:{}", account.id),
            Self::Limits(limits) => format!("limits:{}", limits.id),
            Self::Transfer(transfer) => format!("transfer:{}", transfer.seq),
            Self::New(new, _) => format!("transfer:{}", new.seq),
            Self::Close(close) => format!("close:{}", close.id),
            Self::Key(key) => format!("key:{}", key.id),
            Self::Revocation(row) => format!("revocation:{}", row.key_id),
            Self::Endpoint(row) => format!("endpoint:{}", row.id),
            Self::Removal(row) => format!("removal:{}", row.endpoint_id),
            Self::Set(row) => format!("set:{}", row.id),
            Self::Member(row) => format!("member:{}", row.id),
            Self::Statement(row) => format!("statement:{}", row.id),
            Self::Withdrawal(row) => format!("withdrawal:{}", row.statement_id),
            Self::Match(row) => format!("match:{}", row.id),
            Self::Unmatch(row) => format!("unmatch:{}", row.match_id),
            Self::Signature(row) => format!("signature:{}", row.id),
            Self::Audit(row) => format!("audit:{}", row.id),
        }
    }

    fn digest(&self, digest: &mut Digesting) {
        match self {
            Self::Currency(currency) => {
                digest.text(&currency.code);
                digest.number(currency.scale.into());
            }
            Self::Account(account) => {
                digest.number(account.id);
                digest.text(&account.code);
                digest.text(&account.name);
                digest.text(&account.currency);
                digest.text(account.normal_balance.as_str());
                digest.number(account.created_at.as_microsecond());
                for (name, value) in &account.metadata.0 {
                    digest.text(name);
                    digest.text(value);
                }
            }
            Self::Limits(row) => {
                digest.number(row.id);
                digest.number(row.account_id);
                digest.number_if_any(row.limits.min_minor);
                digest.number_if_any(row.limits.max_minor);
                digest.number(row.set_at_us);
            }
            Self::Key(row) => acts::key(row, digest),
            Self::Revocation(row) => acts::revocation(row, digest),
            Self::Endpoint(row) => acts::endpoint(row, digest),
            Self::Removal(row) => acts::removal(row, digest),
            Self::Set(row) => acts::set(row, digest),
            Self::Member(row) => acts::member(row, digest),
            Self::Statement(row) => acts::statement(row, digest),
            Self::Withdrawal(row) => acts::withdrawal(row, digest),
            Self::Match(row) => acts::matched(row, digest),
            Self::Unmatch(row) => acts::unmatch(row, digest),
            Self::Signature(row) => acts::signature(row, digest),
            Self::Audit(row) => acts::audit(row, digest),
            Self::Transfer(transfer) => transfer.fields().digest(digest, &transfer.entries),
            Self::New(new, effective_date) => {
                let writes = new.kind.moves() || new.kind == TransferKind::Pending;
                let entries = (new.entry_id_first..).zip(&new.entries).filter(|_| writes);
                let entries: Vec<EntryRow> =
                    entries.map(|(id, entry)| EntryRow::of(id, new, entry)).collect();
                fields_of(new, effective_date).digest(digest, &entries);
            }
            Self::Close(row) => {
                digest.number(row.id);
                digest.text(&row.through);
                digest.text(&row.description);
                digest.number(row.closed_at_us);
                for (account_id, debits_minor, credits_minor) in &row.balances {
                    digest.number(*account_id);
                    digest.number(*debits_minor);
                    digest.number(*credits_minor);
                }
            }
        }
    }
}

/// What a transfer's link is made of, besides its entries.
struct Fields<'a> {
    seq: i64,
    id: Uuid,
    kind: TransferKind,
    of_seq: Option<i64>,
    description: &'a str,
    effective_date: &'a str,
    booked_at_us: i64,
    expires_at_us: Option<i64>,
    entry_id_first: i64,
    entry_count: i64,
    key: Option<KeyFields<'a>>,
    metadata: &'a Metadata,
}

struct KeyFields<'a> {
    key: &'a str,
    fingerprint: &'a [u8],
    status: i64,
    body: &'a str,
}

impl TransferRow {
    fn fields(&self) -> Fields<'_> {
        Fields {
            seq: self.seq,
            id: self.id,
            kind: self.kind,
            of_seq: self.of_seq,
            description: &self.description,
            effective_date: &self.effective_date,
            booked_at_us: self.booked_at_us,
            expires_at_us: self.expires_at_us,
            entry_id_first: self.entry_id_first,
            entry_count: self.entry_count,
            key: self.key.as_ref().map(|row| KeyFields {
                key: &row.key,
                fingerprint: &row.fingerprint,
                status: row.status,
                body: row.body.as_deref().unwrap_or_default(),
            }),
            metadata: &self.metadata,
        }
    }
}

fn fields_of<'a>(new: &'a NewTransfer, effective_date: &'a str) -> Fields<'a> {
    Fields {
        seq: new.seq,
        id: new.id,
        kind: new.kind,
        of_seq: new.of_seq,
        description: &new.description,
        effective_date,
        booked_at_us: new.booked_at.as_microsecond(),
        expires_at_us: new.expires_at.map(jiff::Timestamp::as_microsecond),
        entry_id_first: new.entry_id_first,
        entry_count: i64::try_from(new.entries.len()).unwrap_or(i64::MAX),
        key: new.keyed.as_ref().map(|keyed| KeyFields {
            key: keyed.key.as_str(),
            fingerprint: &keyed.fingerprint,
            status: STATUS_CREATED.into(),
            body: "",
        }),
        metadata: &new.metadata,
    }
}

impl Fields<'_> {
    fn digest(&self, digest: &mut Digesting, entries: &[EntryRow]) {
        digest.number(self.seq);
        digest.bytes(self.id.as_bytes());
        digest.text(self.kind.as_str());
        digest.number_if_any(self.of_seq);
        digest.text(self.description);
        digest.text(self.effective_date);
        digest.number(self.booked_at_us);
        digest.number_if_any(self.expires_at_us);
        digest.number(self.entry_id_first);
        digest.number(self.entry_count);
        for entry in entries {
            digest.number(entry.id);
            digest.number(entry.transfer_seq);
            digest.number(entry.account_id);
            digest.number(entry.debit.into());
            digest.number(entry.amount_minor);
            digest.number(entry.number);
            digest.number(entry.debits_after_minor);
            digest.number(entry.credits_after_minor);
        }
        match &self.key {
            None => digest.text("no key"),
            Some(row) => {
                digest.text(row.key);
                digest.bytes(row.fingerprint);
                digest.number(row.status);
                digest.text(row.body);
            }
        }
        // Of a transfer without any, the link is what it was before there was metadata.
        for (name, value) in &self.metadata.0 {
            digest.text(name);
            digest.text(value);
        }
    }
}

impl EntryRow {
    fn of(id: i64, new: &NewTransfer, entry: &PostedEntry) -> Self {
        let moves = new.kind.moves();
        let if_moved = |number: i64| if moves { number } else { 0 };
        Self {
            id,
            transfer_seq: new.seq,
            account_id: entry.account_id,
            debit: entry.direction == crate::account::Side::Debit,
            amount_minor: entry.amount_minor,
            number: if_moved(entry.after.entries),
            debits_after_minor: if_moved(entry.after.debits_minor),
            credits_after_minor: if_moved(entry.after.credits_minor),
            back: Back::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Hash;

    fn row() -> TransferRow {
        let entry = EntryRow {
            id: 1,
            transfer_seq: 1,
            account_id: 1,
            debit: true,
            amount_minor: 5,
            number: 1,
            debits_after_minor: 5,
            credits_after_minor: 0,
            back: Back::default(),
        };
        TransferRow {
            seq: 1,
            id: Uuid::from_u128(7),
            kind: TransferKind::Transfer,
            of_seq: None,
            description: "d".into(),
            effective_date: "2026-01-01".into(),
            booked_at_us: 1,
            expires_at_us: None,
            entry_id_first: 1,
            entry_count: 2,
            entries: vec![entry, EntryRow { id: 2, debit: false, ..entry }],
            backdated: Vec::new(),
            key: Some(KeyRow {
                transfer_seq: 1,
                key: "k".into(),
                fingerprint: vec![1; 32],
                status: 201,
                body: Some("{}".into()),
            }),
            metadata: Metadata::default(),
        }
    }

    fn hash(row: &TransferRow) -> Hash {
        Head::default().extend(Record::Transfer(row)).hash
    }

    #[test]
    fn every_column_counts() {
        let changes: [fn(&mut TransferRow); 19] = [
            |row| row.id = Uuid::from_u128(8),
            |row| row.kind = TransferKind::Pending,
            |row| row.of_seq = Some(0),
            |row| row.description = "e".into(),
            |row| row.effective_date = "2026-01-02".into(),
            |row| row.booked_at_us = 2,
            |row| row.expires_at_us = Some(1),
            |row| row.entry_id_first = 3,
            |row| row.entry_count = 3,
            |row| row.entries[0].account_id = 2,
            |row| row.entries[0].debit = false,
            |row| row.entries[0].amount_minor = 6,
            |row| row.entries[0].debits_after_minor = 6,
            |row| row.key = None,
            |row| row.key.as_mut().unwrap().key = "l".into(),
            |row| row.key.as_mut().unwrap().body = None,
            |row| row.key.as_mut().unwrap().fingerprint = vec![2; 32],
            |row| row.metadata = Metadata([("a".into(), "b".into())].into()),
            |row| row.metadata = Metadata([("a".into(), "c".into())].into()),
        ];
        let mut seen = std::collections::HashSet::from([hash(&row())]);
        for (index, change) in changes.iter().enumerate() {
            let mut changed = row();
            change(&mut changed);
            assert!(seen.insert(hash(&changed)), "change {index} goes unnoticed");
        }
    }

    #[test]
    fn a_link_depends_on_all_before_it() {
        let euro = CurrencyBody { code: "EUR".into(), scale: 2 };
        let yen = CurrencyBody { code: "JPY".into(), scale: 0 };
        let chain = |currencies: &[&CurrencyBody]| {
            let mut head = Head::default();
            currencies.iter().for_each(|currency| drop(head.extend(Record::Currency(currency))));
            head
        };
        assert_eq!(chain(&[&euro, &yen]), chain(&[&euro, &yen]));
        assert_ne!(chain(&[&euro, &yen]).hash, chain(&[&yen]).hash);
        assert_ne!(chain(&[&euro, &yen]).hash, chain(&[&yen, &euro]).hash);
        assert_eq!(chain(&[&euro, &yen]).seq, 2);
    }
}
