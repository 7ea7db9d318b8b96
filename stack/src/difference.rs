//! What deploying templates would change, against templates that are deployed or saved: resource by
//! resource and property by property, with what each change does. Pure, and offline.
//!
//! [`effect`] knows what a change does to a resource, `impossible` which ones AWS refuses, `major` when a database may go to another major version, [`spread`] what a replacement takes with it,
//! [`guard`] what is refused, [`confirmed`] where CloudFormation says otherwise, [`drifted`] what becomes of changes by hand, [`told`] how it is said.

pub mod confirmed;
pub mod drifted;
pub mod effect;
pub mod guard;
mod impossible;
mod major;
pub mod saved;
mod spread;
pub mod told;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::template::Template;
use effect::Effect;

/// A stack as it is: its name and the template it was last given.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub name: String,
    pub template: Value,
}

/// What becomes of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StackAction {
    Create,
    Update,
    Delete,
    None,
}

/// A stack and what changes in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StackChange {
    pub name: String,
    pub action: StackAction,
    pub resources: Vec<ResourceChange>,
    /// Exports whose value will be another one.
    pub exports: Vec<String>,
    /// Exports that will be no more.
    pub exports_gone: Vec<String>,
}

/// A resource that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourceChange {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub effect: Effect,
    /// Whether something is lost with it that nobody can make again.
    pub holds_data: bool,
    /// Whether the template tells CloudFormation to keep it, or a snapshot of it.
    pub kept: Option<String>,
    pub properties: Vec<PropertyChange>,
}

/// A property that changes, or whose value will be another because of what it refers to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PropertyChange {
    /// `LaunchTemplateData/InstanceType`; in brackets what is no property: `(DeletionPolicy)`.
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    pub effect: Effect,
    /// Why, where the text itself stays the same or the effect needs a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// Everything that would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    pub stacks: Vec<StackChange>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.stacks.iter().all(|stack| stack.action == StackAction::None)
    }
}

/// What deploying `wanted` over `held` changes. Stacks of `held` that are not wanted are deleted.
pub fn between(held: &[Held], wanted: &[Template]) -> Difference {
    let find = |name: &str| held.iter().find(|stack| stack.name == name);
    let mut stacks: Vec<StackChange> = wanted
        .iter()
        .map(|template| match find(&template.name) {
            Some(old) => update(&template.name, &old.template, &template.to_value()),
            None => whole(&template.name, &template.to_value(), StackAction::Create),
        })
        .collect();
    let gone = held.iter().filter(|old| !wanted.iter().any(|new| new.name == old.name));
    stacks.extend(gone.map(|old| whole(&old.name, &old.template, StackAction::Delete)));
    let mut difference = Difference { stacks };
    spread::follow(&mut difference, wanted);
    for stack in &mut difference.stacks {
        if stack.action == StackAction::None && !stack.resources.is_empty() {
            stack.action = StackAction::Update;
        }
    }
    difference
}

/// A stack that is made or deleted as a whole.
fn whole(name: &str, template: &Value, action: StackAction) -> StackChange {
    let delete = action == StackAction::Delete;
    let resources = resources(template).into_iter().map(|(id, resource)| {
        let effect = if delete { removal(resource) } else { Effect::Create };
        change(id, resource, effect, Vec::new())
    });
    let resources = resources.collect();
    let exports_gone = if delete { exports(template).into_keys().collect() } else { Vec::new() };
    StackChange { name: name.to_owned(), action, resources, exports: Vec::new(), exports_gone }
}

fn update(name: &str, old: &Value, new: &Value) -> StackChange {
    let (before, after) = (resources(old), resources(new));
    let mut changed = Vec::new();
    for (id, resource) in &after {
        match before.get(id) {
            None => changed.push(change(id, resource, Effect::Create, Vec::new())),
            Some(was) => changed.extend(altered(id, was, resource)),
        }
    }
    for (id, resource) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        changed.push(change(id, resource, removal(resource), Vec::new()));
    }
    let (was, is) = (exports(old), exports(new));
    let moved = was.iter().filter(|(name, value)| is.get(*name).is_some_and(|is| is != *value));
    let exports: Vec<String> = moved.map(|(name, _)| name.clone()).collect();
    let exports_gone = was.into_keys().filter(|name| !is.contains_key(name)).collect();
    let beside = |template: &Value| {
        let mut template = template.clone();
        if let Some(template) = template.as_object_mut() {
            template.remove("Resources");
        }
        template
    };
    let same = changed.is_empty() && beside(old) == beside(new);
    let action = if same { StackAction::None } else { StackAction::Update };
    StackChange { name: name.to_owned(), action, resources: changed, exports, exports_gone }
}

/// A resource that is in both templates, when anything of it differs.
fn altered(id: &str, was: &Value, is: &Value) -> Option<ResourceChange> {
    let kind = kind_of(is);
    if kind_of(was) != kind {
        let path = "(Type)".to_owned();
        let (before, after) = (Some(was["Type"].clone()), Some(is["Type"].clone()));
        let because = Some("another type is another resource".to_owned());
        let effect = Effect::Replacement;
        let property = PropertyChange { path, before, after, effect, because };
        // What is lost is what was there.
        return Some(change(id, was, Effect::Replacement, vec![property]));
    }
    let mut properties: Vec<PropertyChange> =
        values::differing(&was["Properties"], &is["Properties"])
            .into_iter()
            .map(|(path, before, after)| {
                let (effect, because) = effect::of(kind, &path, before.as_ref(), after.as_ref());
                PropertyChange { path, before, after, effect, because }
            })
            .collect();
    major::judge(kind, was, is, &mut properties);
    for key in attribute_names(was, is) {
        if was[&key] != is[&key] {
            let given = |value: &Value| (!value.is_null()).then(|| value.clone());
            properties.push(PropertyChange {
                path: format!("({key})"),
                before: given(&was[&key]),
                after: given(&is[&key]),
                effect: Effect::None,
                because: None,
            });
        }
    }
    let effect = properties.iter().map(|property| property.effect).max()?;
    Some(change(id, is, effect, properties))
}

/// What a resource has beside type and properties: metadata, policies, dependencies.
fn attribute_names(was: &Value, is: &Value) -> BTreeSet<String> {
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    };
    let both = keys(was).into_iter().chain(keys(is));
    both.filter(|key| key != "Type" && key != "Properties").collect()
}

fn change(
    id: &str,
    resource: &Value,
    effect: Effect,
    properties: Vec<PropertyChange>,
) -> ResourceChange {
    ResourceChange {
        id: id.to_owned(),
        kind: kind_of(resource).to_owned(),
        effect,
        holds_data: guard::holds_data(kind_of(resource))
            || kept(resource, Effect::Delete).is_some(),
        kept: kept(resource, effect),
        properties,
    }
}

/// What the template tells CloudFormation to keep: `Retain` or `Snapshot`.
fn kept(resource: &Value, effect: Effect) -> Option<String> {
    let key = if effect == Effect::Replacement { "UpdateReplacePolicy" } else { "DeletionPolicy" };
    resource[key].as_str().filter(|policy| *policy != "Delete").map(str::to_owned)
}

fn removal(resource: &Value) -> Effect {
    if resource["DeletionPolicy"] == "Retain" { Effect::Release } else { Effect::Delete }
}

fn kind_of(resource: &Value) -> &str {
    resource["Type"].as_str().unwrap_or_default()
}

fn resources(template: &Value) -> BTreeMap<&String, &Value> {
    template["Resources"].as_object().into_iter().flatten().collect()
}

/// The values a template exports, by the name of the export.
fn exports(template: &Value) -> BTreeMap<String, &Value> {
    let outputs = template["Outputs"].as_object().into_iter().flatten();
    let named = |output: &Value| output["Export"]["Name"].as_str().map(str::to_owned);
    outputs.filter_map(|(_, output)| Some((named(output)?, &output["Value"]))).collect()
}

#[cfg(test)]
mod tests;
