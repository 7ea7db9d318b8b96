//! A database that goes to another major version: RDS does so only where it is allowed, and does not go back. A person says that
//! it is meant, by `major_upgrade: true` in the file; without it nothing is deployed.

use serde_json::Value;

use super::effect::Effect;
use super::{PropertyChange, ResourceChange};
use crate::template::MAJOR_UPGRADE;

const PATH: &str = "EngineVersion";
const REFUSED: &str = "it is another major version, which nobody goes back from";
const ALLOWED: &str =
    "it is another major version: the servers are down for longer, and nobody goes back from it";

/// Says so of a version that changes, and refuses it where nobody allowed it.
pub(super) fn judge(kind: &str, was: &Value, is: &Value, properties: &mut [PropertyChange]) {
    if !["AWS::RDS::DBInstance", "AWS::RDS::DBCluster"].contains(&kind) {
        return;
    }
    let engine = is["Properties"]["Engine"].as_str().unwrap_or_default();
    if was["Properties"]["Engine"] != is["Properties"]["Engine"] {
        return;
    }
    let allowed = is["Properties"]["AllowMajorVersionUpgrade"] == true
        || is["Metadata"][MAJOR_UPGRADE] == true;
    for property in properties.iter_mut().filter(|property| property.path == PATH) {
        let crosses = major(engine, property.before.as_ref())
            .zip(major(engine, property.after.as_ref()))
            .is_some_and(|(before, after)| before != after);
        if !crosses || property.effect == Effect::Impossible {
            continue;
        }
        let (effect, why) = match allowed {
            true => (property.effect, ALLOWED),
            false => (Effect::Impossible, REFUSED),
        };
        (property.effect, property.because) = (effect, Some(why.to_owned()));
    }
}

/// What is to be written where, if it is meant; nothing where it is something else that is not possible.
pub(super) fn remedy(change: &ResourceChange, property: &PropertyChange) -> Option<String> {
    if property.path != PATH || property.because.as_deref() != Some(REFUSED) {
        return None;
    }
    let section = match change.id.strip_suffix("Database") {
        Some("") => "database".to_owned(),
        Some(name) => format!("databases.{}", written(name)),
        None => "its database".to_owned(),
    };
    Some(format!("If that is meant: `major_upgrade: true` at `{section}` in the file"))
}

/// `UserData` as the file has it: `user-data`.
fn written(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The part of a version that is the major one: one number of PostgreSQL's, two of the others'. Where a value is filled in later
/// there is none.
fn major(engine: &str, version: Option<&Value>) -> Option<Vec<u64>> {
    let version = version?;
    let text = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
    let parts = if engine.ends_with("postgres") || engine.ends_with("postgresql") { 1 } else { 2 };
    let numbers: Option<Vec<u64>> =
        text.split('.').take(parts).map(|part| part.parse().ok()).collect();
    // Of one that is not written in full RDS takes which it likes.
    numbers.filter(|numbers| numbers.len() == parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::difference::{Held, between, guard, told};
    use crate::template::{Stack, Template};

    #[test]
    fn majors_are_told_by_engine() {
        let crosses = |engine, before: &str, after: &str| {
            let of = |text: &str| major(engine, Some(&json!(text)));
            of(before).zip(of(after)).is_some_and(|(before, after)| before != after)
        };
        for (engine, before, after) in [
            ("mysql", "8.0.40", "8.4.8"),
            ("mariadb", "10.6.20", "10.11.9"),
            ("postgres", "16.4", "17.5"),
            ("aurora-postgresql", "16.4", "17.5"),
            ("aurora-mysql", "5.7.mysql_aurora.2.11.1", "8.0.mysql_aurora.3.10.0"),
        ] {
            assert!(crosses(engine, before, after), "{engine} {before} {after}");
        }
        for (engine, before, after) in [
            ("mysql", "8.4.6", "8.4.8"),
            ("postgres", "17.2", "17.5"),
            ("aurora-mysql", "8.0.mysql_aurora.3.8.2", "8.0.mysql_aurora.3.10.0"),
            ("mysql", "8", "8.4.8"),
        ] {
            assert!(!crosses(engine, before, after), "{engine} {before} {after}");
        }
        assert_eq!(major("mysql", Some(&json!({ "Ref": "Version" }))), None);
    }

    /// What is refused, and what is said, of a database that goes from one version to another.
    fn planned(
        id: &str,
        kind: &str,
        version: &str,
        allowed: (&str, &str),
    ) -> (Vec<String>, String) {
        let resource = |version: &str, allowed: (&str, &str)| {
            let mut resource = json!({ "Type": kind, "Properties": { "Engine": "postgres", "EngineVersion": version } });
            if !allowed.0.is_empty() {
                resource[allowed.0][allowed.1] = true.into();
            }
            Template {
                stack: Stack::Data,
                name: "t-data".to_owned(),
                description: String::new(),
                parameters: [].into(),
                resources: [(id.to_owned(), serde_json::from_value(resource).unwrap())].into(),
                outputs: [].into(),
            }
        };
        let was = resource("16.4", ("", ""));
        let held = [Held { name: was.name.clone(), template: was.to_value() }];
        let difference = between(&held, &[resource(version, allowed)]);
        (guard::refusals(&difference, &held, &[]), told::text(&difference))
    }

    #[test]
    fn a_major_version_needs_a_word_in_the_file() {
        let (refused, _) = planned("Database", "AWS::RDS::DBInstance", "17.5", ("", ""));
        assert_eq!(
            refused,
            [
                "t-data/Database: EngineVersion cannot go from 16.4 to 17.5: it is another major version, which nobody goes back from. \
              If that is meant: `major_upgrade: true` at `database` in the file"
            ]
        );
        let (refused, _) = planned("UserDataDatabase", "AWS::RDS::DBCluster", "17.5", ("", ""));
        assert!(refused[0].ends_with("at `databases.user-data` in the file"), "{refused:?}");
        for (kind, allowed) in [
            ("AWS::RDS::DBInstance", ("Properties", "AllowMajorVersionUpgrade")),
            ("AWS::RDS::DBCluster", ("Metadata", "MajorUpgrade")),
        ] {
            let (refused, said) = planned("Database", kind, "17.5", allowed);
            assert_eq!(refused, Vec::<String>::new());
            assert!(said.contains("another major version"), "{said}");
        }
        let (refused, said) = planned("Database", "AWS::RDS::DBInstance", "16.9", ("", ""));
        assert!(refused.is_empty() && !said.contains("major"), "{said}");
    }
}
