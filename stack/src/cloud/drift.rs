//! Drift: what somebody changed beside the templates.

use aws_sdk_cloudformation::types::{StackResourceDrift, StackResourceDriftStatus};

use super::{Cloud, CloudError, failure};

/// A resource that is not as its template says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    pub stack: String,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// `MODIFIED` or `DELETED`.
    pub status: String,
    /// Property, what the template says, what is there.
    pub properties: Vec<(String, String, String)>,
}

impl Cloud {
    /// Has CloudFormation look; the id of the looking.
    pub async fn look_for_drift(&self, stack: &str) -> Result<String, CloudError> {
        let what = format!("the drift of {stack}");
        let told = self.client.detect_stack_drift().stack_name(stack).send().await;
        let told = told.map_err(|error| failure(&what, &error))?;
        told.stack_drift_detection_id()
            .map(str::to_owned)
            .ok_or_else(|| CloudError::odd(what, "the looking has no id"))
    }

    /// How far the looking is: `DETECTION_IN_PROGRESS`, `DETECTION_COMPLETE` or `DETECTION_FAILED`.
    pub async fn looked(&self, stack: &str, id: &str) -> Result<(String, String), CloudError> {
        let asked = self.client.describe_stack_drift_detection_status();
        let told = asked.stack_drift_detection_id(id).send().await;
        let told = told.map_err(|error| failure(&format!("the drift of {stack}"), &error))?;
        let status = told.detection_status().map(|it| it.as_str().to_owned()).unwrap_or_default();
        Ok((status, told.detection_status_reason().unwrap_or_default().to_owned()))
    }

    /// What was found.
    pub async fn drifted(&self, stack: &str) -> Result<Vec<Drift>, CloudError> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let asked = self
                .client
                .describe_stack_resource_drifts()
                .stack_name(stack)
                .stack_resource_drift_status_filters(StackResourceDriftStatus::Modified)
                .stack_resource_drift_status_filters(StackResourceDriftStatus::Deleted)
                .set_next_token(next);
            let told = asked.send().await;
            let told = told.map_err(|error| failure(&format!("the drift of {stack}"), &error))?;
            found.extend(told.stack_resource_drifts().iter().map(|it| drift(stack, it)));
            next = told.next_token().map(str::to_owned);
            if next.is_none() {
                return Ok(found);
            }
        }
    }
}

fn drift(stack: &str, of: &StackResourceDrift) -> Drift {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let properties = of
        .property_differences()
        .iter()
        .map(|it| (text(it.property_path()), text(it.expected_value()), text(it.actual_value())));
    Drift {
        stack: stack.to_owned(),
        id: text(of.logical_resource_id()),
        kind: text(of.resource_type()),
        status: text(of.stack_resource_drift_status().map(StackResourceDriftStatus::as_str)),
        properties: properties.collect(),
    }
}
