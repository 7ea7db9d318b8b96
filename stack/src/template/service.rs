//! The internal balancer before services, and a listener for each.

use serde_json::{Value, json};

use super::value::{attribute, import, reference};
use super::{Resource, Stack, Template, camel};
use crate::environment::work::Worker;
use crate::estate::EstatePlan;
use crate::estate::subnets::Tier;

/// One balancer for all services, with addresses that never change; nothing without services.
pub(super) fn balancer(template: &mut Template, plan: &EstatePlan) {
    if plan.services().next().is_none() {
        return;
    }
    let subnets: Vec<Value> = plan
        .subnets
        .iter()
        .filter(|subnet| subnet.tier == Tier::App)
        .map(|subnet| import(plan, Stack::Network, &subnet.id()))
        .collect();
    let on = |key: &str| json!({ "Key": key, "Value": "true" });
    let properties = json!({
        "Type": "network",
        "Scheme": "internal",
        "Subnets": subnets,
        "SecurityGroups": [import(plan, Stack::Network, "ServiceBalancerGroup")],
        "LoadBalancerAttributes": [
            on("load_balancing.cross_zone.enabled"),
            on("deletion_protection.enabled"),
        ],
    });
    let why = "addresses that never change, before the services";
    let kind = "AWS::ElasticLoadBalancingV2::LoadBalancer";
    let balancer = Resource::new(kind, why, properties).declined(
        "CKV_AWS_91",
        "a network balancer logs TLS listeners only; who connected is in the flow logs",
    );
    template.add("ServiceBalancer", balancer);
    let name = json!({
        "HostedZoneId": import(plan, Stack::Network, "PrivateZone"),
        "Name": format!("services.{}", plan.private_zone()),
        "Type": "A",
        "AliasTarget": {
            "DNSName": attribute("ServiceBalancer", "DNSName"),
            "HostedZoneId": attribute("ServiceBalancer", "CanonicalHostedZoneID"),
        },
    });
    let why = "what the proxy document calls the services";
    template.add("ServicesName", Resource::new("AWS::Route53::RecordSet", why, name));
}

/// The tasks of one service, and the port they are reached by.
pub(super) fn targets(
    template: &mut Template,
    plan: &EstatePlan,
    name: &str,
    worker: &Worker,
    port: u16,
) {
    let id = camel(name);
    let on = |key: &str, value: &str| json!({ "Key": key, "Value": value });
    let properties = json!({
        "Protocol": "TCP",
        "Port": port,
        "TargetType": "ip",
        "VpcId": import(plan, Stack::Network, "Vpc"),
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPath": worker.health,
        "HealthCheckIntervalSeconds": 10,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
        "TargetGroupAttributes": [
            on("deregistration_delay.timeout_seconds", "60"),
            // The balancer's own group is then what the tasks let in.
            on("preserve_client_ip.enabled", "false"),
        ],
    });
    let kind = "AWS::ElasticLoadBalancingV2::TargetGroup";
    let why = format!("tasks of `{name}` that say they are well");
    template.add(format!("{id}Targets"), Resource::new(kind, &why, properties));
    let listener = json!({
        "LoadBalancerArn": reference("ServiceBalancer"),
        "Protocol": "TCP",
        "Port": port,
        "DefaultActions": [{ "Type": "forward", "TargetGroupArn": reference(&format!("{id}Targets")) }],
    });
    let kind = "AWS::ElasticLoadBalancingV2::Listener";
    let why = format!("passes requests for `{name}` on");
    template.add(format!("{id}Listener"), Resource::new(kind, &why, listener));
}
