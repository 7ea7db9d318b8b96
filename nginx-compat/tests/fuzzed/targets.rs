//! What must hold of any bytes: the entry points of fuzz/fuzz_targets/nginx_*.rs, of `tests/properties.rs` and of
//! `examples/mutate.rs`.

use forebay_nginx::include::Includes;
use forebay_nginx::parse::{Parsed, parse_bytes};
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;
use forebay_nginx::{check, print};

fn parse(bytes: &[u8]) -> Parsed {
    parse_bytes("fuzz.conf", bytes, Includes::Unfollowed)
}

/// Read, or refused with places; what was read is the same printed and read again.
pub fn lexer(bytes: &[u8]) {
    let parsed = parse(bytes);
    check::check(&parsed.document);
    if parsed.problems.is_empty() {
        let printed = print::print(&parsed.document.directives);
        let again = parse(printed.as_bytes());
        assert_eq!(print::print(&again.document.directives), printed);
    }
}

/// Whatever can be read is translated, nothing of it is left out of the report, and what comes out loads. Says whether
/// anything came out.
pub fn translation(bytes: &[u8]) -> bool {
    let parsed = parse(bytes);
    let translation = translate(&parsed.document);
    let report = Report::new(&parsed.document, &translation);
    assert_eq!(report.items.len(), parsed.document.count);
    let Some(config) = &translation.config else { return false };
    let source = proxy_config::Source::new("fuzzed", config.to_yaml());
    if let Err(problems) = proxy_config::Config::load(source) {
        panic!("{problems}\n{}", String::from_utf8_lossy(bytes));
    }
    true
}
