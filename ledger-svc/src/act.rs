//! Acts of administration: what changes how the ledger is run rather than what is in its books, who did it, and what
//! is written down of it in the audit log.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::account::{Created, CurrencyBody};
use crate::account_set::{MemberRow, NewMembers, SetBody, SetError, SetRow};
use crate::close::{CloseRow, Closing, NewClose};
use crate::key::{ApiKey, ApiKeyRow, NewKey};
use crate::outbox::{Endpoint, EndpointRow, NewEndpoint, Progress, RemovalRow};
use crate::posting::{Limits, LimitsRow};
use crate::reconcile::{
    ImportWarning, MatchError, MatchRow, NewMatch, NewStatement, StatementRow, UnmatchRow,
    WithdrawError, WithdrawalRow,
};
use crate::signature::SignatureRow;
use crate::when::write_instant;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever has this key.
    Key(i64),
    /// Anybody: the service was told to ask nobody for a key.
    Anybody,
    /// Whoever can open the database, by `forebay-ledger` itself.
    Command,
    /// The service, of its own accord.
    Service,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Anybody => f.write_str("anybody"),
            Self::Command => f.write_str("command"),
            Self::Service => f.write_str("service"),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Act {
    CreateCurrency(CurrencyBody),
    SetLimits {
        account: String,
        account_id: i64,
        /// Those it must still have; here and below, none where whatever there is may be changed.
        seen: Option<Limits>,
        limits: Limits,
    },
    Close(NewClose),
    /// `keys_max`: how many may be in force.
    CreateKey {
        key: NewKey,
        keys_max: usize,
    },
    RevokeKey {
        id: i64,
        seen: Option<ApiKey>,
    },
    CreateEndpoint {
        endpoint: NewEndpoint,
        endpoints_max: usize,
    },
    RemoveEndpoint {
        id: i64,
        seen: Option<Endpoint>,
    },
    ResumeEndpoint {
        id: i64,
        seen: Option<Endpoint>,
    },
    CreateSet(SetBody),
    AddMembers(NewMembers),
    ImportStatement(NewStatement),
    WithdrawStatement {
        /// Whose it must be; anybody's where there is none.
        account_id: Option<i64>,
        statement: i64,
        reason: String,
    },
    /// Each is judged by itself.
    Match(Vec<NewMatch>),
    Unmatch {
        match_id: i64,
        reason: String,
    },
    /// Nothing to be written down but the signature itself, which has no number yet.
    Sign(SignatureRow),
    /// Nothing to be written down.
    NoteProgress(Vec<Progress>),
    /// Key and time of last use, in microseconds since 1970. Nothing to be written down.
    NoteUses(Vec<(i64, i64)>),
}

/// An act and who asks for it.
#[derive(Clone, Debug)]
pub struct Deed {
    pub act: Act,
    pub actor: Actor,
}

/// What became of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acted {
    Currency(Created<CurrencyBody>),
    LimitsSet,
    /// It is no longer what was seen; nothing was done.
    Changed,
    Closing(Closing),
    Key(ApiKeyRow),
    TooManyKeys,
    Revoked(ApiKey),
    /// It was before; nothing changed.
    RevokedBefore(ApiKey),
    NoSuchKey,
    /// As it is now, whatever changed.
    Endpoint(Endpoint),
    TooManyEndpoints,
    NoSuchEndpoint,
    Set(Created<SetRow>),
    /// How many were added.
    Members(usize),
    NoMembers(SetError),
    /// A statement's number, and what a person should look at.
    Statement(i64, Vec<ImportWarning>),
    /// It was imported before, under this number.
    StatementBefore(i64),
    Withdrawn,
    NotWithdrawn(WithdrawError),
    Matches(Vec<Result<MatchRow, MatchError>>),
    Unmatched,
    NoMatch(MatchError),
    Signed(SignatureRow),
    Noted,
}

/// A revocation as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    pub key_id: i64,
    pub revoked_at_us: i64,
}

/// An entry of the audit log as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    pub id: i64,
    pub at_us: i64,
    pub actor: String,
    pub action: String,
    pub subject: String,
    /// A JSON object.
    pub detail: String,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Counts entries from 1 without gaps.
    pub id: i64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "write_instant")]
    pub at: Timestamp,
    /// `key:` and a key's number; `anybody` where no keys are asked for; `command` for `forebay-ledger` itself;
    /// `service` for what the service did by itself.
    #[schema(example = "key:1")]
    pub actor: String,
    /// What was done, such as `key.create`.
    #[schema(example = "limits.set")]
    pub action: String,
    /// To what.
    #[schema(example = "account:assets:cash:eur")]
    pub subject: String,
    /// The particulars.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// What an act adds to the books and so to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booked {
    Currency(CurrencyBody),
    Limits(LimitsRow),
    Close(CloseRow),
    Key(ApiKeyRow),
    Revocation(RevocationRow),
    Endpoint(EndpointRow),
    Removal(RemovalRow),
    Set(SetRow),
    Member(MemberRow),
    Statement(Box<StatementRow>),
    Withdrawal(WithdrawalRow),
    Match(MatchRow),
    Unmatch(UnmatchRow),
    Signature(SignatureRow),
    /// A webhook is tried again. No row of the books says so but the audit log's.
    Resumed(i64),
    Audit(AuditRow),
}

impl Booked {
    /// What the audit log says of it: action, subject and particulars. `subject` names the account of limits.
    pub fn told(&self, subject: &str) -> Option<(&'static str, String, Value)> {
        Some(match self {
            Self::Currency(row) => {
                ("currency.create", format!("currency:{}", row.code), json!({"scale": row.scale}))
            }
            Self::Limits(row) => {
                let detail = json!({
                    "balance_min_minor": row.limits.min_minor, "balance_max_minor": row.limits.max_minor,
                });
                ("limits.set", format!("account:{subject}"), detail)
            }
            Self::Close(row) => {
                let detail = json!({"through": row.through, "description": row.description});
                ("period.close", format!("close:{}", row.id), detail)
            }
            Self::Key(row) => {
                let expires_at =
                    row.expires_at_us.and_then(|at| Timestamp::from_microsecond(at).ok());
                let detail = json!({
                    "name": row.name, "role": row.role, "prefix": row.prefix, "rate": row.rate,
                    "expires_at": expires_at.map(|at| format!("{at:.6}")),
                });
                ("key.create", format!("key:{}", row.id), detail)
            }
            Self::Revocation(row) => ("key.revoke", format!("key:{}", row.key_id), json!({})),
            Self::Endpoint(row) => {
                let detail =
                    json!({"url": row.url, "description": row.description, "after": row.after_seq});
                ("webhook.create", format!("webhook:{}", row.id), detail)
            }
            Self::Removal(row) => {
                ("webhook.remove", format!("webhook:{}", row.endpoint_id), json!({}))
            }
            Self::Resumed(id) => ("webhook.resume", format!("webhook:{id}"), json!({})),
            Self::Statement(row) => {
                let mut detail =
                    json!({"account": row.account_id, "name": row.name, "lines": row.line_count});
                if !row.repeats.is_empty() {
                    detail["repeated"] = json!(row.repeats.len());
                }
                ("statement.import", format!("statement:{}", row.id), detail)
            }
            Self::Withdrawal(row) => {
                let detail = json!({"reason": row.reason});
                ("statement.withdraw", format!("statement:{}", row.statement_id), detail)
            }
            Self::Match(row) => {
                let detail = json!({
                    "rule": row.rule, "reason": row.reason, "lines": row.lines, "entries": row.entries,
                });
                ("match.create", format!("match:{}", row.id), detail)
            }
            Self::Unmatch(row) => {
                ("match.remove", format!("match:{}", row.match_id), json!({"reason": row.reason}))
            }
            // Sets are of the chart, as accounts are. The service signs by itself, and each signature says so.
            Self::Set(_) | Self::Member(_) | Self::Signature(_) | Self::Audit(_) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Role;

    #[test]
    fn actors_have_words() {
        let words =
            [Actor::Key(7), Actor::Anybody, Actor::Command, Actor::Service].map(|a| a.to_string());
        assert_eq!(words, ["key:7", "anybody", "command", "service"]);
    }

    #[test]
    fn a_key_is_told_without_its_hash() {
        let key = Booked::Key(ApiKeyRow {
            id: 3,
            name: "checkout".into(),
            prefix: "fbl_12345678".into(),
            hash: [7; 32],
            role: Role::Poster,
            rate: None,
            created_at_us: 1,
            expires_at_us: Some(0),
        });
        let (action, subject, detail) = key.told("").unwrap();
        assert_eq!((action, subject.as_str()), ("key.create", "key:3"));
        let expected = json!({"name": "checkout", "role": "poster", "prefix": "fbl_12345678",
            "rate": null, "expires_at": "1970-01-01T00:00:00.000000Z"});
        assert_eq!(detail, expected);
    }
}
