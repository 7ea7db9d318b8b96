//! The sections for what Forebay has no word for: raw CloudFormation, and changes of what it makes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The stacks, in the order in which they are made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stack {
    /// What all others stand on: network, security groups, key, topic.
    Network,
    /// What holds data: retained and protected.
    Data,
    /// The ledger.
    App,
    /// Balancer and proxy.
    Edge,
    /// Workers, services, functions and the CDN.
    Media,
}

impl Stack {
    pub const ALL: [Self; 5] = [Self::Network, Self::Data, Self::App, Self::Edge, Self::Media];

    pub fn word(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Data => "data",
            Self::App => "app",
            Self::Edge => "edge",
            Self::Media => "media",
        }
    }
}

/// What becomes of a resource that is taken out of its template, or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kept {
    Delete,
    Retain,
    RetainExceptOnCreate,
    Snapshot,
}

/// Resources by stack and logical id.
pub type Resources = BTreeMap<Stack, BTreeMap<String, RawResource>>;

/// Changes by stack and logical id.
pub type Patches = BTreeMap<Stack, BTreeMap<String, Vec<Operation>>>;

/// A resource as CloudFormation writes it, functions in their long form: `{ Ref: Key }`.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resources-section-structure.html>
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct RawResource {
    /// `AWS::DynamoDB::Table`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What the type takes.
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// Resources of the same stack that are made before it.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// What becomes of it when it leaves the template.
    #[serde(default)]
    pub deletion_policy: Option<Kept>,
    /// What becomes of it when another is made in its place.
    #[serde(default)]
    pub update_replace_policy: Option<Kept>,
    /// What CloudFormation waits for when it is made.
    #[serde(default)]
    pub creation_policy: Option<Value>,
    /// How CloudFormation updates it.
    #[serde(default)]
    pub update_policy: Option<Value>,
    /// Whatever else is to stand with it.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
}

/// One change of a resource, an operation of JSON Patch (RFC 6902) on it as its template has it.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What is done.
    pub op: Op,
    /// Where, as a JSON pointer (RFC 6901): `/Properties/MonitoringInterval`.
    pub path: String,
    /// From where, with `move` and `copy`.
    #[serde(default)]
    pub from: Option<String>,
    /// What, with `add`, `replace` and `test`.
    #[serde(default)]
    pub value: Option<Value>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Puts a value where there is none, or into a list before an index (`-`: at its end).
    Add,
    /// Takes away what is there.
    Remove,
    /// Puts another value in the place of the one that is there.
    Replace,
    /// Takes what is at `from` to `path`.
    Move,
    /// Puts what is at `from` at `path` too.
    Copy,
    /// Goes on only if exactly this value is there: a guard against a template that has changed.
    Test,
}

impl Op {
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Move => "move",
            Self::Copy => "copy",
            Self::Test => "test",
        }
    }

    pub fn takes_value(self) -> bool {
        matches!(self, Self::Add | Self::Replace | Self::Test)
    }

    pub fn takes_from(self) -> bool {
        matches!(self, Self::Move | Self::Copy)
    }
}
