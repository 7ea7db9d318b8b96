//! Whether one route takes every request another one would. Sound, not complete: an answer of
//! "yes" is certain; several routes that only together take everything are not found.

use std::collections::HashMap;

use crate::host::HostPattern;
use crate::matching::normalize_path;
use crate::route::{PathMatch, Route, RouteMatch};

/// Indexes of the routes that never take a request: an earlier one takes every request of theirs.
pub fn hidden(routes: &[Route]) -> Vec<usize> {
    hiders(routes).into_iter().map(|(index, _)| index).collect()
}

/// Each route that never takes a request, and the first that takes all of its requests. Only
/// routes that name the same host, or hosts in general, can hide one another: comparing every pair
/// would take seconds for thousands of routes.
pub(crate) fn hiders(routes: &[Route]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut by_host: HashMap<String, Vec<usize>> = HashMap::new();
    let mut general: Vec<usize> = Vec::new();
    let by_path = routes.iter().enumerate().filter(|(_, route)| !route.is_by_name_only());
    for (index, route) in by_path {
        let same = route.when.hosts.first().and_then(exact_host);
        let named = same.and_then(|host| by_host.get(&host)).map_or(&[][..], Vec::as_slice);
        let hides = |at: &&usize| {
            routes[**at].has_action() && takes_all_of(&routes[**at].when, &route.when)
        };
        let earlier = named.iter().find(hides).into_iter().chain(general.iter().find(hides)).min();
        found.extend(earlier.map(|earlier| (index, *earlier)));
        let exact: Vec<_> = route.when.hosts.iter().filter_map(exact_host).collect();
        if exact.len() < route.when.hosts.len() || exact.is_empty() {
            general.push(index);
        }
        for host in exact {
            by_host.entry(host).or_default().push(index);
        }
    }
    found
}

/// The name of one host only; none for a pattern.
fn exact_host(pattern: &HostPattern) -> Option<String> {
    match pattern {
        HostPattern::Name(name) => Some(name.canonical()).filter(|name| !name.contains('*')),
        HostPattern::Regex(_) => None,
    }
}

pub(crate) fn takes_all_of(first: &RouteMatch, second: &RouteMatch) -> bool {
    let fields = |wanted: &[_], given: &[_]| wanted.iter().all(|field| given.contains(field));
    let is_within = |wide| {
        second.within.contains(wide)
            || (!second.paths.is_empty() && second.paths.iter().all(|path| path_takes(wide, path)))
    };
    first.within.iter().all(is_within)
        && every(&first.listeners, &second.listeners, |a, b| a == b)
        && every(&first.hosts, &second.hosts, host_takes)
        && every(&first.paths, &second.paths, path_takes)
        && every(&first.methods, &second.methods, |a, b| a == b || (a == "GET" && b == "HEAD"))
        && fields(&first.headers, &second.headers)
        && fields(&first.query, &second.query)
}

/// Whether each of `second` is taken by one of `first`; empty means all.
fn every<T>(first: &[T], second: &[T], takes: impl Fn(&T, &T) -> bool) -> bool {
    first.is_empty()
        || (!second.is_empty() && second.iter().all(|b| first.iter().any(|a| takes(a, b))))
}

fn host_takes(wide: &HostPattern, narrow: &HostPattern) -> bool {
    let (HostPattern::Name(wide), HostPattern::Name(narrow)) = (wide, narrow) else {
        return wide == narrow;
    };
    let (wide, narrow) = (wide.canonical(), narrow.canonical());
    match wide.strip_prefix('*') {
        Some(below) => {
            below.is_empty()
                || narrow.trim_start_matches('*').ends_with(below)
                    && (narrow.starts_with('*') || narrow.len() > below.len())
        }
        None => wide == narrow,
    }
}

fn path_takes(wide: &PathMatch, narrow: &PathMatch) -> bool {
    match (wide, narrow) {
        (PathMatch::Exact(wide), PathMatch::Exact(narrow)) => {
            normalize_path(wide) == normalize_path(narrow)
        }
        (PathMatch::Prefix(wide), PathMatch::Exact(narrow) | PathMatch::Prefix(narrow)) => {
            normalize_path(narrow).starts_with(&normalize_path(wide))
        }
        (wide, narrow) => wide == narrow || *wide == PathMatch::Prefix("/".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(text: &str) -> RouteMatch {
        let tree = crate::Tree::parse(crate::Source::new("match.yaml", text)).expect("YAML");
        crate::read(&tree, tree.root()).expect("a match")
    }

    #[test]
    fn a_wider_route_takes_all_of_a_narrower_one() {
        let cases = [
            ("{}", "{ hosts: [a.example] }", true),
            ("{ hosts: [a.example] }", "{}", false),
            ("{ hosts: ['*'] }", "{ hosts: [a.example] }", true),
            ("{ hosts: [A.example.] }", "{ hosts: [a.example] }", true),
            ("{ hosts: ['*.example'] }", "{ hosts: [a.example, b.c.example] }", true),
            ("{ hosts: ['*.example'] }", "{ hosts: ['*.b.example'] }", true),
            ("{ hosts: ['*.b.example'] }", "{ hosts: ['*.example'] }", false),
            ("{ hosts: ['*.example'] }", "{ hosts: [example] }", false),
            ("{ hosts: ['*.example'] }", "{ hosts: [a.example, other] }", false),
            ("{ hosts: ['*.example'] }", "{ hosts: [notexample] }", false),
            ("{ paths: [{ prefix: / }] }", "{ paths: [{ exact: /x }] }", true),
            ("{ paths: [{ prefix: /v1 }] }", "{ paths: [{ prefix: /v1/a }] }", true),
            ("{ paths: [{ prefix: /v1/ }] }", "{ paths: [{ exact: /v1 }] }", false),
            ("{ paths: [{ exact: /x }] }", "{ paths: [{ prefix: /x }] }", false),
            ("{ paths: [{ exact: /v1 }] }", "{ paths: [{ exact: /%76%31 }] }", true),
            ("{ paths: [{ prefix: / }] }", "{}", false),
            ("{ methods: [GET] }", "{ methods: [HEAD] }", true),
            ("{ methods: [GET] }", "{ methods: [GET, POST] }", false),
            ("{ methods: [GET] }", "{}", false),
            ("{ headers: [{ name: x }] }", "{}", false),
            ("{}", "{ headers: [{ name: x }] }", true),
        ];
        for (first, second, expected) in cases {
            assert_eq!(takes_all_of(&when(first), &when(second)), expected, "{first} {second}");
        }
    }
}
