//! Deleting stacks: what protects a resource is taken off first, or CloudFormation could not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::run::{DeployError, Deployment, now};
use super::show::Show;
use crate::cloud::{CloudError, Parameter, Proposal};
use crate::signals::StopSignals;

impl Deployment<'_> {
    /// Takes protections off a stack and has it deleted; the time from which its events count.
    pub(super) async fn begin_deletion(
        &self,
        name: &str,
        signals: &mut StopSignals,
        show: &Show,
    ) -> Result<i64, DeployError> {
        let held = self.cloud.template(name).await?;
        if let Some(template) = unprotected(&held.template) {
            show.say(&format!("{name}: what protects its resources is taken off"));
            let keys = held.template["Parameters"].as_object().into_iter().flatten();
            let parameters: BTreeMap<String, Parameter> =
                keys.map(|(key, _)| (key.clone(), Parameter::Kept)).collect();
            let body = template.to_string();
            let (bucket, tags) = (self.bucket, self.tags);
            let proposal =
                Proposal { stack: name, body: &body, bucket, new: false, parameters, tags };
            let begun = self.change(&proposal, show).await?;
            let begun: Vec<(String, i64)> =
                begun.into_iter().map(|since| (name.to_owned(), since)).collect();
            self.follow(&begun, signals, show).await?;
        }
        show.begin(name, "it is deleted");
        show.expect(name, held.template["Resources"].as_object().map_or(0, serde_json::Map::len));
        Ok(self.delete(name).await?)
    }

    pub(super) async fn delete(&self, name: &str) -> Result<i64, CloudError> {
        self.cloud.protect(name, false).await?;
        let since = now() - 1_000;
        self.cloud.delete(name).await?;
        Ok(since)
    }
}

/// The same template with nothing protected from deletion; none when nothing was.
fn unprotected(template: &Value) -> Option<Value> {
    let mut changed = template.clone();
    let resources = changed.get_mut("Resources")?.as_object_mut()?;
    for resource in resources.values_mut() {
        let Some(properties) = resource.get_mut("Properties") else { continue };
        if properties["DeletionProtection"] == true {
            properties["DeletionProtection"] = false.into();
        }
        let attributes = properties.get_mut("LoadBalancerAttributes").and_then(Value::as_array_mut);
        for attribute in attributes.into_iter().flatten() {
            if attribute["Key"] == "deletion_protection.enabled" {
                attribute["Value"] = json!("false");
            }
        }
    }
    (changed != *template).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_protects_is_taken_off_and_nothing_else() {
        let on = |key: &str| json!({ "Key": key, "Value": "true" });
        let balancer = |protection: &str| {
            json!({ "Properties": { "LoadBalancerAttributes": [
                on("idle"), { "Key": "deletion_protection.enabled", "Value": protection },
            ] } })
        };
        let of = |protection: &str, database: bool| {
            json!({ "Resources": {
                "Balancer": balancer(protection),
                "Database": { "Properties": { "DeletionProtection": database, "Port": 1 } },
                "Plain": {},
            } })
        };
        assert_eq!(unprotected(&of("true", true)), Some(of("false", false)));
        assert_eq!(unprotected(&of("false", false)), None);
    }
}
