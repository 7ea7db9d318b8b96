//! Whatever can be read is translated and reported on.
#![no_main]

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse_bytes("fuzz.conf", bytes, Includes::Unfollowed);
    let translation = translate(&parsed.document);
    let _ = Report::new(&parsed.document, &translation).unsupported().count();
});
