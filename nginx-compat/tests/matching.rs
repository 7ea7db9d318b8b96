//! The order of routes against an independent model of nginx's rule for exact and prefix
//! locations, nested ones included.

use std::fmt::Write as _;

use forebay_nginx::include::Includes;
use forebay_nginx::parse::parse_bytes;
use forebay_nginx::translate::translate;
use proptest::prelude::*;
use proxy_config::Config;
use proxy_config::matching::{Router, Target};

#[derive(Clone, Debug)]
struct Node {
    exact: bool,
    caret: bool,
    path: String,
    inner: Vec<Node>,
    /// Port of the upstream that stands for this location.
    port: u16,
}

/// nginx's rule, written after its documentation: at each level an exact location wins, otherwise
/// the longest prefix, and inside that one the search goes on.
fn chosen(level: &[Node], path: &str) -> Option<u16> {
    if let Some(exact) = level.iter().find(|node| node.exact && node.path == path) {
        return Some(exact.port);
    }
    let prefixes = level.iter().filter(|node| !node.exact && path.starts_with(&node.path));
    let longest = prefixes.max_by_key(|node| node.path.len())?;
    chosen(&longest.inner, path).or(Some(longest.port))
}

fn write(level: &[Node], text: &mut String) {
    for node in level {
        let modifier = match (node.exact, node.caret) {
            (true, _) => "= ",
            (false, true) => "^~ ",
            (false, false) => "",
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
    prop::collection::vec((path(), 0..3_u8, any::<bool>()), 1..12).prop_map(|draws| {
        let mut level: Vec<Node> = Vec::new();
        for (port, (path, kind, inside)) in (1000..).zip(draws) {
            let node = Node { exact: kind == 0, caret: kind == 1, path, inner: Vec::new(), port };
            place(&mut level, node, inside);
        }
        level
    })
}

fn place(level: &mut Vec<Node>, node: Node, inside: bool) {
    let holds = |outer: &&mut Node| !outer.exact && node.path.starts_with(&outer.path);
    if inside && let Some(outer) = level.iter_mut().find(holds) {
        return place(&mut outer.inner, node, inside);
    }
    // nginx refuses the same location twice.
    if !level.iter().any(|other| other.exact == node.exact && other.path == node.path) {
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
    let upstream = &config.upstreams[route.upstream.as_ref().expect("a route of a location")];
    upstream.servers[0].address.to_string().rsplit_once(':')?.1.parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn routes_pick_the_location_nginx_would_pick(
        level in nodes(),
        paths in prop::collection::vec(path(), 1..20),
    ) {
        let config = config(&level);
        for path in paths {
            prop_assert_eq!(routed(&config, &path), chosen(&level, &path), "{} {:#?}", path, level);
        }
    }
}
