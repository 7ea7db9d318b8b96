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

/// Each route that never takes a request, and the first that takes all of its requests.
pub(crate) fn hiders(routes: &[Route]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut before = Before::default();
    let by_path = routes.iter().enumerate().filter(|(_, route)| !route.is_by_name_only());
    for (index, route) in by_path {
        let hides = |at: usize| takes_all_of(&routes[at].when, &route.when);
        found.extend(before.first(&route.when, hides).map(|earlier| (index, earlier)));
        if route.has_action() {
            before.add(index, &route.when);
        }
    }
    found
}

/// The routes so far, by a host and a path they take: comparing every pair would take seconds for thousands.
#[derive(Default)]
struct Before(HashMap<String, HashMap<Vec<u8>, Vec<usize>>>);

impl Before {
    fn add(&mut self, index: usize, when: &RouteMatch) {
        let hosts: Vec<String> = match when.hosts.as_slice() {
            [] => vec![String::new()],
            hosts => hosts.iter().map(host_key).collect(),
        };
        let paths: Vec<Vec<u8>> = match when.paths.as_slice() {
            [] => vec![Vec::new()],
            paths => paths.iter().map(path_key).collect(),
        };
        for host in hosts {
            let there = self.0.entry(host).or_default();
            for path in &paths {
                there.entry(path.clone()).or_default().push(index);
            }
        }
    }

    /// The first route that may take all of another's requests, as far as hosts and paths say, and does.
    fn first(&self, when: &RouteMatch, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let mut hosts = vec![String::new()];
        hosts.extend(when.hosts.first().into_iter().flat_map(hosts_above));
        let mut paths = vec![Vec::new()];
        paths.extend(when.paths.first().into_iter().flat_map(paths_above));
        let places = hosts.iter().filter_map(|host| self.0.get(host));
        let lists = places.flat_map(|there| paths.iter().filter_map(|path| there.get(path)));
        lists.filter_map(|list| list.iter().copied().find(|at| takes(*at))).min()
    }
}

/// What tells patterns of hosts apart.
fn host_key(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Name(name) => name.canonical(),
        HostPattern::Regex(host) => format!("~{}", host.regex),
    }
}

/// The patterns that take all hosts of one: see [`host_takes`].
fn hosts_above(pattern: &HostPattern) -> Vec<String> {
    let key = host_key(pattern);
    let mut above = Vec::new();
    if matches!(pattern, HostPattern::Name(_)) {
        above.extend(key.match_indices('.').map(|(dot, _)| format!("*{}", &key[dot..])));
        above.push("*".to_owned());
    }
    above.push(key);
    above
}

/// What tells paths apart.
fn path_key(path: &PathMatch) -> Vec<u8> {
    let (kind, text) = match path {
        PathMatch::Exact(path) => (b'=', normalize_path(path).into_owned()),
        PathMatch::Prefix(path) => (b'^', normalize_path(path).into_owned()),
        PathMatch::Regex(regex) => (b'~', regex.to_string().into_bytes()),
    };
    [&[kind], text.as_slice()].concat()
}

/// The paths that take all of one: see [`path_takes`].
fn paths_above(path: &PathMatch) -> Vec<Vec<u8>> {
    let key = path_key(path);
    if let PathMatch::Regex(_) = path {
        return vec![key, b"^/".to_vec()];
    }
    let mut above: Vec<Vec<u8>> =
        (2..=key.len()).map(|end| [b"^", &key[1..end]].concat()).collect();
    if let PathMatch::Exact(_) = path {
        above.push(key);
    }
    above
}

pub(crate) fn takes_all_of(first: &RouteMatch, second: &RouteMatch) -> bool {
    let fields = |wanted: &[_], given: &[_]| wanted.iter().all(|field| given.contains(field));
    let is_within = |wide| {
        second.within.contains(wide)
            || (!second.paths.is_empty() && second.paths.iter().all(|path| path_takes(wide, path)))
    };
    first.within.iter().all(is_within)
        && every(&first.listeners, &second.listeners, |a, b| a == b)
        && every(&first.paths, &second.paths, path_takes)
        && every(&first.methods, &second.methods, |a, b| a == b || (a == "GET" && b == "HEAD"))
        && fields(&first.headers, &second.headers)
        && fields(&first.query, &second.query)
        // Last, and the usual first: a server may have thousands of names.
        && (first.hosts == second.hosts || every(&first.hosts, &second.hosts, host_takes))
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

    #[test]
    fn looking_up_finds_what_comparing_all_finds() {
        let hosts =
            ["", "hosts: [a.example],", "hosts: ['*.example'],", "hosts: ['*'],", "hosts: ['~'],"];
        let paths =
            ["", "paths: [{ prefix: / }]", "paths: [{ prefix: /v1 }]", "paths: [{ exact: /v1 }]"];
        let more = ["paths: [{ exact: /v1/a }, { prefix: /v2 }]", "paths: [{ regex: '^/v1' }]"];
        let mut whens = Vec::new();
        for host in hosts {
            for path in paths.iter().chain(&more) {
                let host = host.replace("'~'", "{ regex: '[ab].example' }");
                whens.push(when(&format!("{{ {host} {path} }}")));
            }
        }
        whens.push(when("{ hosts: [b.example, a.example] }"));
        for shift in 0..whens.len() {
            whens.rotate_left(1);
            let routes: Vec<Route> = whens
                .iter()
                .map(|when| Route { when: when.clone(), ..Route::to("r", "u") })
                .collect();
            let by_hand: Vec<(usize, usize)> = (0..routes.len())
                .filter_map(|at| {
                    let hides = |earlier: &usize| takes_all_of(&whens[*earlier], &whens[at]);
                    Some((at, (0..at).find(hides)?))
                })
                .collect();
            assert_eq!(hiders(&routes), by_hand, "rotated by {shift}");
        }
    }

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
