//! Whatever can be read is translated and reported on.
#![no_main]

#[path = "../../nginx-compat/tests/fuzzed/targets.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = targets::translation(bytes);
});
