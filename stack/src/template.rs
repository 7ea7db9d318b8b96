//! A plan as CloudFormation: resources are values, split into stacks by what must never share a
//! fate. Pure, and the same plan gives the same bytes.
//!
//! [`build`] is the whole; [`by_hand`] has what the file adds and patches; [`value`] has CloudFormation's own functions; a file per stack builds it.

mod access;
mod alarm;
mod app;
mod aurora;
mod backup;
pub mod by_hand;
mod cdn;
mod data;
mod database;
mod database_proxy;
mod edge;
mod endpoints;
mod fleet;
mod front;
mod function;
mod machines;
mod media;
mod network;
mod observe;
mod policy;
mod queue;
mod regions;
mod rotation;
mod scaling;
mod service;
mod storage;
pub mod value;
mod worker;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use crate::environment::by_hand::{Kept, Stack};
use crate::estate::EstatePlan;
pub use aurora::MAJOR_UPGRADE;
use by_hand::Unfit;
pub use fleet::architecture;

/// A template's limit in bytes when it is handed over directly.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>
pub const BYTES_MAX: usize = 51_200;
/// The same when it is read from a bucket, as `deploy` hands over what is larger.
pub const BYTES_MAX_IN_BUCKET: usize = 1_048_576;

/// One resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Resource {
    #[serde(rename = "Type")]
    pub kind: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_replace_policy: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_policy: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_policy: Option<Value>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub properties: Value,
}

impl Resource {
    /// A resource of a type, what it is for, and its properties.
    pub fn new(kind: &'static str, why: &str, properties: Value) -> Self {
        let mut metadata = Map::new();
        metadata.insert("Why".to_owned(), why.into());
        Self {
            kind: kind.into(),
            metadata,
            depends_on: Vec::new(),
            deletion_policy: None,
            update_replace_policy: None,
            creation_policy: None,
            update_policy: None,
            properties,
        }
    }

    pub fn after(mut self, id: &str) -> Self {
        self.depends_on.push(id.to_owned());
        self
    }

    /// A rule of checkov that is declined here, and why. Checkov reads it from the metadata.
    pub fn declined(mut self, rule: &str, why: &str) -> Self {
        let skipped = json!({ "id": rule, "comment": why });
        let checkov = self.metadata.entry("checkov").or_insert_with(|| json!({ "skip": [] }));
        if let Some(skip) = checkov["skip"].as_array_mut() {
            skip.push(skipped);
        }
        self
    }

    pub fn kept(mut self, kept: Kept) -> Self {
        self.deletion_policy = Some(kept);
        self.update_replace_policy = Some(kept);
        self
    }
}

/// One stack's template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub stack: Stack,
    /// `production-network`: the name the stack is to be given.
    pub name: String,
    pub description: String,
    pub parameters: BTreeMap<String, Value>,
    pub resources: BTreeMap<String, Resource>,
    /// Exported under `NAME-STACK-OUTPUT`.
    pub outputs: BTreeMap<String, Value>,
}

impl Template {
    fn new(plan: &EstatePlan, stack: Stack, what: &str) -> Self {
        Self {
            stack,
            name: format!("{}-{}", plan.name, stack.word()),
            description: format!(
                "{}: {what} Written by `forebay synth`; change the environment file.",
                plan.name
            ),
            parameters: BTreeMap::new(),
            resources: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    fn add(&mut self, id: impl Into<String>, resource: Resource) {
        self.resources.insert(id.into(), resource);
    }

    fn export(&mut self, name: &str, value: Value) {
        self.outputs.insert(name.to_owned(), value);
    }

    /// As CloudFormation reads it.
    pub fn to_value(&self) -> Value {
        let mut whole = json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": self.description,
            "Resources": self.resources,
        });
        if !self.parameters.is_empty() {
            whole["Parameters"] = json!(self.parameters);
        }
        if !self.outputs.is_empty() {
            let export = |(name, value): (&String, &Value)| {
                let exported = format!("{}-{name}", self.name);
                (name.clone(), json!({ "Value": value, "Export": { "Name": exported } }))
            };
            whole["Outputs"] = self.outputs.iter().map(export).collect::<Map<_, _>>().into();
        }
        whole
    }

    /// The bytes of its file.
    pub fn to_json(&self) -> String {
        // One space: half of what two would add, and still a line for every value.
        let mut bytes = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
        let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
        let written = self.to_value().serialize(&mut writer);
        debug_assert!(written.is_ok(), "a value of serde_json always has a text");
        bytes.push(b'\n');
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The text CloudFormation is given: that of the file or, where that is too large to be handed over,
    /// the same without line breaks.
    pub fn to_hand_over(&self) -> String {
        let text = self.to_json();
        if text.len() <= BYTES_MAX { text } else { self.to_value().to_string() }
    }
}

/// The templates of a plan, in the order in which their stacks are made. What the file adds or
/// patches by hand and does not fit is the error.
pub fn build(plan: &EstatePlan) -> Result<Vec<Template>, Vec<Unfit>> {
    let mut templates = vec![network::build(plan), data::build(plan)];
    if plan.estate.ledger.is_some() {
        templates.push(app::build(plan));
    }
    templates.push(edge::build(plan));
    templates.extend(media::build(plan));
    by_hand::apply(&mut templates, plan)?;
    // Last, so that roles written by hand stay in their regions too.
    regions::confine(&mut templates, &plan.aws().regions);
    Ok(templates)
}

/// A name of the file as part of logical ids: `live-chat` as `LiveChat`.
pub fn camel(name: &str) -> String {
    let capital = |part: &str| {
        let mut rest = part.chars();
        rest.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(rest).collect::<String>()
    };
    name.split('-').map(capital).collect()
}
