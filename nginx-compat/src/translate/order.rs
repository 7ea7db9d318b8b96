//! The order in which first-match-wins picks the location nginx would pick: an exact one, else the
//! longest prefix, which regular expressions beside it come before unless it says `^~`; and the
//! same again inside the one that was picked.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use proxy_config::route::PathMatch;

use crate::translate::location::{Kind, Location};
use crate::translate::regex::convert;

/// A location and the paths it takes when no spot before it has taken them.
#[derive(Debug)]
pub struct Spot<'l, 'a> {
    pub location: &'l Location<'a>,
    pub path: PathMatch,
    /// What must match too.
    pub within: Vec<PathMatch>,
}

/// Locations in the order of their routes.
pub fn in_order<'l, 'a>(level: &'l [Location<'a>]) -> Vec<Spot<'l, 'a>> {
    let mut spots = Vec::new();
    whole(level, &[], &mut spots);
    // The first of several with the same match is the only one that is ever reached.
    let mut kept: Vec<Spot<'l, 'a>> = Vec::new();
    let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
    for spot in spots {
        let there = by_path.entry(text_of(&spot.path)).or_default();
        if !there.iter().any(|at| kept[*at].within == spot.within) {
            there.push(kept.len());
            kept.push(spot);
        }
    }
    kept
}

/// What tells paths apart.
fn text_of(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("={path}"),
        PathMatch::Prefix(path) => format!("^{path}"),
        PathMatch::Regex(regex) => format!("~{regex}"),
    }
}

/// All of a level, where nothing outside it comes after.
fn whole<'l, 'a>(level: &'l [Location<'a>], within: &[PathMatch], spots: &mut Vec<Spot<'l, 'a>>) {
    exact(level, within, spots);
    let regexes = level.iter().any(Location::is_regex);
    let prefixes = prefixes(level);
    // Those that cannot stand behind the expressions of the level, and all within them.
    let is_apart = |other: &&Location<'_>| other.ends_search() || !other.nested.is_empty();
    let apart = prefixes.iter().copied().filter(is_apart);
    let apart: HashSet<&str> = apart.filter_map(Location::path).collect();
    let first = |location: &&Location<'a>| {
        let path = location.path().unwrap_or_default();
        let mut starts = (1..=path.len()).filter_map(|end| path.get(..end));
        regexes && starts.any(|start| apart.contains(start))
    };
    let (early, prefixes): (Vec<&Location<'a>>, Vec<_>) = prefixes.into_iter().partition(first);
    for location in early {
        region(level, location, within, true, spots);
    }
    expressions(level, within, spots);
    for location in prefixes {
        region(level, location, within, false, spots);
    }
}

/// The paths whose longest prefix is this one.
fn region<'l, 'a>(
    level: &'l [Location<'a>],
    location: &'l Location<'a>,
    within: &[PathMatch],
    with_expressions: bool,
    spots: &mut Vec<Spot<'l, 'a>>,
) {
    let Some(path) = matched(location) else { return };
    let inside = joined(within, &path);
    final_ones(&location.nested, &inside, spots);
    if with_expressions && !location.ends_search() {
        expressions(level, &inside, spots);
    }
    static_ones(&location.nested, within, spots);
    spots.push(Spot { location, path, within: within.to_vec() });
}

/// What of a nested level nginx takes at once: exact ones and expressions.
fn final_ones<'l, 'a>(
    level: &'l [Location<'a>],
    within: &[PathMatch],
    spots: &mut Vec<Spot<'l, 'a>>,
) {
    exact(level, within, spots);
    for location in prefixes(level) {
        let Some(path) = matched(location) else { continue };
        final_ones(&location.nested, &joined(within, &path), spots);
    }
    expressions(level, within, spots);
}

/// What of a nested level nginx takes when no expression outside it matches.
fn static_ones<'l, 'a>(
    level: &'l [Location<'a>],
    within: &[PathMatch],
    spots: &mut Vec<Spot<'l, 'a>>,
) {
    for location in prefixes(level) {
        let Some(path) = matched(location) else { continue };
        static_ones(&location.nested, within, spots);
        spots.push(Spot { location, path, within: within.to_vec() });
    }
}

fn exact<'l, 'a>(level: &'l [Location<'a>], within: &[PathMatch], spots: &mut Vec<Spot<'l, 'a>>) {
    for location in level.iter().filter(|location| location.is_exact()) {
        let Some(path) = matched(location) else { continue };
        let within = beside(within, &path);
        spots.push(Spot { location, path, within });
    }
}

/// The expressions of a level in their order, each with what stands inside it.
fn expressions<'l, 'a>(
    level: &'l [Location<'a>],
    within: &[PathMatch],
    spots: &mut Vec<Spot<'l, 'a>>,
) {
    for location in level.iter().filter(|location| location.is_regex()) {
        let Some(path) = matched(location) else { continue };
        whole(&location.nested, &joined(within, &path), spots);
        spots.push(Spot { location, path, within: within.to_vec() });
    }
}

/// The longest first.
fn prefixes<'l, 'a>(level: &'l [Location<'a>]) -> Vec<&'l Location<'a>> {
    let is_prefix = |location: &&Location<'_>| matches!(location.kind, Kind::Prefix { .. });
    let mut found: Vec<&Location<'a>> = level.iter().filter(is_prefix).collect();
    found.sort_by_key(|location| Reverse(location.path().map_or(0, str::len)));
    found
}

/// One more condition. A prefix around it that it implies need not be said.
fn joined(within: &[PathMatch], more: &PathMatch) -> Vec<PathMatch> {
    let mut all = beside(within, more);
    if *more != PathMatch::Prefix("/".to_owned()) && !all.contains(more) {
        all.push(more.clone());
    }
    all
}

/// The conditions that a path of this match may not fulfil.
fn beside(within: &[PathMatch], path: &PathMatch) -> Vec<PathMatch> {
    let implied = |outer: &&PathMatch| match (outer, path) {
        (PathMatch::Prefix(outer), PathMatch::Prefix(path) | PathMatch::Exact(path)) => {
            path.starts_with(outer.as_str())
        }
        _ => false,
    };
    within.iter().filter(|outer| !implied(outer)).cloned().collect()
}

/// The match of a location by itself; none for those no route can stand for.
pub fn matched(location: &Location<'_>) -> Option<PathMatch> {
    match &location.kind {
        Kind::Exact(path) if is_plain(path) => Some(PathMatch::Exact(path.clone())),
        Kind::Prefix { path, .. } if is_plain(path) => Some(PathMatch::Prefix(path.clone())),
        Kind::Regex { pattern, ignore_case } => {
            convert(pattern, *ignore_case).ok().map(PathMatch::Regex)
        }
        _ => None,
    }
}

fn is_plain(path: &str) -> bool {
    foreign_character(path).is_none() && !never_matches(path)
}

/// nginx compares paths in normal form, so a location in another form takes no request.
pub fn never_matches(path: &str) -> bool {
    let normal = || proxy_config::matching::normalize_path(path);
    !path.starts_with('/') || (foreign_character(path).is_none() && normal() != path.as_bytes())
}

/// A character that stands for itself in a location and for something else in a route.
pub fn foreign_character(path: &str) -> Option<char> {
    path.chars().find(|c| "%*?#\\".contains(*c) || c.is_whitespace())
}
