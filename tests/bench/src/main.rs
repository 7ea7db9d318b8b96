//! The way of a run is told in lib.rs.
use std::process::ExitCode;

fn main() -> ExitCode {
    forebay_bench::command::main()
}
