//! Forebay's double-entry ledger. A transfer travels like this:
//!
//! 1. `http::transfers` takes the request, its idempotency key and its body;
//! 2. `transfer::parse` reads the body (`money::Amount`: exact, strings only) and fingerprints it;
//! 3. `writer` gathers what waits in a bounded queue into a batch: one SQL transaction;
//! 4. `store` (SQLite, MySQL/MariaDB or PostgreSQL) locks and reads the accounts and the keys the batch names;
//! 5. `batch::decide` replays known keys and hands each new transfer to
//! 6. `posting::post`, which is pure: entries and new balances, or a rejection;
//! 7. `store` writes transfers, entries, balances, answers and their links of the `chain`, and commits;
//! 8. only then is each request of the batch answered, on its own merits.
//!
//! Reads (`http::accounts`, `http::reports` …) go to `store::Reader` and answer with `report`
//! types; they never wait for the writer. A balance that was read once is kept up by the writer (`writer::Published`). Any error is a `http::problem`. `service` ties one
//! database, its writer and two listeners together; `verify` recomputes a whole database; `command`
//! is the command line.

pub mod account;
pub mod account_set;
pub mod act;
pub mod as_of;
pub mod batch;
pub mod behind;
pub mod chain;
pub mod close;
pub mod command;
pub mod delivering;
pub mod exporting;
pub mod hex;
pub mod http;
pub mod importing;
pub mod interchange;
pub mod json;
pub mod key;
pub mod keyring;
pub mod link;
pub mod metadata;
pub mod metrics;
pub mod money;
pub mod naming;
pub mod operator_log;
pub mod outbox;
pub mod posting;
pub mod reconcile;
pub mod reconciling;
pub mod report;
pub mod seal;
pub mod service;
pub mod signature;
pub mod signing;
pub mod store;
pub mod trail;
pub mod transfer;
pub mod verify;
pub mod when;
pub mod writer;
