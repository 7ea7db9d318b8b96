//! Any query and any header for what a player says (CMCD v1 and v2).

#![no_main]

use forebay_proxy::video::cmcd;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = std::str::from_utf8(input).ok();
    let _ = cmcd::read(text, &HeaderMap::new());
    let mut headers = HeaderMap::new();
    for (name, field) in ["cmcd-request", "cmcd-object", "cmcd-status", "cmcd-session"]
        .into_iter()
        .zip(input.split(|byte| *byte == b'\n'))
    {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.insert(name, value);
        }
    }
    let _ = cmcd::read(None, &headers);
});
