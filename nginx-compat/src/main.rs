use std::process::ExitCode;

use clap::Parser as _;
use forebay_nginx::command::{Arguments, FAILURE, run};

/// Trees of small texts are what a translation is made of: a third of its time went into glibc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("forebay-nginx: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}
