//! Change sets: what CloudFormation says it would do, before it does it.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{self, Capability, ChangeSetType, Tag};

use super::{Cloud, CloudError, failure};

/// A parameter of a stack: a new value, or the one it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    Value(String),
    Kept,
}

/// What a change set is made of.
#[derive(Clone, Debug)]
pub struct Proposal<'a> {
    pub stack: &'a str,
    pub body: &'a str,
    /// The bucket that a body too large to be handed over is put into.
    pub bucket: &'a str,
    /// Whether the stack is yet to be made.
    pub new: bool,
    pub parameters: BTreeMap<String, Parameter>,
    pub tags: &'a BTreeMap<String, String>,
}

/// One change CloudFormation proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedChange {
    pub id: String,
    pub kind: String,
    /// `Add`, `Modify`, `Remove`, …
    pub action: String,
    /// `True`, `False` or `Conditional`; empty where it is no question.
    pub replacement: String,
}

impl Cloud {
    /// Asks for a change set; its ARN.
    pub async fn propose(&self, name: &str, of: &Proposal<'_>) -> Result<String, CloudError> {
        let parameters = of.parameters.iter().map(|(key, value)| {
            let parameter = types::Parameter::builder().parameter_key(key);
            match value {
                Parameter::Value(value) => parameter.parameter_value(value).build(),
                Parameter::Kept => parameter.use_previous_value(true).build(),
            }
        });
        let tags = of.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let kind = if of.new { ChangeSetType::Create } else { ChangeSetType::Update };
        let asked = self
            .client
            .create_change_set()
            .stack_name(of.stack)
            .change_set_name(name)
            .change_set_type(kind)
            .capabilities(Capability::CapabilityIam)
            .set_parameters(Some(parameters.collect()))
            .set_tags(Some(tags.collect()));
        let asked = match self.handed_over(of.stack, of.body, of.bucket).await? {
            Some(url) => asked.template_url(url),
            None => asked.template_body(of.body),
        };
        let what = format!("a change set of {}", of.stack);
        let told = asked.send().await.map_err(|error| failure(&what, &error))?;
        told.id().map(str::to_owned).ok_or_else(|| CloudError::odd(what, "it has no id"))
    }

    /// What a change set says: its status, the reason for that, and every change once it is made.
    pub async fn proposed(
        &self,
        stack: &str,
        id: &str,
    ) -> Result<(String, String, Vec<ProposedChange>), CloudError> {
        let what = format!("the change set of {stack}");
        let mut changes = Vec::new();
        let mut next = None;
        loop {
            let asked = self.client.describe_change_set().change_set_name(id).stack_name(stack);
            let told = asked.set_next_token(next).send().await;
            let told = told.map_err(|error| failure(&what, &error))?;
            changes.extend(told.changes().iter().filter_map(change));
            next = told.next_token().map(str::to_owned);
            if next.is_none() {
                let status = told.status().map(|it| it.as_str().to_owned()).unwrap_or_default();
                let reason = told.status_reason().unwrap_or_default().to_owned();
                return Ok((status, reason, changes));
            }
        }
    }

    pub async fn execute(&self, stack: &str, id: &str) -> Result<(), CloudError> {
        let asked = self.client.execute_change_set().stack_name(stack).change_set_name(id);
        let told = asked.send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the change set of {stack}"), &error))
    }

    pub async fn withdraw(&self, stack: &str, id: &str) -> Result<(), CloudError> {
        let asked = self.client.delete_change_set().stack_name(stack).change_set_name(id);
        let told = asked.send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the change set of {stack}"), &error))
    }
}

fn change(change: &types::Change) -> Option<ProposedChange> {
    let change = change.resource_change()?;
    Some(ProposedChange {
        id: change.logical_resource_id().unwrap_or_default().to_owned(),
        kind: change.resource_type().unwrap_or_default().to_owned(),
        action: change.action().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        replacement: change.replacement().map(|it| it.as_str().to_owned()).unwrap_or_default(),
    })
}
