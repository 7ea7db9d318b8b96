//! What templates need of quotas that an account has. Pure; `forebay doctor` holds it against AWS.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use crate::cost;
use crate::template::{Resource, Template};

/// A quota, and how much of it an estate may come to need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The service and the quota in it, as Service Quotas calls them.
    pub service: &'static str,
    pub code: &'static str,
    pub what: &'static str,
    pub count: u64,
}

/// A quota: its service and code, and what it counts.
type Quota = (&'static str, &'static str, &'static str);

/// <https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html>
const STANDARD: Quota = ("ec2", "L-1216C47A", "processors of instances");
const SPOT: Quota = ("ec2", "L-34B43A08", "processors of spare instances");
const ADDRESSES: Quota = ("ec2", "L-0263D0A3", "public addresses");
const GATEWAYS: Quota = ("vpc", "L-FE5A380F", "NAT gateways in a zone");
const NETWORKS: Quota = ("vpc", "L-F678F1CE", "networks");
const ENDPOINTS: Quota = ("vpc", "L-29B6F2EB", "endpoints in a network");
const DATABASES: Quota = ("rds", "L-7B6409FD", "database servers");
const FARGATE: Quota = ("fargate", "L-3032A538", "processors of Fargate");
const SPARE_FARGATE: Quota = ("fargate", "L-36FBB829", "spare processors of Fargate");
const BALANCERS: Quota = ("elasticloadbalancing", "L-53DA6B97", "balancers of requests");
const CONNECTIONS: Quota = ("elasticloadbalancing", "L-69A177A2", "balancers of connections");
const CALLS: Quota = ("lambda", "L-B99A9384", "calls of functions at once");

/// Calls that Lambda keeps for functions that reserve none.
const CALLS_FOR_OTHERS: u64 = 100;

/// Everything that is counted, at the most there may be.
pub fn needs(templates: &[Template]) -> Vec<Need> {
    let mut found: BTreeMap<Quota, u64> = BTreeMap::new();
    for template in templates {
        for (id, resource) in &template.resources {
            for (quota, count) in of(template, id, resource) {
                *found.entry(quota).or_default() += count;
            }
        }
    }
    // One in each zone is one in a zone.
    found.entry(GATEWAYS).and_modify(|count| *count = 1);
    found.entry(CALLS).and_modify(|count| *count += CALLS_FOR_OTHERS);
    let need = |((service, code, what), count)| Need { service, code, what, count };
    found.into_iter().map(need).filter(|it| it.count > 0).collect()
}

fn of(template: &Template, id: &str, resource: &Resource) -> Vec<(Quota, u64)> {
    let properties = &resource.properties;
    match resource.kind.as_ref() {
        "AWS::AutoScaling::AutoScalingGroup" => instances(template, properties),
        "AWS::EC2::EIP" => vec![(ADDRESSES, 1)],
        "AWS::EC2::NatGateway" => vec![(GATEWAYS, 1)],
        "AWS::EC2::VPC" => vec![(NETWORKS, 1)],
        "AWS::EC2::VPCEndpoint" if properties["VpcEndpointType"] == "Interface" => {
            vec![(ENDPOINTS, 1)]
        }
        "AWS::RDS::DBInstance" => vec![(DATABASES, 1)],
        "AWS::ECS::Service" => tasks(template, id, properties),
        "AWS::ElasticLoadBalancingV2::LoadBalancer" if properties["Type"] == "network" => {
            vec![(CONNECTIONS, 1)]
        }
        "AWS::ElasticLoadBalancingV2::LoadBalancer" => vec![(BALANCERS, 1)],
        "AWS::Lambda::Function" => {
            vec![(CALLS, properties["ReservedConcurrentExecutions"].as_u64().unwrap_or(0))]
        }
        _ => Vec::new(),
    }
}

/// The image of every launch template: the public parameter that names it.
pub fn images(templates: &[Template]) -> Vec<String> {
    let all = templates.iter().flat_map(|template| template.resources.values());
    let image = |it: &Resource| {
        let image = it.properties["LaunchTemplateData"]["ImageId"].as_str()?;
        Some(image.strip_prefix("{{resolve:ssm:")?.strip_suffix("}}")?.to_owned())
    };
    let mut found: Vec<String> = all.filter_map(image).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn instances(template: &Template, properties: &Value) -> Vec<(Quota, u64)> {
    let policy = &properties["MixedInstancesPolicy"];
    let launch = properties["LaunchTemplate"]["LaunchTemplateId"]["Ref"].as_str();
    let launch = launch.and_then(|id| template.resources.get(id));
    let own = launch.and_then(|it| it.properties["LaunchTemplateData"]["InstanceType"].as_str());
    let overrides = policy["LaunchTemplate"]["Overrides"].as_array().into_iter().flatten();
    let types = overrides.filter_map(|it| it["InstanceType"].as_str()).chain(own);
    let largest = types.filter_map(cost::processors).max().unwrap_or_default();
    let spot = policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 0;
    let count = (largest * Decimal::from(number(&properties["MaxSize"]))).to_u64().unwrap_or(0);
    vec![(if spot { SPOT } else { STANDARD }, count)]
}

fn tasks(template: &Template, id: &str, properties: &Value) -> Vec<(Quota, u64)> {
    let task = properties["TaskDefinition"]["Ref"].as_str().unwrap_or_default();
    let Some(task) = template.resources.get(task) else { return Vec::new() };
    if task.properties["RequiresCompatibilities"][0] != "FARGATE" {
        return Vec::new();
    }
    let scales = template.resources.values().find(|it| {
        it.kind == "AWS::ApplicationAutoScaling::ScalableTarget"
            && it.properties["ResourceId"].to_string().contains(&format!("\"{id}\""))
    });
    let most = scales.map_or(&properties["DesiredCount"], |it| &it.properties["MaxCapacity"]);
    let processors = (number(&task.properties["Cpu"]) * number(most)).div_ceil(1024);
    let spare = properties["CapacityProviderStrategy"][0]["CapacityProvider"] == "FARGATE_SPOT";
    let mut found = vec![(FARGATE, processors)];
    if spare {
        found.push((SPARE_FARGATE, processors));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{estate, template, validate};

    fn of(name: &str) -> BTreeMap<&'static str, u64> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments");
        let environment = validate::environment(&folder.join(format!("{name}.yaml"))).unwrap();
        let plan = estate::resolve(&environment).unwrap().unwrap();
        let templates = template::build(&plan).unwrap();
        needs(&templates).into_iter().map(|it| (it.what, it.count)).collect()
    }

    #[test]
    fn the_most_there_may_be_is_counted() {
        let production = of("production");
        // Twelve of four processors and three of two.
        assert_eq!(production["processors of instances"], 12 * 4 + 3 * 2);
        assert_eq!(production["public addresses"], 3);
        assert_eq!(production["NAT gateways in a zone"], 1);
        assert_eq!(production["database servers"], 1);
        let encoding = of("video-encoding");
        assert_eq!(encoding["processors of spare instances"], 15 * 16);
        assert!(!encoding.contains_key("public addresses"), "{encoding:?}");
        let stream = of("stream-api");
        assert_eq!(stream["processors of Fargate"], 60 * 4);
        // A hundred of its function, one that rotates a password, and a hundred for others.
        assert_eq!(stream["calls of functions at once"], 201);
    }

    #[test]
    fn images_are_named_by_public_parameters() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments");
        let environment = validate::environment(&folder.join("video-encoding.yaml")).unwrap();
        let plan = estate::resolve(&environment).unwrap().unwrap();
        let images = images(&template::build(&plan).unwrap());
        assert_eq!(images.len(), 2, "{images:?}");
        assert!(images[1].contains("ecs/optimized-ami") && images[1].contains("/arm64/"));
    }
}
