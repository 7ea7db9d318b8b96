//! Why a transfer is not booked, in words for the client.

use jiff::civil::Date;
use serde::Serialize;
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ShareError;
use crate::account::Side;
use crate::money::AmountError;
use crate::transfer::{TransferKind, TransferState};

/// How many unknown accounts a rejection names.
const NAMED_MAX: usize = 10;

/// A currency whose sides differ. All figures are decimals in that currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Imbalance {
    #[schema(example = "EUR")]
    pub currency: String,
    #[schema(example = "12.34")]
    pub debits: String,
    #[schema(example = "12.00")]
    pub credits: String,
    /// Debits minus credits.
    #[schema(example = "0.34")]
    pub difference: String,
}

/// Why a transfer is not booked. A rejected transfer changes nothing. Figures are decimals.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Rejection {
    #[error("no such account: {}", named(.0))]
    UnknownAccounts(Vec<String>),
    #[error("entries[{entry}]: {error}")]
    Amount { entry: usize, error: AmountError },
    #[error("split[{index}]: {error}")]
    Split { index: usize, error: ShareError },
    #[error("debits and credits differ: {}", differences(.0))]
    Unbalanced(Vec<Imbalance>),
    #[error(
        "entries[{entry}]: the {direction} total of account {account}, with what is pending, would overflow; move its balance to a new account"
    )]
    Overflow { entry: usize, account: String, direction: Side },
    #[error(
        "account {account} would have {available} {currency} available, less than its limit of {limit}"
    )]
    BelowMin { account: String, currency: String, available: String, limit: String },
    #[error("account {account} could reach {highest} {currency}, more than its limit of {limit}")]
    AboveMax { account: String, currency: String, highest: String, limit: String },
    #[error("there is no transfer {0}")]
    UnknownTransfer(Uuid),
    #[error("transfer {id} is not pending: it is {}{}", .state.as_str(), followed(*.by))]
    NotPending { id: Uuid, state: TransferState, by: Option<Uuid> },
    #[error("transfer {id} cannot be reversed: {}", why_not_reversed(*.kind, *.state, *.by))]
    NotReversible { id: Uuid, kind: TransferKind, state: TransferState, by: Option<Uuid> },
    #[error(
        "entries[{entry}]: more is to be posted on the {direction} side of {account} than is held there: {held} {currency}"
    )]
    ExceedsHold { entry: usize, account: String, direction: Side, held: String, currency: String },
    #[error("expires_at is not in the future; the time of booking is {0}")]
    ExpiresInPast(jiff::Timestamp),
    #[error("{date} is in a period that was closed through {through}; give a later effective_date")]
    PeriodClosed { date: Date, through: Date },
    #[error("expect[{index}]: account {account}'s {what} is {found}, not {wanted}")]
    NotAsExpected {
        index: usize,
        account: String,
        what: &'static str,
        wanted: String,
        found: String,
    },
    #[error("expect[{index}].{what}: {error}")]
    ExpectedAmount { index: usize, what: &'static str, error: AmountError },
    /// Only a database that somebody else has changed comes to this.
    #[error("account {0} holds less than its pending transfers say; run forebay-ledger verify")]
    HoldBroken(String),
}

fn named(accounts: &[String]) -> String {
    let mut text = accounts.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if accounts.len() > NAMED_MAX {
        text.push_str(&format!(" and {} more", accounts.len() - NAMED_MAX));
    }
    text
}

fn differences(imbalances: &[Imbalance]) -> String {
    let one = |i: &Imbalance| {
        format!(
            "{} debits {}, credits {}, difference {}",
            i.currency, i.debits, i.credits, i.difference
        )
    };
    imbalances.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn followed(by: Option<Uuid>) -> String {
    by.map(|by| format!(" by {by}")).unwrap_or_default()
}

fn why_not_reversed(kind: TransferKind, state: TransferState, by: Option<Uuid>) -> String {
    match (kind, state) {
        (TransferKind::Pending, TransferState::Posted) => {
            format!("reverse the transfer that posted it{}", followed(by))
        }
        (TransferKind::Pending, TransferState::Pending) => "it is pending; void it".into(),
        (TransferKind::Reverse, _) => {
            "it is itself a reversal; post the original transfer anew".into()
        }
        _ => format!("it is {} already{}", state.as_str(), followed(by)),
    }
}
