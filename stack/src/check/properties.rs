//! Properties against the official resource schemas, a subset of which is part of the program
//! (`tools/schemas.py` refreshes it). A type's schema is compiled when it is first needed.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::{Finding, finding, walk};
use crate::template::Template;
use crate::template::by_hand::MARK;

const PACKED: &[u8] = include_bytes!("../../schemas/aws.json.gz");

/// The schemas by type. What cannot be unpacked is empty, and then every type is unknown: loud.
fn schemas() -> &'static Map<String, Value> {
    static SCHEMAS: OnceLock<Map<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let mut text = String::new();
        match GzDecoder::new(PACKED).read_to_string(&mut text) {
            Ok(_) => serde_json::from_str(&text).unwrap_or_default(),
            Err(_) => Map::new(),
        }
    })
}

/// Properties that are set when a resource is made and never after: another value means another
/// resource. As paths, `SubnetIds` or `Settings/Name`.
pub fn create_only(kind: &str) -> Vec<&'static str> {
    listed(kind, "createOnlyProperties")
}

/// Properties that are so under conditions the schema does not state.
pub fn conditionally_create_only(kind: &str) -> Vec<&'static str> {
    listed(kind, "conditionalCreateOnlyProperties")
}

/// Whether there is a schema of a type.
pub fn is_known(kind: &str) -> bool {
    schemas().contains_key(kind)
}

/// Whether a type has a property.
pub fn has(kind: &str, property: &str) -> bool {
    schemas().get(kind).is_some_and(|schema| schema["properties"].get(property).is_some())
}

/// The values a property may have, where the schema lists them.
pub fn values_of(kind: &str, property: &str) -> Vec<&'static str> {
    let schema = schemas().get(kind).map(|schema| &schema["properties"][property]["enum"]);
    schema.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn listed(kind: &str, key: &str) -> Vec<&'static str> {
    let paths = schemas().get(kind).and_then(|schema| schema[key].as_array());
    let paths = paths.into_iter().flatten().filter_map(Value::as_str);
    paths.filter_map(|path| path.strip_prefix("/properties/")).collect()
}

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut compiled: BTreeMap<&str, Option<jsonschema::Validator>> = BTreeMap::new();
    let mut findings = Vec::new();
    for template in templates {
        for (id, resource) in &template.resources {
            let validator = compiled.entry(&resource.kind).or_insert_with(|| {
                schemas()
                    .get(resource.kind.as_ref())
                    .and_then(|schema| jsonschema::validator_for(schema).ok())
            });
            let Some(validator) = validator else {
                // What is written by hand may be of any type; the plan's notes say that of it.
                if resource.metadata.contains_key(MARK) {
                    continue;
                }
                let message = format!("there is no schema of {} to hold it against", resource.kind);
                findings.push(finding(template, id, message));
                continue;
            };
            for error in validator.iter_errors(&resource.properties) {
                if !decided_later(error.instance(), error.kind()) {
                    let place = error.instance_path().to_string();
                    let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
                    findings.push(finding(template, id, format!("{place}{error}")));
                }
            }
        }
    }
    findings
}

/// Whether CloudFormation fills the value in, so that nothing can be said of it here. Of an
/// alternative nothing can be said either when a part of it is filled in.
fn decided_later(value: &Value, kind: &ValidationErrorKind) -> bool {
    let alternative = matches!(
        kind,
        ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. }
            | ValidationErrorKind::OneOfMultipleValid { .. }
    );
    if !alternative {
        return is_intrinsic(value);
    }
    let mut found = false;
    walk(value, &mut |inner| found |= is_intrinsic(inner));
    found
}

fn is_intrinsic(value: &Value) -> bool {
    value.as_object().is_some_and(|map| {
        map.len() == 1 && map.keys().all(|key| key == "Ref" || key.starts_with("Fn::"))
    })
}
