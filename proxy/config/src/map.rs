//! Maps: a variable whose value is looked up by another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{Template, ValueMatch};

/// A variable `$NAME`, looked up when it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// What is looked up: text with variables, such as `$header_user_agent`.
    pub of: Template,
    /// Tried in order; the first that matches gives the value.
    pub cases: Vec<MapCase>,
    /// The value when no case matches.
    #[serde(default)]
    pub default: String,
}

/// One case of a map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapCase {
    /// How the text looked up must look.
    pub when: ValueMatch,
    /// The value; `$1` or `$name` are the captures of a regex.
    pub value: Template,
}
