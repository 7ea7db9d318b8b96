//! The ledger from outside, on each engine: a real service with a database of its own, in this
//! process or as the real binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

// Targets of `fuzz/` name what makes them programs there.
extern crate self as libfuzzer_sys;

mod account_sets;
mod api;
mod balances;
mod batches;
mod behind;
mod binary;
mod broken_off;
mod commands;
mod copies;
mod damaged;
mod dated;
mod documented;
mod effective;
mod encrypted;
mod engine;
mod exports;
mod faults;
mod fuzzed;
mod idempotency;
mod imports;
mod interchange;
mod keys;
mod killed;
mod lasting;
mod listings;
mod looking;
mod metadata;
mod names;
mod outbox;
mod overlaps;
mod pending;
mod plans;
mod preconditions;
mod pressure;
mod problems;
mod raw;
mod reconciliation;
mod running;
mod schemathesis;
mod servers;
mod signatures;
mod statements;
mod storage;
mod streams;
mod texts;
mod uniqueness;
mod upgrade;
mod verified;
mod view;
