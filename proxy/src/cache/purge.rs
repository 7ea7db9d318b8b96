//! What a purge takes out, and how far it has come.
//!
//! A purge is in force as soon as it is in the store's list: what it covers is not found from then
//! on. Taking a million answers out takes longer, so it is done in steps, the lock free between them.

use std::ops::Bound;
use std::sync::Arc;

use crate::cache::tags::Tags;

/// Purges whose answers are being taken out at once in one cache.
pub const SWEEPS_MAX: usize = 64;
/// URIs, or answers with a tag, looked at in one step.
pub const STEP: usize = 256;

/// Which answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    Uri(Arc<str>),
    /// All whose URI begins so.
    Prefix(Arc<str>),
    Tag(Arc<str>),
}

/// The names of all scopes, as label values.
pub const SCOPES: [&str; 4] = ["all", "url", "prefix", "tag"];

impl Scope {
    pub fn name(&self) -> &'static str {
        match self {
            Scope::All => SCOPES[0],
            Scope::Uri(_) => SCOPES[1],
            Scope::Prefix(_) => SCOPES[2],
            Scope::Tag(_) => SCOPES[3],
        }
    }

    pub fn covers(&self, uri: &str, tags: &Tags) -> bool {
        match self {
            Scope::Tag(tag) => tags.contains(tag),
            _ => self.covers_uri(uri),
        }
    }

    /// Whether it covers an answer whose tags are not known: when in doubt, it does.
    pub fn may_cover(&self, uri: &str, tags: Option<&Tags>) -> bool {
        tags.map_or(matches!(self, Scope::Tag(_)) || self.covers_uri(uri), |t| self.covers(uri, t))
    }

    fn covers_uri(&self, uri: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Uri(wanted) => **wanted == *uri,
            Scope::Prefix(prefix) => uri.starts_with(&**prefix),
            Scope::Tag(_) => false,
        }
    }
}

/// Names a purge under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepId(pub u64);

/// Where a sweep goes on.
#[derive(Clone, Debug)]
pub enum Cursor {
    Uri(Bound<Arc<str>>),
    /// The number of the last answer seen.
    Number(u64),
}

/// A purge under way.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub id: SweepId,
    pub scope: Scope,
    /// What it covers becomes stale instead of being forgotten: since this time.
    pub soft_ms: Option<u64>,
    /// Answers stored later have a higher number and are not touched.
    pub up_to: u64,
    pub cursor: Cursor,
}

impl Sweep {
    pub fn new(id: SweepId, scope: Scope, soft_ms: Option<u64>, up_to: u64) -> Sweep {
        let cursor = match &scope {
            Scope::All => Cursor::Uri(Bound::Unbounded),
            Scope::Uri(begin) | Scope::Prefix(begin) => Cursor::Uri(Bound::Included(begin.clone())),
            Scope::Tag(_) => Cursor::Number(0),
        };
        Sweep { id, scope, soft_ms, up_to, cursor }
    }

    pub fn covers(&self, number: u64, uri: &str, tags: &Tags) -> bool {
        number <= self.up_to && self.scope.covers(uri, tags)
    }
}

/// There are too many purges under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{SWEEPS_MAX} purges are under way; try again in a moment")]
pub struct Busy;
