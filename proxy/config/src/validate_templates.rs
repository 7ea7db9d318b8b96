//! Rules for templates: their variables exist, their text fits where it goes, maps end.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use crate::config::Config;
use crate::facts::case_scope;
use crate::findings::{Findings, child, item};
use crate::header_edits::NOT_EDITABLE;
use crate::leads::Leads;
use crate::map::Map;
use crate::pattern::Template;
use crate::route::{PathMatch, Route};
use crate::route_access::Auth;
use crate::route_action::{HeaderEdits, Mirror, Rewrite};
use crate::template::{Compiled, Scope, is_own};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    let leads = Leads::new(config);
    for (index, route) in config.routes.iter().enumerate() {
        check_route(&leads, route, &item("routes", index), findings);
    }
    let scope = leads.scope();
    for (name, limit) in &config.rate_limits {
        if let Some(text) = &limit.key_text {
            template(text, &scope, &format!("{}.key_text", child("rate_limits", name)), findings);
        }
    }
    for (name, policy) in &config.cache_policies {
        let path = child("cache_policies", name);
        if let Some(text) = &policy.key.text {
            template(text, &scope, &format!("{path}.key.text"), findings);
        }
        for (key, texts) in [("bypass", &policy.bypass), ("no_store", &policy.no_store)] {
            for (index, text) in texts.iter().enumerate() {
                template(text, &scope, &item(format!("{path}.{key}"), index), findings);
            }
        }
    }
    for (name, map) in &config.maps {
        let path = child("maps", name);
        if is_own(name) {
            let message =
                format!("every request has a `${name}` already, so this map is never asked");
            findings.add(&path, message, "give it another name");
        }
        template(&map.of, &scope, &format!("{path}.of"), findings);
        template(&map.default, &scope, &format!("{path}.default"), findings);
        check_shares(map, &scope, &path, findings);
        for (index, case) in map.cases.iter().enumerate() {
            let place = format!("{}.value", item(format!("{path}.cases"), index));
            template(&case.value, &case_scope(&scope, &case.when), &place, findings);
        }
        if leads_to(name, name, &config.maps, &scope, &mut Vec::new()) {
            let hint = "a map may use others, but none that uses it";
            findings.add(path, format!("map `{name}` refers to itself"), hint);
        }
    }
}

fn check_shares(map: &Map, scope: &Scope<'_>, path: &str, findings: &mut Findings<'_>) {
    for (index, share) in map.shares.iter().enumerate() {
        let place = format!("{}.value", item(format!("{path}.shares"), index));
        template(&share.value, scope, &place, findings);
    }
    if !map.shares.is_empty() && !map.cases.is_empty() {
        let hint = "keep one of the two";
        findings.add(format!("{path}.shares"), "values are found or drawn, not both", hint);
    }
    let sum: u32 = map.shares.iter().map(|share| u32::from(share.share.hundredths())).sum();
    if sum > 10_000 {
        let message = format!("the shares sum to {}%", f64::from(sum) / 100.0);
        findings.add(format!("{path}.shares"), message, "make them sum to 100% at most");
    }
}

fn leads_to<'a>(
    from: &str,
    to: &str,
    maps: &'a BTreeMap<String, Map>,
    scope: &Scope<'_>,
    seen: &mut Vec<&'a str>,
) -> bool {
    let Some((from, map)) = maps.get_key_value(from) else { return false };
    if seen.contains(&from.as_str()) {
        return false;
    }
    seen.push(from);
    let cases = map.cases.iter().map(|case| (&case.value, case_scope(scope, &case.when)));
    let shares = map.shares.iter().map(|share| (&share.value, scope.clone()));
    let own = [(&map.of, scope.clone()), (&map.default, scope.clone())];
    let all = cases.chain(shares).chain(own);
    let used = all.filter_map(|(template, scope)| Compiled::new(&template.0, &scope).ok());
    let names: Vec<String> =
        used.flat_map(|used| used.maps().map(str::to_owned).collect::<Vec<_>>()).collect();
    names.iter().any(|name| name == to || leads_to(name, to, maps, scope, seen))
}

pub(crate) fn template(
    text: &Template,
    scope: &Scope<'_>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    if let Err(error) = Compiled::new(&text.0, scope) {
        findings.add(path, error.message, error.hint);
    }
}

fn check_route(leads: &Leads<'_>, route: &Route, path: &str, findings: &mut Findings<'_>) {
    let scope = leads.scope_of(route);
    if let Some(redirect) = &route.redirect {
        header_value(&redirect.to, &scope, &format!("{path}.redirect.to"), findings);
    }
    if let Some(respond) = &route.respond {
        if let Some(body) = &respond.body {
            template(body, &scope, &format!("{path}.respond.body"), findings);
        }
        headers(&respond.headers, &scope, &format!("{path}.respond.headers"), findings);
    }
    let edits = [
        ("request_headers", &route.request_headers),
        ("response_headers", &route.response_headers),
    ];
    for (section, edits) in edits {
        if let Some(edits) = edits {
            let answer = section == "response_headers";
            let scope = Scope { answer, ..scope.clone() };
            check_edits(edits, &scope, &format!("{path}.{section}"), findings);
        }
    }
    check_more(route, &scope, path, findings);
    if let Some(rewrite) = &route.rewrite {
        check_rewrite(route, rewrite, &scope, &format!("{path}.rewrite"), findings);
    }
}

/// Templates of files, proofs and questions.
fn check_more(route: &Route, scope: &Scope<'_>, path: &str, findings: &mut Findings<'_>) {
    if let Some(files) = &route.files {
        template(&files.root, scope, &format!("{path}.files.root"), findings);
        for (index, name) in files.index.iter().enumerate() {
            template(name, scope, &item(format!("{path}.files.index"), index), findings);
        }
    }
    for (index, pair) in route.substitutions.iter().flat_map(|rules| &rules.pairs).enumerate() {
        let place = item(format!("{path}.substitutions.pairs"), index);
        template(&pair.find, scope, &format!("{place}.find"), findings);
        template(&pair.with, scope, &format!("{place}.with"), findings);
    }
    for (index, to) in route.mirror.iter().flat_map(Mirror::paths).enumerate() {
        let Some(to) = to else { continue };
        let place = match index {
            0 => format!("{path}.mirror.path"),
            other => format!("{}.path", item(format!("{path}.mirror.others"), other - 1)),
        };
        template(to, scope, &place, findings);
        if !to.0.starts_with(['/', '$']) {
            let hint = format!("write `/{}`", to.0);
            findings.add(place, "a path begins with `/`", hint);
        }
    }
    for (index, edits) in route.mirror.iter().flat_map(Mirror::edits).enumerate() {
        let Some(edits) = edits else { continue };
        let place = match index {
            0 => format!("{path}.mirror.request_headers"),
            other => {
                format!("{}.request_headers", item(format!("{path}.mirror.others"), other - 1))
            }
        };
        check_edits(edits, scope, &place, findings);
    }
    if let Some(server) = &route.server {
        template(server, scope, &format!("{path}.server"), findings);
    }
    if let Some(body) = route.ask.as_ref().and_then(|ask| ask.body.as_ref()) {
        template(body, scope, &format!("{path}.ask.body"), findings);
    }
    if let Some(Auth::Subrequest(auth)) = &route.auth {
        let place = format!("{path}.auth.subrequest");
        if let Some(edits) = &auth.request_headers {
            check_edits(edits, scope, &format!("{place}.request_headers"), findings);
        }
        let of_answer = Scope { answer: true, ..scope.clone() };
        for (name, text) in &auth.set {
            template(text, &of_answer, &format!("{place}.set.{name}"), findings);
        }
    }
    if let Some(Auth::Basic(basic)) = &route.auth {
        let place = format!("{path}.auth.basic");
        if basic.reread {
            template(&basic.users_file, scope, &format!("{place}.users_file"), findings);
        } else if basic.users_file.0.contains('$') {
            let message = "a file that is read when the document is loaded has one name";
            findings.add(format!("{place}.users_file"), message, "add `reread: true`");
        }
        header_value(&basic.realm, scope, &format!("{place}.realm"), findings);
    }
}

fn check_edits(edits: &HeaderEdits, scope: &Scope<'_>, path: &str, findings: &mut Findings<'_>) {
    for (index, name) in edits.remove.iter().enumerate() {
        header_name(name, &item(format!("{path}.remove"), index), findings);
    }
    // Only what is appended waits for the answer.
    let early = Scope { answer: false, ..scope.clone() };
    headers(&edits.set, &early, &format!("{path}.set"), findings);
    headers(&edits.add, &early, &format!("{path}.add"), findings);
    for (index, one) in edits.replace.iter().enumerate() {
        let place = item(format!("{path}.replace"), index);
        header_name(&one.name, &format!("{place}.name"), findings);
        let mut own = scope.clone();
        match (&one.find, &one.starts_with) {
            (Some(find), None) => {
                own = Scope { captures: Vec::new(), numbers: 0, ..own };
                if let Ok(find) = find.compile() {
                    own.add(&find);
                }
            }
            (None, Some(start)) => {
                template(start, &early, &format!("{place}.starts_with"), findings);
            }
            _ => {
                let message = "what is looked for is `find` or `starts_with`, one of them";
                findings.add(&place, message, "write `find: REGEX`");
            }
        }
        header_value(&one.with, &own, &format!("{place}.with"), findings);
    }
    for (index, one) in edits.append.iter().enumerate() {
        let place = item(format!("{path}.append"), index);
        header_name(&one.name, &format!("{place}.name"), findings);
        header_value(&one.value, scope, &format!("{place}.value"), findings);
        if !one.always && path.ends_with("request_headers") {
            let hint = "remove it; a request has no status";
            findings.add(format!("{place}.always"), "requests get it always", hint);
        }
    }
}

pub(crate) fn headers(
    fields: &BTreeMap<String, Template>,
    scope: &Scope<'_>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    for (name, value) in fields {
        let place = child(path, name);
        header_name(name, &place, findings);
        header_value(value, scope, &place, findings);
    }
}

fn header_name(name: &str, path: &str, findings: &mut Findings<'_>) {
    if name.parse::<HeaderName>().is_err() {
        let message = format!("`{name}` is not the name of a header");
        findings.add(path, message, "write one such as `x-api-key`");
    } else if NOT_EDITABLE.iter().any(|fixed| fixed.eq_ignore_ascii_case(name)) {
        let message = format!("`{name}` belongs to the connection and cannot be changed");
        findings.add(path, message, "remove it; the proxy frames messages by itself");
    }
}

pub(crate) fn header_value(
    text: &Template,
    scope: &Scope<'_>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    match Compiled::new(&text.0, scope) {
        Err(error) => findings.add(path, error.message, error.hint),
        Ok(compiled) => {
            if compiled.plain().any(|plain| HeaderValue::from_str(plain).is_err()) {
                let hint = "write one line of ASCII";
                findings.add(path, "a header cannot hold this text", hint);
            }
        }
    }
}

fn check_rewrite(
    route: &Route,
    rewrite: &Rewrite,
    scope: &Scope<'_>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    match rewrite {
        Rewrite::PrefixTo(to) => {
            let place = format!("{path}.prefix_to");
            if !to.starts_with('/') || to.contains(['?', '#', '%', ' ', '\\']) {
                let message = format!("`{to}` is not the beginning of a path");
                findings.add(&place, message, "begin it with `/`, without query and escapes");
            }
            let prefix = |path: &PathMatch| matches!(path, PathMatch::Prefix(_));
            if !route.when.paths.iter().all(prefix) || route.when.paths.is_empty() {
                let hint = "match paths by `prefix` only, or write `to`";
                findings.add(place, "there is no prefix to take off", hint);
            }
        }
        Rewrite::To(to) => {
            template(to, scope, &format!("{path}.to"), findings);
            if !to.0.starts_with(['/', '$']) {
                let hint = format!("write `/{}`", to.0);
                findings.add(format!("{path}.to"), "a path begins with `/`", hint);
            }
        }
        Rewrite::Regex(rewrite) => {
            let mut own = Scope { maps: scope.maps.clone(), set: scope.set, ..Scope::default() };
            if let Ok(regex) = rewrite.find.compile() {
                own.add(&regex);
            }
            template(&rewrite.replace, &own, &format!("{path}.regex.replace"), findings);
        }
    }
}
