#![no_main]

#[path = "../../proxy/tests/protocols/mutations/targets.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::ocsp_answer(bytes));
