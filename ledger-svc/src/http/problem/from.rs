//! Which problem each error of the ledger is, and at which field.

use super::{Kind, Problem};
use crate::act::Acted;
use crate::exporting::ExportError;
use crate::interchange::Faults;
use crate::json::JsonError;
use crate::metadata::MetadataError;
use crate::naming::NameError;
use crate::posting::Rejection;
use crate::reconcile::{MatchError, WithdrawError};
use crate::reconciling::ReconcileError;
use crate::store::StoreError;
use crate::transfer::{ItemError, KeyError, TransferError};
use crate::writer::WriteError;

impl Problem {
    pub fn no_account(code: &str) -> Self {
        let code: String = code.chars().take(128).collect();
        Self::new(Kind::AccountNotFound, format!("there is no account {code:?}"))
    }

    /// An act that became what it cannot become.
    pub fn unexpected(acted: &Acted) -> Self {
        tracing::error!(?acted, "an act became something else");
        Self::new(Kind::Internal, "an act became something else")
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let kind = if error.malformed { Kind::MalformedJson } else { Kind::InvalidBody };
        let mut problem = Self::new(kind, error.to_string()).at(error.field);
        problem.details.line = Some(error.line);
        problem.details.column = Some(error.column);
        problem
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(Kind::InvalidBody, error.to_string())
    }
}

impl From<MetadataError> for Problem {
    fn from(error: MetadataError) -> Self {
        Self::new(Kind::InvalidBody, error.to_string()).at("metadata".into())
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let kind = match error {
            KeyError::Missing => Kind::IdempotencyKeyMissing,
            KeyError::Several | KeyError::Length(_) | KeyError::Characters => {
                Kind::IdempotencyKeyInvalid
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ItemError> for Problem {
    fn from(error: ItemError) -> Self {
        match error {
            ItemError::Key(error) => Self::from(error).at("key".into()),
            ItemError::Transfer(error) => error.into(),
            ItemError::NotOne => Self::new(Kind::InvalidBody, error.to_string()),
            ItemError::OfMissing | ItemError::OfNotWanted => {
                Self::new(Kind::InvalidBody, error.to_string()).at("of".into())
            }
        }
    }
}

impl From<TransferError> for Problem {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Json(error) => error.into(),
            TransferError::Text(error) => Self::from(error).at("description".into()),
            TransferError::Metadata(error) => error.into(),
            TransferError::Split { index, .. } => {
                Self::new(Kind::InvalidBody, error.to_string()).at(format!("split[{index}]"))
            }
            TransferError::ExpiresWithoutPending => {
                Self::new(Kind::InvalidBody, error.to_string()).at("expires_at".into())
            }
            TransferError::TooManyExpectations { .. } | TransferError::EmptyExpectation(_) => {
                Self::new(Kind::InvalidBody, error.to_string()).at("expect".into())
            }
            TransferError::TooFewEntries(_) | TransferError::TooManyEntries { .. } => {
                Self::new(Kind::InvalidBody, error.to_string()).at("entries".into())
            }
        }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let detail = rejection.to_string();
        match rejection {
            Rejection::UnknownAccounts(_) => Self::new(Kind::UnknownAccount, detail),
            Rejection::Amount { entry, .. } => {
                Self::new(Kind::InvalidAmount, detail).at(format!("entries[{entry}].amount"))
            }
            Rejection::Split { index, .. } => {
                Self::new(Kind::InvalidAmount, detail).at(format!("split[{index}]"))
            }
            Rejection::Unbalanced(imbalances) => {
                let mut problem = Self::new(Kind::Unbalanced, detail);
                problem.details.imbalances = Some(imbalances);
                problem
            }
            Rejection::Overflow { entry, .. } => {
                Self::new(Kind::BalanceOverflow, detail).at(format!("entries[{entry}].amount"))
            }
            Rejection::BelowMin { .. } | Rejection::AboveMax { .. } => {
                Self::new(Kind::LimitExceeded, detail)
            }
            Rejection::UnknownTransfer(_) => Self::new(Kind::TransferNotFound, detail),
            Rejection::NotPending { .. } => Self::new(Kind::TransferNotPending, detail),
            Rejection::NotReversible { .. } => Self::new(Kind::TransferNotReversible, detail),
            Rejection::ExceedsHold { entry, .. } => {
                Self::new(Kind::HoldExceeded, detail).at(format!("entries[{entry}].amount"))
            }
            Rejection::ExpiresInPast(_) => {
                Self::new(Kind::ExpiresInPast, detail).at("expires_at".into())
            }
            Rejection::PeriodClosed { .. } => {
                Self::new(Kind::PeriodClosed, detail).at("effective_date".into())
            }
            Rejection::NotAsExpected { index, what, .. } => {
                Self::new(Kind::ExpectationFailed, detail).at(format!("expect[{index}].{what}"))
            }
            Rejection::ExpectedAmount { index, what, .. } => {
                Self::new(Kind::InvalidAmount, detail).at(format!("expect[{index}].{what}"))
            }
            Rejection::HoldBroken(_) => {
                tracing::error!(detail, "the books are broken");
                Self::new(Kind::Internal, detail)
            }
        }
    }
}

impl From<ReconcileError> for Problem {
    fn from(error: ReconcileError) -> Self {
        let detail = error.to_string();
        match error {
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Write(error) => error.into(),
            ReconcileError::Faults(faults) => faults.into(),
            ReconcileError::Match(MatchError::NoMatch(_)) => Self::new(Kind::MatchNotFound, detail),
            ReconcileError::Match(_) | ReconcileError::AdjustedOtherwise(_) => {
                Self::new(Kind::MatchRefused, detail)
            }
            ReconcileError::Withdraw(WithdrawError::NoStatement(_)) => {
                Self::new(Kind::StatementNotFound, detail)
            }
            ReconcileError::Withdraw(_) => Self::new(Kind::WithdrawalRefused, detail),
            ReconcileError::AgainstItself => {
                Self::new(Kind::InvalidBody, detail).at("against".into())
            }
            ReconcileError::Rejected(rejection) => rejection.into(),
            ReconcileError::Item(error) => error.into(),
        }
    }
}

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        let mut problem = Self::new(Kind::InvalidText, faults.to_string()).at("text".into());
        problem.details.faults = Some(faults.0);
        problem
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let kind = match error {
            WriteError::QueueFull(_) => Kind::QueueFull,
            WriteError::Stopped => Kind::Stopping,
            WriteError::Failed => Kind::DatabaseUnavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "reading failed");
        let kind = match error {
            StoreError::Corrupt(_) => Kind::Internal,
            _ => Kind::DatabaseUnavailable,
        };
        Self::new(kind, "the database could not be read")
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::Transfer { .. } => Self::new(Kind::Unwritable, error.to_string()),
        }
    }
}
