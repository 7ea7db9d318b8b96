//! Any bytes are read as a configuration, or refused with a place.
#![no_main]

#[path = "../../nginx-compat/tests/fuzzed/targets.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::lexer(bytes));
