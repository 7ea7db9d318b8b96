//! Who can reach what, proved from routes and security groups alone: the internet reaches balancers
//! and nothing else, and the database is reached by the ledger and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, finding};
use crate::template::{Resource, Template};

/// Who may reach whom, step by step from the balancer inwards; none is skipped. The ledger's
/// database is reached by the ledger, directly or through the proxy, and by nobody else.
const MAY_CALL: [(&str, &[&str]); 12] = [
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
    ("MachinesGroup", &[]),
    (
        "EndpointsGroup",
        &[
            "EdgeGroup",
            "LedgerGroup",
            "ServicesGroup",
            "WorkersGroup",
            "MachinesGroup",
            "FunctionsGroup",
        ],
    ),
];

pub(super) fn check(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(open_to_nobody(templates));
    for template in templates {
        findings.extend(open_to_the_world(template));
        findings.extend(routed_to_the_world(template));
        findings.extend(public_data(template));
    }
    let callers = callers(templates);
    if callers.contains_key("") {
        findings.extend(into_the_unknown(templates));
    }
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

/// Security groups that let the internet in, which only the public balancer's may; and balancers that
/// stand where it reaches them.
fn open_to_the_world(template: &Template) -> Vec<Finding> {
    let open = |rule: &Value| {
        ["CidrIp", "CidrIpv6"].iter().any(|key| rule[key].as_str().is_some_and(is_public))
    };
    let mut findings = Vec::new();
    for (id, resource) in &template.resources {
        let let_in = rules_of(resource).into_iter().any(open);
        if let_in && id != "BalancerGroup" {
            findings.push(finding(template, id, "lets the internet in; only the balancer may"));
        }
        if resource.properties["Scheme"] == "internet-facing" && id != "Balancer" {
            let message = "is reached from the internet; only `Balancer` is";
            findings.push(finding(template, id, message));
        }
    }
    findings
}

/// A balancer with private addresses, whose group lets the internet in all the same.
fn open_to_nobody(templates: &[Template]) -> Vec<Finding> {
    let find = |id: &str| templates.iter().find_map(|it| Some((it, it.resources.get(id)?)));
    let (Some((_, balancer)), Some((template, group))) = (find("Balancer"), find("BalancerGroup"))
    else {
        return Vec::new();
    };
    let public = |rule: &&Value| rule["CidrIp"].as_str().is_some_and(is_public);
    if balancer.properties["Scheme"] != "internal" || !rules_of(group).iter().any(public) {
        return Vec::new();
    }
    let message = "lets the internet in, and the balancer is for private networks";
    vec![finding(template, "BalancerGroup", message)]
}

/// What a resource lets into a security group.
fn rules_of(resource: &Resource) -> Vec<&Value> {
    match resource.kind.as_ref() {
        "AWS::EC2::SecurityGroup" => {
            resource.properties["SecurityGroupIngress"].as_array().into_iter().flatten().collect()
        }
        "AWS::EC2::SecurityGroupIngress" => vec![&resource.properties],
        _ => Vec::new(),
    }
}

/// Whether a range holds an address that is not private (RFC 1918, RFC 4193). What is no range is
/// taken for a public one.
pub fn is_public(range: &str) -> bool {
    let Some((address, length)) = range.split_once('/') else { return true };
    let Ok(length) = length.parse::<u8>() else { return true };
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            let least = match address.octets() {
                [10, ..] => 8,
                [172, 16..=31, ..] => 12,
                [192, 168, ..] => 16,
                _ => return true,
            };
            length < least
        }
        Ok(std::net::IpAddr::V6(address)) => address.octets()[0] & 0xfe != 0xfc || length < 7,
        Err(_) => true,
    }
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

/// Rules whose group cannot be told, so that nothing can be proved of who lets whom in.
fn into_the_unknown(templates: &[Template]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for template in templates {
        for (id, rule) in of_kind(template, "AWS::EC2::SecurityGroupIngress") {
            if group_of(&rule.properties["GroupId"], templates).is_none() {
                let message = "lets somebody into a group that cannot be told; write `Fn::GetAtt` or \
                    `Fn::ImportValue`";
                findings.push(finding(template, id, message));
            }
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
        let subnets = match resource.kind.as_ref() {
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

/// Which groups each group lets in; what is no group is called by its range.
fn callers(templates: &[Template]) -> BTreeMap<String, BTreeSet<String>> {
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for template in templates {
        for (id, resource) in &template.resources {
            for rule in rules_of(resource) {
                let own = match resource.kind.as_ref() {
                    "AWS::EC2::SecurityGroup" => Some(id.clone()),
                    _ => group_of(&rule["GroupId"], templates),
                };
                let from = group_of(&rule["SourceSecurityGroupId"], templates);
                let from = from.unwrap_or_else(|| range_of(rule));
                callers.entry(own.unwrap_or_default()).or_default().insert(from);
            }
        }
    }
    callers
}

/// The logical id of the security group a value means, in its own template or through an export.
pub(super) fn group_of(value: &Value, templates: &[Template]) -> Option<String> {
    if let Some(name) = value["Fn::ImportValue"].as_str() {
        let exported = templates.iter().find_map(|template| {
            template.outputs.get(name.strip_prefix(&template.name)?.strip_prefix('-')?)
        });
        return super::named_in(exported?).into_iter().next();
    }
    super::named_in(value).into_iter().next()
}

fn range_of(rule: &Value) -> String {
    let range = ["CidrIp", "CidrIpv6"].iter().find_map(|key| rule[key].as_str());
    range.unwrap_or("somebody who cannot be told").to_owned()
}
