//! A transfer as it is answered and listed once it is booked.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::Side;
use crate::metadata::Metadata;
use crate::when::{write_instant, write_instant_or_null};

/// What a transfer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransferKind {
    /// Moves its entries at once.
    Transfer,
    /// Holds its entries until another transfer posts, voids or expires it.
    Pending,
    /// Posts a pending transfer, whole or in part, and releases the rest.
    Post,
    /// Releases a pending transfer.
    Void,
    /// Releases a pending transfer because its time was up. Only the service books these.
    Expire,
    /// Moves the entries of a posted transfer back.
    Reverse,
}

/// How a transfer stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransferState {
    /// Its entries are held.
    Pending,
    /// Its entries count; of a pending transfer: those of the transfer that posted it do.
    Posted,
    /// It was posted, and another transfer moved its entries back.
    Reversed,
    Voided,
    Expired,
}

impl TransferKind {
    /// The word in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Pending => "pending",
            Self::Post => "post",
            Self::Void => "void",
            Self::Expire => "expire",
            Self::Reverse => "reverse",
        }
    }

    /// The kind named by a word of the database.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Transfer, Self::Pending, Self::Post, Self::Void, Self::Expire, Self::Reverse]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// Whether its entries count in the accounts' totals.
    pub fn moves(self) -> bool {
        matches!(self, Self::Transfer | Self::Post | Self::Reverse)
    }

    /// Whether it ends a pending transfer.
    pub fn settles(self) -> bool {
        matches!(self, Self::Post | Self::Void | Self::Expire)
    }

    /// How it stands when a transfer of kind `follower` followed it.
    pub fn state(self, follower: Option<Self>) -> TransferState {
        match (self, follower) {
            (Self::Pending, None) => TransferState::Pending,
            (Self::Pending, Some(Self::Void)) | (Self::Void, _) => TransferState::Voided,
            (Self::Pending, Some(Self::Expire)) | (Self::Expire, _) => TransferState::Expired,
            (_, Some(Self::Reverse)) => TransferState::Reversed,
            _ => TransferState::Posted,
        }
    }
}

impl TransferState {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Posted => "posted",
            Self::Reversed => "reversed",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }
}

/// A booked transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Transfer {
    /// UUID version 7: later transfers sort later.
    #[schema(value_type = String, format = Uuid)]
    pub id: Uuid,
    pub kind: TransferKind,
    pub state: TransferState,
    pub description: String,
    /// The day it counts for.
    #[schema(value_type = String, format = Date)]
    pub effective_date: Date,
    /// When it was committed, UTC with microseconds. Never earlier than the transfer before it.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub booked_at: Timestamp,
    /// When a pending transfer is released unless something has ended it before.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "write_instant_or_null", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The transfer that this one posts, voids, expires or reverses.
    #[schema(value_type = Option<String>, format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Uuid>,
    /// The transfer that posted, voided, expired or reversed this one.
    #[schema(value_type = Option<String>, format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<Uuid>,
    /// What it moves, holds or releases.
    pub entries: Vec<TransferEntry>,
    /// Left out when it has none.
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    #[schema(required = false)]
    pub metadata: Metadata,
}

impl Transfer {
    /// The answer that booking it was given, the same bytes for ever: it is not stored where it can be
    /// written again from the transfer. Another form needs another name, and this one kept.
    pub fn first_answer(&self) -> String {
        let state = self.kind.state(None);
        let written = if self.state == state && self.followed_by.is_none() {
            serde_json::to_string(self)
        } else {
            serde_json::to_string(&Self { state, followed_by: None, ..self.clone() })
        };
        written.expect("strings and numbers always serialise")
    }
}

/// One entry of a booked transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransferEntry {
    pub account: String,
    pub direction: Side,
    /// With exactly as many decimals as the currency's scale.
    #[schema(example = "12.34")]
    pub amount: String,
    #[schema(example = "EUR")]
    pub currency: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_never_changes() {
        let at = Timestamp::from_microsecond(1_767_312_000_000_000).unwrap();
        let entry = |direction| TransferEntry {
            account: "a:b".into(),
            direction,
            amount: "5.00".into(),
            currency: "EUR".into(),
        };
        let transfer = Transfer {
            id: Uuid::from_u128(7),
            kind: TransferKind::Pending,
            state: TransferState::Voided,
            description: "é\"\\".into(),
            effective_date: jiff::civil::date(2026, 1, 2),
            booked_at: at,
            expires_at: Some(at),
            of: Some(Uuid::from_u128(6)),
            followed_by: Some(Uuid::from_u128(8)),
            entries: vec![entry(Side::Debit), entry(Side::Credit)],
            metadata: Metadata::default(),
        };
        let expected = r#"{"id":"00000000-0000-0000-0000-000000000007","kind":"pending","state":"pending","description":"é\"\\","effective_date":"2026-01-02","booked_at":"2026-01-02T00:00:00.000000Z","expires_at":"2026-01-02T00:00:00.000000Z","of":"00000000-0000-0000-0000-000000000006","entries":[{"account":"a:b","direction":"debit","amount":"5.00","currency":"EUR"},{"account":"a:b","direction":"credit","amount":"5.00","currency":"EUR"}]}"#;
        assert_eq!(transfer.first_answer(), expected);
        let metadata = Metadata([("order".to_owned(), "7".to_owned())].into());
        let called = Transfer { metadata, ..transfer.clone() };
        let with = expected.replace("}]}", r#"}],"metadata":{"order":"7"}}"#);
        assert_eq!(called.first_answer(), with);
        let plain = Transfer { expires_at: None, of: None, entries: Vec::new(), ..transfer };
        let expected = r#"{"id":"00000000-0000-0000-0000-000000000007","kind":"pending","state":"pending","description":"é\"\\","effective_date":"2026-01-02","booked_at":"2026-01-02T00:00:00.000000Z","entries":[]}"#;
        assert_eq!(plain.first_answer(), expected);
    }

    #[test]
    fn states_follow_from_kinds() {
        use TransferKind::{Expire, Pending, Post, Reverse, Transfer, Void};
        let cases = [
            (Transfer, None, "posted"),
            (Transfer, Some(Reverse), "reversed"),
            (Pending, None, "pending"),
            (Pending, Some(Post), "posted"),
            (Pending, Some(Void), "voided"),
            (Pending, Some(Expire), "expired"),
            (Post, None, "posted"),
            (Post, Some(Reverse), "reversed"),
            (Void, None, "voided"),
            (Expire, None, "expired"),
            (Reverse, None, "posted"),
        ];
        for (kind, follower, state) in cases {
            assert_eq!(kind.state(follower).as_str(), state, "{kind:?} {follower:?}");
            assert_eq!(TransferKind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(TransferKind::from_word("moved"), None);
    }
}
