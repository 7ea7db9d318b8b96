//! `forebay deploy` and its kin against a CloudFormation that is played here: failures, rollbacks,
//! throttling and pages come as they are scripted.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up is a failed test")]

mod beside;
mod cases;
mod fake;
mod releases;
mod terminal;
