//! Any `Range` of any object: what is answered lies within it.

#![no_main]

use forebay_proxy::cache::range::{Wanted, wanted};
use http::header::RANGE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let (length, value) = input;
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, value);
    if let Wanted::Part { first, end } = wanted(&headers, length) {
        assert!(first < end && end <= length, "{first}..{end} of {length}");
    }
});
