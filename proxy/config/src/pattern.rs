//! Patterns over text: regular expressions, and values that are matched in one of several ways.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::IpNetwork;
use crate::units::{UnitError, unit_error};

/// A regular expression (syntax of Rust's `regex`: linear time, no look-around), checked when
/// read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regex(String);

/// Largest compiled expression, in bytes, so that no document can ask for gigabytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl Regex {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compiles; cannot fail for a value that was read.
    pub fn compile(&self) -> Result<regex::Regex, regex::Error> {
        compile(&self.0)
    }
}

/// The same few expressions may stand in thousands of routes: those compiled last are kept.
fn compile(text: &str) -> Result<regex::Regex, regex::Error> {
    const KEPT_MAX: usize = 32;
    thread_local! {
        static KEPT: RefCell<Vec<regex::Regex>> = const { RefCell::new(Vec::new()) };
    }
    KEPT.with_borrow_mut(|kept| {
        if let Some(known) = kept.iter().find(|known| known.as_str() == text) {
            return Ok(known.clone());
        }
        let made = regex::RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build()?;
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(made.clone());
        Ok(made)
    })
}

impl fmt::Display for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Regex {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Regex, UnitError> {
        match compile(text) {
            Ok(_) => Ok(Regex(text.to_owned())),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or("").trim_start_matches("error: ");
                Err(unit_error(
                    format!("`{text}` is not a regular expression: {reason}"),
                    "the syntax is that of Rust's regex library, without look-around and back-references",
                ))
            }
        }
    }
}

/// How a text must look: exactly one of the forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ValueMatch {
    /// The whole text, case counts.
    Exact(String),
    /// What the text starts with, case counts.
    Prefix(String),
    /// A regular expression found anywhere in the text; captures are `$1` or `$name`.
    Regex(Regex),
    /// An address of this network.
    Network(IpNetwork),
}

/// A header or query parameter a request must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldMatch {
    /// Name of the header (case does not count) or query parameter (case counts).
    pub name: String,
    /// What the value must look like; any of several values is enough. Without it, presence is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<ValueMatch>,
    /// `true` turns the condition around: the request must not have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

/// Text with variables, such as `https://$host$request_uri`. `$$` is a dollar sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Template(pub String);

crate::written::written_as_text!(Regex, "Regex", {
    "description": "A regular expression in the syntax of Rust's regex library (linear time, no look-around).",
    "type": "string",
    "examples": ["^/live/(?<title>[a-z0-9-]+)/"]
});
