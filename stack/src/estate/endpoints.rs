//! Services of AWS that are reached without leaving the network, each by an endpoint of its own. S3 is
//! not among them: its gateway is in every network and costs nothing.
//! <https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html>

use crate::environment::Estate;
use crate::environment::aws::Nat;

/// A service and why it has an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As AWS calls it: `ecr.api`.
    pub service: String,
    pub why: &'static str,
}

/// What an estate has endpoints for: what its file names and, without a way out, all it calls.
pub fn of(estate: &Estate, edge_uses_cache: bool) -> Vec<Endpoint> {
    let mut found: Vec<Endpoint> = Vec::new();
    let mut add = |service: &str, why: &'static str| {
        if !found.iter().any(|it| it.service == service) {
            found.push(Endpoint { service: service.to_owned(), why });
        }
    };
    if estate.network.nat == Nat::None {
        add("cloudformation", "instances read their files and say that they are ready");
        add("logs", "what instances and tasks say");
        add("monitoring", "metrics of instances");
        add("ssm", "sessions instead of SSH");
        add("ssmmessages", "sessions instead of SSH");
        of_secrets(estate, edge_uses_cache, &mut add);
        of_work(estate, &mut add);
    }
    for service in &estate.network.endpoints {
        add(service, "the file names it");
    }
    found.sort_by(|a, b| a.service.cmp(&b.service));
    found
}

fn of_secrets(estate: &Estate, edge_uses_cache: bool, add: &mut impl FnMut(&str, &'static str)) {
    let secret = |uses: &[String]| {
        uses.iter().any(|name| name == "cache" || estate.databases.contains_key(name))
    };
    let work = estate.workers.values().map(|it| &it.uses);
    let mut work = work.chain(estate.functions.values().map(|it| &it.uses));
    let edge = edge_uses_cache || estate.edge.certificate.is_some();
    if edge || estate.ledger.is_some() || work.any(|uses| secret(uses)) {
        add("secretsmanager", "passwords and keys, as they are now");
    }
}

fn of_work(estate: &Estate, add: &mut impl FnMut(&str, &'static str)) {
    if !estate.workers.is_empty() {
        add("ecr.api", "where images are");
        add("ecr.dkr", "images of tasks");
        add("ecs", "a task that works asks not to be stopped");
    }
    if !estate.capacity.is_empty() {
        for service in ["ecs", "ecs-agent", "ecs-telemetry"] {
            add(service, "machines are told which tasks to run");
        }
    }
    let workers = estate.workers.values();
    let jobs = workers.clone().any(|it| it.queue.is_some() || !it.sends.is_empty());
    if jobs || estate.functions.values().any(|it| !it.sends.is_empty()) {
        add("sqs", "jobs are sent and taken");
    }
    if workers.clone().any(|it| it.media_convert) {
        add("mediaconvert", "videos are handed over");
    }
}
