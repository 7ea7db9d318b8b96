//! Differences between small templates made here; those of whole environments are in `tests/plan.rs`.

use serde_json::json;

use super::*;
use crate::template::{Resource, Stack};

fn template(stack: Stack, resources: &[(&str, &'static str, Value)]) -> Template {
    let resources = resources.iter().map(|(id, kind, properties)| {
        ((*id).to_owned(), Resource::new(kind, "a test", properties.clone()))
    });
    Template {
        stack,
        name: format!("t-{}", stack.word()),
        description: "a test".to_owned(),
        parameters: BTreeMap::new(),
        resources: resources.collect(),
        outputs: BTreeMap::new(),
    }
}

fn held(templates: &[Template]) -> Vec<Held> {
    let held =
        |template: &Template| Held { name: template.name.clone(), template: template.to_value() };
    templates.iter().map(held).collect()
}

const SUBNETS: &str = "AWS::RDS::DBSubnetGroup";
const DATABASE: &str = "AWS::RDS::DBInstance";
const ALARM: &str = "AWS::CloudWatch::Alarm";

fn data(description: &str, name: &str) -> Template {
    template(
        Stack::Data,
        &[
            (
                "Subnets",
                SUBNETS,
                json!({ "DBSubnetGroupDescription": description, "DBSubnetGroupName": name }),
            ),
            ("Database", DATABASE, json!({ "DBSubnetGroupName": { "Ref": "Subnets" } })),
            ("Alarm", ALARM, json!({ "Dimensions": [{ "Value": { "Ref": "Database" } }] })),
        ],
    )
}

#[test]
fn the_same_is_nothing() {
    let same = [data("a", "b")];
    let difference = between(&held(&same), &same);
    assert!(difference.is_empty());
    assert_eq!(told::text(&difference), "nothing to change");
}

#[test]
fn a_replacement_is_followed_to_whoever_refers_to_it() {
    let difference = between(&held(&[data("a", "b")]), &[data("a", "c")]);
    let effects: Vec<(&str, Effect)> =
        difference.stacks[0].resources.iter().map(|c| (c.id.as_str(), c.effect)).collect();
    let expected = [
        ("Subnets", Effect::Replacement),
        ("Database", Effect::Replacement),
        ("Alarm", Effect::InPlace),
    ];
    for one in expected {
        assert!(effects.contains(&one), "{effects:?}");
    }
    let refused = guard::refusals(&difference, &[], &[]);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("t-data/Database holds data"), "{refused:?}");
    assert!(guard::refusals(&difference, &[], &["Database".to_owned()]).is_empty());
    assert!(guard::refusals(&difference, &[], &["t-data/Database".to_owned()]).is_empty());
}

#[test]
fn a_change_in_place_takes_nothing_with_it() {
    let difference = between(&held(&[data("a", "b")]), &[data("z", "b")]);
    assert_eq!(difference.stacks[0].resources.len(), 1);
    assert_eq!(difference.stacks[0].resources[0].effect, Effect::InPlace);
}

#[test]
fn an_export_that_changes_is_refused_while_it_is_imported() {
    let network = |cidr: &str| {
        let vpc = ("Vpc", "AWS::EC2::VPC", json!({ "CidrBlock": cidr }));
        let mut network = template(Stack::Network, &[vpc]);
        network.outputs.insert("Vpc".to_owned(), json!({ "Ref": "Vpc" }));
        network
    };
    let import = json!({ "VpcId": { "Fn::ImportValue": "t-network-Vpc" }, "Port": 80 });
    let targets = ("Targets", "AWS::ElasticLoadBalancingV2::TargetGroup", import);
    let edge = template(Stack::Edge, &[targets]);
    let old = held(&[network("10.0.0.0/16"), edge.clone()]);
    let difference = between(&old, &[network("10.1.0.0/16"), edge]);
    assert_eq!(difference.stacks[0].exports, ["t-network-Vpc"]);
    assert_eq!(difference.stacks[1].resources[0].effect, Effect::Replacement);
    let refused = guard::refusals(&difference, &old, &[]);
    assert!(refused[0].contains("the export t-network-Vpc would change"), "{refused:?}");
}

#[test]
fn another_type_is_another_resource_and_what_was_there_is_lost() {
    let of = |kind| template(Stack::Data, &[("Thing", kind, json!({}))]);
    let difference = between(&held(&[of(DATABASE)]), &[of(ALARM)]);
    let change = &difference.stacks[0].resources[0];
    assert_eq!((change.effect, change.holds_data), (Effect::Replacement, true));
}

#[test]
fn stacks_that_are_not_wanted_are_deleted() {
    let difference = between(&held(&[data("a", "b")]), &[]);
    assert_eq!(difference.stacks[0].action, StackAction::Delete);
    assert_eq!(guard::refusals(&difference, &[], &[]).len(), 1);
    let made = between(&[], &[data("a", "b")]);
    assert_eq!(made.stacks[0].action, StackAction::Create);
    assert!(guard::refusals(&made, &[], &[]).is_empty());
}

#[test]
fn metadata_changes_no_resource() {
    let (old, mut new) = (data("a", "b"), data("a", "b"));
    new.resources.get_mut("Alarm").unwrap().metadata.insert("Why".to_owned(), json!("else"));
    let difference = between(&held(&[old]), &[new]);
    assert_eq!(difference.stacks[0].resources[0].effect, Effect::None);
    assert_eq!(difference.stacks[0].resources[0].properties[0].path, "(Metadata)");
}

#[test]
fn what_rds_refuses_is_refused_whatever_is_allowed() {
    let of = |storage: &str, version: &str, user: &str| {
        let properties = json!({
            "AllocatedStorage": storage, "EngineVersion": version, "MasterUsername": user,
        });
        template(Stack::Data, &[("Database", DATABASE, properties)])
    };
    let old = held(&[of("200", "8.4.8", "root")]);
    let allowed = ["Database".to_owned()];
    let difference = between(&old, &[of("100", "8.4.6", "root")]);
    assert_eq!(difference.stacks[0].resources[0].effect, Effect::Impossible);
    let refused = guard::refusals(&difference, &old, &allowed);
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with(
        "t-data/Database: AllocatedStorage cannot go from 200 to 100: RDS makes no storage smaller."
    ));
    assert!(refused[1].contains("EngineVersion cannot go from 8.4.8 to 8.4.6"), "{refused:?}");
    let told = told::text(&difference);
    assert!(told.contains("(not possible)  RDS makes no storage smaller"), "{told}");
    assert!(told.ends_with("1 not possible"), "{told}");
    // Forwards it is upgraded, and another database begins with whatever it is given.
    let forwards = between(&old, &[of("300", "8.4.9", "root")]);
    assert_eq!(guard::refusals(&forwards, &old, &[]), [""; 0]);
    let another = between(&old, &[of("100", "8.4.6", "admin")]);
    assert_eq!(another.stacks[0].resources[0].effect, Effect::Replacement);
    assert_eq!(guard::refusals(&another, &old, &allowed), [""; 0]);
}
