//! `forebay-ledger`: the ledger's command line.

use std::process::ExitCode;

use clap::Parser;
use forebay_ledger::command::{self, Cli};

fn main() -> ExitCode {
    command::run(Cli::parse())
}
