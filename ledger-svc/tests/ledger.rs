//! The ledger from outside: a real service in a temporary directory, in this process or as the
//! real binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod binary;
mod documented;
mod faults;
mod idempotency;
mod listings;
mod pressure;
mod problems;
mod running;
mod storage;
