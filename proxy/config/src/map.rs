//! Maps: a variable whose value is looked up by another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::IpNetwork;
use crate::pattern::{Template, ValueMatch};
use crate::units::Percent;

/// A variable `$NAME`, looked up when it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Map {
    /// What is looked up: text with variables, such as `$header_user_agent`.
    pub of: Template,
    /// Networks of proxies: where what is looked up is an address of one of them, the last entry of `X-Forwarded-For`
    /// is looked up in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<IpNetwork>,
    /// Whether entries of proxies are passed over, too, as far as there are others before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind_all: bool,
    /// Tried in order; the first that matches gives the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<MapCase>,
    /// Whether case does not count for `exact` and `prefix`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
    /// Values drawn by a hash of the text (MurmurHash2) instead of by `cases`: the same text always
    /// draws the same. What is left of 100% gets the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<MapShare>,
    /// The value when nothing else gives one.
    #[serde(default)]
    pub default: Template,
}

/// A part of all texts, and their value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapShare {
    /// How many of all.
    pub share: Percent,
    /// The value.
    pub value: Template,
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
