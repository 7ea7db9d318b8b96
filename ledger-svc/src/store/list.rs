//! What a batch looks up by a list: one name for what each engine has a statement of its own for.

use uuid::Uuid;

/// What is looked up by a list; each engine has a statement for each.
#[derive(Clone, Copy, Debug)]
pub enum List<'a> {
    /// Answers by their keys.
    Answers(&'a [&'a str]),
    /// Standings by accounts' codes.
    Standings(&'a [String]),
    /// Transfers by their ids.
    Targets(&'a [Uuid]),
    /// What jumps lead to from these entries, down to their accounts' first.
    Trails(&'a [i64]),
    /// Entries by their ids: those that moved.
    Entries(&'a [i64]),
    /// Entries by their ids: those that were held.
    PendingEntries(&'a [i64]),
    /// What transfers are called, by their sequence numbers.
    Called(&'a [i64]),
    /// Pending transfers that expire until then, in microseconds since 1970, and at most so many.
    Due(i64, i64),
}
