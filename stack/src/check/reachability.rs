//! Who can reach what, proved from routes and security groups alone: the internet reaches balancers
//! and nothing else, and the database is reached by the ledger and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, finding};
use crate::template::{Resource, Template};

/// Who may reach whom, step by step from the balancer inwards; none is skipped. The ledger's
/// database is reached by the ledger, directly or through the proxy, and by nobody else.
const MAY_CALL: [(&str, &[&str]); 10] = [
    ("EdgeGroup", &["BalancerGroup"]),
    ("LedgerBalancerGroup", &["EdgeGroup", "ServicesGroup", "WorkersGroup", "FunctionsGroup"]),
    ("LedgerGroup", &["LedgerBalancerGroup"]),
    ("ServiceBalancerGroup", &["EdgeGroup"]),
    ("ServicesGroup", &["ServiceBalancerGroup"]),
    ("DatabaseProxyGroup", &["LedgerGroup", "ServicesGroup", "WorkersGroup", "FunctionsGroup"]),
    ("DatabaseGroup", &["LedgerGroup", "DatabaseProxyGroup"]),
    (
        "AppDatabaseGroup",
        &["DatabaseProxyGroup", "ServicesGroup", "WorkersGroup", "FunctionsGroup"],
    ),
    ("CacheGroup", &["EdgeGroup", "ServicesGroup", "WorkersGroup", "FunctionsGroup"]),
    ("WorkersGroup", &[]),
];

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in templates {
        findings.extend(open_to_the_world(template));
        findings.extend(routed_to_the_world(template));
        findings.extend(public_data(template));
    }
    let callers = callers(templates);
    for template in templates {
        for id in template.resources.keys() {
            let Some((_, may)) = MAY_CALL.iter().find(|(group, _)| group == id) else { continue };
            let known = callers.get(id).cloned().unwrap_or_default();
            for caller in known.iter().filter(|caller| !may.contains(&caller.as_str())) {
                let message = match may {
                    [] => format!("{caller} reaches it; nobody may"),
                    may => format!("{caller} reaches it; only {} may", may.join(" and ")),
                };
                findings.push(finding(template, id, message));
            }
            // Through one proxy nobody may come from a program to the ledger's database.
            if id == "DatabaseProxyGroup"
                && known.contains("LedgerGroup")
                && known.iter().any(|caller| caller != "LedgerGroup")
            {
                let message = "the ledger and others share it, and so its database";
                findings.push(finding(template, id, message));
            }
            if known.is_empty() && !may.is_empty() {
                findings.push(finding(template, id, "nobody reaches it"));
            }
        }
    }
    findings
}

/// Security groups that let the internet in, which only the public balancer's may.
fn open_to_the_world(template: &Template) -> Vec<Finding> {
    let open = |rule: &Value| {
        let range = |key: &str| rule[key].as_str().is_some_and(|range| range.ends_with("/0"));
        range("CidrIp") || range("CidrIpv6")
    };
    let mut findings = Vec::new();
    for (id, resource) in &template.resources {
        let let_in = match resource.kind {
            "AWS::EC2::SecurityGroup" => {
                let rules = resource.properties["SecurityGroupIngress"].as_array();
                rules.is_some_and(|rules| rules.iter().any(open))
            }
            "AWS::EC2::SecurityGroupIngress" => open(&resource.properties),
            _ => false,
        };
        if let_in && id != "BalancerGroup" {
            findings.push(finding(template, id, "lets the internet in; only the balancer may"));
        }
    }
    findings
}

/// Subnets whose routes lead to an internet gateway, which only public ones may have; and data
/// subnets with any way out.
fn routed_to_the_world(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    let leads = |table: &str, key: &str| {
        template.resources.values().any(|route| {
            route.kind == "AWS::EC2::Route"
                && route.properties["RouteTableId"]["Ref"] == table
                && !route.properties[key].is_null()
        })
    };
    for (id, place) in of_kind(template, "AWS::EC2::SubnetRouteTableAssociation") {
        let subnet = place.properties["SubnetId"]["Ref"].as_str().unwrap_or_default();
        let table = place.properties["RouteTableId"]["Ref"].as_str().unwrap_or_default();
        if leads(table, "GatewayId") && !subnet.starts_with("Public") {
            let message = format!("{subnet} has a route from the internet");
            findings.push(finding(template, id, message));
        }
        if leads(table, "NatGatewayId") && subnet.starts_with("Data") {
            findings.push(finding(template, id, format!("{subnet} has a route to the internet")));
        }
    }
    findings
}

/// Databases with a public address, and anything that holds data outside the data subnets.
fn public_data(template: &Template) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, resource) in &template.resources {
        if resource.properties["PubliclyAccessible"] == true {
            findings.push(finding(template, id, "has a public address"));
        }
        let subnets = match resource.kind {
            "AWS::RDS::DBSubnetGroup" | "AWS::ElastiCache::SubnetGroup" => {
                super::imported_in(&resource.properties["SubnetIds"])
            }
            _ => continue,
        };
        for subnet in subnets.iter().filter(|subnet| !subnet.contains("-DataSubnet")) {
            findings.push(finding(template, id, format!("{subnet} is no subnet for data")));
        }
    }
    findings
}

fn of_kind<'a>(
    template: &'a Template,
    kind: &'a str,
) -> impl Iterator<Item = (&'a String, &'a Resource)> {
    template.resources.iter().filter(move |(_, resource)| resource.kind == kind)
}

/// Which groups each group lets in.
fn callers(templates: &[Template]) -> BTreeMap<String, BTreeSet<String>> {
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let name = |value: &Value| value["Fn::GetAtt"][0].as_str().unwrap_or("anyone").to_owned();
    for template in templates {
        for (_, rule) in of_kind(template, "AWS::EC2::SecurityGroupIngress") {
            let own = name(&rule.properties["GroupId"]);
            callers.entry(own).or_default().insert(name(&rule.properties["SourceSecurityGroupId"]));
        }
    }
    callers
}
