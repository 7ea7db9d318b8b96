//! What somebody changed by hand, and what deploying would make of it. CloudFormation compares templates
//! with templates: a change by hand stays until its own resource is touched. Pure.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html>

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::effect::Effect;
use super::{Difference, ResourceChange};
use crate::cloud::Drift;

/// What becomes of a change by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It stays, and the template goes on saying something else.
    Stays,
    /// The file says so too now.
    Agreed,
    /// Its resource is updated, and the type decides whether it is given its other properties anew.
    Perhaps,
    /// It is written over.
    Overwritten,
    /// It goes with its resource, which is made anew or deleted.
    Lost,
    /// The update fails at it.
    Fails,
}

impl Fate {
    fn told(self) -> &'static str {
        match self {
            Self::Stays => "stays: its template does not change",
            Self::Agreed => "the file says so too now",
            Self::Perhaps => "perhaps written over: its resource is updated",
            Self::Overwritten => "is written over",
            Self::Lost => "goes with its resource",
            Self::Fails => "the update fails: there is nothing to update",
        }
    }
}

/// A resource that is not as its template says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drifted {
    pub stack: String,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// `MODIFIED` or `DELETED`.
    pub status: String,
    pub fate: Fate,
    pub properties: Vec<DriftedProperty>,
}

/// One property of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DriftedProperty {
    /// `VisibilityTimeout`.
    pub path: String,
    /// What the template says that is deployed.
    pub template: String,
    /// What is there.
    pub actual: String,
    pub fate: Fate,
}

/// What deploying `difference` makes of what drifted; the gravest first.
pub fn fates(difference: &Difference, drifts: &[Drift]) -> Vec<Drifted> {
    let mut found: Vec<Drifted> = drifts.iter().map(|drift| fate(difference, drift)).collect();
    found.sort_by(|a, b| {
        b.fate.cmp(&a.fate).then_with(|| (&a.stack, &a.id).cmp(&(&b.stack, &b.id)))
    });
    found
}

fn fate(difference: &Difference, drift: &Drift) -> Drifted {
    let stack = difference.stacks.iter().find(|stack| stack.name == drift.stack);
    let changes = stack.map(|stack| stack.resources.as_slice()).unwrap_or_default();
    let change = changes.iter().find(|change| change.id == drift.id);
    let properties: Vec<DriftedProperty> = drift
        .properties
        .iter()
        .map(|(path, template, actual)| {
            let path = path.trim_start_matches('/').to_owned();
            let fate = of_property(change, &path, actual);
            DriftedProperty { path, template: template.clone(), actual: actual.clone(), fate }
        })
        .collect();
    let whole = if drift.status == "DELETED" { of_missing(change) } else { of_changed(change) };
    let gravest = properties.iter().map(|property| property.fate).max();
    Drifted {
        stack: drift.stack.clone(),
        id: drift.id.clone(),
        kind: drift.kind.clone(),
        status: drift.status.clone(),
        fate: gravest.unwrap_or(whole),
        properties,
    }
}

/// A resource that somebody deleted.
fn of_missing(change: Option<&ResourceChange>) -> Fate {
    match change.map(|change| change.effect) {
        None | Some(Effect::None) => Fate::Stays,
        Some(Effect::Delete | Effect::Release) => Fate::Agreed,
        Some(Effect::Create | Effect::Replacement) => Fate::Lost,
        Some(_) => Fate::Fails,
    }
}

/// A resource that somebody changed.
fn of_changed(change: Option<&ResourceChange>) -> Fate {
    match change.map(|change| change.effect) {
        None | Some(Effect::None | Effect::Release) => Fate::Stays,
        Some(Effect::Create | Effect::Replacement | Effect::Delete) => Fate::Lost,
        Some(_) => Fate::Perhaps,
    }
}

fn of_property(change: Option<&ResourceChange>, path: &str, actual: &str) -> Fate {
    let whole = of_changed(change);
    let Some(change) = change.filter(|_| whole == Fate::Perhaps) else { return whole };
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut touching =
        change.properties.iter().filter(|it| within(path, &it.path) || within(&it.path, path));
    match touching.next() {
        None => Fate::Perhaps,
        Some(it) if it.path == path && it.after.as_ref().is_some_and(|it| text(it) == actual) => {
            Fate::Agreed
        }
        Some(_) => Fate::Overwritten,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A heading, and a line for each change by hand.
pub fn told(drifted: &[Drifted]) -> String {
    if drifted.is_empty() {
        return "nothing was changed by hand".to_owned();
    }
    let mut out = "changed by hand, and what deploying makes of it".to_owned();
    for it in drifted {
        let gone = if it.status == "DELETED" { ", deleted" } else { "" };
        let _ = write!(out, "\n  {}/{} {}{gone}", it.stack, it.id, it.kind);
        if it.properties.is_empty() {
            let _ = write!(out, "\n      {}", it.fate.told());
        }
        for property in &it.properties {
            let DriftedProperty { path, template, actual, fate } = property;
            let _ = write!(out, "\n      {path}: {template} → {actual}  ({})", fate.told());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::difference::{Held, between};
    use crate::template::{Resource, Stack, Template};

    fn template(properties: Value) -> Template {
        let queue = Resource::new("AWS::SQS::Queue", "a test", properties);
        Template {
            stack: Stack::Data,
            name: "data".to_owned(),
            description: String::new(),
            parameters: Default::default(),
            resources: [("Jobs".to_owned(), queue)].into(),
            outputs: Default::default(),
        }
    }

    fn drift(status: &str, properties: &[(&str, &str, &str)]) -> Drift {
        let owned = |it: &(&str, &str, &str)| (it.0.to_owned(), it.1.to_owned(), it.2.to_owned());
        Drift {
            stack: "data".to_owned(),
            id: "Jobs".to_owned(),
            kind: "AWS::SQS::Queue".to_owned(),
            status: status.to_owned(),
            properties: properties.iter().map(owned).collect(),
        }
    }

    /// The fate of a drift when the template changes from one to the other.
    fn fate_of(before: Value, after: Value, drift: &Drift) -> Fate {
        let held = [Held { name: "data".to_owned(), template: template(before).to_value() }];
        let difference = between(&held, &[template(after)]);
        fates(&difference, std::slice::from_ref(drift))[0].fate
    }

    #[test]
    fn a_change_by_hand_stays_until_its_resource_is_touched() {
        let times = |seconds: u32| json!({ "VisibilityTimeout": seconds });
        let hand = drift("MODIFIED", &[("/VisibilityTimeout", "30", "77")]);
        assert_eq!(fate_of(times(30), times(30), &hand), Fate::Stays);
        assert_eq!(fate_of(times(30), times(60), &hand), Fate::Overwritten);
        assert_eq!(fate_of(times(30), times(77), &hand), Fate::Agreed);
        let other = json!({ "VisibilityTimeout": 30, "DelaySeconds": 5 });
        assert_eq!(fate_of(times(30), other, &hand), Fate::Perhaps);
        let named = |name: &str| json!({ "VisibilityTimeout": 30, "QueueName": name });
        assert_eq!(fate_of(named("a"), named("b"), &hand), Fate::Lost);
        let inner = drift("MODIFIED", &[("/RedrivePolicy/maxReceiveCount", "3", "9")]);
        let tries = |count: u32| json!({ "RedrivePolicy": { "maxReceiveCount": count } });
        assert_eq!(fate_of(tries(3), tries(4), &inner), Fate::Overwritten);
        assert_eq!(fate_of(tries(3), json!({}), &inner), Fate::Overwritten);
    }

    #[test]
    fn what_was_deleted_by_hand_cannot_be_updated() {
        let gone = drift("DELETED", &[]);
        let times = |seconds: u32| json!({ "VisibilityTimeout": seconds });
        assert_eq!(fate_of(times(30), times(30), &gone), Fate::Stays);
        assert_eq!(fate_of(times(30), times(60), &gone), Fate::Fails);
        let told = told(&fates(&Difference::default(), &[gone]));
        assert!(
            told.ends_with(
                "Jobs AWS::SQS::Queue, deleted\n      stays: its template does not change"
            ),
            "{told}"
        );
    }
}
