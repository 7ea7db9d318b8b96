//! Any bytes for an HLS playlist: read, or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = forebay_proxy::video::playlist::read(input);
});
