//! The `forebay` command. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    forebay_stack::command::main()
}
