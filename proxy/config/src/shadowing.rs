//! Whether one route takes every request another one would. Sound, not complete: an answer of
//! "yes" is certain; several routes that only together take everything are not found.

use crate::host::HostPattern;
use crate::matching::normalize_path;
use crate::route::{PathMatch, RouteMatch};

pub(crate) fn takes_all_of(first: &RouteMatch, second: &RouteMatch) -> bool {
    let fields = |wanted: &[_], given: &[_]| wanted.iter().all(|field| given.contains(field));
    every(&first.listeners, &second.listeners, |a, b| a == b)
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
