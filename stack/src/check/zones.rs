//! The loss of any one zone leaves each tier what it needs, unless the file accepts otherwise.

use serde_json::Value;

use super::{Finding, finding, imported_in, named_in};
use crate::environment::aws::ZoneLoss;
use crate::estate::EstatePlan;
use crate::template::Template;

pub(super) fn check(plan: &EstatePlan, templates: &[Template]) -> Vec<Finding> {
    if plan.aws().zone_loss == ZoneLoss::Accept {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for template in templates {
        for (id, resource) in &template.resources {
            let properties = &resource.properties;
            let message = match resource.kind.as_ref() {
                "AWS::AutoScaling::AutoScalingGroup" => {
                    let min = properties["MinSize"].as_str().and_then(|min| min.parse().ok());
                    let zones = zones_of(&properties["VPCZoneIdentifier"]);
                    // Machines for tasks come where tasks wait: what they need is another zone.
                    if is_capacity(template, id) {
                        (zones < 2).then(|| "has machines in one zone".to_owned())
                    } else {
                        fleet(min.unwrap_or(0), zones)
                    }
                }
                "AWS::ElasticLoadBalancingV2::LoadBalancer" => {
                    let zones = zones_of(&properties["Subnets"]);
                    (zones < 2).then(|| "stands in one zone".to_owned())
                }
                "AWS::RDS::DBCluster" => {
                    let of_it = |other: &&crate::template::Resource| {
                        other.properties["DBClusterIdentifier"]["Ref"] == id.as_str()
                    };
                    let servers = template.resources.values().filter(of_it).count();
                    (servers < 2).then(|| "has no reader to take over".to_owned())
                }
                "AWS::RDS::DBInstance" if !properties["DBClusterIdentifier"].is_null() => None,
                "AWS::RDS::DBInstance" => {
                    (properties["MultiAZ"] != true).then(|| "has no standby".to_owned())
                }
                "AWS::ElastiCache::ReplicationGroup" => {
                    (properties["MultiAZEnabled"] != true).then(|| "has no copy".to_owned())
                }
                "AWS::EC2::Route" => shared_nat(id, properties),
                "AWS::EC2::VPCEndpoint" if properties["VpcEndpointType"] == "Interface" => {
                    let zones = zones_of(&properties["SubnetIds"]);
                    (zones < 2).then(|| "stands in one zone".to_owned())
                }
                _ => None,
            };
            findings.extend(message.map(|message| {
                let message = format!("{message}: the loss of one zone takes it away");
                finding(template, id, message)
            }));
        }
    }
    findings
}

/// Instances are spread evenly, so the fullest zone holds the ceiling of instances over zones.
fn fleet(min: usize, zones: usize) -> Option<String> {
    if zones == 0 {
        return Some("is in no zone".to_owned());
    }
    let left = min - min.div_ceil(zones).min(min);
    (left == 0).then(|| format!("{min} instances over {zones} zones leave none"))
}

/// Whether a group of instances is there for tasks.
fn is_capacity(template: &Template, id: &str) -> bool {
    template
        .resources
        .values()
        .any(|it| it.properties["AutoScalingGroupProvider"]["AutoScalingGroupArn"]["Ref"] == id)
}

fn zones_of(subnets: &Value) -> usize {
    let names = imported_in(subnets).into_iter().chain(named_in(subnets));
    let mut zones: Vec<char> = names.filter_map(|name| name.chars().last()).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.len()
}

/// A private route leads to the gateway of its own zone: both end in the zone's letter.
fn shared_nat(id: &str, properties: &Value) -> Option<String> {
    let nat = properties["NatGatewayId"]["Ref"].as_str()?;
    (nat.chars().last() != id.chars().last())
        .then(|| format!("goes out through {nat} of another zone"))
}
