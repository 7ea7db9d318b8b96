//! Stacks as they are: their state, their template, what protects them, and how they go.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{Stack, TemplateStage};
use serde_json::Value;

use super::{Cloud, CloudError, failure, millis};
use crate::difference::Held;

/// A stack that exists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StackState {
    pub name: String,
    /// `CREATE_COMPLETE` and the like.
    pub status: String,
    pub reason: String,
    pub protected: bool,
    pub parameters: BTreeMap<String, String>,
    pub outputs: BTreeMap<String, String>,
    /// When it was last made or changed, in milliseconds since 1970.
    pub changed_at: i64,
}

impl StackState {
    /// Whether something is being done to it.
    pub fn is_busy(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && self.status != "REVIEW_IN_PROGRESS"
    }

    /// Whether it never came to be: nothing is in it, and it must go before it can be made.
    pub fn is_empty_shell(&self) -> bool {
        ["REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"]
            .contains(&self.status.as_str())
    }

    /// Whether what was last asked of it was done.
    pub fn is_well(&self) -> bool {
        let done = ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "DELETE_COMPLETE"];
        done.contains(&self.status.as_str())
    }
}

fn state(stack: &Stack) -> StackState {
    let changed = stack.last_updated_time().or(stack.creation_time());
    let parameter = |it: &aws_sdk_cloudformation::types::Parameter| {
        Some((it.parameter_key()?.to_owned(), it.parameter_value()?.to_owned()))
    };
    let output = |it: &aws_sdk_cloudformation::types::Output| {
        Some((it.output_key()?.to_owned(), it.output_value()?.to_owned()))
    };
    StackState {
        name: stack.stack_name().unwrap_or_default().to_owned(),
        status: stack.stack_status().map(|it| it.as_str().to_owned()).unwrap_or_default(),
        reason: stack.stack_status_reason().unwrap_or_default().to_owned(),
        protected: stack.enable_termination_protection().unwrap_or_default(),
        parameters: stack.parameters().iter().filter_map(parameter).collect(),
        outputs: stack.outputs().iter().filter_map(output).collect(),
        changed_at: millis(changed),
    }
}

impl Cloud {
    /// A stack by its name; none when there is none.
    pub async fn stack(&self, name: &str) -> Result<Option<StackState>, CloudError> {
        let told = self.client.describe_stacks().stack_name(name).send().await;
        match told {
            Ok(told) => Ok(told.stacks().first().map(state)),
            Err(error) => {
                let error = failure(&format!("stack {name}"), &error);
                // There is no code of its own for a stack that is not there.
                if error.code() == "ValidationError" && error.message().contains("does not exist") {
                    return Ok(None);
                }
                Err(error)
            }
        }
    }

    /// Those of `names` that exist, in their order.
    pub async fn stacks(&self, names: &[String]) -> Result<Vec<StackState>, CloudError> {
        let mut found = Vec::new();
        for name in names {
            found.extend(self.stack(name).await?);
        }
        Ok(found)
    }

    /// How many stacks the account has in the region.
    pub async fn count_stacks(&self) -> Result<usize, CloudError> {
        let mut pages = self.client.describe_stacks().into_paginator().items().send();
        let mut count = 0;
        while let Some(stack) = pages.next().await {
            stack.map_err(|error| failure("the stacks of the account", &error))?;
            count += 1;
        }
        Ok(count)
    }

    /// The template a stack was last given.
    pub async fn template(&self, name: &str) -> Result<Held, CloudError> {
        let what = format!("the template of {name}");
        let asked = self.client.get_template().stack_name(name);
        let told = asked.template_stage(TemplateStage::Original).send().await;
        let told = told.map_err(|error| failure(&what, &error))?;
        let body = told.template_body().unwrap_or_default();
        let template: Value = serde_json::from_str(body).map_err(|error| {
            CloudError::odd(&what, format!("it is not one Forebay wrote: {error}"))
        })?;
        Ok(Held { name: name.to_owned(), template })
    }

    /// Whether a stack may be deleted.
    pub async fn protect(&self, name: &str, protected: bool) -> Result<(), CloudError> {
        let asked = self.client.update_termination_protection().stack_name(name);
        let told = asked.enable_termination_protection(protected).send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the protection of {name}"), &error))
    }

    /// What may be done to the resources of a stack.
    pub async fn guard(&self, name: &str, policy: &str) -> Result<(), CloudError> {
        let asked = self.client.set_stack_policy().stack_name(name);
        let told = asked.stack_policy_body(policy).send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the policy of {name}"), &error))
    }

    /// Takes back an update that is being made.
    pub async fn cancel(&self, name: &str) -> Result<(), CloudError> {
        let told = self.client.cancel_update_stack().stack_name(name).send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the update of {name}"), &error))
    }

    /// Goes on with a rollback that failed, leaving some resources as they are.
    pub async fn resume(&self, name: &str, skipped: &[String]) -> Result<(), CloudError> {
        let asked = self.client.continue_update_rollback().stack_name(name);
        let skipped = (!skipped.is_empty()).then(|| skipped.to_vec());
        let told = asked.set_resources_to_skip(skipped).send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("the rollback of {name}"), &error))
    }

    pub async fn delete(&self, name: &str) -> Result<(), CloudError> {
        let told = self.client.delete_stack().stack_name(name).send().await;
        told.map(|_| ()).map_err(|error| failure(&format!("stack {name}"), &error))
    }
}
