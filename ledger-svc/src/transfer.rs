//! A transfer as it is asked for (parsed, not yet judged); `body` is what clients send, `new` reads what asks for a new one,
//! `follow` what is about an earlier one, `item` what comes in a batch, and each becomes a `request`. `answer` has it as it is
//! booked, `expect` its conditions, `split` amounts that are shared by rule.

mod answer;
mod body;
mod entry;
mod error;
mod expect;
mod fingerprint;
mod follow;
mod item;
mod key;
mod new;
mod request;
mod split;

pub use self::answer::{Transfer, TransferEntry, TransferKind, TransferState};
pub use self::body::{DESCRIPTION_CHARS_MAX, PostBody, ReverseBody, TransferBody, VoidBody};
pub use self::entry::EntryBody;
pub use self::error::TransferError;
pub use self::expect::Expectation;
pub use self::follow::{parse_post, parse_reverse, parse_void};
pub use self::item::{BatchBody, BatchItem, ItemError};
pub use self::key::{IdempotencyKey, KEY_BYTES_MAX, KeyError};
pub use self::new::parse;
pub use self::request::{Action, TransferRequest};
pub use self::split::{Part, Remainder, Rounding, Split};

/// Most entries in one transfer, unless `--entries-max` says otherwise.
pub const ENTRIES_MAX_DEFAULT: usize = 1000;
