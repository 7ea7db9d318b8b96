//! How a text must look, made ready.

use crate::address::IpNetwork;
use crate::captures::Captures;
use crate::pattern::ValueMatch;

#[derive(Clone, Debug)]
pub(crate) enum ValueTest {
    Exact(String),
    Prefix(String),
    Regex(regex::Regex),
    Network(IpNetwork),
}

impl ValueTest {
    pub(crate) fn new(pattern: &ValueMatch) -> ValueTest {
        match pattern {
            ValueMatch::Exact(text) => ValueTest::Exact(text.clone()),
            ValueMatch::Prefix(text) => ValueTest::Prefix(text.clone()),
            ValueMatch::Network(network) => ValueTest::Network(*network),
            ValueMatch::Regex(regex) => {
                ValueTest::Regex(regex.compile().expect("checked when it was read"))
            }
        }
    }

    pub(crate) fn takes(&self, text: &str) -> bool {
        match self {
            ValueTest::Exact(exact) => exact == text,
            ValueTest::Prefix(prefix) => text.starts_with(prefix.as_str()),
            ValueTest::Regex(regex) => regex.is_match(text),
            ValueTest::Network(network) => {
                text.parse().is_ok_and(|address| network.contains(address))
            }
        }
    }

    pub(crate) fn capture(&self, text: &str, captures: &mut Captures) {
        if let ValueTest::Regex(regex) = self {
            captures.add_text(regex, text);
        }
    }
}
