//! Locations, and the order in which first-match-wins picks the one nginx would pick.

use std::cmp::Reverse;
use std::collections::HashSet;
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
    Regex,
    /// `@name`
    Named,
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
            Kind::Regex | Kind::Named | Kind::Invalid(_) => None,
        }
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
        (Kind::Named, _) => Some("nginx allows no location inside a named one".to_owned()),
        (Kind::Prefix { path: outer, .. }, Some(path)) if !path.starts_with(outer.as_str()) => {
            Some(format!("nginx refuses it: location \"{path}\" is outside location \"{outer}\""))
        }
        _ => None,
    }
}

fn kind(directive: &Directive) -> Kind {
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
        "~" | "~*" => Kind::Regex,
        "=" => Kind::Exact(pattern.to_owned()),
        "^~" => Kind::Prefix { path: pattern.to_owned(), before_regexes: true },
        "" if pattern.starts_with('@') => Kind::Named,
        "" => Kind::Prefix { path: pattern.to_owned(), before_regexes: false },
        other => Kind::Invalid(format!("invalid location modifier \"{other}\"")),
    }
}

/// Exact and prefix locations in the order in which the first that matches is the one nginx takes
/// when no regular expression matches: exact ones, then the longest prefix first. Left out are
/// those nginx never takes: a nested one that lies within a longer location beside its outer one,
/// and an outer one whose whole path a nested one takes.
pub fn in_order<'l, 'a>(locations: &'l [Location<'a>]) -> Vec<&'l Location<'a>> {
    let mut reached = Vec::new();
    reach(locations, &[], &mut reached);
    // Inner ones come after their outer ones, so of equal paths the last is the one taken.
    let mut seen = HashSet::new();
    let mut ordered: Vec<&Location<'a>> = Vec::new();
    for location in reached.into_iter().rev() {
        if seen.insert((location.is_exact(), location.path())) {
            ordered.push(location);
        }
    }
    ordered.reverse();
    let length = |location: &Location<'_>| location.path().map_or(0, str::len);
    ordered.sort_by_key(|location| (!location.is_exact(), Reverse(length(location))));
    ordered
}

fn reach<'l, 'a>(
    level: &'l [Location<'a>],
    rivals: &[&'l Location<'a>],
    reached: &mut Vec<&'l Location<'a>>,
) {
    for location in level {
        let Some(path) = location.path() else { continue };
        if rivals.iter().any(|rival| takes(rival, location)) {
            continue;
        }
        reached.push(location);
        if location.nested.is_empty() || location.is_exact() {
            continue;
        }
        let nearer = level.iter().filter(|other| {
            other.path().is_some_and(|other_path| {
                let longer = other_path.len() > path.len() || other.is_exact();
                longer && other_path.starts_with(path)
            })
        });
        let rivals: Vec<_> = rivals.iter().copied().chain(nearer).collect();
        reach(&location.nested, &rivals, reached);
    }
}

/// Whether nginx gives all of a nested location's requests to a location beside its outer one.
fn takes(rival: &Location<'_>, nested: &Location<'_>) -> bool {
    match (&rival.kind, nested.path()) {
        (Kind::Exact(exact), Some(path)) => nested.is_exact() && exact == path,
        (Kind::Prefix { path: prefix, .. }, Some(path)) => path.starts_with(prefix.as_str()),
        _ => false,
    }
}
