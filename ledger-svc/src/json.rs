//! Reading a JSON body so that a mistake is answered with its place: field, line and column.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use thiserror::Error;

/// Why a body could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} (line {line}, column {column})")]
pub struct JsonError {
    /// True when the text is not JSON at all; false when it is JSON of another shape.
    pub malformed: bool,
    /// The field, such as `entries[1].amount`; empty at the top.
    pub field: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in bytes.
    pub column: usize,
    pub message: String,
}

/// What cannot fail to be written: strings, numbers, and lists and objects of them.
pub fn written(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers always serialise")
}

/// Reads the whole of `bytes` as one object `T`; anything after it is an error.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    // Nearly all bodies are right; keeping track of the place costs as much as reading.
    let value = match serde_json::from_slice(bytes) {
        Ok(Object(value)) => value,
        Err(_) => read_with_places(bytes)?,
    };
    match escaped_nul(bytes) {
        None => Ok(value),
        Some(at) => Err(nul(bytes, at)),
    }
}

/// Where the first U+0000 is, which JSON can only have escaped. PostgreSQL keeps no text with one, and would refuse all
/// that is written with it: the requests of others too.
fn escaped_nul(json: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\\', &json[from..]) {
        let escape = &json[from + at + 1..];
        if escape.starts_with(b"u0000") {
            return Some(from + at);
        }
        // What is escaped may be a backslash itself.
        from = (from + at + 2).min(json.len());
    }
    None
}

fn nul(json: &[u8], at: usize) -> JsonError {
    let before = &json[..at];
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let line_begins = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    JsonError {
        malformed: false,
        field: String::new(),
        line: lines + 1,
        column: at - line_begins + 1,
        message: "a string contains a control character (U+0000)".into(),
    }
}

fn read_with_places<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(value) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        place(field, error.inner())
    })?;
    deserializer.end().map_err(|error| place(String::new(), &error))?;
    Ok(value)
}

/// Reads a list of objects; for `#[serde(deserialize_with)]`.
pub fn objects<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

/// Reads a list of objects, for a field that may be left out or null.
pub fn objects_if_any<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(objects.map(|objects| objects.into_iter().map(|Object(value)| value).collect()))
}

/// Reads an object, for a field that may be left out or null.
pub fn object_if_any<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// A `T` written as a JSON object. Derived reading also takes an array of the fields in their
/// order, which no documentation promises and a new field would silently shift.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

fn place(field: String, error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let suffix = format!(" at line {line} column {column}");
    // The end of a line, and of an empty body, is reported as the column before the first.
    let column = column.max(1);
    JsonError {
        malformed: !error.is_data(),
        field,
        line,
        column,
        message: text.strip_suffix(&suffix).unwrap_or(&text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only read by serde")]
        amount: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "objects")]
        entries: Vec<Inner>,
    }

    #[test]
    fn mistakes_are_placed() {
        // body, malformed, field, line, part of the message
        let cases = [
            ("", true, "", 1, "EOF"),
            ("\u{fffd}", true, "", 1, "expected value"),
            ("{\n \"entries\": [}", true, "entries[0]", 2, "expected value"),
            ("{\"entries\": []} x", true, "", 1, "trailing characters"),
            ("{}", false, "", 1, "missing field `entries`"),
            ("[[]]", false, "", 1, "expected a JSON object"),
            ("{\"entries\": [[\"1\"]]}", false, "entries[0]", 1, "expected a JSON object"),
            (
                "{\"entries\": [{\"amount\": \"1\"},\n{\"amount\": 2}]}",
                false,
                "entries[1].amount",
                2,
                "invalid type",
            ),
            ("{\"entries\": [], \"extra\": 1}", false, "extra", 1, "unknown field `extra`"),
            ("{\"entries\": [], \"entries\": []}", false, "entries", 1, "duplicate field"),
        ];
        for (body, malformed, field, line, message) in cases {
            let error = read::<Outer>(body.as_bytes()).expect_err(body);
            assert_eq!((error.malformed, error.line), (malformed, line), "{body}: {error:?}");
            assert!(error.field == field || error.field.is_empty(), "{body}: {error:?}");
            assert!(error.message.contains(message), "{body}: {error:?}");
            assert!(!error.message.contains(" at line "), "{error:?}");
        }
    }

    #[test]
    fn no_string_has_a_nul() {
        let body = |amount: &str| format!("{{\"entries\":\n[{{\"amount\": \"{amount}\"}}]}}");
        for bad in [r"\u0000", r"a\\\u0000", r"\n\u00001"] {
            let error = read::<Outer>(body(bad).as_bytes()).expect_err(bad);
            assert_eq!((error.malformed, error.line), (false, 2), "{bad}");
            assert!(error.message.contains("U+0000"), "{error:?}");
        }
        assert_eq!(read::<Outer>(body(r"\u0000").as_bytes()).unwrap_err().column, 14);
        for good in [r"\\u0000", r"\u0001", r"u0000", r"\\"] {
            assert_eq!(read::<Outer>(body(good).as_bytes()).expect(good).entries.len(), 1);
        }
    }

    #[test]
    fn objects_are_read_and_deep_nesting_is_refused() {
        let body = b"{\"entries\": [{\"amount\": \"1\"}]}";
        assert_eq!(read::<Outer>(body).unwrap().entries.len(), 1);
        let deep = format!("{{\"entries\": {}", "[".repeat(100_000));
        assert!(read::<Outer>(deep.as_bytes()).is_err());
    }
}
