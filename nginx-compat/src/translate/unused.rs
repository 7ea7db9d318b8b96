//! What is in effect nowhere: further in, other lines take its place everywhere, or nobody there does what it is about.
//! nginx does nothing with it either.

use std::collections::HashSet;
use std::rc::Rc;

use crate::directive;
use crate::translate::rewrite;
use crate::translate::scope::Scope;
use crate::tree::{Body, Directive, flattened};
use crate::verdict::{Verdict, Verdicts};

const WHY: &str = "overridden or used nowhere: nginx does nothing with it either";

/// What names begin with that are about whoever passes requests on, and what passes them on.
const FAMILIES: [(&str, &str); 6] = [
    ("proxy_", "proxy_pass"),
    ("fastcgi_", "fastcgi_pass"),
    ("uwsgi_", "uwsgi_pass"),
    ("scgi_", "scgi_pass"),
    ("grpc_", "grpc_pass"),
    ("memcached_", "memcached_pass"),
];

/// About files that are served.
const OF_FILES: [&str; 2] = ["gzip_static", "disable_symlinks"];

/// Without the second, the first does nothing.
const NEEDS: [(&str, &str); 6] = [
    ("limit_req_status", "limit_req"),
    ("limit_req_dry_run", "limit_req"),
    ("limit_conn_status", "limit_conn"),
    ("limit_conn_dry_run", "limit_conn"),
    ("mirror_request_body", "mirror"),
    ("recursive_error_pages", "error_page"),
];

/// Groups that only count for requests which nothing has answered before: a `return` does.
const BEHIND_RETURN: [&str; 6] =
    ["access", "auth_basic", "auth_request", "limit_req", "limit_conn", "mirror"];

/// Groups whose lines may add up over the levels.
const OTHERS: [&str; 5] = ["lua", "third_party", "perl", "plus", "rewrite"];

/// Says so of all lines in `http` of which nothing else is said.
pub fn say<'a>(http: &[&'a Directive], verdicts: &mut Verdicts) {
    let mut lines: Vec<&Directive> = Vec::new();
    http.iter().for_each(|http| unsaid(http, verdicts, &mut lines));
    if lines.is_empty() {
        return;
    }
    let names: HashSet<&'a str> = lines.iter().map(|line| line.name.as_str()).collect();
    let mut used = HashSet::new();
    for http in http {
        let scope = Scope::of(http, None);
        for server in scope.own("server") {
            of_server(&Scope::of(server, Some(&scope)), &names, &mut used);
        }
    }
    for line in lines.into_iter().filter(|line| !used.contains(&line.id)) {
        verdicts.add(line, Verdict::ignored(WHY));
    }
}

/// Lines without a verdict that places further in take over.
fn unsaid<'a>(block: &'a Directive, verdicts: &Verdicts, lines: &mut Vec<&'a Directive>) {
    for line in flattened(block.children()) {
        match line.body {
            Body::Block(_) if is_level(&line.name) => unsaid(line, verdicts, lines),
            Body::Simple if verdicts.get(line).is_none() && is_taken_over(&line.name) => {
                lines.push(line);
            }
            _ => {}
        }
    }
}

fn is_level(name: &str) -> bool {
    ["server", "location", "if", "limit_except"].contains(&name)
}

fn is_taken_over(name: &str) -> bool {
    let specs = directive::named(name);
    let known = specs.first().is_some_and(|spec| !OTHERS.contains(&spec.group));
    known && specs.iter().any(|spec| spec.allows(directive::Context::Location))
}

fn of_server(scope: &Rc<Scope<'_>>, names: &HashSet<&str>, used: &mut HashSet<usize>) {
    let takes_all = |location: &&Directive| location.argument(0) == Some("/");
    // Without a location for all paths, and in its own steps, the server answers by itself.
    if !scope.own("location").iter().any(takes_all) || rewrite::has_steps(scope.block()) {
        mark(scope, None, names, used);
    }
    inner(scope, names, used);
}

fn inner(scope: &Rc<Scope<'_>>, names: &HashSet<&str>, used: &mut HashSet<usize>) {
    for line in ["location", "if", "limit_except"].iter().flat_map(|name| scope.own(name)) {
        let around = if line.name == "location" { None } else { Some(&**scope) };
        let within = Scope::of(line, Some(scope));
        mark(&within, around, names, used);
        inner(&within, names, used);
    }
}

/// Marks what is in effect at a place, where somebody there does what it is about.
fn mark(
    scope: &Scope<'_>,
    around: Option<&Scope<'_>>,
    names: &HashSet<&str>,
    used: &mut HashSet<usize>,
) {
    for name in names.iter().filter(|name| is_about(name, scope, around)) {
        used.extend(scope.effective(name).iter().map(|line| line.id));
    }
}

fn is_about(name: &str, scope: &Scope<'_>, around: Option<&Scope<'_>>) -> bool {
    let has = |name: &str| {
        !scope.own(name).is_empty() || around.is_some_and(|around| !around.own(name).is_empty())
    };
    if let Some((_, pass)) = FAMILIES.iter().find(|(start, _)| name.starts_with(start)) {
        return has(pass);
    }
    if let Some((_, needed)) = NEEDS.iter().find(|(is, _)| *is == name) {
        return scope.one(needed).is_some();
    }
    if OF_FILES.contains(&name) {
        let answered = FAMILIES.iter().any(|(_, pass)| has(pass)) || has("return");
        return !answered && scope.holder(&["root", "alias"]).is_some();
    }
    let group = directive::named(name).first().map_or("", |spec| spec.group);
    !(BEHIND_RETURN.contains(&group) && always_returns(scope))
}

/// Whether a `return` answers every request, as nothing else there leads past it.
fn always_returns(scope: &Scope<'_>) -> bool {
    let has = |name: &str| !scope.own(name).is_empty();
    has("return") && !["if", "rewrite", "break"].into_iter().any(has)
}
