//! What is drawn of the shipped environments.

use std::path::Path;

use super::*;
use crate::{estate, validate};

fn drawn(name: &str) -> Picture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments");
    let environment = validate::environment(&folder.join(format!("{name}.yaml"))).unwrap();
    let plan = estate::resolve(&environment).unwrap();
    picture(&environment, plan.as_ref())
}

#[test]
fn every_party_stands_in_its_tier_and_zones() {
    let picture = drawn("production");
    assert_eq!(picture.zones, ['A', 'B', 'C']);
    let row = |party| {
        let mut rows = picture.bands.iter().flat_map(|band| &band.rows);
        rows.find(|row| row.party == party).cloned().unwrap()
    };
    assert_eq!(row(Party::Database).in_zones, ["primary", "standby", ""]);
    assert_eq!(row(Party::Cache).in_zones, ["primary", "copy", "copy"]);
    assert_eq!(row(Party::Edge).detail, "3 to 12 × c7g.xlarge");
    let into = picture.arrows.iter().filter(|arrow| arrow.to == Party::Database);
    let into: Vec<Party> = into.map(|arrow| arrow.from).collect();
    assert_eq!(into, [Party::Ledger], "only the ledger reaches the database");
}

#[test]
fn a_request_passes_the_stops_of_the_proxy_in_their_order() {
    let way = |name: &str, route: &str| {
        let picture = drawn(name);
        let way = picture.ways.into_iter().find(|way| way.route == route).unwrap();
        way.steps.into_iter().map(|step| step.name).collect::<Vec<_>>()
    };
    let ledger = [
        "balancer",
        "route ledger",
        "lane transactions",
        "rate limits",
        "upstream ledger",
        "database",
    ];
    assert_eq!(way("production", "ledger"), ledger);
    assert_eq!(way("local", "live"), ["route live", "lane bulk", "cache", "upstream origin"]);
}

#[test]
fn what_a_person_wrote_cannot_leave_its_place() {
    let mut picture = drawn("production");
    picture.title = "<script>\"&".to_owned();
    picture.ways[0].steps[0].detail = "a\"] --> b".to_owned();
    let page = html::page(&picture);
    assert!(!page.contains("<script>"), "it is escaped");
    assert!(page.contains("&lt;script&gt;&quot;&amp;"));
    assert!(mermaid::text(&picture).contains("a#quot;] --> b\"]"));
}

#[test]
fn drawings_name_every_party_and_route() {
    for name in ["production", "staging", "local"] {
        let picture = drawn(name);
        let (svg, mermaid) = (svg::whole(&picture), mermaid::text(&picture));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        for row in picture.bands.iter().flat_map(|band| &band.rows) {
            assert!(svg.contains(&svg::escaped(&row.name)), "{name}: {}", row.name);
            assert!(mermaid.contains(&row.name), "{name}: {}", row.name);
        }
        for way in &picture.ways {
            assert!(mermaid.contains(&format!("route {}", way.route)));
        }
    }
}
