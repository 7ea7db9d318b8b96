//! What is known of a request when a template is rendered: the request itself, what expressions
//! captured of it, and maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::HeaderMap;

use crate::map::Map;
use crate::matching::Target;
use crate::pattern::ValueMatch;
use crate::proved::Proved;
use crate::template::{Compiled, Scope};

/// A request, as templates see it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub target: Target<'a>,
    /// Path and query as the client asked for them, before any rewrite.
    pub request_uri: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    pub client: Option<IpAddr>,
    pub request_id: &'a str,
    pub proved: &'a Proved,
    pub captures: &'a Captures,
    pub maps: &'a Maps,
}

impl Facts<'_> {
    /// The values of a header, as one list; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn header(&self, name: &str) -> String {
        let all = self.target.headers.into_iter().flat_map(|headers| headers.get_all(name));
        let all: Vec<_> = all.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        all.join(", ")
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        cookie(self.target.headers?, name)
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.target.query.split('&');
        pairs.find_map(|pair| match pair.split_once('=') {
            Some((is, value)) => (is == name).then_some(value),
            None => (pair == name).then_some(""),
        })
    }
}

/// The first cookie of this name (RFC 6265 section 4.2).
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(http::header::COOKIE).iter();
    let pairs = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(';'));
    pairs.map(str::trim).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// What the expressions of a route found in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    numbered: Vec<String>,
    named: Vec<(String, String)>,
}

impl Captures {
    pub fn get(&self, name: &str) -> &str {
        let numbered = || self.numbered.get(name.parse::<usize>().ok()?).map(String::as_str);
        let named =
            || self.named.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str());
        numbered().or_else(named).unwrap_or_default()
    }

    /// Adds those of one expression: its names; its numbers only when it is the first.
    pub(crate) fn add<'n>(&mut self, found: impl Iterator<Item = (Option<&'n str>, String)>) {
        let first = self.numbered.is_empty();
        for (name, value) in found {
            if let Some(name) = name {
                self.named.push((name.to_owned(), value.clone()));
            }
            if first {
                self.numbered.push(value);
            }
        }
    }

    pub(crate) fn add_text(&mut self, regex: &regex::Regex, text: &str) {
        if let Some(found) = regex.captures(text) {
            let value = |at| found.get(at).map_or("", |part| part.as_str()).to_owned();
            self.add(regex.capture_names().enumerate().map(|(at, name)| (name, value(at))));
        }
    }
}

/// How a text must look, made ready.
#[derive(Clone, Debug)]
pub(crate) enum ValueTest {
    Exact(String),
    Prefix(String),
    Regex(regex::Regex),
}

impl ValueTest {
    pub(crate) fn new(pattern: &ValueMatch) -> ValueTest {
        match pattern {
            ValueMatch::Exact(text) => ValueTest::Exact(text.clone()),
            ValueMatch::Prefix(text) => ValueTest::Prefix(text.clone()),
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
        }
    }

    pub(crate) fn capture(&self, text: &str, captures: &mut Captures) {
        if let ValueTest::Regex(regex) = self {
            captures.add_text(regex, text);
        }
    }
}

/// The maps of a document, made ready. They do not refer to themselves: validation sees to it.
#[derive(Clone, Debug, Default)]
pub struct Maps(BTreeMap<String, CompiledMap>);

#[derive(Clone, Debug)]
struct CompiledMap {
    of: Compiled,
    cases: Vec<(ValueTest, Compiled)>,
    default: String,
}

impl Maps {
    /// A map that validation refuses is left out.
    pub fn new(maps: &BTreeMap<String, Map>) -> Maps {
        let scope = Scope { maps: maps.keys().map(String::as_str).collect(), ..Scope::default() };
        let compile = |map: &Map| {
            let case = |case: &crate::map::MapCase| {
                let value = Compiled::new(&case.value.0, &case_scope(&scope, &case.when)).ok()?;
                Some((ValueTest::new(&case.when), value))
            };
            Some(CompiledMap {
                of: Compiled::new(&map.of.0, &scope).ok()?,
                cases: map.cases.iter().map(case).collect::<Option<_>>()?,
                default: map.default.clone(),
            })
        };
        Maps(maps.iter().filter_map(|(name, map)| Some((name.clone(), compile(map)?))).collect())
    }

    pub(crate) fn value(&self, name: &str, facts: &Facts<'_>) -> String {
        let Some(map) = self.0.get(name) else { return String::new() };
        let text = map.of.render(facts);
        let Some((test, value)) = map.cases.iter().find(|(test, _)| test.takes(&text)) else {
            return map.default.clone();
        };
        let mut captures = Captures::default();
        test.capture(&text, &mut captures);
        value.render_with(facts, &captures)
    }
}

/// What the value of a case may use: the captures of its own expression.
pub(crate) fn case_scope<'a>(scope: &Scope<'a>, when: &ValueMatch) -> Scope<'a> {
    let mut scope = Scope { maps: scope.maps.clone(), ..Scope::default() };
    if let ValueMatch::Regex(regex) = when
        && let Ok(regex) = regex.compile()
    {
        scope.add(&regex);
    }
    scope
}
