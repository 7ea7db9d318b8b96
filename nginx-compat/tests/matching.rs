//! The order of routes against an independent model of nginx's rule for locations: exact ones,
//! prefixes with and without `^~`, regular expressions, nested ones included.

use std::fmt::Write as _;

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::translate::translate;
use proptest::prelude::*;
use proxy_config::Config;
use proxy_config::matching::{Router, Target};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Exact,
    Caret,
    Prefix,
    /// `path` is an expression.
    Regex,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Form,
    path: String,
    inner: Vec<Node>,
    /// Port of the upstream that stands for this location.
    port: u16,
}

/// What nginx's search of one level ends with.
enum Found {
    Nothing,
    /// A prefix, which an expression outside may still come before.
    Prefix(u16),
    Last(u16),
}

/// nginx's rule, written after `ngx_http_core_find_location`.
fn search(level: &[Node], path: &str) -> Found {
    let exact = level.iter().find(|node| node.kind == Form::Exact && node.path == path);
    if let Some(exact) = exact {
        return Found::Last(exact.port);
    }
    let is_prefix = |node: &&Node| matches!(node.kind, Form::Prefix | Form::Caret);
    let prefixes = level.iter().filter(is_prefix).filter(|node| path.starts_with(&node.path));
    let mut found = Found::Nothing;
    let mut no_expressions = false;
    if let Some(longest) = prefixes.max_by_key(|node| node.path.len()) {
        no_expressions = longest.kind == Form::Caret;
        found = match search(&longest.inner, path) {
            Found::Nothing => Found::Prefix(longest.port),
            Found::Prefix(port) => Found::Prefix(port),
            last => return last,
        };
    }
    if !no_expressions {
        for node in level.iter().filter(|node| node.kind == Form::Regex) {
            if regex::Regex::new(&node.path).is_ok_and(|regex| regex.is_match(path)) {
                return match search(&node.inner, path) {
                    Found::Nothing => Found::Last(node.port),
                    Found::Prefix(port) | Found::Last(port) => Found::Last(port),
                };
            }
        }
    }
    found
}

fn chosen(level: &[Node], path: &str) -> Option<u16> {
    match search(level, path) {
        Found::Nothing => None,
        Found::Prefix(port) | Found::Last(port) => Some(port),
    }
}

/// Whether nginx redirects to the path with a slash, which is another test's matter.
fn is_redirected(level: &[Node], path: &str) -> bool {
    level.iter().any(|node| node.path == format!("{path}/") || is_redirected(&node.inner, path))
}

/// Whether an inner level has both what ends the search and expressions, which no order of routes
/// can say.
fn is_beyond(level: &[Node], is_inner: bool) -> bool {
    let has = |kind| level.iter().any(|node| node.kind == kind);
    (is_inner && has(Form::Caret) && has(Form::Regex))
        || level.iter().any(|node| is_beyond(&node.inner, true))
}

fn write(level: &[Node], text: &mut String) {
    for node in level {
        let modifier = match node.kind {
            Form::Exact => "= ",
            Form::Caret => "^~ ",
            Form::Prefix => "",
            Form::Regex => "~ ",
        };
        let _ = write!(text, "location {modifier}{} {{ ", node.path);
        let _ = write!(text, "proxy_pass http://10.0.0.1:{}; ", node.port);
        write(&node.inner, text);
        text.push_str("}\n");
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "a/", "b/", "/a", "/b/", "a/b"])
        .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 0..4).prop_map(|parts| {
        let path = format!("/{}", parts.concat());
        // Locations and requests in normal form; others are another test's matter.
        path.replace("//", "/").replace("//", "/")
    })
}

/// Flat draws made into a tree: a node goes inside an earlier one when its path allows and the
/// draw says so.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    prop::collection::vec((path(), 0..5_u8, any::<bool>()), 1..12).prop_map(|draws| {
        let mut level: Vec<Node> = Vec::new();
        for (port, (path, kind, inside)) in (1000..).zip(draws) {
            let (kind, path) = match kind {
                0 => (Form::Exact, path),
                1 => (Form::Caret, path),
                2 => (Form::Regex, format!("{}$", path.rsplit('/').next().unwrap_or("a"))),
                3 => (Form::Regex, path.trim_start_matches('/').to_owned() + "/?a"),
                _ => (Form::Prefix, path),
            };
            place(&mut level, Node { kind, path, inner: Vec::new(), port }, inside);
        }
        level
    })
}

fn place(level: &mut Vec<Node>, node: Node, inside: bool) {
    let holds = |outer: &&mut Node| match (outer.kind, node.kind) {
        (Form::Exact, _) => false,
        (Form::Regex, _) | (_, Form::Regex) => true,
        _ => node.path.starts_with(&outer.path),
    };
    if inside && let Some(outer) = level.iter_mut().find(holds) {
        return place(&mut outer.inner, node, inside);
    }
    // nginx refuses the same location twice.
    let exact = |kind| kind == Form::Exact;
    let same = |other: &Node| exact(other.kind) == exact(node.kind) && other.path == node.path;
    if !level.iter().any(same) {
        level.push(node);
    }
}

fn config(level: &[Node]) -> Config {
    let mut text = "http { server { listen 80;\n".to_owned();
    write(level, &mut text);
    text.push_str("} }");
    let parsed = parse_bytes("generated", text.as_bytes(), Includes::Unfollowed);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let config = translate(&parsed.document).config.expect("every location passes on");
    let source = proxy_config::Source::new("generated", config.to_yaml());
    Config::load(source).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

fn routed(config: &Config, path: &str) -> Option<u16> {
    let target = Target {
        listener: "port-80",
        host: "any.example",
        path,
        query: "",
        method: "GET",
        headers: None,
    };
    let route = &config.routes[Router::new(config).find(&target)?];
    let upstream = &config.upstreams[route.upstream.as_ref()?];
    upstream.servers[0].address.to_string().rsplit_once(':')?.1.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn routes_pick_the_location_nginx_would_pick(
        level in nodes(),
        paths in prop::collection::vec(path(), 1..20),
    ) {
        prop_assume!(!is_beyond(&level, false));
        let config = config(&level);
        for path in paths.iter().filter(|path| !is_redirected(&level, path)) {
            prop_assert_eq!(routed(&config, path), chosen(&level, path), "{} {:#?}", path, level);
        }
    }
}
