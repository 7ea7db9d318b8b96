//! The targets of `fuzz/` as they are there, compiled without libFuzzer, which needs a nightly compiler: none of them
//! falls behind what it calls unseen.

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
}

extern crate self as libfuzzer_sys;

#[path = "../../fuzz/fuzz_targets/nginx_lexer.rs"]
#[allow(unused_attributes)]
mod nginx_lexer;
#[path = "../../fuzz/fuzz_targets/nginx_translate.rs"]
#[allow(unused_attributes)]
mod nginx_translate;

#[test]
fn every_sample_cut_anywhere_goes_through() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut cuts = 0;
    for file in std::fs::read_dir(tests).unwrap() {
        let file = file.unwrap().path();
        if file.is_dir() {
            continue;
        }
        let text = std::fs::read(file).unwrap();
        for end in (0..text.len()).step_by(97) {
            nginx_lexer::run(&text[..end]);
            nginx_translate::run(&text[..end]);
            cuts += 1;
        }
    }
    assert!(cuts > 100, "{cuts}");
}
