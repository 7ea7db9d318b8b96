//! How a booked transfer is told to others.

use serde::Serialize;
use utoipa::ToSchema;

use crate::transfer::{Transfer, TransferKind};

/// Something that was booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Event {
    /// Counts transfers from 1 without gaps, in booking order. An event that is told again has the same number: whoever
    /// keeps the last one he has seen knows what is new.
    pub id: i64,
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// As it was booked, with its entries.
    pub transfer: Transfer,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub enum EventKind {
    /// Amounts moved: a transfer, or a pending one that was posted.
    #[serde(rename = "transfer.posted")]
    Posted,
    /// Amounts are held.
    #[serde(rename = "transfer.pending")]
    Pending,
    /// Held amounts are released.
    #[serde(rename = "transfer.voided")]
    Voided,
    /// Held amounts are released because their time was up.
    #[serde(rename = "transfer.expired")]
    Expired,
    /// Amounts moved back.
    #[serde(rename = "transfer.reversed")]
    Reversed,
}

impl EventKind {
    pub fn of(kind: TransferKind) -> Self {
        match kind {
            TransferKind::Transfer | TransferKind::Post => Self::Posted,
            TransferKind::Pending => Self::Pending,
            TransferKind::Void => Self::Voided,
            TransferKind::Expire => Self::Expired,
            TransferKind::Reverse => Self::Reversed,
        }
    }

    /// The word in events and in streams.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Posted => "transfer.posted",
            Self::Pending => "transfer.pending",
            Self::Voided => "transfer.voided",
            Self::Expired => "transfer.expired",
            Self::Reversed => "transfer.reversed",
        }
    }
}

impl Event {
    pub fn new(id: i64, transfer: Transfer) -> Self {
        Self { id, kind: EventKind::of(transfer.kind), transfer }
    }
}

/// What is posted to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery<'a> {
    /// In booking order, without gaps.
    pub events: &'a [Event],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_called() {
        for kind in [
            EventKind::Posted,
            EventKind::Pending,
            EventKind::Voided,
            EventKind::Expired,
            EventKind::Reversed,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
