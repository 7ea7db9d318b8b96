//! A network without a way out (`nat: none`): nothing in the file leads out of it.

use proxy_config::{Config, Problem, Tree};

use super::{Fault, fault};
use crate::environment::aws::{Nat, Network};
use crate::environment::{Document, LEDGER, ORIGIN};
use crate::estate::outside;

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

/// What the proxy would ask and no instance would reach.
pub(super) fn faults(tree: &Tree, document: &Document, proxy: &Config) -> Vec<Problem> {
    let network = document.network.as_ref();
    if network.is_none_or(|network| network.nat != Nat::None) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut refuse = |path: String, asked: &str, hint: &str| {
        let place = tree.place_of(&path).or(tree.place_of("network.nat"));
        let message = format!("{asked} is not reached: the network has no way out (`nat: none`)");
        problems.push(Problem::new(path, place, message).hint(hint));
    };
    let to_origin = proxy.routes.iter().any(|route| route.upstream.as_deref() == Some(ORIGIN));
    if let Some(origin) = document.edge.origin.as_ref().filter(|_| to_origin) {
        refuse("edge.origin".to_owned(), &origin.to_string(), SERVER_HINT);
    }
    let provided =
        |name: &str| name == LEDGER || name == ORIGIN || document.workers.contains_key(name);
    for asked in outside::of(proxy, &provided).iter().filter(|it| !it.is_private()) {
        let address = format!("{}:{}", asked.host, asked.port);
        refuse(format!("edge.proxy.{}", asked.path), &address, hint(&asked.path));
    }
    problems
}

const SERVER_HINT: &str = "let a worker with a `port` answer, or write `nat: per_zone`";

/// What to write in place of an address beyond the network.
fn hint(path: &str) -> &'static str {
    match path.rsplit(['.', '[']).next().unwrap_or_default() {
        "redis" | "purge_redis" => {
            "write `redis://cache:6379` with a `cache` in the environment, or `nat: per_zone`"
        }
        "jwks_url" => "write `jwks_file`, or `nat: per_zone`",
        _ if path.starts_with("upstreams.") => SERVER_HINT,
        _ => "write the private address of one in a network that is peered, or `nat: per_zone`",
    }
}
