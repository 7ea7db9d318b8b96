//! In which order stacks are made, changed and deleted. Pure.
//!
//! Whoever exports comes before whoever imports, but where an export goes: then whoever imports it
//! lets go of it first, for CloudFormation takes away no export that is in use.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::check::imported_in;
use crate::difference::{Difference, Held, StackAction};
use crate::template::Template;

/// Stacks that may be worked on at the same time, one set after the other.
pub type Waves = Vec<Vec<String>>;

/// What a stack exports and imports.
#[derive(Default)]
struct Ends {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
}

fn ends(template: &Value) -> Ends {
    let outputs = template["Outputs"].as_object();
    let exports = outputs
        .into_iter()
        .flatten()
        .filter_map(|(_, output)| output["Export"]["Name"].as_str().map(str::to_owned));
    Ends { exports: exports.collect(), imports: imported_in(template).into_iter().collect() }
}

/// The order of everything `difference` changes. The error says what cannot be done in one go.
pub fn waves(difference: &Difference, held: &[Held], wanted: &[Template]) -> Result<Waves, String> {
    let old: BTreeMap<&str, Ends> =
        held.iter().map(|it| (it.name.as_str(), ends(&it.template))).collect();
    let new: BTreeMap<&str, Ends> =
        wanted.iter().map(|it| (it.name.as_str(), ends(&it.to_value()))).collect();
    let changing: Vec<&str> = difference
        .stacks
        .iter()
        .filter(|stack| stack.action != StackAction::None)
        .map(|stack| stack.name.as_str())
        .collect();
    let none = Ends::default();
    let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for first in &changing {
        for second in changing.iter().filter(|second| *second != first) {
            let (was, is) = (old.get(first).unwrap_or(&none), new.get(first).unwrap_or(&none));
            let (other_was, other_is) =
                (old.get(second).unwrap_or(&none), new.get(second).unwrap_or(&none));
            // `second` imports what only the new `first` exports.
            let gives = is.exports.difference(&was.exports).any(|it| other_is.imports.contains(it));
            // `second` imports what the new `first` exports no more.
            let takes =
                was.exports.difference(&is.exports).any(|it| other_was.imports.contains(it));
            if gives && takes {
                return Err(format!(
                    "{first} would take away what {second} imports and bring what it needs, in one \
                     go. Take the one out of the file, deploy, put the other in, deploy"
                ));
            }
            let uses = is.exports.iter().any(|it| other_is.imports.contains(it));
            if takes {
                before.entry(first).or_default().insert(second);
            } else if gives || uses {
                before.entry(second).or_default().insert(first);
            }
        }
    }
    let mut left = changing;
    let mut waves = Waves::new();
    while !left.is_empty() {
        let waits = |name: &&&str| {
            before.get(**name).is_some_and(|all| all.iter().any(|other| left.contains(other)))
        };
        let ready: Vec<&str> = left.iter().filter(|name| !waits(name)).copied().collect();
        if ready.is_empty() {
            return Err(format!(
                "{} wait for one another: each gives and takes. Deploy what is new first, and take \
                 away what goes after that",
                left.join(", ")
            ));
        }
        left.retain(|name| !ready.contains(name));
        waves.push(ready.into_iter().map(str::to_owned).collect());
    }
    Ok(waves)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::difference::between;
    use crate::template::{Resource, Stack};

    fn template(stack: Stack, exports: &[&str], imports: &[&str]) -> Template {
        let import = |name: &&str| json!({ "Fn::ImportValue": name });
        let imports: Vec<Value> = imports.iter().map(import).collect();
        let topic = Resource::new("AWS::SNS::Topic", "a test", json!({ "Subscription": imports }));
        Template {
            stack,
            name: stack.word().to_owned(),
            description: String::new(),
            parameters: BTreeMap::new(),
            resources: BTreeMap::from([("Topic".to_owned(), topic)]),
            outputs: exports
                .iter()
                .map(|it| ((*it).to_owned(), json!({ "Ref": "Topic" })))
                .collect(),
        }
    }

    fn order(old: &[Template], new: &[Template]) -> Result<Waves, String> {
        let held: Vec<Held> =
            old.iter().map(|it| Held { name: it.name.clone(), template: it.to_value() }).collect();
        waves(&between(&held, new), &held, new)
    }

    #[test]
    fn who_exports_comes_first_and_who_waits_for_nobody_goes_along() {
        let network = template(Stack::Network, &["Vpc"], &[]);
        let data = template(Stack::Data, &["Host"], &["network-Vpc"]);
        let app = template(Stack::App, &[], &["network-Vpc", "data-Host"]);
        let edge = template(Stack::Edge, &[], &["network-Vpc", "data-Host"]);
        let all = [network, data, app, edge];
        let expected = vec![vec!["network"], vec!["data"], vec!["app", "edge"]];
        assert_eq!(order(&[], &all).unwrap(), expected);
        assert_eq!(order(&all, &[]).unwrap(), [vec!["app", "edge"], vec!["data"], vec!["network"]]);
        assert_eq!(order(&all, &all).unwrap(), Waves::new());
    }

    #[test]
    fn an_export_that_goes_is_let_go_of_first() {
        let old = [
            template(Stack::Network, &["A", "B"], &[]),
            template(Stack::Data, &[], &["network-A", "network-B"]),
        ];
        let new =
            [template(Stack::Network, &["A"], &[]), template(Stack::Data, &[], &["network-A"])];
        assert_eq!(order(&old, &new).unwrap(), [vec!["data"], vec!["network"]]);
    }

    #[test]
    fn giving_and_taking_at_once_is_refused() {
        let old =
            [template(Stack::Network, &["A"], &[]), template(Stack::Data, &[], &["network-A"])];
        let new =
            [template(Stack::Network, &["B"], &[]), template(Stack::Data, &[], &["network-B"])];
        assert!(order(&old, &new).unwrap_err().contains("in one go"));
    }
}
