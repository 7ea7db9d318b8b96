use std::process::ExitCode;

use clap::Parser as _;
use forebay_nginx::command::{Arguments, FAILURE, run};

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("forebay-nginx: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}
