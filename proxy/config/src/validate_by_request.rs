//! Rules for upstreams whose servers are named by requests, and for the routes that name them.

use crate::by_request::ByRequest;
use crate::config::Config;
use crate::findings::{Findings, child, item};
use crate::route::Route;
use crate::route_access::Auth;
use crate::upstream::Upstream;

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    for (name, upstream) in &config.upstreams {
        if let Some(rules) = &upstream.by_request {
            let path = child("upstreams", name);
            check_rules(config, name, rules, &format!("{path}.by_request"), findings);
            check_upstream(upstream, &path, findings);
        }
    }
    for (index, route) in config.routes.iter().enumerate() {
        check_route(config, route, &item("routes", index), findings);
    }
}

fn check_rules(
    config: &Config,
    name: &str,
    rules: &ByRequest,
    path: &str,
    findings: &mut Findings<'_>,
) {
    if rules.allow.is_empty() && rules.upstreams.is_empty() && !rules.any_server {
        let hint = "name the servers: `allow: [ \"*.svc.internal:8080\" ]`";
        findings.add(path, "no server may be asked", hint);
    }
    if rules.any_server && !rules.allow.is_empty() {
        let hint = "remove `allow`, or `any_server: true`";
        findings.add(format!("{path}.allow"), "it has no effect: any server may be asked", hint);
    }
    for (written, upstream) in &rules.upstreams {
        let place = child(&format!("{path}.upstreams"), written);
        findings.must_exist(&place, upstream, "upstreams", &config.upstreams);
        let names_again =
            config.upstreams.get(upstream).is_some_and(|other| other.by_request.is_some());
        if upstream == name || names_again {
            let message = format!("the servers of `{upstream}` are named by requests, too");
            findings.add(place, message, "name an upstream with servers of its own");
        }
    }
    findings.not_zero(format!("{path}.servers_max"), rules.servers_max);
    findings.time_not_zero(format!("{path}.lookup_timeout"), rules.lookup_timeout);
}

/// What needs servers that are known before anybody asks.
fn check_upstream(upstream: &Upstream, path: &str, findings: &mut Findings<'_>) {
    let checks = upstream.health_checks.as_ref();
    let all = [
        ("servers", !upstream.servers.is_empty()),
        ("sticky", upstream.sticky.is_some()),
        ("health_checks.active", checks.is_some_and(|checks| checks.active.is_some())),
    ];
    for (key, _) in all.iter().filter(|(_, is_given)| *is_given) {
        let message = format!("`{key}` has no effect where requests name the servers");
        findings.add(format!("{path}.{key}"), message, "remove it, or `by_request`");
    }
}

fn check_route(config: &Config, route: &Route, path: &str, findings: &mut Findings<'_>) {
    let named = |name: &String| {
        config.upstreams.get(name).is_some_and(|upstream| upstream.by_request.is_some())
    };
    let is_named = route.upstream.as_ref().is_some_and(named);
    match (&route.server, is_named) {
        (None, true) => {
            let message = "the servers of its upstream are named by requests";
            let hint = "say which one is asked: `server: $tenant.svc.internal:8080`";
            findings.add(format!("{path}.upstream"), message, hint);
        }
        (Some(_), false) => {
            let hint = "remove it, or let the route's `upstream` be one `by_request`";
            findings.add(format!("{path}.server"), "`server` has no effect here", hint);
        }
        _ => {}
    }
    let parts = route.split.iter().flat_map(|split| &split.parts).enumerate();
    let mut others: Vec<(String, &String)> = parts
        .map(|(at, part)| {
            (format!("{}.upstream", item(format!("{path}.split.parts"), at)), &part.upstream)
        })
        .collect();
    if let Some(mirror) = &route.mirror {
        others.push((format!("{path}.mirror.upstream"), &mirror.upstream));
        others.extend(mirror.others.iter().enumerate().map(|(at, other)| {
            (format!("{}.upstream", item(format!("{path}.mirror.others"), at)), &other.upstream)
        }));
    }
    if let Some(Auth::Subrequest(auth)) = &route.auth {
        others.push((format!("{path}.auth.subrequest.upstream"), &auth.upstream));
    }
    for (place, name) in others.into_iter().filter(|(_, name)| named(name)) {
        let message =
            format!("the servers of `{name}` are named by requests, and nothing names one here");
        findings.add(place, message, "name an upstream with servers of its own");
    }
}
