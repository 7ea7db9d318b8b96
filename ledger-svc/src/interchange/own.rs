//! What exports write of their own, so that it is known when it is read again: names of particulars, and keys of transfers
//! that followed others.

use thiserror::Error;
use uuid::Uuid;

/// Names that exports give their own particulars begin so.
pub const OWN: &str = "forebay-";

/// Something that a format has no way to say.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Unwritable(pub String);

/// How keys begin that are made of a transfer's id.
const FOLLOWED: &str = "transfer:";

/// What an export writes as the key of a transfer that followed another one: its own was that of another request.
pub fn key_of(id: Uuid) -> String {
    format!("{FOLLOWED}{id}")
}

/// The transfer that such a key names.
pub fn named(key: &str) -> Option<Uuid> {
    let id = key.strip_prefix(FOLLOWED)?;
    id.parse().ok().filter(|parsed: &Uuid| parsed.to_string() == id)
}
