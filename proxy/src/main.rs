//! The way of a request is told in lib.rs.
use std::process::ExitCode;

/// A request takes and gives back some forty small pieces of memory: a seventh of its instructions were glibc's allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    forebay_proxy::command::main()
}
