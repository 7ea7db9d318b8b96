//! A request as the writer is given it.

use uuid::Uuid;

use super::body::{PostBody, ReverseBody, TransferBody, VoidBody};
use super::entry::EntryBody;
use super::expect::Expectation;
use super::key::IdempotencyKey;
use super::split::Split;

/// A parsed request with its key, ready for the writer.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    pub key: IdempotencyKey,
    /// SHA-256 over what the request means, so that a retry with reordered keys or other
    /// white space is still the same request.
    pub fingerprint: [u8; 32],
    pub action: Action,
}

/// What a request wants done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Move or hold amounts.
    Transfer(TransferBody),
    /// Post a pending transfer.
    Post { of: Uuid, body: PostBody },
    /// Void a pending transfer.
    Void { of: Uuid, body: VoidBody },
    /// Move back what a posted transfer moved.
    Reverse { of: Uuid, body: ReverseBody },
}

impl Action {
    /// The earlier transfer it is about.
    pub fn of(&self) -> Option<Uuid> {
        match self {
            Self::Transfer(_) => None,
            Self::Post { of, .. } | Self::Void { of, .. } | Self::Reverse { of, .. } => Some(*of),
        }
    }

    /// The entries written in the request itself.
    pub fn entries(&self) -> &[EntryBody] {
        match self {
            Self::Transfer(body) => &body.entries,
            Self::Post { body, .. } => body.entries.as_deref().unwrap_or_default(),
            Self::Void { .. } | Self::Reverse { .. } => &[],
        }
    }

    /// Amounts of the request that are shared out.
    pub fn splits(&self) -> &[Split] {
        match self {
            Self::Transfer(body) => &body.split,
            Self::Post { .. } | Self::Void { .. } | Self::Reverse { .. } => &[],
        }
    }

    /// How many entries the request itself comes to at most.
    pub fn entry_count(&self) -> usize {
        self.entries().len() + self.splits().iter().map(|split| split.parts.len()).sum::<usize>()
    }

    /// The conditions of the request.
    pub fn expectations(&self) -> &[Expectation] {
        match self {
            Self::Transfer(body) => &body.expect,
            Self::Post { .. } | Self::Void { .. } | Self::Reverse { .. } => &[],
        }
    }

    /// The codes of the accounts named in the request itself.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        let entries = self.entries().iter().map(|entry| entry.account.as_str());
        let parts = self.splits().iter().flat_map(|split| &split.parts);
        let entries = entries.chain(parts.map(|part| part.account.as_str()));
        entries.chain(self.expectations().iter().map(|expected| expected.account.as_str()))
    }
}
