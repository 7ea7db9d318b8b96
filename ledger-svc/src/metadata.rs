//! Names and values that clients give their accounts, to find them again by.

use std::collections::BTreeMap;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::naming::{NameError, validate_text};

/// Most names of one account.
pub const NAMES_MAX: usize = 16;
/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 40;
/// Longest value in characters.
pub const VALUE_CHARS_MAX: usize = 200;

/// Names with their values, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = std::collections::HashMap<String, String>)]
pub struct Metadata(pub BTreeMap<String, String>);

/// A name and the value it is looked for with: `NAME:VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub name: String,
    pub value: String,
}

/// Why metadata is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MetadataError {
    #[error("there are {0} names, {NAMES_MAX} at most")]
    TooMany(usize),
    #[error(
        "the name {0:?} is not valid: write 1 to {NAME_BYTES_MAX} small letters, digits, \"_\", \"-\" and \".\", such as \"customer\""
    )]
    Name(String),
    #[error("the value of {name:?}: {error}")]
    Value { name: String, error: NameError },
    #[error("the value of {0:?} begins or ends with a space")]
    Spaces(String),
    #[error("{0:?} is no filter; write NAME:VALUE, such as customer:4711")]
    Filter(String),
}

impl Metadata {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn validate(&self) -> Result<(), MetadataError> {
        if self.0.len() > NAMES_MAX {
            return Err(MetadataError::TooMany(self.0.len()));
        }
        for (name, value) in &self.0 {
            validate_name(name)?;
            let checked = if value.is_empty() {
                Err(NameError::TextEmpty { what: "the value" })
            } else {
                validate_text("the value", value, VALUE_CHARS_MAX)
            };
            checked.map_err(|error| MetadataError::Value { name: name.clone(), error })?;
            // MySQL takes a text for equal to the same with spaces behind it.
            if value.trim() != value {
                return Err(MetadataError::Spaces(name.clone()));
            }
        }
        Ok(())
    }
}

fn validate_name(name: &str) -> Result<(), MetadataError> {
    let shaped = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b));
    if shaped { Ok(()) } else { Err(MetadataError::Name(name.chars().take(64).collect())) }
}

impl Filter {
    /// Reads `NAME:VALUE`; the value may have colons of its own.
    pub fn parse(text: &str) -> Result<Self, MetadataError> {
        let malformed = || MetadataError::Filter(text.chars().take(64).collect());
        let (name, value) = text.split_once(':').ok_or_else(malformed)?;
        validate_name(name)?;
        if value.is_empty() {
            return Err(malformed());
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl<'de> Deserialize<'de> for Metadata {
    /// An object of strings, in which a name occurs once: of two values one would be lost.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Metadata;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut names = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if names.contains_key(&name) {
                        return Err(de::Error::custom(format!("the name {name:?} occurs twice")));
                    }
                    // What is over the limit is not kept until it is counted.
                    if names.len() > NAMES_MAX {
                        return Err(de::Error::custom(format!(
                            "there are more than {NAMES_MAX} names"
                        )));
                    }
                    names.insert(name, value);
                }
                Ok(Metadata(names))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<(), String> {
        let read: Metadata = serde_json::from_str(json).map_err(|error| error.to_string())?;
        read.validate().map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_values_have_rules() {
        assert_eq!(checked(r#"{"customer":"47:11","a.b-c":"ä"}"#), Ok(()));
        assert_eq!(checked("{}"), Ok(()));
        let many: Vec<String> = (0..17).map(|index| format!("\"n{index}\":\"v\"")).collect();
        for (bad, why) in [
            (r#"{"Order":"1"}"#.to_owned(), "name \"Order\" is not valid"),
            (r#"{"":"1"}"#.to_owned(), "is not valid"),
            (format!("{{\"{}\":\"1\"}}", "n".repeat(41)), "is not valid"),
            (r#"{"a":""}"#.to_owned(), "is empty"),
            (format!("{{\"a\":\"{}\"}}", "v".repeat(201)), "201 characters"),
            (r#"{"a":"x\ny"}"#.to_owned(), "control character"),
            (r#"{"a":"x "}"#.to_owned(), "ends with a space"),
            (r#"{"a":1}"#.to_owned(), "expected a string"),
            (r#"{"a":"1","a":"2"}"#.to_owned(), "occurs twice"),
            (format!("{{{}}}", many.join(",")), "17 names"),
            (r#"["a"]"#.to_owned(), "an object of strings"),
        ] {
            let said = checked(&bad).expect_err(&bad);
            assert!(said.contains(why), "{bad}: {said}");
        }
    }

    #[test]
    fn filters_are_a_name_and_a_value() {
        let filter = Filter::parse("order:a:b").unwrap();
        assert_eq!((filter.name.as_str(), filter.value.as_str()), ("order", "a:b"));
        for bad in ["", "order", "order:", ":x", "Order:x"] {
            assert!(Filter::parse(bad).is_err(), "{bad}");
        }
    }
}
