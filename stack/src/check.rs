//! What can be known of templates before AWS sees them. Every check reads the templates themselves,
//! not the plan they were made from: a fault of the builder is found like one of a person.

mod circles;
mod data_groups;
mod isolation;
mod limits;
mod privilege;
pub mod properties;
mod reachability;
mod references;
mod zones;

pub use reachability::is_public;

use std::fmt;

use serde_json::Value;

use crate::estate::EstatePlan;
use crate::template::Template;

/// Something that would fail, or be unsafe, once deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stack, and the resource or output in it.
    pub place: String,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

fn finding(template: &Template, id: &str, message: impl Into<String>) -> Finding {
    Finding { place: format!("{}/{id}", template.stack.word()), message: message.into() }
}

/// Every check on every template.
pub fn all(plan: &EstatePlan, templates: &[Template]) -> Vec<Finding> {
    let mut findings = properties::check(templates);
    findings.extend(references::check(templates));
    findings.extend(circles::check(templates));
    findings.extend(limits::check(templates));
    findings.extend(reachability::check(templates));
    findings.extend(data_groups::check(templates));
    findings.extend(privilege::check(templates));
    findings.extend(zones::check(plan, templates));
    if plan.is_isolated() {
        findings.extend(isolation::check(templates));
    }
    findings
}

/// Calls `see` with every value within `value`, itself first.
fn walk<'a>(value: &'a Value, see: &mut impl FnMut(&'a Value)) {
    see(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, see)),
        Value::Object(map) => map.values().for_each(|item| walk(item, see)),
        _ => {}
    }
}

/// The names in `${…}` of a text, without those CloudFormation is told to leave (`${!…}`).
fn placeholders(text: &str) -> Vec<&str> {
    let rest = text.split("${").skip(1);
    rest.filter_map(|part| part.split('}').next()).filter(|name| !name.starts_with('!')).collect()
}

/// What a value refers to: logical ids, parameters and pseudo parameters of its own template.
pub(crate) fn named_in(value: &Value) -> Vec<String> {
    let mut names = Vec::new();
    // Behind a dot stands an attribute.
    let first = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
    walk(value, &mut |inner| {
        let Some((key, argument)) =
            inner.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next())
        else {
            return;
        };
        match (key.as_str(), argument) {
            ("Ref", Value::String(name)) => names.push(name.clone()),
            ("Fn::GetAtt", Value::Array(parts)) => {
                names.extend(parts.first().and_then(Value::as_str).map(str::to_owned));
            }
            ("Fn::GetAtt", Value::String(text)) => names.push(first(text)),
            ("Fn::Sub", Value::String(text)) => {
                names.extend(placeholders(text).into_iter().map(first));
            }
            ("Fn::Sub", Value::Array(parts)) => {
                let text = parts.first().and_then(Value::as_str).unwrap_or_default();
                let own = parts.get(1).and_then(Value::as_object);
                let names_of_text = placeholders(text).into_iter();
                let own_name = |name: &&str| own.is_none_or(|own| !own.contains_key(*name));
                names.extend(names_of_text.filter(own_name).map(first));
            }
            _ => {}
        }
    });
    names
}

/// The exports a value imports.
pub(crate) fn imported_in(value: &Value) -> Vec<String> {
    let mut names = Vec::new();
    walk(value, &mut |inner| {
        if let Some(name) = inner.get("Fn::ImportValue").and_then(Value::as_str) {
            names.push(name.to_owned());
        }
    });
    names
}
