//! Any `Cache-Control`, on its own and beside another.

#![no_main]

use forebay_proxy::cache::directives::Directives;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for field in input.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(field) {
            headers.append(CACHE_CONTROL, value);
        }
    }
    let _ = Directives::of_request(&headers);
    let _ = Directives::of_response(&headers);
});
