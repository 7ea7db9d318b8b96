//! Errors of typed reading in a person's words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::suggest;
use crate::tree::Span;

/// What went wrong, and, once known, where.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) fault: Fault,
    pub(crate) at: Option<At>,
}

/// A value: its identity in the tree, its path and its place.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) node: usize,
    pub(crate) path: String,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum Fault {
    /// A message and perhaps a hint.
    Wrong { message: String, hint: Option<String> },
    /// A key is not there.
    Missing(&'static str),
    /// A key is not there, because it was reported and left out or is misspelt.
    MissingAsReported(&'static str),
    /// A consequence of something that was reported already.
    Consequence,
}

impl ReadError {
    pub(crate) fn new(message: impl Into<String>, hint: Option<String>) -> ReadError {
        ReadError { fault: Fault::Wrong { message: message.into(), hint }, at: None }
    }

    pub(crate) fn consequence() -> ReadError {
        ReadError { fault: Fault::Consequence, at: None }
    }

    /// Gives the error its place unless it has one: the innermost value knows best.
    pub(crate) fn or_at(mut self, at: impl FnOnce() -> At) -> ReadError {
        self.at.get_or_insert_with(at);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Wrong { message, .. } => f.write_str(message),
            Fault::Missing(key) | Fault::MissingAsReported(key) => write!(f, "`{key}` is missing"),
            Fault::Consequence => f.write_str("a part of this is wrong"),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    /// A message of a type's own; a second line `hint: ...` becomes the hint.
    fn custom<T: fmt::Display>(message: T) -> ReadError {
        let text = message.to_string();
        match text.split_once("\nhint: ") {
            Some((message, hint)) => ReadError::new(message, Some(hint.to_owned())),
            None => ReadError::new(text, None),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        ReadError::new(format!("expected {expected}, found {}", found_name(&found)), None)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
        ReadError::new(format!("expected {expected}, found {}", found_name(&found)), None)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> ReadError {
        ReadError::new(format!("expected {expected}, found {length}"), None)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> ReadError {
        let is_word = found.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
        let hint = if is_word {
            suggest::hint(found, expected, "possible values")
        } else {
            let forms: Vec<String> =
                expected.iter().take(2).map(|form| format!("`{{{form}: {found}}}`")).collect();
            format!("write for example {}", forms.join(" or "))
        };
        ReadError::new(format!("`{found}` is not a possible value here"), Some(hint))
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> ReadError {
        let hint = suggest::hint(found, expected, "keys here");
        ReadError::new(format!("unknown key `{found}`"), Some(hint))
    }

    fn missing_field(key: &'static str) -> ReadError {
        ReadError { fault: Fault::Missing(key), at: None }
    }

    fn duplicate_field(key: &'static str) -> ReadError {
        ReadError::new(format!("`{key}` is written twice"), None)
    }
}

fn found_name(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the text `{text}`"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}
