//! How far a deployment is: each stack in its turn, what is under way in it, what failed. Pure: it
//! changes by what it is told, and [`super::tree`] shows it.

use std::collections::BTreeMap;

use super::told;
use crate::cloud::Event;

/// A deployment, as far as it is known. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub title: String,
    pub begun: i64,
    /// In the order they are worked on.
    pub stacks: Vec<StackNode>,
}

/// A stack, and what happened to its resources since something was last asked of it.
#[derive(Clone, Debug, Default)]
pub struct StackNode {
    pub name: String,
    pub stage: Stage,
    /// In CloudFormation's words, or in ours before it has any.
    pub status: String,
    /// Resources there is something to do for; 0 where nobody knows.
    pub total: usize,
    pub resources: BTreeMap<String, ResourceNode>,
}

/// Where a stack is in its deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Waiting,
    UnderWay {
        since: i64,
    },
    Done {
        since: i64,
        until: i64,
    },
    Failed {
        since: i64,
        until: i64,
    },
}

/// A resource something happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceNode {
    pub kind: String,
    pub status: String,
    pub since: i64,
    /// None while something is under way.
    pub until: Option<i64>,
    /// Why it failed. What it went through when it was taken back does not change that it did.
    pub failure: Option<String>,
}

impl Progress {
    /// A deployment of stacks of which none is begun yet.
    pub fn of(title: &str, stacks: &[String], begun: i64) -> Self {
        let node = |name: &String| StackNode { name: name.clone(), ..StackNode::default() };
        Self { title: title.to_owned(), begun, stacks: stacks.iter().map(node).collect() }
    }

    /// Something is asked of a stack: what happened to it before counts no more.
    pub fn begin(&mut self, stack: &str, at: i64, status: &str) {
        let Some(node) = self.stack(stack) else { return };
        let name = std::mem::take(&mut node.name);
        let (stage, status) = (Stage::UnderWay { since: at }, status.to_owned());
        *node = StackNode { name, stage, status, ..StackNode::default() };
    }

    /// How many resources there is something to do for.
    pub fn expect(&mut self, stack: &str, total: usize) {
        if let Some(node) = self.stack(stack) {
            node.total = total;
        }
    }

    pub fn apply(&mut self, event: &Event) {
        let Some(node) = self.stack(&event.stack) else { return };
        if event.is_of_the_stack() {
            node.status = told::status(&event.status);
            return;
        }
        let under_way = event.status.ends_with("_IN_PROGRESS");
        let resource = node.resources.entry(event.resource.clone()).or_default();
        if resource.until.is_some() || resource.since == 0 {
            resource.since = event.at;
        }
        resource.kind.clone_from(&event.kind);
        resource.status = told::status(&event.status);
        resource.until = (!under_way).then_some(event.at);
        if event.is_failure() && !told::is_echo(event) && resource.failure.is_none() {
            resource.failure = Some(event.reason.clone());
        }
    }

    /// Nothing is done to a stack any more.
    pub fn end(&mut self, stack: &str, at: i64, well: bool, status: &str) {
        let Some(node) = self.stack(stack) else { return };
        let since = match node.stage {
            Stage::UnderWay { since } | Stage::Done { since, .. } | Stage::Failed { since, .. } => {
                since
            }
            Stage::Waiting => at,
        };
        let until = at;
        node.stage =
            if well { Stage::Done { since, until } } else { Stage::Failed { since, until } };
        node.status = status.to_owned();
    }

    fn stack(&mut self, name: &str) -> Option<&mut StackNode> {
        self.stacks.iter_mut().find(|node| node.name == name)
    }
}

impl StackNode {
    /// Resources that were done and did not fail.
    pub fn done(&self) -> usize {
        let done = |it: &&ResourceNode| it.until.is_some() && it.failure.is_none();
        self.resources.values().filter(done).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, resource: &str, status: &str, reason: &str) -> Event {
        let kind = if resource == "data" { "AWS::CloudFormation::Stack" } else { "AWS::X::Y" };
        Event {
            id: at.to_string(),
            at,
            stack: "data".to_owned(),
            resource: resource.to_owned(),
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn begun() -> Progress {
        let mut progress = Progress::of("production", &["data".to_owned()], 0);
        progress.begin("data", 1_000, "a change set is made");
        progress.expect("data", 2);
        progress
    }

    #[test]
    fn a_resource_counts_from_its_first_event_to_its_last() {
        let mut progress = begun();
        for (at, status) in [(2_000, "CREATE_IN_PROGRESS"), (3_000, "CREATE_IN_PROGRESS")] {
            progress.apply(&event(at, "Database", status, "Resource creation Initiated"));
        }
        let database = |progress: &Progress| progress.stacks[0].resources["Database"].clone();
        assert_eq!((database(&progress).since, database(&progress).until), (2_000, None));
        assert_eq!(progress.stacks[0].done(), 0);
        progress.apply(&event(9_000, "Database", "CREATE_COMPLETE", ""));
        assert_eq!((database(&progress).since, database(&progress).until), (2_000, Some(9_000)));
        assert_eq!(progress.stacks[0].done(), 1);
        // What was replaced is deleted in the end: that is another matter, with a time of its own.
        progress.apply(&event(20_000, "Database", "DELETE_IN_PROGRESS", ""));
        assert_eq!((database(&progress).since, database(&progress).until), (20_000, None));
    }

    #[test]
    fn a_failure_stays_one_when_it_is_taken_back_and_an_echo_is_none() {
        let mut progress = begun();
        progress.apply(&event(2_000, "Database", "CREATE_IN_PROGRESS", ""));
        progress.apply(&event(3_000, "Database", "CREATE_FAILED", "no room"));
        progress.apply(&event(3_000, "Alarm", "CREATE_FAILED", "Resource creation cancelled"));
        progress.apply(&event(3_000, "data", "ROLLBACK_IN_PROGRESS", ""));
        progress.apply(&event(4_000, "Database", "DELETE_IN_PROGRESS", ""));
        progress.apply(&event(5_000, "Database", "DELETE_COMPLETE", ""));
        let stack = &progress.stacks[0];
        assert_eq!(stack.status, "rollback in progress");
        assert_eq!(stack.resources["Database"].failure.as_deref(), Some("no room"));
        assert_eq!(stack.resources["Alarm"].failure, None);
        progress.end("data", 6_000, false, "rollback complete");
        assert_eq!(progress.stacks[0].stage, Stage::Failed { since: 1_000, until: 6_000 });
        progress.begin("data", 7_000, "it is deleted");
        assert!(progress.stacks[0].resources.is_empty());
    }
}
