//! Any bytes are read as a configuration, or refused with a place.
#![no_main]

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_bytes("fuzz.conf", bytes, Includes::Unfollowed);
});
