//! The database, seen from the ledger. An engine is one module with a `Writer` (one connection, one
//! batch at a time) and a `Reader` (a small pool that never waits for the writer); `engine` gives
//! the three of them one name each, `opening` opens them. `row` reads rows the same way from all of them, `durability`
//! judges their settings, `migration` runs their migrations, `read` looks things up on all of them alike.
//!
//! A batch is `Writer::begin` → `Batch::create_*` → `Batch::lock_and_read` → (posting) →
//! `Batch::write` → `Batch::commit`, put together in `gather` from what each engine does; a batch that is dropped is rolled back. A commit that fails is
//! never taken for done nor for undone: the next `begin` works on a connection that holds the
//! writer's lock, which it can only get once the old connection, and so the old commit, has ended.

mod acts;
mod alike;
mod as_of;
mod audit;
mod close;
mod current;
mod durability;
mod effective;
mod engine;
mod error;
mod external;
mod faults;
mod gather;
mod halving;
mod journal;
mod known;
mod list;
mod metadata;
mod migration;
mod mysql;
mod opening;
mod outbox;
mod pinned;
#[cfg(test)]
mod plans_tests;
mod postgres;
mod read;
mod reader;
mod reconcile;
mod row;
mod rows;
mod sealed;
mod service;
mod sets;
mod signatures;
mod source;
mod sqlite;
mod statement;
mod stream;
mod table;
mod threading;
mod triggers;
mod unique;
mod url;
mod way;

pub use audit::{Audit, BackdatedDay, BalanceRow};
pub use durability::UnsafeSetting;
pub use effective::{Days, Place};
pub use engine::{Ahead, Batch, Inserts, Lane, Writer, copy};
pub use error::StoreError;
#[cfg(test)]
pub use faults::simulated;
pub use migration::Migrated;
pub use opening::{Opened, migrate, open, read_only};
pub use reader::{Moment, Reader};
pub use source::{Source, SourceSum, Texts};
pub use statement::Period;
pub use stream::Stream;
pub use triggers::{Unguarded, mend, unguarded};
pub use url::{Access, DatabaseUrl, SqliteFile, Synchronous, UrlError};
