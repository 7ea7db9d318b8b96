//! Rules for routes.

use std::collections::HashMap;

use crate::config::Config;
use crate::findings::{Findings, child, item};
use crate::host::{HostName, HostPattern};
use crate::matching::normalize_path;
use crate::route::{PathMatch, Route, RouteMatch};
use crate::route_access::{Auth, Satisfy};
use crate::shadowing;
use crate::upstream::UpstreamProtocol;
use crate::validate_buffers;
use crate::validate_cors;
use crate::validate_kept_body;
use crate::validate_steps::{check_respond, redirect_status};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    if config.routes.is_empty() {
        findings.add(
            "routes",
            "there is no route, so every request would be answered with 404",
            "add one: `- { name: all, upstream: NAME }`",
        );
    }
    let mut named: HashMap<&str, usize> = HashMap::new();
    for (index, route) in config.routes.iter().enumerate() {
        let path = item("routes", index);
        findings.name(format!("{path}.name"), &route.name, "a route");
        let earlier = *named.entry(&route.name).or_insert(index);
        if earlier != index {
            findings.add_related(
                &format!("{path}.name"),
                format!("two routes are named `{}`", route.name),
                "give each route a name of its own: logs and metrics tell them apart by it",
                (&format!("{}.name", item("routes", earlier)), "first named here"),
            );
        }
        check_match(config, &route.when, &format!("{path}.match"), findings);
        check_action(route, &path, findings);
        check_upstream_only(route, &path, findings);
        check_references(config, route, &path, findings);
        check_details(config, route, &path, findings);
    }
    check_shadows(config, findings);
}

fn check_match(config: &Config, when: &RouteMatch, path: &str, findings: &mut Findings<'_>) {
    for (index, listener) in when.listeners.iter().enumerate() {
        let place = item(format!("{path}.listeners"), index);
        findings.must_exist(place, listener, "listeners", &config.listeners);
    }
    let hosts: Vec<String> = when.hosts.iter().map(host_key).collect();
    twice(&hosts, &format!("{path}.hosts"), findings);
    twice(&when.methods, &format!("{path}.methods"), findings);
    for (index, pattern) in when.paths.iter().enumerate() {
        check_path(pattern, &item(format!("{path}.paths"), index), findings);
    }
    for (index, pattern) in when.within.iter().enumerate() {
        check_path(pattern, &item(format!("{path}.within"), index), findings);
    }
    for (index, method) in when.methods.iter().enumerate() {
        check_method(method, &item(format!("{path}.methods"), index), findings);
    }
    let fields = [("headers", &when.headers), ("query", &when.query)];
    for (section, fields) in fields {
        for (index, field) in fields.iter().enumerate() {
            let place = item(format!("{path}.{section}"), index);
            if section == "headers" && field.name.parse::<http::HeaderName>().is_err() {
                let message = format!("`{}` is not the name of a header", field.name);
                findings.add(format!("{place}.name"), message, "write one such as `x-api-key`");
            }
            if field.absent && field.value.is_some() {
                let hint = "remove `value`, or remove `absent`";
                findings.add(place, "what must be absent cannot have a value", hint);
            }
        }
    }
}

fn host_key(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Name(name) => name.canonical(),
        HostPattern::Regex(pattern) => format!("regex {}", pattern.regex),
    }
}

fn twice(values: &[String], path: &str, findings: &mut Findings<'_>) {
    let mut listed: HashMap<&String, usize> = HashMap::new();
    for (index, value) in values.iter().enumerate() {
        let earlier = *listed.entry(value).or_insert(index);
        if earlier != index {
            findings.add_related(
                &item(path, index),
                format!("`{value}` is listed twice"),
                "remove one of the two",
                (&item(path, earlier), "first listed here"),
            );
        }
    }
}

fn check_path(pattern: &PathMatch, path: &str, findings: &mut Findings<'_>) {
    let (form, text) = match pattern {
        PathMatch::Exact(text) => ("exact", text),
        PathMatch::Prefix(text) => ("prefix", text),
        PathMatch::Regex(_) => return,
    };
    let place = format!("{path}.{form}");
    if !text.starts_with('/') {
        let hint = format!("write `/{}`", text.trim_start_matches('*').trim_start_matches('/'));
        findings.add(place, format!("path `{text}` does not begin with `/`"), hint);
    } else if let Some(at) = text.find(['?', '#']) {
        let message = format!("path `{text}` holds a query, which paths are compared without");
        findings.add(place, message, format!("write `{}`", &text[..at]));
    } else if text.contains('*') {
        let hint = match text.trim_end_matches('*') {
            start if !start.contains('*') => format!("write `{{prefix: {start}}}`"),
            _ => "write the part before the first `*` as a `prefix`".to_owned(),
        };
        findings.add(place, format!("`*` has no meaning in path `{text}`"), hint);
    } else if text.contains(char::is_whitespace) {
        findings.add(place, format!("path `{text}` holds a space"), "write a space as `%20`");
    } else if !text.contains('%') && normalize_path(text).as_ref() != text.as_bytes() {
        let normal = String::from_utf8_lossy(&normalize_path(text)).into_owned();
        findings.add(
            place,
            format!("path `{text}` is not in normal form"),
            format!("write `{normal}`"),
        );
    }
}

pub(crate) fn check_method(method: &str, path: &str, findings: &mut Findings<'_>) {
    let upper = method.to_ascii_uppercase();
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    if method.parse::<http::Method>().is_err() {
        let hint = format!("methods are words such as {}", crate::suggest::list(&known[..6]));
        findings.add(path, format!("`{method}` is not a method"), hint);
    } else if method != upper {
        let message = format!("methods are compared as written, and `{method}` is never sent");
        findings.add(path, message, format!("write `{upper}`"));
    } else if !known.contains(&method)
        && let Some(closest) = crate::suggest::closest(method, known)
    {
        let hint = format!("did you mean `{closest}`?");
        findings.add(path, format!("`{method}` is not a method anyone sends"), hint);
    }
}

fn check_action(route: &Route, path: &str, findings: &mut Findings<'_>) {
    let all = [
        ("upstream", route.upstream.is_some()),
        ("split", route.split.is_some()),
        ("redirect", route.redirect.is_some()),
        ("respond", route.respond.is_some()),
        ("files", route.files.is_some()),
    ];
    let given: Vec<&str> = all.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    match given.as_slice() {
        [] if !route.steps.is_empty() => {}
        [] => findings.add(
            path,
            format!("route `{}` does not say what answers its requests", route.name),
            "add `upstream: NAME`",
        ),
        [_] => {}
        [first, second, ..] => findings.add_related(
            &format!("{path}.{second}"),
            format!("`{first}` and `{second}` cannot both answer a request"),
            "keep one of the two",
            (&format!("{path}.{first}"), "the other is here"),
        ),
    }
}

/// What only means something when an upstream is asked.
fn check_upstream_only(route: &Route, path: &str, findings: &mut Findings<'_>) {
    if route.redirect.is_none() && route.respond.is_none() && route.files.is_none() {
        return;
    }
    let all = [
        ("cache_policy", route.cache_policy.is_some()),
        ("request_headers", route.request_headers.is_some()),
        ("ask", route.ask.is_some()),
        ("kept_body", route.kept_body.is_some()),
        ("force_ranges", route.force_ranges),
        ("rewrite", route.rewrite.is_some() && route.files.is_none()),
        ("upgrades", route.upgrades.is_some()),
        ("timeouts", route.timeouts.is_some()),
    ];
    for (key, _) in all.iter().filter(|(_, is_given)| *is_given) {
        let message = format!("`{key}` has no meaning on a route that asks no upstream");
        findings.add(format!("{path}.{key}"), message, "remove it");
    }
}

fn asks_upstream(route: &Route) -> bool {
    route.upstream.is_some() || route.split.is_some()
}

fn check_references(config: &Config, route: &Route, path: &str, findings: &mut Findings<'_>) {
    let upstreams = &config.upstreams;
    if let Some(name) = &route.upstream {
        findings.must_exist(format!("{path}.upstream"), name, "upstreams", upstreams);
    }
    if let Some(split) = &route.split {
        for (index, part) in split.parts.iter().enumerate() {
            let place = format!("{}.upstream", item(format!("{path}.split.parts"), index));
            findings.must_exist(place, &part.upstream, "upstreams", upstreams);
        }
        let sum: u32 = split.parts.iter().map(|part| u32::from(part.share.hundredths())).sum();
        if sum != 10_000 {
            let message = format!("the shares sum to {}%, not 100%", f64::from(sum) / 100.0);
            findings.add(format!("{path}.split.parts"), message, "make the shares sum to 100%");
        }
    }
    if let Some(mirror) = &route.mirror {
        let place = format!("{path}.mirror.upstream");
        findings.must_exist(place, &mirror.upstream, "upstreams", upstreams);
        for (index, other) in mirror.others.iter().enumerate() {
            let place = format!("{}.upstream", item(format!("{path}.mirror.others"), index));
            findings.must_exist(place, &other.upstream, "upstreams", upstreams);
        }
        findings.not_zero(format!("{path}.mirror.in_flight_max"), mirror.in_flight_max);
        if mirror.compare && (route.cache_policy.is_some() || !asks_upstream(route)) {
            let message = "only what an upstream answers to this very request can be compared";
            let hint = "compare on a route with an upstream and without `cache_policy`";
            findings.add(format!("{path}.mirror.compare"), message, hint);
        }
        if mirror.share.hundredths() == 0 {
            let hint = "write a share above `0%`, or remove `mirror`";
            findings.add(format!("{path}.mirror.share"), "nothing would be copied", hint);
        }
    }
    validate_buffers::check_route(config, route, path, findings);
    validate_kept_body::check(route, path, findings);
    if let Some(name) = &route.cache_policy {
        let place = format!("{path}.cache_policy");
        findings.must_exist(&place, name, "cache_policies", &config.cache_policies);
        let counts = config.cache_policies.get(name).is_some_and(|p| !p.key.claims.is_empty());
        if counts && !matches!(route.auth, Some(Auth::Jwt(_))) {
            let claims = format!("{}.key.claims", child("cache_policies", name));
            findings.add_related(
                &place,
                format!("`{name}` counts claims, and this route verifies no token that has any"),
                "add `auth: { jwt: ... }`, or name a policy without `key.claims`",
                (&claims, "counted here"),
            );
        }
    }
    for (index, name) in route.rate_limits.iter().enumerate() {
        let place = item(format!("{path}.rate_limits"), index);
        findings.must_exist(place, name, "rate_limits", &config.rate_limits);
    }
    twice(&route.rate_limits, &format!("{path}.rate_limits"), findings);
}

fn check_proofs(route: &Route, path: &str, findings: &mut Findings<'_>) {
    if route.access.as_ref().is_some_and(|access| access.satisfy == Satisfy::Any) {
        let lists = route.access.as_ref().is_some_and(|access| {
            !(access.allow.is_empty() && access.deny.is_empty() && access.rules.is_empty())
        });
        if !lists || route.auth.is_none() {
            let hint = "give the route `allow` or `deny`, and `auth`, or remove it";
            findings.add(format!("{path}.access.satisfy"), "there is nothing to choose from", hint);
        }
    }
    match &route.auth {
        Some(Auth::Basic(basic)) => {
            let plain = |byte: u8| (0x20..0x7f).contains(&byte) && !b"\"\\".contains(&byte);
            if !basic.realm.0.bytes().all(plain) {
                let message = "the realm cannot stand in a header";
                let hint = "write printable ASCII without quotes and backslashes";
                findings.add(format!("{path}.auth.basic.realm"), message, hint);
            }
        }
        Some(Auth::Jwt(jwt)) => {
            let path = format!("{path}.auth.jwt");
            if jwt.jwks_url.is_some() == jwt.jwks_file.is_some() {
                let hint = "add `jwks_url: https://...` or `jwks_file: /path`";
                findings.add(&path, "the keys are in a file or at a URL, one of them", hint);
            }
            let is_url = |url: &String| {
                let uri = url.parse::<http::Uri>().ok();
                uri.is_some_and(|uri| {
                    matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some()
                })
            };
            if let Some(url) = jwt.jwks_url.as_ref().filter(|url| !is_url(url)) {
                let message = format!("`{url}` is not the URL of a set of keys");
                findings.add(format!("{path}.jwks_url"), message, "write `https://host/path`");
            }
            if jwt.audiences.is_empty() {
                let hint = "name the audience that tokens for this are made for";
                findings.add(format!("{path}.audiences"), "no token can be for nobody", hint);
            }
        }
        _ => {}
    }
}

fn check_details(config: &Config, route: &Route, path: &str, findings: &mut Findings<'_>) {
    if let Some(redirect) = &route.redirect {
        redirect_status(redirect.status, &format!("{path}.redirect.status"), findings);
        if redirect.to.0.is_empty() {
            let hint = "write a path or a URL, such as `https://$host$path`";
            findings.add(format!("{path}.redirect.to"), "it leads nowhere", hint);
        }
    }
    if let Some(respond) = &route.respond {
        check_respond(respond, &format!("{path}.respond"), findings);
    }
    if let Some(rate) = &route.response_rate {
        findings.not_zero(format!("{path}.response_rate.rate"), rate.rate.0.as_bytes());
    }
    validate_cors::check(route, path, findings);
    check_upgrades(config, route, path, findings);
    check_networks(route, path, findings);
    for (index, name) in route.access.iter().flat_map(|access| &access.referers).enumerate() {
        if let Err(error) = name.parse::<HostName>() {
            let place = item(format!("{path}.access.referers"), index);
            findings.add(place, error.message, error.hint);
        }
    }
    if let Some(Auth::SignedUrl(signed)) = &route.auth
        && signed.key_files.is_empty()
    {
        let hint = "name a file with a key of at least 16 bytes";
        findings.add(format!("{path}.auth.signed_url.key_files"), "there is no key", hint);
    }
    check_proofs(route, path, findings);
    if let Some(prefix) = route.files.as_ref().and_then(|files| files.strip_prefix.as_ref())
        && !prefix.starts_with('/')
    {
        let message = format!("`{prefix}` is not the beginning of a path");
        findings.add(format!("{path}.files.strip_prefix"), message, "begin it with `/`");
    }
    if let Some(name) = route.files.as_ref().and_then(|files| files.media_types.as_ref()) {
        let place = format!("{path}.files.media_types");
        findings.must_exist(place, name, "media_types", &config.media_types);
    }
    if let Some(limit) = route.request_body_max {
        findings.not_zero(format!("{path}.request_body_max"), limit.as_bytes());
    }
    if let Some(header) = route.client.as_ref().and_then(|client| client.header.as_ref())
        && header.parse::<http::HeaderName>().is_err()
    {
        let message = format!("`{header}` is not the name of a header");
        findings.add(format!("{path}.client.header"), message, "write `x-forwarded-for`");
    }
    if let Some(method) = route.ask.as_ref().and_then(|ask| ask.method.as_ref()) {
        check_method(method, &format!("{path}.ask.method"), findings);
    }
    check_timeouts(route, path, findings);
}

fn check_timeouts(route: &Route, path: &str, findings: &mut Findings<'_>) {
    let Some(timeouts) = &route.timeouts else { return };
    let all = [
        ("connect", timeouts.connect),
        ("first_byte", timeouts.first_byte),
        ("read", timeouts.read),
        ("write", timeouts.write),
        ("total", timeouts.total),
        ("tunnel", timeouts.tunnel),
    ];
    for (key, time) in all {
        if let Some(time) = time {
            findings.time_not_zero(format!("{path}.timeouts.{key}"), time);
        }
    }
    if timeouts.total.is_some() && route.cache_policy.is_some() {
        let message = "what is fetched for the cache belongs to no one request";
        let hint = "remove it; `first_byte` and `read` bound what is fetched";
        findings.add(format!("{path}.timeouts.total"), message, hint);
    }
}

/// Protocols whose messages would pass every rule of this proxy unseen.
const NEVER_UPGRADED_TO: [&str; 4] = ["h2c", "h2", "http", "tls"];

fn check_upgrades(config: &Config, route: &Route, path: &str, findings: &mut Findings<'_>) {
    let names = route.upgrades.as_deref().unwrap_or_default();
    let parts = route.split.iter().flat_map(|split| &split.parts).map(|part| &part.upstream);
    for name in route.upstream.iter().chain(parts).filter(|_| !names.is_empty()) {
        let protocol = config.upstreams.get(name).and_then(|upstream| upstream.protocol);
        if protocol == Some(UpstreamProtocol::Fastcgi) {
            findings.add_related(
                &format!("{path}.upgrades"),
                format!("`{name}` speaks FastCGI, in which nothing is upgraded to"),
                "remove `upgrades`, or name an upstream that speaks HTTP/1.1",
                (&format!("{}.protocol", child("upstreams", name)), "it is told here"),
            );
        }
    }
    twice(names, &format!("{path}.upgrades"), findings);
    for (index, name) in names.iter().enumerate() {
        let place = item(format!("{path}.upgrades"), index);
        if name.parse::<http::HeaderName>().is_err() {
            let message = format!("`{name}` is not the name of a protocol");
            findings.add(place, message, "write it without a version: `websocket`");
        } else if NEVER_UPGRADED_TO.iter().any(|never| never.eq_ignore_ascii_case(name)) {
            let message = format!("requests in `{name}` would pass unseen by limits and routes");
            let hint = "remove it; HTTP/2 is spoken by ALPN or prior knowledge";
            findings.add(place, message, hint);
        }
    }
}

/// A network in both lists would be refused, whoever wrote that it may ask.
fn check_networks(route: &Route, path: &str, findings: &mut Findings<'_>) {
    let Some(access) = &route.access else { return };
    for (index, network) in access.allow.iter().enumerate() {
        let Some(denied) = access.deny.iter().position(|denied| denied == network) else {
            continue;
        };
        findings.add_related(
            &item(format!("{path}.access.allow"), index),
            format!("`{network}` is denied as well, and `deny` counts first"),
            "remove it from one of the two lists",
            (&item(format!("{path}.access.deny"), denied), "denied here"),
        );
    }
}

fn check_shadows(config: &Config, findings: &mut Findings<'_>) {
    for (index, earlier) in shadowing::hiders(&config.routes) {
        let (route, name) = (&config.routes[index], &config.routes[earlier].name);
        findings.add_related(
            &item("routes", index),
            format!("route `{}` never matches: `{name}` takes every request of it", route.name),
            format!("move it before `{name}`, or narrow what `{name}` matches"),
            (&item("routes", earlier), "takes the requests first"),
        );
    }
}
