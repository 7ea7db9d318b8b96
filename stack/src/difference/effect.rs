//! What changing a property does to a resource: from the create-only facts of the official schemas,
//! and from a short table of what those cannot say.

use serde::Serialize;
use serde_json::Value;

use super::impossible;
use crate::check::properties;

/// What a change does, from the harmless to the grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The resource stays as it is: its metadata or policies change.
    None,
    /// It is made.
    Create,
    /// Changed while it works.
    InPlace,
    /// Its instances are replaced one by one, each after another is ready.
    Rolling,
    /// It pauses, or its connections end.
    Interruption,
    /// AWS refuses it: the deployment would fail.
    Impossible,
    /// It leaves the stack and stays in the account.
    Release,
    /// Another is made in its place, and it is deleted.
    Replacement,
    /// It is deleted.
    Delete,
}

impl Effect {
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "no change",
            Self::Create => "created",
            Self::InPlace => "in place",
            Self::Rolling => "one by one",
            Self::Interruption => "interruption",
            Self::Impossible => "not possible",
            Self::Release => "left alone",
            Self::Replacement => "replacement",
            Self::Delete => "deleted",
        }
    }
}

/// What the schemas do not say of a property: type, path, effect, why.
type Fact = (&'static str, &'static str, Effect, &'static str);

/// From the pages of each type, "Update requires":
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html>.
/// The schemas call some of these create-only under conditions that are never ours, such as a
/// restore from a snapshot.
const FACTS: [Fact; 29] = {
    use Effect::{InPlace, Interruption, Replacement, Rolling};
    const DATABASE: &str = "AWS::RDS::DBInstance";
    const CLUSTER: &str = "AWS::RDS::DBCluster";
    const CACHE: &str = "AWS::ElastiCache::ReplicationGroup";
    const FLEET: &str = "AWS::AutoScaling::AutoScalingGroup";
    [
        (
            DATABASE,
            "DBInstanceClass",
            Interruption,
            "the server starts again, or its standby takes over",
        ),
        (DATABASE, "EngineVersion", Interruption, "the server is upgraded and starts again"),
        (DATABASE, "AllowMajorVersionUpgrade", InPlace, ""),
        (DATABASE, "CACertificateIdentifier", Interruption, "the server starts again"),
        (DATABASE, "StorageType", Interruption, "the storage is moved"),
        (DATABASE, "DBParameterGroupName", Interruption, "static parameters need a restart"),
        (DATABASE, "MultiAZ", InPlace, "the standby is made, or goes, beside it"),
        (DATABASE, "BackupRetentionPeriod", InPlace, ""),
        (DATABASE, "AutoMinorVersionUpgrade", InPlace, ""),
        (DATABASE, "PreferredMaintenanceWindow", InPlace, ""),
        (DATABASE, "PerformanceInsightsKMSKeyId", InPlace, ""),
        (DATABASE, "Engine", Replacement, "another engine is another database"),
        (CLUSTER, "EngineVersion", Interruption, "the servers are upgraded and start again"),
        (CLUSTER, "DBClusterParameterGroupName", Interruption, "static parameters need a restart"),
        (CLUSTER, "Engine", Replacement, "another engine is another cluster"),
        (CLUSTER, "MasterUsername", Replacement, "the first user is made with the cluster"),
        (CACHE, "EngineVersion", Interruption, "clients connect again, node by node"),
        (CACHE, "CacheNodeType", Interruption, "clients connect again, node by node"),
        (CACHE, "AuthToken", InPlace, "both passwords are taken until the old one is removed"),
        (CACHE, "NodeGroupConfiguration", InPlace, ""),
        (FLEET, "LaunchTemplate", Rolling, "instances are replaced one by one"),
        (FLEET, "VPCZoneIdentifier", Rolling, "instances move one by one"),
        (FLEET, "LaunchConfigurationName", Rolling, "instances are replaced one by one"),
        (FLEET, "MixedInstancesPolicy", Rolling, "instances are replaced one by one"),
        ("AWS::ECS::Service", "TaskDefinition", Rolling, "tasks are replaced one by one"),
        (
            "AWS::RDS::DBParameterGroup",
            "Parameters",
            InPlace,
            "static ones count from the next restart",
        ),
        (
            "AWS::RDS::DBClusterParameterGroup",
            "Parameters",
            InPlace,
            "static ones count from the next restart",
        ),
        ("AWS::SNS::Subscription", "Region", InPlace, ""),
        ("AWS::EC2::VPC", "InstanceTenancy", InPlace, ""),
    ]
};

/// What changing the property at `path` does, and a word on it where one helps.
pub fn of(
    kind: &str,
    path: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> (Effect, Option<String>) {
    if let Some(why) = impossible::why(kind, path, before, after) {
        return (Effect::Impossible, Some(why.to_owned()));
    }
    let known = FACTS.iter().find(|(of, property, ..)| *of == kind && within(path, property));
    if let Some((_, _, effect, why)) = known {
        return (*effect, (!why.is_empty()).then(|| (*why).to_owned()));
    }
    if !properties::is_known(kind) {
        let because = "perhaps: there is no schema of it here".to_owned();
        return (Effect::Replacement, Some(because));
    }
    let decides = |fact: &str| {
        within(path, fact)
            // A whole section came or went: what counts is whether it holds the fact.
            || (within(fact, path) && inner(before, path, fact) != inner(after, path, fact))
    };
    if let Some(fact) = properties::create_only(kind).iter().find(|fact| decides(fact)) {
        let because = (*fact != path).then(|| format!("{fact} is set when it is made"));
        return (Effect::Replacement, because);
    }
    if properties::conditionally_create_only(kind).iter().any(|fact| decides(fact)) {
        // What cannot be told apart offline is told as the graver one.
        let because = "perhaps: AWS decides by how it was made".to_owned();
        return (Effect::Replacement, Some(because));
    }
    (Effect::InPlace, None)
}

/// Whether `path` is `outer` or inside it; `*` in `outer` is any one step.
fn within(path: &str, outer: &str) -> bool {
    let mut steps = path.split('/');
    outer.split('/').all(|wanted| steps.next().is_some_and(|step| wanted == "*" || wanted == step))
}

/// What a value at `path` holds at `fact`, which lies within `path`.
fn inner<'a>(value: Option<&'a Value>, path: &str, fact: &str) -> Option<&'a Value> {
    let rest = fact.strip_prefix(path)?.trim_start_matches('/');
    rest.split('/').try_fold(value?, |value, step| value.get(step))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn effects_follow_the_facts() {
        let of = |kind, path| of(kind, path, Some(&json!(1)), Some(&json!(2))).0;
        assert_eq!(of("AWS::RDS::DBInstance", "MasterUsername"), Effect::Replacement);
        assert_eq!(of("AWS::RDS::DBInstance", "DBInstanceClass"), Effect::Interruption);
        assert_eq!(of("AWS::RDS::DBInstance", "AllocatedStorage"), Effect::InPlace);
        assert_eq!(of("AWS::RDS::DBInstance", "MultiAZ"), Effect::InPlace);
        assert_eq!(of("AWS::RDS::DBInstance", "DBSnapshotIdentifier"), Effect::Replacement);
        assert_eq!(of("AWS::EC2::Subnet", "CidrBlock"), Effect::Replacement);
        assert_eq!(of("AWS::EC2::Subnet", "Tags/0/Value"), Effect::InPlace);
        assert_eq!(
            of("AWS::AutoScaling::AutoScalingGroup", "LaunchTemplate/Version"),
            Effect::Rolling
        );
    }

    #[test]
    fn of_a_section_only_what_is_set_at_the_start_counts() {
        let budget = |name: &str, amount: u32| json!({ "BudgetName": name, "Limit": amount });
        let of = |before: &Value, after: &Value| {
            super::of("AWS::Budgets::Budget", "Budget", Some(before), Some(after)).0
        };
        assert_eq!(of(&budget("a", 1), &budget("a", 2)), Effect::InPlace);
        assert_eq!(of(&budget("a", 1), &budget("b", 1)), Effect::Replacement);
    }

    #[test]
    fn the_facts_name_properties_that_exist() {
        for (kind, property, ..) in FACTS {
            assert!(properties::has(kind, property), "{kind} {property}");
        }
    }
}
