//! What a replacement takes with it: whoever refers to a resource that is made anew gets another
//! value, in the same stack or through an export, and may have to be made anew itself.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::effect::{self, Effect};
use super::{Difference, PropertyChange, StackAction, change};
use crate::check::{imported_in, named_in};
use crate::template::{Resource, Template};

/// Adds to `difference` what follows from its replacements, until nothing new follows.
pub(super) fn follow(difference: &mut Difference, wanted: &[Template]) {
    // Each round adds at least one change, and there are finitely many properties.
    while round(difference, wanted) {}
}

fn round(difference: &mut Difference, wanted: &[Template]) -> bool {
    let mut more = false;
    let renewed = renewed(difference);
    for template in wanted {
        for (name, value) in &template.outputs {
            let moved = refers(value, &template.name, &renewed).is_some();
            let export = format!("{}-{name}", template.name);
            let Some(stack) = difference.stacks.iter_mut().find(|s| s.name == template.name) else {
                continue;
            };
            if moved && stack.action != StackAction::Create && !stack.exports.contains(&export) {
                stack.exports.push(export);
                more = true;
            }
        }
    }
    let exports: BTreeSet<String> =
        difference.stacks.iter().flat_map(|stack| stack.exports.iter().cloned()).collect();
    for template in wanted {
        let Some(stack) = difference.stacks.iter_mut().find(|s| s.name == template.name) else {
            continue;
        };
        if stack.action == StackAction::Create {
            continue;
        }
        for (id, resource) in &template.resources {
            if stack.resources.iter().any(|change| {
                change.id == *id && matches!(change.effect, Effect::Create | Effect::Delete)
            }) {
                continue;
            }
            for (path, cause) in moved_properties(resource, &template.name, &renewed, &exports) {
                more |= add(&mut stack.resources, id, resource, &path, &cause);
            }
        }
    }
    more
}

/// (stack, id) of what will have another identity, and of launch templates that get another version.
fn renewed(difference: &Difference) -> BTreeSet<(String, String)> {
    let of_stack = |stack: &super::StackChange| -> Vec<(String, String)> {
        let renewed = stack.resources.iter().filter(|change| {
            let versioned =
                change.kind == "AWS::EC2::LaunchTemplate" && change.effect == Effect::InPlace;
            change.effect == Effect::Replacement || versioned
        });
        renewed.map(|change| (stack.name.clone(), change.id.clone())).collect()
    };
    difference.stacks.iter().flat_map(of_stack).collect()
}

/// The first resource a value refers to that will be another.
fn refers(value: &Value, stack: &str, renewed: &BTreeSet<(String, String)>) -> Option<String> {
    named_in(value).into_iter().find(|name| renewed.contains(&(stack.to_owned(), name.clone())))
}

/// The properties of a resource that get another value though their text is the same, and why.
fn moved_properties(
    resource: &Resource,
    stack: &str,
    renewed: &BTreeSet<(String, String)>,
    exports: &BTreeSet<String>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in resource.properties.as_object().into_iter().flatten() {
        if let Some(name) = refers(value, stack, renewed) {
            found.push((key.clone(), format!("{name} will be another")));
        } else if let Some(name) =
            imported_in(value).into_iter().find(|name| exports.contains(name))
        {
            found.push((key.clone(), format!("the export {name} will be another")));
        }
    }
    found
}

fn add(
    changes: &mut Vec<super::ResourceChange>,
    id: &str,
    resource: &Resource,
    path: &str,
    cause: &str,
) -> bool {
    let (effect, why) = effect::of(&resource.kind, path, None, None);
    let because = match why {
        Some(why) => format!("{cause}; {why}"),
        None => cause.to_owned(),
    };
    let index = changes.iter().position(|change| change.id == id).unwrap_or_else(|| {
        changes.push(change(id, &json!(resource), effect, Vec::new()));
        changes.len() - 1
    });
    let changed = &mut changes[index];
    if changed.properties.iter().any(|property| property.path == path) {
        return false;
    }
    let (before, after) = (None, None);
    let path = path.to_owned();
    changed.properties.push(PropertyChange { path, before, after, effect, because: Some(because) });
    changed.effect = changed.effect.max(effect);
    changed.kept = super::kept(&json!(resource), changed.effect);
    true
}
