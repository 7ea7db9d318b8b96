//! Where the URLs of a purge lead: answers are kept under what a route makes of what its clients ask for.

use std::collections::BTreeSet;

use proxy_config::facts::Facts;
use proxy_config::matching::{Mismatch, Target};
use proxy_config::program::Walk;
use proxy_config::rewriting::Rewriting;
use proxy_config::route::PathMatch;
use proxy_config::steps::Action;
use proxy_config::way::{self, End, Map};

use crate::cache::key::put_authority;
use crate::generation::Generation;
use crate::path::normalize_target;

/// A URL, or the beginning of some.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub scheme: &'a str,
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
}

/// What a URL is kept under where steps or a rewrite have led it elsewhere, or its policy says the whole key. What clients say
/// beyond the URL is not known: every route that might take it counts.
pub fn uris(generation: &Generation, place: Place<'_>) -> BTreeSet<String> {
    let routes = &generation.routes;
    let mut uris = BTreeSet::new();
    for (listener, index) in taking(generation, place) {
        let asked = target(listener, place);
        let mut walk = Walk::of(asked.path, asked.query);
        let map = Map {
            router: &routes.router,
            program: &|index| &routes.at(index).rules.steps,
            named: &|name| routes.named(name),
            leads_to: &|_| None,
        };
        let nothing = Walk::default();
        let facts = Facts {
            request_uri: place.target,
            scheme: place.scheme,
            ..Facts::of(asked, &nothing.captures, &routes.maps)
        };
        let End::Route(end, None) = way::find(&map, &facts, &mut walk, Some(index)) else {
            continue;
        };
        let walked = Target { path: &walk.path, query: &walk.query, ..asked };
        let facts = walk_facts(facts, walked, &walk);
        let route = routes.at(end);
        if let Some(key) = &route.rules.texts.cache_key {
            uris.insert(key.render(&facts));
        }
        let rewrite = route.rules.rewrite.as_ref();
        let rewrite = rewrite.filter(|rewrite| !(walk.stayed && rewrite.is_of_prefix()));
        let rewritten = match rewrite {
            Some(rewrite) => {
                let (path, rest) = routes.router.rest(end, &walked);
                rewrite.target(&facts, &path, &rest)
            }
            None if walk.query.is_empty() => walk.path.clone(),
            None => format!("{}?{}", walk.path, walk.query),
        };
        let Ok(form) = normalize_target(rewritten.as_bytes()) else { continue };
        let form = String::from_utf8_lossy(&form);
        let policies = route.split.cache_policies();
        uris.extend(
            policies.map(|policy| policy.key.uri(place.scheme, place.host, &form).to_string()),
        );
    }
    uris
}

fn walk_facts<'a>(facts: Facts<'a>, target: Target<'a>, walk: &'a Walk) -> Facts<'a> {
    Facts { target, captures: &walk.captures, set: &walk.variables, ..facts }
}

/// What URLs that begin so are kept under, where a rewrite takes a prefix off; and the names of routes that may take some of
/// them and whose rewriting no prefix can be followed through.
pub fn prefixes(generation: &Generation, place: Place<'_>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut begins, mut lost) = (BTreeSet::new(), BTreeSet::new());
    // Scheme and host stay as they are.
    if place.target.len() < 2 {
        return (begins, lost);
    }
    let routes = &generation.routes;
    for (index, route) in generation.config.routes.iter().enumerate() {
        let steps = route.steps.iter().flat_map(|step| &step.then);
        let is_led = steps.into_iter().any(|action| matches!(action, Action::Rewrite(_)));
        let rewrite = routes.at(index).rules.rewrite.as_ref();
        if rewrite.is_none() && !is_led {
            continue;
        }
        let everywhere = [PathMatch::Prefix("/".to_owned())];
        let paths = if route.when.paths.is_empty() { &everywhere } else { &route.when.paths[..] };
        for path in paths {
            let path = match path {
                PathMatch::Exact(path) | PathMatch::Prefix(path) => Some(path.as_str()),
                PathMatch::Regex(_) => None,
            };
            // Whichever is longer is a path that both are about.
            let about = path.and_then(|path| match place.target.strip_prefix(path) {
                Some(rest) => Some((place.target, rest)),
                None => path.starts_with(place.target).then_some((path, "")),
            });
            if path.is_some() && about.is_none() {
                continue;
            }
            let at = Place { target: about.map_or("/", |(at, _)| at), ..place };
            let taken = taking(generation, at).any(|(_, taken)| taken == index);
            // By no listener of the scheme, or for another host: it never sees them.
            let is_for_host = || {
                listeners(generation, place.scheme).any(|listener| {
                    !matches!(
                        routes.router.mismatch(index, &target(listener, at)),
                        Some(Mismatch::ByName | Mismatch::Listener | Mismatch::Host)
                    )
                })
            };
            match (about, rewrite) {
                (Some((_, rest)), Some(Rewriting::PrefixTo(to))) if taken && !is_led => {
                    let mut begin = format!("{}://", place.scheme);
                    put_authority(place.scheme, place.host, &mut begin);
                    begin.make_ascii_lowercase();
                    begins.insert(format!("{begin}{to}{rest}"));
                }
                (Some(_), _) if taken => drop(lost.insert(route.name.clone())),
                (None, _) if is_for_host() => drop(lost.insert(route.name.clone())),
                _ => {}
            }
        }
    }
    (begins, lost)
}

/// Routes that may take a request for it and rewrite what they take, or have a key of their own, with the listener it comes in by.
fn taking<'a>(
    generation: &'a Generation,
    place: Place<'a>,
) -> impl Iterator<Item = (&'a str, usize)> {
    let routes = &generation.routes;
    let changes = |index: &usize| {
        let rules = &routes.at(*index).rules;
        rules.rewrite.is_some() || !rules.steps.is_empty() || rules.texts.cache_key.is_some()
    };
    listeners(generation, place.scheme).flat_map(move |listener| {
        let asked = target(listener, place);
        let takes = move |index: &usize| match routes.router.mismatch(*index, &asked) {
            Some(Mismatch::ByName | Mismatch::Listener | Mismatch::Host | Mismatch::Path) => false,
            None | Some(Mismatch::Header | Mismatch::Query | Mismatch::Method) => true,
        };
        let all = 0..generation.config.routes.len();
        all.filter(changes).filter(takes).map(move |index| (listener, index))
    })
}

/// Those that clients of a scheme come in by.
fn listeners<'a>(
    generation: &'a Generation,
    scheme: &str,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let tls = scheme == "https";
    let all = generation.config.listeners.iter();
    all.filter(move |(_, listener)| listener.tls.is_some() == tls).map(|(name, _)| name.as_str())
}

fn target<'a>(listener: &'a str, place: Place<'a>) -> Target<'a> {
    let (path, query) = place.target.split_once('?').unwrap_or((place.target, ""));
    Target { listener, host: place.host, path, query, method: "GET", headers: None }
}
