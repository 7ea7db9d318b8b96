//! Events of a stack: what happens to its resources, the newest first.

use aws_sdk_cloudformation::types::{ResourceStatus, StackEvent};

use super::{Cloud, CloudError, failure, millis};

/// Events asked for at most; a deployment of this size has a few hundred.
pub const EVENTS_MAX: usize = 5_000;

/// Something that happened to a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// Milliseconds since 1970.
    pub at: i64,
    pub stack: String,
    /// The logical id; of the stack itself, its name.
    pub resource: String,
    pub kind: String,
    /// `CREATE_IN_PROGRESS`, `UPDATE_FAILED`, …
    pub status: String,
    pub reason: String,
}

impl Event {
    pub fn is_of_the_stack(&self) -> bool {
        self.resource == self.stack && self.kind == "AWS::CloudFormation::Stack"
    }

    pub fn is_failure(&self) -> bool {
        self.status.ends_with("_FAILED")
    }
}

impl Cloud {
    /// The events of a stack from `since` on, the oldest first. Pages are read until one is older.
    pub async fn events(&self, stack: &str, since: i64) -> Result<Vec<Event>, CloudError> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let asked = self.client.describe_stack_events().stack_name(stack);
            let told = asked.set_next_token(next).send().await;
            let told = told.map_err(|error| failure(&format!("the events of {stack}"), &error))?;
            let page: Vec<Event> = told.stack_events().iter().map(event).collect();
            let past = page.iter().any(|event| event.at < since);
            found.extend(page.into_iter().filter(|event| event.at >= since));
            next = told.next_token().map(str::to_owned);
            if next.is_none() || past || found.len() >= EVENTS_MAX {
                found.reverse();
                return Ok(found);
            }
        }
    }
}

fn event(event: &StackEvent) -> Event {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Event {
        id: text(event.event_id()),
        at: millis(event.timestamp()),
        stack: text(event.stack_name()),
        resource: text(event.logical_resource_id()),
        kind: text(event.resource_type()),
        status: text(event.resource_status().map(ResourceStatus::as_str)),
        reason: text(event.resource_status_reason()),
    }
}
