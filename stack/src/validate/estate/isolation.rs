//! A network without a way out (`nat: none`): nothing in the file leads out of it.

use proxy_config::address::ServerAddress;
use proxy_config::{Config, Problem, Tree};

use super::{Fault, fault};
use crate::environment::aws::{Nat, Network};
use crate::environment::{Document, LEDGER, ORIGIN};
use crate::estate::document::servers_outside;

/// Names that cannot be those of endpoints.
pub(super) fn endpoints(network: &Network) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, service) in network.endpoints.iter().enumerate() {
        let key = format!("endpoints[{number}]");
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        };
        if service == "s3" || service == "dynamodb" {
            let message = format!("`{service}` is no endpoint of this kind");
            let hint = match service.as_str() {
                "s3" => "leave it out: every network has a gateway to S3",
                _ => "leave it out; its gateway is a resource of your own, under `resources`",
            };
            faults.push(fault(&key, message, hint));
        } else if !service.split('.').all(part) {
            let message = format!("`{service}` is not a service of AWS");
            let hint = "write what follows the region in the endpoint's name: `sqs`, `ecr.api`";
            faults.push(fault(&key, message, hint));
        }
    }
    faults
}

/// Servers that no instance would reach.
pub(super) fn faults(tree: &Tree, document: &Document, proxy: &Config) -> Vec<Problem> {
    let network = document.network.as_ref();
    if network.is_none_or(|network| network.nat != Nat::None) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut refuse = |path: String, address: &ServerAddress| {
        let place = tree.place_of(&path).or(tree.place_of("network.nat"));
        let message = format!("{address} is not reached: the network has no way out (`nat: none`)");
        let hint = "let a worker with a `port` answer, or write `nat: per_zone`";
        problems.push(Problem::new(path, place, message).hint(hint));
    };
    let to_origin = proxy.routes.iter().any(|route| route.upstream.as_deref() == Some(ORIGIN));
    if let Some(origin) = document.edge.origin.as_ref().filter(|_| to_origin) {
        refuse("edge.origin".to_owned(), origin);
    }
    let provided =
        |name: &str| name == LEDGER || name == ORIGIN || document.workers.contains_key(name);
    for (upstream, number, address) in servers_outside(proxy, &provided) {
        // A private address may be one of a network that is peered with ours.
        if !matches!(address, ServerAddress::Socket(at) if is_private(at.ip())) {
            refuse(format!("edge.proxy.upstreams.{upstream}.servers[{number}].address"), address);
        }
    }
    problems
}

fn is_private(address: std::net::IpAddr) -> bool {
    match address {
        std::net::IpAddr::V4(address) => address.is_private(),
        std::net::IpAddr::V6(address) => address.is_unique_local(),
    }
}
