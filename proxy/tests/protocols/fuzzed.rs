//! The targets of `fuzz/` that read what clients and origins send, as they are there, compiled without libFuzzer: none of
//! them falls behind what it calls unseen. [`super::mutations`] and [`super::parsing`] say what they are given.

#![expect(
    clippy::duplicate_mod,
    reason = "each target is a program of its own, with what they share"
)]

/// What `fuzz_target!` makes here: a function in the place of a program.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        pub fn run($bytes: &[u8]) {
            $body
        }
    };
    // As the fuzzer makes both of one input: a number of its first bytes, and the rest.
    (|$input:ident: (u64, &[u8])| $body:expr) => {
        pub fn run(bytes: &[u8]) {
            let number =
                bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
            let $input: (u64, &[u8]) = (number, bytes);
            $body
        }
    };
}

#[path = "../../../fuzz/fuzz_targets/cache_control.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod cache_control;
#[path = "../../../fuzz/fuzz_targets/cmcd.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod cmcd;
#[path = "../../../fuzz/fuzz_targets/fastcgi.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod fastcgi;
#[path = "../../../fuzz/fuzz_targets/mpd.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod mpd;
#[path = "../../../fuzz/fuzz_targets/ocsp_answer.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod ocsp_answer;
#[path = "../../../fuzz/fuzz_targets/playlist.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod playlist;
#[path = "../../../fuzz/fuzz_targets/proxy_protocol.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod proxy_protocol;
#[path = "../../../fuzz/fuzz_targets/range.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod range;
#[path = "../../../fuzz/fuzz_targets/request_head.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod request_head;
#[path = "../../../fuzz/fuzz_targets/signed_url.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod signed_url;
#[path = "../../../fuzz/fuzz_targets/token.rs"]
#[allow(unused_attributes, unused_imports)]
pub mod token;
