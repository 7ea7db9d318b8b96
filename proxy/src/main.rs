//! The way of a request is told in lib.rs.
use std::process::ExitCode;

fn main() -> ExitCode {
    forebay_proxy::command::main()
}
