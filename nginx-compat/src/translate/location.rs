//! Locations: what they match, and those within others.

use std::rc::Rc;

use crate::translate::scope::Scope;
use crate::tree::{Directive, flattened};

/// What a location matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `= /path`
    Exact(String),
    /// `/path`, or `^~ /path`, which keeps regular expressions from being tried.
    Prefix { path: String, before_regexes: bool },
    /// `~ regex` or `~* regex`
    Regex { pattern: String, ignore_case: bool },
    /// `@name`
    Named(String),
    /// What nginx refuses.
    Invalid(String),
}

#[derive(Debug)]
pub struct Location<'a> {
    pub directive: &'a Directive,
    pub kind: Kind,
    pub scope: Rc<Scope<'a>>,
    pub nested: Vec<Location<'a>>,
}

impl<'a> Location<'a> {
    pub fn path(&self) -> Option<&str> {
        match &self.kind {
            Kind::Exact(path) | Kind::Prefix { path, .. } => Some(path),
            Kind::Regex { .. } | Kind::Named(_) | Kind::Invalid(_) => None,
        }
    }

    pub fn is_regex(&self) -> bool {
        matches!(self.kind, Kind::Regex { .. })
    }

    /// Whether no regular expression is tried when it is the one.
    pub fn ends_search(&self) -> bool {
        matches!(self.kind, Kind::Exact(_) | Kind::Prefix { before_regexes: true, .. })
    }

    pub fn is_exact(&self) -> bool {
        matches!(self.kind, Kind::Exact(_))
    }
}

/// The locations of a server or of a location, with those inside them.
pub fn locations<'a>(block: &'a Directive, scope: &Rc<Scope<'a>>) -> Vec<Location<'a>> {
    let inner = flattened(block.children()).into_iter().filter(|d| d.name == "location");
    inner
        .map(|directive| {
            let scope = Scope::of(directive, Some(scope));
            let kind = kind(directive);
            let mut nested = locations(directive, &scope);
            for inner in &mut nested {
                if let Some(fault) = misplaced(&kind, inner) {
                    inner.kind = Kind::Invalid(fault);
                }
            }
            Location { directive, kind, scope, nested }
        })
        .collect()
}

/// What nginx refuses in a location within another.
fn misplaced(outer: &Kind, inner: &Location<'_>) -> Option<String> {
    match (outer, inner.path()) {
        (Kind::Exact(_), _) => Some("nginx allows no location inside an exact one".to_owned()),
        (Kind::Named(_), _) => Some("nginx allows no location inside a named one".to_owned()),
        (Kind::Prefix { path: outer, .. }, Some(path)) if !path.starts_with(outer.as_str()) => {
            Some(format!("nginx refuses it: location \"{path}\" is outside location \"{outer}\""))
        }
        _ => None,
    }
}

/// Which requests a location takes.
pub fn kind(directive: &Directive) -> Kind {
    let words: Vec<&str> = directive.texts().collect();
    let (modifier, pattern) = match words.as_slice() {
        [modifier, pattern] => (*modifier, *pattern),
        [word] => ["=", "^~", "~*", "~"]
            .iter()
            .find_map(|modifier| Some((*modifier, word.strip_prefix(modifier)?)))
            .unwrap_or(("", word)),
        _ => return Kind::Invalid("a location takes a modifier and a path".to_owned()),
    };
    match modifier {
        "~" | "~*" => Kind::Regex { pattern: pattern.to_owned(), ignore_case: modifier == "~*" },
        "=" => Kind::Exact(pattern.to_owned()),
        "^~" => Kind::Prefix { path: pattern.to_owned(), before_regexes: true },
        "" if pattern.starts_with('@') => Kind::Named(pattern.to_owned()),
        "" => Kind::Prefix { path: pattern.to_owned(), before_regexes: false },
        other => Kind::Invalid(format!("invalid location modifier \"{other}\"")),
    }
}
