//! A translation taken all the way: the lines of an `http` block, and the configuration of ours that they load as.

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::report::Report;
use forebay_nginx::translate::translate;
use proxy_config::{Config, Source};

/// What stands in `http`, as a configuration that loads, and the report of it.
pub fn translated(http: &str) -> (Config, Report) {
    let text = format!("http {{ {http} }}");
    let parsed = parse_bytes("t", text.as_bytes(), Includes::Unfollowed);
    assert!(parsed.problems.is_empty(), "{text}: {:?}", parsed.problems);
    let translation = translate(&parsed.document);
    let report = Report::new(&parsed.document, &translation);
    let yaml = translation.config.unwrap_or_else(|| panic!("{text}")).to_yaml();
    let config = Config::load(Source::new("t", yaml.as_str()));
    (config.unwrap_or_else(|problems| panic!("{problems}\n{yaml}")), report)
}
