//! Nothing waits for itself: CloudFormation refuses a template whose resources cannot be put in an order.

use std::collections::BTreeMap;

use super::{Finding, finding, named_in};
use crate::template::{Resource, Template};

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    templates.iter().flat_map(of_template).collect()
}

fn of_template(template: &Template) -> Vec<Finding> {
    let needs = |resource: &Resource| {
        let mut needed = named_in(&serde_json::json!(resource));
        needed.extend(resource.depends_on.iter().cloned());
        needed.retain(|name| template.resources.contains_key(name));
        needed
    };
    let all = template.resources.iter();
    let mut left: BTreeMap<&String, Vec<String>> = all.map(|(id, it)| (id, needs(it))).collect();
    // What needs nothing that is left can be made; in the end only circles, and what waits for them, are left.
    loop {
        let before = left.len();
        let ready = |needed: &[String]| !needed.iter().any(|name| left.contains_key(name));
        let made: Vec<&String> =
            left.iter().filter(|(_, needed)| ready(needed)).map(|(id, _)| *id).collect();
        made.iter().for_each(|id| drop(left.remove(id)));
        if left.len() == before {
            break;
        }
    }
    let circle = left.keys().next().map(|first| walk(first, &left));
    let told = circle.map(|circle| {
        let way = circle.join(" → ");
        finding(template, &circle[0], format!("waits for itself: {way} → {}", circle[0]))
    });
    told.into_iter().collect()
}

/// A circle that can be reached from here, each in it once.
fn walk(from: &str, left: &BTreeMap<&String, Vec<String>>) -> Vec<String> {
    let mut way = vec![from.to_owned()];
    loop {
        let last = way[way.len() - 1].clone();
        let needed = left.get(&last).into_iter().flatten();
        // Each that is left needs another that is.
        let Some(next) = needed.into_iter().find(|name| left.contains_key(name)) else {
            return way;
        };
        if let Some(begins) = way.iter().position(|id| id == next) {
            return way.split_off(begins);
        }
        way.push(next.clone());
    }
}
