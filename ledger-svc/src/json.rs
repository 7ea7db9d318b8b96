//! Reading a JSON body so that a mistake is answered with its place: field, line and column.

use serde::de::DeserializeOwned;
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

/// Reads the whole of `bytes` as one `T`; anything after it is an error.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = match error.path().to_string() {
            path if path == "." => String::new(),
            path => path,
        };
        place(field, error.inner())
    })?;
    deserializer.end().map_err(|error| place(String::new(), &error))?;
    Ok(value)
}

fn place(field: String, error: &serde_json::Error) -> JsonError {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let suffix = format!(" at line {line} column {column}");
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
    use serde::Deserialize;

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
        #[expect(dead_code, reason = "only read by serde")]
        entries: Vec<Inner>,
    }

    #[test]
    fn mistakes_are_placed() {
        // body, malformed, field, line, part of the message
        let cases = [
            ("", true, "", 1, "EOF"),
            ("{\n \"entries\": [}", true, "entries", 2, "expected value"),
            ("{\"entries\": []} x", true, "", 1, "trailing characters"),
            ("{}", false, "", 1, "missing field `entries`"),
            (
                "{\"entries\": [{\"amount\": \"1\"},\n{\"amount\": 2}]}",
                false,
                "entries[1].amount",
                2,
                "invalid type",
            ),
            ("{\"entries\": [], \"extra\": 1}", false, "extra", 1, "unknown field `extra`"),
            ("{\"entries\": [], \"entries\": []}", false, "entries", 1, "duplicate field"),
            ("[[[[", false, "", 1, ""),
        ];
        for (body, malformed, field, line, message) in cases {
            let error = read::<Outer>(body.as_bytes()).expect_err(body);
            if body != "[[[[" {
                assert_eq!(error.malformed, malformed, "{body}: {error:?}");
            }
            assert!(
                error.field == field || error.field.is_empty() || body == "[[[[",
                "{body}: {error:?}"
            );
            assert_eq!(error.line, line, "{body}: {error:?}");
            assert!(error.message.contains(message), "{body}: {error:?}");
            assert!(!error.message.contains(" at line "), "{error:?}");
        }
    }
}
