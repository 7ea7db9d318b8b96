//! What CloudFormation says of what was foretold. Pure: its changes are held against ours.

use std::collections::BTreeMap;

use serde::Serialize;

use super::StackChange;
use super::effect::Effect;
use crate::cloud::ProposedChange;

/// What CloudFormation said of a stack's changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confirmed {
    pub stack: String,
    /// Why it could not be asked, or could not say; null where it could.
    pub unsaid: Option<String>,
    pub disagreements: Vec<Disagreement>,
}

/// A resource of which it says something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub foretold: &'static str,
    pub proposed: &'static str,
    /// Whether it would replace or delete what was foretold to stay.
    #[serde(skip)]
    pub loses: bool,
}

/// Where CloudFormation's changes of a stack are others than those foretold.
pub fn disagreements(foretold: &StackChange, proposed: &[ProposedChange]) -> Vec<Disagreement> {
    let theirs: BTreeMap<&str, &ProposedChange> =
        proposed.iter().map(|it| (it.id.as_str(), it)).collect();
    let mut found = Vec::new();
    for ours in &foretold.resources {
        let told = theirs.get(ours.id.as_str()).copied();
        if !agree(ours.effect, told) {
            found.push(disagreement(&ours.id, &ours.kind, Some(ours.effect), told));
        }
    }
    for told in proposed {
        let known = foretold.resources.iter().any(|ours| ours.id == told.id);
        if !known && !agree(Effect::None, Some(told)) {
            found.push(disagreement(&told.id, &told.kind, None, Some(told)));
        }
    }
    found
}

/// `Conditional` is that CloudFormation does not know before it does it: that is no word against ours.
fn agree(foretold: Effect, told: Option<&ProposedChange>) -> bool {
    let Some(told) = told else { return foretold == Effect::None };
    let replaces = told.replacement == "True";
    match foretold {
        Effect::Create => told.action == "Add",
        Effect::Delete | Effect::Release => told.action == "Remove",
        Effect::Replacement => told.action == "Modify" && told.replacement != "False",
        Effect::None
        | Effect::InPlace
        | Effect::Rolling
        | Effect::Interruption
        // A change set does not know what a service refuses.
        | Effect::Impossible => {
            told.action == "Modify" && !replaces
        }
    }
}

fn disagreement(
    id: &str,
    kind: &str,
    foretold: Option<Effect>,
    told: Option<&ProposedChange>,
) -> Disagreement {
    let proposed = told.map_or("no change", |told| match told.action.as_str() {
        "Add" => "created",
        "Remove" => "deleted",
        _ if told.replacement == "True" => "replacement",
        _ if told.replacement == "Conditional" => "perhaps a replacement",
        _ => "in place",
    });
    let goes = matches!(foretold, Some(Effect::Replacement | Effect::Delete | Effect::Release));
    Disagreement {
        id: id.to_owned(),
        kind: kind.to_owned(),
        foretold: foretold.map_or("no change", Effect::word),
        proposed,
        loses: !goes && ["replacement", "deleted"].contains(&proposed),
    }
}

/// What is told of it: a line for each stack, and one for each disagreement.
pub fn told(confirmed: &[Confirmed]) -> String {
    let mut lines = Vec::new();
    for Confirmed { stack, unsaid, disagreements } in confirmed {
        match unsaid {
            Some(why) => lines.push(format!("{stack}: CloudFormation cannot say: {why}")),
            None if disagreements.is_empty() => {
                lines.push(format!("{stack}: CloudFormation would do the same"));
            }
            None => lines.push(format!("{stack}: CloudFormation says otherwise")),
        }
        for Disagreement { id, kind, foretold, proposed, .. } in disagreements {
            lines.push(format!("  {id}  {kind}  {proposed}, foretold was {foretold}"));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difference::{ResourceChange, StackAction};

    fn foretold(resources: &[(&str, Effect)]) -> StackChange {
        let change = |(id, effect): &(&str, Effect)| ResourceChange {
            id: (*id).to_owned(),
            kind: "AWS::X::Y".to_owned(),
            effect: *effect,
            holds_data: false,
            kept: None,
            properties: Vec::new(),
        };
        StackChange {
            name: "data".to_owned(),
            action: StackAction::Update,
            resources: resources.iter().map(change).collect(),
            exports: Vec::new(),
            exports_gone: Vec::new(),
        }
    }

    fn told(id: &str, action: &str, replacement: &str) -> ProposedChange {
        let [id, kind, action, replacement] =
            [id, "AWS::X::Y", action, replacement].map(str::to_owned);
        ProposedChange { id, kind, action, replacement }
    }

    #[test]
    fn what_both_say_is_no_disagreement() {
        let ours = foretold(&[
            ("New", Effect::Create),
            ("Gone", Effect::Delete),
            ("Left", Effect::Release),
            ("Other", Effect::Replacement),
            ("Slow", Effect::Interruption),
            ("Fleet", Effect::Rolling),
            ("Words", Effect::None),
        ]);
        let theirs = [
            told("New", "Add", ""),
            told("Gone", "Remove", ""),
            told("Left", "Remove", ""),
            told("Other", "Modify", "Conditional"),
            told("Slow", "Modify", "False"),
            told("Fleet", "Modify", "Conditional"),
            // Whoever refers to what changes is looked at again.
            told("Beside", "Modify", "False"),
        ];
        assert_eq!(disagreements(&ours, &theirs), []);
    }

    #[test]
    fn what_cloudformation_says_otherwise_is_told_and_what_would_be_lost_marked() {
        let ours = foretold(&[("Disk", Effect::InPlace), ("Idle", Effect::Rolling)]);
        let theirs = [told("Disk", "Modify", "True"), told("Queue", "Remove", "")];
        let found = disagreements(&ours, &theirs);
        let short: Vec<_> =
            found.iter().map(|it| (it.id.as_str(), it.foretold, it.proposed, it.loses)).collect();
        let expected = [
            ("Disk", "in place", "replacement", true),
            ("Idle", "one by one", "no change", false),
            ("Queue", "no change", "deleted", true),
        ];
        assert_eq!(short, expected);
    }
}
