//! The JSON Schema of a document, generated from the types, and the list of all keys in it.

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::support::{self, NotYet};

/// The JSON Schema (draft 2020-12) of a document, for editors. Keys that are not supported yet say
/// so in their description and carry `"x-not-supported-yet": true`.
pub fn schema() -> Value {
    let mut schema = generated();
    let refused: Vec<KeyDoc> = keys().into_iter().filter(|key| key.not_yet.is_some()).collect();
    for key in refused {
        if let Some(property) = property_mut(&mut schema, &key.pattern) {
            let description = format!("Not supported yet. {}", key.description);
            property.insert("description".to_owned(), json!(description));
            property.insert("x-not-supported-yet".to_owned(), json!(true));
        }
    }
    schema
}

/// One key of the document, or one item of a list (`routes[]`) or map (`upstreams.*`) in it.
#[derive(Clone, Debug)]
pub struct KeyDoc {
    /// Path with `*` for any name and `[]` for any item.
    pub pattern: String,
    pub description: String,
    /// What is written: `time`, `list of text`, `section`, ...
    pub kind: String,
    /// The default as YAML on one line.
    pub default: Option<String>,
    pub required: bool,
    pub not_yet: Option<&'static NotYet>,
    /// Possible values with their meaning.
    pub values: Vec<(String, String)>,
}

/// Every key of the schema, parents before children.
pub fn keys() -> Vec<KeyDoc> {
    let schema = generated();
    let mut keys = Vec::new();
    walk(&schema, &schema, "", &mut keys);
    keys
}

/// The keys of any schema that schemars made, such as that of a document this one is part of.
/// Whether a key is supported is not known of them.
pub fn keys_of(mut schema: Value) -> Vec<KeyDoc> {
    forbid_null(&mut schema);
    let mut keys = Vec::new();
    walk(&schema, &schema, "", &mut keys);
    keys.iter_mut().for_each(|key| key.not_yet = None);
    keys
}

fn generated() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    forbid_null(&mut schema);
    schema
}

/// An optional key is left out, never null: the reader refuses a key without a value.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                let before = choices.len();
                choices.retain(|choice| choice != &json!({ "type": "null" }));
                if choices.len() == 1 && before > 1 {
                    let only = choices[0].clone();
                    map.remove("anyOf");
                    if let Value::Object(only) = only {
                        only.into_iter().for_each(|(key, value)| {
                            map.entry(key).or_insert(value);
                        });
                    }
                }
            }
            map.values_mut().for_each(forbid_null);
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        _ => {}
    }
}

fn walk(root: &Value, schema: &Value, pattern: &str, keys: &mut Vec<KeyDoc>) {
    let schema = resolve(root, schema);
    for choices in ["anyOf", "oneOf"] {
        for choice in schema[choices].as_array().into_iter().flatten() {
            walk(root, choice, pattern, keys);
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let required = schema["required"].as_array();
        for (name, property) in properties {
            let pattern =
                if pattern.is_empty() { name.clone() } else { format!("{pattern}.{name}") };
            let required = required.is_some_and(|all| all.iter().any(|key| key == name));
            let mut key = key_doc(root, property, &pattern, required);
            // The form `{exact: ...}` of a choice is described where the choice is.
            if let (None, 1, Some(text)) =
                (property.get("description"), properties.len(), schema["description"].as_str())
            {
                key.description = text.replace('\n', " ");
            }
            keys.push(key);
            walk(root, property, &pattern, keys);
        }
    }
    if let Some(items) = schema.get("items") {
        let pattern = format!("{pattern}[]");
        keys.push(key_doc(root, items, &pattern, false));
        walk(root, items, &pattern, keys);
    }
    if let Some(entries @ Value::Object(_)) = schema.get("additionalProperties") {
        let pattern = format!("{pattern}.*");
        keys.push(key_doc(root, entries, &pattern, false));
        walk(root, entries, &pattern, keys);
    }
}

fn key_doc(root: &Value, schema: &Value, pattern: &str, required: bool) -> KeyDoc {
    let target = resolve(root, schema);
    let description = schema["description"].as_str().or(target["description"].as_str());
    let values = target["oneOf"].as_array().into_iter().flatten().filter_map(|choice| {
        let meaning = choice["description"].as_str().unwrap_or("").replace('\n', " ");
        let value = match choice["const"].as_str() {
            Some(value) => value.to_owned(),
            None => format!("{{{}: ...}}", choice["properties"].as_object()?.keys().next()?),
        };
        Some((value, meaning))
    });
    let plain = target["enum"].as_array().into_iter().flatten();
    let plain = plain.filter_map(|value| Some((value.as_str()?.to_owned(), String::new())));
    KeyDoc {
        pattern: pattern.to_owned(),
        description: description.unwrap_or("").replace('\n', " "),
        kind: kind(root, schema),
        default: schema.get("default").map(flow),
        required,
        not_yet: support::not_yet(pattern),
        values: values.chain(plain).collect(),
    }
}

/// What is written, in words.
fn kind(root: &Value, schema: &Value) -> String {
    let named = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
    let word = match named {
        Some("ByteSize") => "size",
        Some("Duration") => "time",
        Some("Rate") => "rate",
        Some("ByteRate") => "bandwidth",
        Some("Percent") => "percentage",
        Some("ListenAddress" | "ServerAddress") => "address",
        Some("IpNetwork") => "network",
        Some("HostName" | "HostPattern") => "host",
        Some("Regex") => "regular expression",
        Some("Template") => "text with variables",
        _ => "",
    };
    if !word.is_empty() {
        return word.to_owned();
    }
    let target = resolve(root, schema);
    if target.get("oneOf").is_some() || target.get("enum").is_some() {
        return "one of".to_owned();
    }
    match target["type"].as_str() {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("array") => format!("list of {}", kind(root, &target["items"])),
        Some("object") if target["additionalProperties"].is_object() => {
            format!("names, each with {}", kind(root, &target["additionalProperties"]))
        }
        Some("object") => "section".to_owned(),
        _ => "text".to_owned(),
    }
}

/// A value as YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        Some(name) => &root["$defs"][name],
        None => schema,
    }
}

/// The property a pattern ends at; definitions are followed.
fn property_mut<'a>(root: &'a mut Value, pattern: &str) -> Option<&'a mut Map<String, Value>> {
    let mut pointer = String::new();
    for part in pattern.split('.').flat_map(|part| {
        let (name, list) = part.split_at(part.find('[').unwrap_or(part.len()));
        [name, list].into_iter().filter(|part| !part.is_empty())
    }) {
        let mut here = pointer.clone();
        while let Some(name) = root.pointer(&here)?["$ref"].as_str() {
            here = name.trim_start_matches('#').to_owned();
        }
        let step = match part {
            "*" => "/additionalProperties".to_owned(),
            "[]" => "/items".to_owned(),
            name => format!("/properties/{name}"),
        };
        let holder = root.pointer(&here)?;
        let inside = ["anyOf", "oneOf"].iter().find_map(|choices| {
            let index = holder[choices]
                .as_array()?
                .iter()
                .position(|choice| resolve(root, choice).pointer(&step).is_some())?;
            Some(format!("/{choices}/{index}"))
        });
        pointer = match inside {
            Some(inside) => {
                let choice = format!("{here}{inside}");
                match root.pointer(&choice)?["$ref"].as_str() {
                    Some(name) => format!("{}{step}", name.trim_start_matches('#')),
                    None => format!("{choice}{step}"),
                }
            }
            None => format!("{here}{step}"),
        };
    }
    root.pointer_mut(&pointer)?.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{
        BODY_KEYS, BUFFER_KEYS, LANE_KEYS, LINK_KEYS, NAMING_KEYS, NOT_YET, SUPPORTED,
        SUPPORTED_VALUES,
    };

    /// No key can be read and ignored: each is acted on, or refused.
    #[test]
    fn every_key_is_supported_or_refused() {
        for key in keys() {
            let supported = [SUPPORTED, BODY_KEYS, BUFFER_KEYS, LANE_KEYS, LINK_KEYS, NAMING_KEYS]
                .concat()
                .contains(&key.pattern.as_str());
            assert_ne!(
                supported,
                key.not_yet.is_some(),
                "`{}` must be in exactly one of SUPPORTED and NOT_YET",
                key.pattern
            );
        }
    }

    #[test]
    fn every_value_is_supported_or_refused() {
        let keys = keys();
        for key in keys.iter().filter(|key| key.not_yet.is_none()) {
            let supported = SUPPORTED_VALUES.iter().find(|(pattern, _)| *pattern == key.pattern);
            let supported = supported.map_or(&[][..], |(_, values)| values);
            for (value, _) in &key.values {
                let form = value.trim_start_matches('{').trim_end_matches(": ...}");
                let as_key = format!("{}.{form}", key.pattern);
                let refused = support::not_yet(&as_key).is_some()
                    || NOT_YET.iter().any(|entry| {
                        entry.pattern == key.pattern && entry.values.contains(&value.as_str())
                    });
                let is_supported = supported.contains(&value.as_str());
                assert_ne!(is_supported, refused, "`{value}` of `{}`", key.pattern);
            }
        }
    }

    #[test]
    fn the_tables_name_only_keys_that_exist() {
        let keys = keys();
        let patterns: Vec<&str> = keys.iter().map(|key| key.pattern.as_str()).collect();
        for pattern in SUPPORTED
            .iter()
            .chain(BODY_KEYS)
            .chain(BUFFER_KEYS)
            .chain(LANE_KEYS)
            .chain(LINK_KEYS)
            .chain(NAMING_KEYS)
        {
            assert!(patterns.contains(pattern), "`{pattern}` is not a key");
        }
        for entry in NOT_YET {
            let pattern = entry.pattern.replace("[1+]", "[]").replace("lanes.*", "lanes.bulk");
            let key = keys.iter().find(|key| key.pattern == pattern);
            let key = key.unwrap_or_else(|| panic!("`{pattern}` is not a key"));
            for value in entry.values.iter().filter(|value| !value.ends_with('*')) {
                let known = key.values.iter().any(|(known, _)| known == value);
                assert!(known, "`{value}` is not a value of `{pattern}`");
            }
        }
    }

    #[test]
    fn every_key_is_described() {
        let undescribed: Vec<String> = keys()
            .into_iter()
            .filter(|key| key.description.is_empty() && !key.pattern.ends_with("[]"))
            .filter(|key| !key.pattern.ends_with(".*"))
            .map(|key| key.pattern)
            .collect();
        assert_eq!(undescribed, Vec::<String>::new());
    }

    #[test]
    fn refused_keys_are_marked_and_null_is_nowhere() {
        let schema = schema();
        for entry in NOT_YET.iter().filter(|entry| entry.values.is_empty()) {
            let name = entry.pattern.rsplit('.').next().unwrap_or_default();
            let defs = schema["$defs"].as_object().expect("definitions");
            let marked = defs
                .values()
                .any(|def| def["properties"][name]["x-not-supported-yet"] == json!(true));
            assert!(marked, "{}", entry.pattern);
        }
        assert!(
            schema["$defs"]["Route"]["properties"]["lane"].get("x-not-supported-yet").is_none()
        );
        let supported = &schema["$defs"]["PathMatch"]["oneOf"][2]["properties"]["regex"];
        assert!(supported.get("x-not-supported-yet").is_none());
        assert!(!schema.to_string().contains("\"null\""));
    }
}
