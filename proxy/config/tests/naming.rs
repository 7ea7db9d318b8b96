//! Rules for upstreams whose servers are named by requests: each case is a fragment, and the path and words of its
//! problem.

use proxy_config::by_request::Decision;
use proxy_config::explain::explain;
use proxy_config::validate::validate;
use proxy_config::{Config, Source, Tree, read};

const SMALLEST: &str = "\
version: 1
listeners: { public: { address: 127.0.0.1:8080 } }
upstreams: { ledger: { servers: [ { address: 127.0.0.1:8081 } ] } }
routes: [ { name: all, upstream: ledger } ]
";

/// What is wrong with the smallest document once the fragment is laid over it.
fn findings(fragment: &str) -> Vec<(String, String)> {
    let parse = |text: &str| {
        Tree::parse(Source::new("naming.yaml", text))
            .unwrap_or_else(|problems| panic!("{problems}"))
    };
    let tree = parse(SMALLEST).overlaid_by(parse(fragment));
    let config: Config =
        read(&tree, tree.root()).unwrap_or_else(|problems| panic!("{fragment}\n{problems}"));
    let found = validate(&config, tree.root(), "", &[]);
    found.into_iter().map(|problem| (problem.path, problem.message)).collect()
}

/// Fragment, path of its one problem, words of the message.
const CASES: &[(&str, &str, &str)] = &[
    (
        "upstreams: { named: { by_request: {} } }",
        "upstreams.named.by_request",
        "no server may be asked",
    ),
    (
        "upstreams: { named: { by_request: { any_server: true, allow: [a.example] } } }",
        "upstreams.named.by_request.allow",
        "any server may be asked",
    ),
    (
        "upstreams: { named: { by_request: { upstreams: { a: named } } } }",
        "upstreams.named.by_request.upstreams.a",
        "named by requests, too",
    ),
    (
        "upstreams: { named: { by_request: { any_server: true, servers_max: 0 } } }",
        "upstreams.named.by_request.servers_max",
        "0",
    ),
    (
        "upstreams: { named: { servers: [ { address: 10.0.0.1:80 } ], by_request: { any_server: true } } }",
        "upstreams.named.servers",
        "no effect",
    ),
    (
        "upstreams: { named: { by_request: { any_server: true }, sticky: { cookie: a } } }",
        "upstreams.named.sticky",
        "no effect",
    ),
    (
        "upstreams: { named: { by_request: { any_server: true } } }\nroutes: [ { name: all, upstream: named } ]",
        "routes[0].upstream",
        "named by requests",
    ),
    ("routes: [ { name: all, upstream: ledger, server: $host } ]", "routes[0].server", "no effect"),
    (
        "upstreams: { named: { by_request: { any_server: true } } }\nroutes: [ { name: all, upstream: ledger, mirror: { upstream: named } } ]",
        "routes[0].mirror.upstream",
        "nothing names one here",
    ),
    (
        "upstreams: { ledger: { servers: [ { address: 10.0.0.1:80, attempts_max: 0 } ] } }",
        "upstreams.ledger.servers[0].attempts_max",
        "0",
    ),
];

#[test]
fn each_rule_reports_at_its_place() {
    for (fragment, path, words) in CASES {
        let found = findings(fragment);
        assert!(
            found.len() == 1 && found[0].0 == *path && found[0].1.contains(words),
            "{fragment}\nexpected {path}: {words}\nfound {found:?}"
        );
    }
}

#[test]
fn it_is_explained_which_server_a_request_would_go_to() {
    let text = SMALLEST
        .replace("{ ledger:", "{ named: { by_request: { allow: [ \"*.internal:81\" ], upstreams: { books: ledger } } }, ledger:")
        .replace("upstream: ledger", "upstream: named, server: $query_to");
    let config = Config::load(Source::new("naming.yaml", text)).unwrap_or_else(|p| panic!("{p}"));
    for (to, expected) in [
        ("a.internal:81", "the request's own: a.internal:81"),
        ("books", "the request's own: upstream ledger"),
        ("a.internal", "none: \"a.internal\" may not be asked"),
        ("a:b", "none: \"a:b\" names no server"),
    ] {
        let url = format!("http://127.0.0.1:8080/?to={to}");
        let met = explain(&config, "GET", &url, None, &http::HeaderMap::new());
        let met = met.unwrap_or_else(|error| panic!("{error}")).route;
        assert_eq!(met.map(|route| route.servers), Some(vec![expected.to_owned()]), "{to}");
    }
    let rules = config.upstreams["named"].by_request.clone().unwrap_or_default();
    assert!(matches!(rules.decide("BOOKS/x", false), Decision::Upstream("ledger", _)));
}
