//! `forebay-ledger`: the ledger's command line.

use std::process::ExitCode;

use clap::Parser;
use forebay_ledger::command::{self, Cli};

/// What one thread takes, others give back: a request's memory ends with the writer's, a row's with the engine's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::run(Cli::parse())
}
