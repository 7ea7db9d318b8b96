//! Changes that AWS refuses, though the schema calls them changes in place: storage that shrinks, versions that go
//! back, a cache that becomes Redis again. A change set does not find them; the deployment fails at them.

use serde_json::Value;

const DATABASE: &str = "AWS::RDS::DBInstance";
const CLUSTER: &str = "AWS::RDS::DBCluster";
const CACHE: &str = "AWS::ElastiCache::ReplicationGroup";

/// Why a property cannot be changed in place from one value to the other; none where it can, and
/// where a value is filled in later.
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_PIOPS.ModifyingExisting.html>,
/// <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/VersionManagement.html>
pub(super) fn why(
    kind: &str,
    path: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Option<&'static str> {
    let (before, after) = (before?, after?);
    match (kind, path) {
        (DATABASE | CLUSTER, "AllocatedStorage") if number(after)? < number(before)? => {
            Some("RDS makes no storage smaller")
        }
        (DATABASE | CLUSTER, "EngineVersion") if goes_back(before, after) => {
            Some("RDS goes back to no earlier version")
        }
        (CACHE, "EngineVersion") if goes_back(before, after) => {
            Some("ElastiCache goes back to no earlier version")
        }
        (CACHE, "Engine") if before == "valkey" && after == "redis" => {
            Some("ElastiCache makes Valkey of Redis, and no Redis of Valkey")
        }
        _ => None,
    }
}

/// A number, which templates have as text too.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// Whether a version is earlier, number by number as far as both have some: `17` may be any 17.
fn goes_back(before: &Value, after: &Value) -> bool {
    let numbers = |value: &Value| -> Vec<u64> {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let parts = text.split(|c: char| !c.is_ascii_digit());
        parts.filter_map(|part| part.parse().ok()).collect()
    };
    if before.is_object() || after.is_object() {
        return false;
    }
    let (before, after) = (numbers(before), numbers(after));
    before.iter().zip(&after).find(|(was, is)| was != is).is_some_and(|(was, is)| is < was)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_goes_back_is_impossible() {
        let is = |kind, path, before: Value, after: Value| {
            why(kind, path, Some(&before), Some(&after)).is_some()
        };
        assert!(is(DATABASE, "AllocatedStorage", json!("200"), json!("100")));
        assert!(is(DATABASE, "AllocatedStorage", json!(200), json!("99")));
        assert!(!is(DATABASE, "AllocatedStorage", json!("100"), json!("200")));
        assert!(!is(DATABASE, "AllocatedStorage", json!({ "Ref": "Size" }), json!("1")));
        for (before, after) in [
            ("8.4.8", "8.4.6"),
            ("8.4.10", "8.4.9"),
            ("17.8", "16.4"),
            ("8.0.mysql_aurora.3.10.0", "8.0.mysql_aurora.3.8.2"),
        ] {
            assert!(is(DATABASE, "EngineVersion", json!(before), json!(after)), "{before} {after}");
            assert!(
                !is(DATABASE, "EngineVersion", json!(after), json!(before)),
                "{after} {before}"
            );
        }
        assert!(!is(CLUSTER, "EngineVersion", json!("17.8"), json!("17")));
        assert!(is(CACHE, "EngineVersion", json!("8.0"), json!("7.2")));
        assert!(is(CACHE, "Engine", json!("valkey"), json!("redis")));
        assert!(!is(CACHE, "Engine", json!("redis"), json!("valkey")));
        assert!(!is("AWS::EC2::Volume", "AllocatedStorage", json!(2), json!(1)));
    }
}
