//! Which route takes a request. The proxy and `explain` ask the same [`Router`].
//!
//! What is compared, and in which form:
//! - host: without port, without one trailing dot, case does not count ([`normalize_host`]);
//! - path: without the query, with `%`-escapes decoded (except `%2F` and `%25`, which are data, not
//!   structure), dot segments resolved and slashes merged ([`normalize_path`]), and without the
//!   `;` parameters of its segments, which servers cut off before they look a path up, unless the
//!   route's own path has some; so no spelling of a path slips past a route. What is sent upstream
//!   is not changed by this;
//! - headers and query parameters: see [`crate::fields`];
//! - method: exactly; a route for `GET` takes `HEAD` too.

use std::borrow::Cow;
use std::collections::HashMap;

use http::HeaderMap;

use crate::captures::Captures;
use crate::config::Config;
use crate::fields::FieldTest;
use crate::host::{HostPattern, normalize_host};
use crate::route::{PathMatch, Route};

/// What of a request routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Name of the listener it came in on.
    pub listener: &'a str,
    /// `Host` or `:authority`, as sent; empty when there is none.
    pub host: &'a str,
    /// Path as sent, without the query.
    pub path: &'a str,
    /// Query as sent, without the question mark; empty when there is none.
    pub query: &'a str,
    pub method: &'a str,
    /// Without them, the request has none.
    pub headers: Option<&'a HeaderMap>,
}

/// Why a route does not take a request: the first condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is reached by its name alone.
    ByName,
    Listener,
    Host,
    Path,
    Header,
    Query,
    Method,
}

/// The routes of a document, compiled. Immutable; a lookup allocates only for hosts with capitals
/// and for paths that are not in normal form.
#[derive(Clone, Debug)]
pub struct Router {
    routes: Vec<CompiledRoute>,
    /// For each host named exactly: the routes that can take it, in document order.
    by_host: HashMap<String, Vec<usize>>,
    /// For every other host: the routes with a wildcard, an expression or no host at all.
    other_hosts: Vec<usize>,
}

#[derive(Clone, Debug)]
struct CompiledRoute {
    by_name_only: bool,
    listeners: Vec<String>,
    hosts: Vec<HostTest>,
    paths: Vec<PathTest>,
    within: Vec<PathTest>,
    /// It takes requests a part of their way only.
    is_passage: bool,
    headers: Vec<FieldTest>,
    query: Vec<FieldTest>,
    methods: Vec<String>,
}

#[derive(Clone, Debug)]
enum HostTest {
    Any,
    Exact(String),
    /// `.example.com` for `*.example.com`.
    Below(String),
    /// `example.` for `example.*`.
    Above(String),
    Regex(regex::Regex),
}

#[derive(Clone, Debug)]
enum PathTest {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Regex(regex::Regex),
}

impl Router {
    pub fn new(config: &Config) -> Router {
        let routes: Vec<CompiledRoute> = config.routes.iter().map(CompiledRoute::new).collect();
        let open = |route: &CompiledRoute| {
            route.hosts.is_empty() || route.hosts.iter().any(|h| !matches!(h, HostTest::Exact(_)))
        };
        let other_hosts: Vec<usize> = (0..routes.len()).filter(|at| open(&routes[*at])).collect();
        let mut by_host: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, route) in routes.iter().enumerate() {
            for host in &route.hosts {
                if let HostTest::Exact(host) = host {
                    by_host.entry(host.clone()).or_default().push(at);
                }
            }
        }
        for (host, candidates) in &mut by_host {
            candidates.extend(other_hosts.iter().filter(|at| routes[**at].takes_host(host)));
            candidates.sort_unstable();
            candidates.dedup();
        }
        Router { routes, by_host, other_hosts }
    }

    /// The index in `Config::routes` of the route that takes the request and has an action.
    pub fn find(&self, target: &Target<'_>) -> Option<usize> {
        self.first(target, |at| !self.routes[at].is_passage)
    }

    /// The first route from this index on that takes the request, be it only a part of its way.
    pub fn find_from(&self, from: usize, target: &Target<'_>) -> Option<usize> {
        self.first(target, |at| at >= from)
    }

    fn first(&self, target: &Target<'_>, counts: impl Fn(usize) -> bool) -> Option<usize> {
        let host = normalize_host(target.host);
        let path = Compared::of(target.path);
        let candidates = self.by_host.get(host.as_ref()).unwrap_or(&self.other_hosts);
        candidates
            .iter()
            .copied()
            .filter(|at| counts(*at))
            .find(|at| self.routes[*at].mismatch(target, &host, &path).is_none())
    }

    /// Whether it takes requests a part of their way only.
    pub fn is_passage(&self, index: usize) -> bool {
        self.routes[index].is_passage
    }

    /// Why the route at `index` does not take the request; `None` when it would.
    pub fn mismatch(&self, index: usize, target: &Target<'_>) -> Option<Mismatch> {
        let host = normalize_host(target.host);
        self.routes[index].mismatch(target, &host, &Compared::of(target.path))
    }

    /// What the expressions of the route at `index` find in a request it takes. Numbers are those
    /// of the first expression, in the order path, host, headers.
    pub fn captures(&self, index: usize, target: &Target<'_>) -> Captures {
        self.routes[index].captures(target)
    }

    /// The path the route at `index` compares, and what of it follows the prefix that matched;
    /// nothing follows an exact path.
    pub fn rest(&self, index: usize, target: &Target<'_>) -> (String, Vec<u8>) {
        let path = Compared::of(target.path);
        let rests = self.routes[index].paths.iter().filter(|test| test.takes(&path));
        let rest = rests.map(|test| test.rest(&path)).next().unwrap_or_default();
        (path_text(&path.whole).into_owned(), rest)
    }
}

/// A request's path in the forms that routes are compared with.
struct Compared<'a> {
    whole: Cow<'a, [u8]>,
    /// Without parameters, where it has some.
    bare: Option<Vec<u8>>,
}

impl<'a> Compared<'a> {
    fn of(path: &'a str) -> Compared<'a> {
        let whole = normalize_path(path);
        let bare = whole.contains(&b';').then(|| resolve_segments(&without_parameters(&whole)));
        Compared { whole, bare }
    }

    /// The form to compare a pattern with that may have parameters of its own.
    fn like(&self, pattern: &[u8]) -> &[u8] {
        match &self.bare {
            Some(bare) if !pattern.contains(&b';') => bare,
            _ => &self.whole,
        }
    }
}

/// Cuts `;...` off every segment (RFC 3986 section 3.3).
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let names = segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or(&[]));
    names.collect::<Vec<_>>().join(&b'/')
}

impl CompiledRoute {
    fn new(route: &Route) -> CompiledRoute {
        let when = &route.when;
        CompiledRoute {
            by_name_only: route.is_by_name_only(),
            listeners: when.listeners.clone(),
            hosts: when.hosts.iter().map(HostTest::new).collect(),
            paths: when.paths.iter().map(PathTest::new).collect(),
            within: when.within.iter().map(PathTest::new).collect(),
            is_passage: !route.has_action(),
            headers: when.headers.iter().map(FieldTest::new).collect(),
            query: when.query.iter().map(FieldTest::new).collect(),
            methods: when.methods.clone(),
        }
    }

    fn mismatch(&self, target: &Target<'_>, host: &str, path: &Compared<'_>) -> Option<Mismatch> {
        if self.by_name_only {
            return Some(Mismatch::ByName);
        }
        if !self.listeners.is_empty() && !self.listeners.iter().any(|l| l == target.listener) {
            return Some(Mismatch::Listener);
        }
        if !self.takes_host(host) {
            return Some(Mismatch::Host);
        }
        let takes_path = self.paths.is_empty() || self.paths.iter().any(|test| test.takes(path));
        if !takes_path || !self.within.iter().all(|test| test.takes(path)) {
            return Some(Mismatch::Path);
        }
        if !self.headers.iter().all(|test| test.takes_headers(target.headers)) {
            return Some(Mismatch::Header);
        }
        if !self.query.iter().all(|test| test.takes_query(target.query)) {
            return Some(Mismatch::Query);
        }
        if !self.methods.is_empty() && !self.methods.iter().any(|m| takes_method(m, target.method))
        {
            return Some(Mismatch::Method);
        }
        None
    }

    fn captures(&self, target: &Target<'_>) -> Captures {
        let (host, path) = (normalize_host(target.host), Compared::of(target.path));
        let mut captures = Captures::default();
        let mut paths = self.paths.iter().filter(|test| test.takes(&path)).chain(&self.within);
        let regex = paths.find(|test| matches!(test, PathTest::Regex(_)));
        if let Some(PathTest::Regex(regex)) = regex
            && let Some(found) = regex.captures(&path_text(path.like(regex.as_str().as_bytes())))
        {
            let part = |at| encode_path(found.get(at).map_or("", |part| part.as_str()).as_bytes());
            captures.add(regex.capture_names().enumerate().map(|(at, name)| (name, part(at))));
        }
        let regex = self.hosts.iter().find(|test| test.takes(&host));
        if let Some(HostTest::Regex(regex)) = regex {
            captures.add_text(regex, &host);
        }
        for test in &self.headers {
            test.capture_headers(target.headers, &mut captures);
        }
        captures
    }

    fn takes_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|test| test.takes(host))
    }
}

fn takes_method(written: &str, method: &str) -> bool {
    written == method || (written == "GET" && method == "HEAD")
}

impl HostTest {
    fn new(pattern: &HostPattern) -> HostTest {
        match pattern {
            HostPattern::Name(name) => {
                let name = name.canonical();
                if let Some(start) = name.strip_suffix(".*") {
                    return HostTest::Above(format!("{start}."));
                }
                match name.strip_prefix('*') {
                    Some("") => HostTest::Any,
                    Some(below) => HostTest::Below(below.to_owned()),
                    None => HostTest::Exact(name),
                }
            }
            HostPattern::Regex(pattern) => {
                let whole = format!("^(?:{})$", pattern.regex.as_str());
                HostTest::Regex(regex::Regex::new(&whole).expect("checked when it was read"))
            }
        }
    }

    fn takes(&self, host: &str) -> bool {
        match self {
            HostTest::Any => true,
            HostTest::Exact(name) => name == host,
            HostTest::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            HostTest::Above(start) => host.len() > start.len() && host.starts_with(start),
            HostTest::Regex(regex) => regex.is_match(host),
        }
    }
}

impl PathTest {
    fn new(pattern: &PathMatch) -> PathTest {
        match pattern {
            PathMatch::Exact(path) => PathTest::Exact(normalize_path(path).into_owned()),
            PathMatch::Prefix(path) => PathTest::Prefix(normalize_path(path).into_owned()),
            PathMatch::Regex(regex) => {
                PathTest::Regex(regex.compile().expect("checked when it was read"))
            }
        }
    }

    fn takes(&self, path: &Compared<'_>) -> bool {
        match self {
            PathTest::Exact(exact) => path.like(exact) == exact,
            PathTest::Prefix(prefix) => path.like(prefix).starts_with(prefix),
            PathTest::Regex(regex) => {
                regex.is_match(&path_text(path.like(regex.as_str().as_bytes())))
            }
        }
    }

    /// What follows a prefix: of the path with its parameters, where it begins like that.
    fn rest(&self, path: &Compared<'_>) -> Vec<u8> {
        let PathTest::Prefix(prefix) = self else { return Vec::new() };
        let rest = path.whole.strip_prefix(prefix.as_slice());
        let bare = || path.like(prefix).strip_prefix(prefix.as_slice());
        rest.or_else(bare).unwrap_or_default().to_vec()
    }
}

/// A path for expressions: bytes that are not UTF-8 are escaped again, because `.` matches
/// characters only, and no spelling may slip past a route.
fn path_text(path: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(path) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    Cow::Owned(text)
}

/// A path as it was sent, in the form expressions see.
pub(crate) fn decoded_text(path: &str) -> Cow<'_, str> {
    match normalize_path(path) {
        Cow::Borrowed(_) => Cow::Borrowed(path),
        Cow::Owned(bytes) => Cow::Owned(path_text(&bytes).into_owned()),
    }
}

/// A path as it is compared, in the form it can be sent in. Escapes that comparison leaves (`%2F`,
/// `%25`) stay.
pub(crate) fn encode_path(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(char::from(*byte)),
            byte if b"/%-._~!$&'()*+,;=:@".contains(byte) => encoded.push(char::from(*byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A path in the form routes are compared with; borrowed when it already is in that form.
pub fn normalize_path(path: &str) -> Cow<'_, [u8]> {
    let bytes = path.as_bytes();
    let plain = !bytes.contains(&b'%')
        && !bytes.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'));
    if plain {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(resolve_segments(&decode(bytes)))
}

/// Decodes escapes except `%2F` and `%25`; a broken escape stays as it is.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?)))
            .flatten();
        match escape.map(|(high, low)| high * 16 + low) {
            Some(b'/') => decoded.extend_from_slice(b"%2F"),
            Some(b'%') => decoded.extend_from_slice(b"%25"),
            Some(byte) => decoded.push(byte),
            None => {
                decoded.push(bytes[at]);
                at += 1;
                continue;
            }
        }
        at += 3;
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Removes `.` and `..` segments (RFC 3986 section 5.2.4) and empty ones.
fn resolve_segments(path: &[u8]) -> Vec<u8> {
    if path.first() != Some(&b'/') {
        return path.to_vec();
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_directory = false;
    for segment in path.split(|byte| *byte == b'/') {
        is_directory = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut resolved = Vec::with_capacity(path.len());
    for segment in &kept {
        resolved.push(b'/');
        resolved.extend_from_slice(segment);
    }
    if is_directory || kept.is_empty() {
        resolved.push(b'/');
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_in_one_form() {
        let cases: &[(&str, &str)] = &[
            ("/v1/transfers", "/v1/transfers"),
            ("/v1/./transfers", "/v1/transfers"),
            ("/public/../admin", "/admin"),
            ("/public/%2e%2E/admin", "/admin"),
            ("/../../etc", "/etc"),
            ("//v1///x", "/v1/x"),
            ("/v1/", "/v1/"),
            ("/v1//", "/v1/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/%761/", "/v1/"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%252Fb", "/a%252Fb"),
            ("/a%zz%4", "/a%zz%4"),
            ("*", "*"),
            ("", ""),
            ("/.well-known/x", "/.well-known/x"),
        ];
        for (path, expected) in cases {
            assert_eq!(normalize_path(path).as_ref(), expected.as_bytes(), "{path}");
        }
        assert_eq!(normalize_path("/%ff").as_ref(), b"/\xff");
    }

    #[test]
    fn normal_paths_are_borrowed() {
        assert!(matches!(normalize_path("/live/title/segment-17.m4s"), Cow::Borrowed(_)));
    }

    fn router(routes: &str) -> Router {
        let text = format!(
            "version: 1\nlisteners: {{ a: {{ address: '127.0.0.1:8080' }} }}\nupstreams: {{ u: {{ servers: [ {{ address: '127.0.0.1:1' }} ] }} }}\nroutes:\n{routes}"
        );
        match Config::load(crate::Source::new("test.yaml", text)) {
            Ok(config) => Router::new(&config),
            Err(problems) => panic!("{problems}"),
        }
    }

    #[test]
    fn parameters_of_a_path_hide_nothing() {
        let router = router(
            "- { name: private, match: { paths: [ { prefix: /private/ }, { exact: /private } ] }, upstream: u }\n\
             - { name: own, match: { paths: [ { exact: /a;v=1 }, { prefix: /b;c/ } ] }, upstream: u }\n\
             - { name: all, upstream: u }\n",
        );
        for (path, expected) in [
            ("/private;a/x", 0),
            ("/private;", 0),
            ("/;/private/x", 0),
            ("/;a;b/private;c/x;d", 0),
            ("/private%3bx/y", 0),
            ("/a;v=1", 1),
            ("/b;c/x;y", 1),
            ("/a;v=2", 2),
            ("/a", 2),
            ("/privates;x", 2),
        ] {
            let target =
                Target { listener: "a", host: "", path, query: "", method: "GET", headers: None };
            assert_eq!(router.find(&target), Some(expected), "{path}");
        }
    }

    #[test]
    fn the_first_route_that_matches_takes_the_request() {
        let router = router(
            "- { name: a, match: { hosts: [api.example.com], paths: [ { prefix: /v1/ } ], methods: [GET, POST] }, upstream: u }\n\
             - { name: b, match: { hosts: ['*.example.com'] }, upstream: u }\n\
             - { name: c, match: { paths: [ { exact: /health } ] }, upstream: u }\n",
        );
        let cases: &[(&str, &str, &str, Option<usize>)] = &[
            ("api.example.com", "/v1/x", "GET", Some(0)),
            ("API.Example.COM:8080", "/v1/x", "HEAD", Some(0)),
            ("api.example.com.", "/%76%31/x", "POST", Some(0)),
            ("api.example.com", "/v1/x", "DELETE", Some(1)),
            ("api.example.com", "/v1", "GET", Some(1)),
            ("a.b.example.com", "/", "GET", Some(1)),
            ("example.com", "/", "GET", None),
            ("example.com", "/health", "GET", Some(2)),
            ("", "/health", "GET", Some(2)),
            ("[::1]:8080", "/health", "GET", Some(2)),
            ("notexample.com", "/", "GET", None),
        ];
        for (host, path, method, expected) in cases {
            let target = Target { listener: "a", host, path, query: "", method, headers: None };
            assert_eq!(router.find(&target), *expected, "{method} {host}{path}");
        }
    }
}
