//! Documents laid over one another, and documents inside larger ones: places stay right.

use std::collections::BTreeMap;

use proxy_config::{Config, Source, Tree, Upstream};

fn tree(name: &str, text: &str) -> Tree {
    Tree::parse(Source::new(name, text)).unwrap_or_else(|problems| panic!("{problems}"))
}

const BASE: &str = "\
name: base
edge:
  proxy:
    version: 1
    listeners:
      public: { address: 127.0.0.1:8080 }
    routes:
      - { name: ledger, upstream: ledger }
    lanes:
      bulk: { requests_max: 10 }
";

fn provided() -> BTreeMap<String, Upstream> {
    let address = "127.0.0.1:8081".parse().expect("an address");
    BTreeMap::from([("ledger".to_owned(), Upstream::of([address]))])
}

#[test]
fn maps_merge_and_scalars_and_lists_replace() {
    let over = "\
edge:
  proxy:
    lanes: { bulk: { requests_max: 20 }, upload: { requests_max: 5 } }
    routes: [ { name: all, upstream: ledger } ]
";
    let merged = tree("base.yaml", BASE).overlaid_by(tree("local.yaml", over));
    let node = merged.get("edge.proxy").expect("the document");
    let config = Config::from_node(&merged, node, &provided())
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.lanes.bulk.requests_max, 20);
    assert_eq!(config.lanes.upload.requests_max, 5);
    assert_eq!(config.lanes.transactions.requests_max, 512);
    assert_eq!(config.listeners.len(), 1);
    let names: Vec<&str> = config.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["all"]);
    assert_eq!(merged.get("name").and_then(|node| node.as_text()), Some("base"));
}

#[test]
fn problems_point_to_the_file_that_holds_them() {
    let base = BASE.replace("requests_max: 10", "requests_mx: 10");
    let over = "edge:\n  proxy:\n    admin:\n      address: 9090\n";
    let merged = tree("base.yaml", &base).overlaid_by(tree("local.yaml", over));
    let node = merged.get("edge.proxy").expect("the document");
    let problems = Config::from_node(&merged, node, &provided()).expect_err("two problems");

    let places: Vec<(String, String, usize)> = problems
        .iter()
        .map(|problem| {
            let span = problem.span.expect("a place");
            (merged.sources()[span.source].name.clone(), problem.path.clone(), span.line)
        })
        .collect();
    let place = |file: &str, path: &str, line| (file.to_owned(), path.to_owned(), line);
    assert_eq!(
        places,
        [
            place("base.yaml", "edge.proxy.lanes.bulk.requests_mx", 10),
            place("local.yaml", "edge.proxy.admin.address", 4),
        ]
    );
    let text = problems.to_string();
    assert!(text.contains("--> base.yaml:10:15"), "{text}");
    assert!(text.contains("--> local.yaml:4:16"), "{text}");
    let json = problems.to_json();
    assert_eq!(json["problems"][1]["file"], "local.yaml");
    assert_eq!(json["problems"][1]["line"], 4);
    assert_eq!(json["problems"][1]["hint"].as_str().map(str::is_empty), Some(false));
}

#[test]
fn rules_across_two_files_show_both() {
    let over = "edge: { proxy: { admin: { address: 127.0.0.1:8080 } } }\n";
    let merged = tree("base.yaml", BASE).overlaid_by(tree("local.yaml", over));
    let node = merged.get("edge.proxy").expect("the document");
    let problems = Config::from_node(&merged, node, &provided()).expect_err("a clash");
    assert_eq!(problems.len(), 1);
    let text = problems.to_string();
    assert!(text.contains("local.yaml:1:36") && text.contains("base.yaml:6:26"), "{text}");
}

#[test]
fn provided_upstreams_can_be_named_and_the_document_wins_over_them() {
    let alone = tree("base.yaml", BASE);
    let node = alone.get("edge.proxy").expect("the document");
    let config = Config::from_node(&alone, node, &provided())
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.upstreams["ledger"], provided()["ledger"]);

    let problems = Config::from_node(&alone, node, &BTreeMap::new()).expect_err("no such upstream");
    assert_eq!(
        problems.iter().next().map(|p| p.path.as_str()),
        Some("edge.proxy.routes[0].upstream")
    );

    let over =
        "edge: { proxy: { upstreams: { ledger: { servers: [ { address: 10.0.0.1:1 } ] } } } }\n";
    let merged = tree("base.yaml", BASE).overlaid_by(tree("local.yaml", over));
    let node = merged.get("edge.proxy").expect("the document");
    let config = Config::from_node(&merged, node, &provided())
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.upstreams["ledger"].servers[0].address.to_string(), "10.0.0.1:1");
}

#[test]
fn a_map_is_replaced_by_a_scalar_and_a_scalar_by_a_map() {
    let merged =
        tree("a.yaml", "a: { b: 1 }\nc: 2\n").overlaid_by(tree("b.yaml", "a: 3\nc: { d: 4 }\n"));
    assert_eq!(merged.get("a").and_then(|node| node.as_text()), Some("3"));
    assert_eq!(merged.get("c.d").and_then(|node| node.as_text()), Some("4"));
    assert_eq!(merged.get("c").map(|node| node.span.source), Some(1));
    assert_eq!(merged.get("a.b"), None);
}
