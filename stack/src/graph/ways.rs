//! The way of a request, route by route: the stops of the proxy in the order in which it makes them.

use proxy_config::Route;
use proxy_config::host::HostPattern;
use proxy_config::route::PathMatch;

use super::{Step, Way};
use crate::environment::aws::Balancer;
use crate::environment::{Environment, LEDGER, ORIGIN};
use crate::estate::EstatePlan;

pub(super) fn of(environment: &Environment, estate: Option<&EstatePlan>) -> Vec<Way> {
    let way =
        |route: &Route| Way { route: route.name.clone(), steps: steps(environment, estate, route) };
    environment.proxy.routes.iter().map(way).collect()
}

fn step(name: impl Into<String>, detail: impl Into<String>) -> Step {
    Step { name: name.into(), detail: detail.into() }
}

fn steps(environment: &Environment, estate: Option<&EstatePlan>, route: &Route) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(plan) = estate {
        let edge = &plan.estate.edge;
        let detail = match (edge.balancer, edge.waf) {
            (Balancer::Application, true) => "TLS ends, firewall",
            (Balancer::Application, false) => "TLS ends",
            (Balancer::Network, _) => "TLS ends, connections passed on with who they are from",
            (Balancer::Passthrough, _) => "connections passed on with who they are from",
        };
        steps.push(step("balancer", detail));
        if edge.balancer == Balancer::Passthrough {
            steps.push(step("TLS", "ends at the proxy"));
        }
    }
    steps.push(step(format!("route {}", route.name), matched(route)));
    if route.auth.is_some() || route.access.is_some() {
        steps.push(step("who may ask", "or 401, 403"));
    }
    let lane = environment.proxy.lanes.get(route.lane);
    let detail = format!("{} at once, above it 503", lane.requests_max);
    steps.push(step(format!("lane {}", route.lane), detail));
    if !route.rate_limits.is_empty() {
        steps.push(step("rate limits", route.rate_limits.join(", ")));
    }
    if let Some(policy) = &route.cache_policy {
        steps.push(step("cache", format!("policy {policy}; one fill for all")));
    }
    steps.push(answer(environment, estate, route));
    if route.upstream.as_deref() == Some(LEDGER) && environment.ledger.is_some() {
        let database = estate.and_then(EstatePlan::database);
        let engine = database.map_or("sqlite", |database| database.engine.word());
        steps.push(step("database", format!("{engine}; committed, then answered")));
    }
    steps
}

fn answer(environment: &Environment, estate: Option<&EstatePlan>, route: &Route) -> Step {
    if let Some(name) = &route.upstream {
        let detail = match (name.as_str(), estate) {
            (ORIGIN, Some(plan)) => plan.estate.edge.origin.as_ref().map(ToString::to_string),
            (LEDGER, Some(plan)) => Some(format!("ledger.{}", plan.private_zone())),
            _ => environment.proxy.upstreams.get(name).map(|upstream| {
                let servers: Vec<String> =
                    upstream.servers.iter().map(|it| it.address.to_string()).collect();
                servers.join(", ")
            }),
        };
        return step(format!("upstream {name}"), detail.unwrap_or_default());
    }
    if route.split.is_some() {
        step("split", "shared between upstreams")
    } else if route.redirect.is_some() {
        step("redirect", "sent elsewhere")
    } else if route.files.is_some() {
        step("files", "of a folder")
    } else {
        step("answer", "written in the document")
    }
}

fn matched(route: &Route) -> String {
    let path = |path: &PathMatch| match path {
        PathMatch::Exact(text) => text.clone(),
        PathMatch::Prefix(text) => format!("{text}…"),
        PathMatch::Regex(regex) => format!("~ {regex}"),
    };
    let host = |host: &HostPattern| match host {
        HostPattern::Name(name) => name.to_string(),
        HostPattern::Regex(pattern) => format!("~ {}", pattern.regex),
    };
    let mut told: Vec<String> = route.when.hosts.iter().map(host).collect();
    told.extend(route.when.methods.iter().cloned());
    told.extend(route.when.paths.iter().map(path));
    if told.is_empty() { "everything".to_owned() } else { told.join(" ") }
}
