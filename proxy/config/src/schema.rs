//! The JSON Schema of a document, generated from the types, and the list of all keys in it.

use serde_json::{Value, json};

use crate::config::Config;

/// The JSON Schema (draft 2020-12) of a document, for editors.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    forbid_null(&mut schema);
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
    /// Possible values with their meaning.
    pub values: Vec<(String, String)>,
}

/// Every key of the schema, parents before children.
pub fn keys() -> Vec<KeyDoc> {
    let schema = schema();
    let mut keys = Vec::new();
    walk(&schema, &schema, "", &mut keys);
    keys
}

/// The keys of any schema that schemars made, such as that of a document this one is part of.
pub fn keys_of(mut schema: Value) -> Vec<KeyDoc> {
    forbid_null(&mut schema);
    let mut keys = Vec::new();
    walk(&schema, &schema, "", &mut keys);
    keys
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::{
        BODY_KEYS, BUFFER_KEYS, CERTIFICATE_KEYS, LANE_KEYS, LINK_KEYS, NAMING_KEYS, SUPPORTED,
        SUPPORTED_VALUES,
    };

    fn all_supported() -> Vec<&'static str> {
        [SUPPORTED, BODY_KEYS, BUFFER_KEYS, CERTIFICATE_KEYS, LANE_KEYS, LINK_KEYS, NAMING_KEYS]
            .concat()
    }

    /// No key can be read and ignored: who adds one says here that it is acted on.
    #[test]
    fn every_key_is_supported() {
        let supported = all_supported();
        for key in keys() {
            assert!(supported.contains(&key.pattern.as_str()), "`{}`", key.pattern);
        }
    }

    #[test]
    fn every_value_is_supported() {
        for key in keys() {
            let supported = SUPPORTED_VALUES.iter().find(|(pattern, _)| *pattern == key.pattern);
            let supported = supported.map_or(&[][..], |(_, values)| values);
            for (value, _) in &key.values {
                assert!(supported.contains(&value.as_str()), "`{value}` of `{}`", key.pattern);
            }
        }
    }

    #[test]
    fn the_tables_name_only_keys_that_exist() {
        let keys = keys();
        let patterns: Vec<&str> = keys.iter().map(|key| key.pattern.as_str()).collect();
        for pattern in all_supported() {
            assert!(patterns.contains(&pattern), "`{pattern}` is not a key");
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
    fn null_is_nowhere() {
        let schema = schema();
        assert!(!schema.to_string().contains("\"null\""));
    }
}
