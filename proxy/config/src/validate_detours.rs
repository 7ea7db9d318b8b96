//! Rules for what leads a request on inside the proxy: error pages, `try`, auth subrequests.

use http::HeaderName;

use crate::config::Config;
use crate::findings::{Findings, item};
use crate::leads::Leads;
use crate::pattern::Template;
use crate::route::Route;
use crate::route_access::{Auth, AuthSubrequest};
use crate::route_action::{ErrorPage, TryStep};
use crate::template::{Compiled, Scope};

pub(crate) fn check(config: &Config, findings: &mut Findings<'_>) {
    let leads = Leads::new(config);
    for (index, route) in config.routes.iter().enumerate() {
        let path = item("routes", index);
        let scope = leads.scope_of(route);
        for (index, page) in route.error_pages.iter().enumerate() {
            let place = item(format!("{path}.error_pages"), index);
            check_page(&leads, page, &scope, &place, findings);
        }
        check_tries(&leads, route, &scope, &format!("{path}.try"), findings);
        if let Some(Auth::Subrequest(auth)) = &route.auth {
            check_auth(config, auth, &format!("{path}.auth.subrequest"), findings);
        }
    }
}

fn check_page(
    leads: &Leads<'_>,
    page: &ErrorPage,
    scope: &Scope<'_>,
    place: &str,
    findings: &mut Findings<'_>,
) {
    if page.statuses.is_empty() {
        let hint = "write `[404]`, or `[4xx, 5xx]` for all errors";
        findings.add(format!("{place}.statuses"), "it stands in for no error", hint);
    }
    match (&page.path, &page.route) {
        (None, None) => {
            let hint = "add `path: /404.html`, or `route: NAME`";
            findings.add(place, "it does not say what stands in for the errors", hint);
        }
        (Some(path), None) => check_target(path, scope, &format!("{place}.path"), findings),
        (None, Some(name)) => check_route(leads, name, &format!("{place}.route"), findings),
        (Some(_), Some(_)) => findings.add_related(
            &format!("{place}.route"),
            "`path` and `route` cannot both stand in for an error",
            "keep one of the two",
            (&format!("{place}.path"), "the other is here"),
        ),
    }
    if let Some(status) = page.status {
        findings.status(format!("{place}.status"), status, 200, 599);
        if matches!(status, 204 | 205 | 304) {
            let message = format!("a response with status {status} has no body");
            findings.add(format!("{place}.status"), message, "write another, such as 200");
        }
        if page.own_status {
            findings.add_related(
                &format!("{place}.own_status"),
                "`status` and `own_status` cannot both say what is sent",
                "keep one of the two",
                (&format!("{place}.status"), "the other is here"),
            );
        }
    }
}

fn check_tries(
    leads: &Leads<'_>,
    route: &Route,
    scope: &Scope<'_>,
    path: &str,
    findings: &mut Findings<'_>,
) {
    let has_file = route.tries.iter().any(|step| matches!(step, TryStep::File(_)));
    if has_file && route.files.is_none() {
        let hint = "add `files: { root: /path }`";
        findings.add(path, "`file` needs a directory to look in", hint);
    }
    for (index, step) in route.tries.iter().enumerate() {
        let place = item(path, index);
        match step {
            TryStep::File(file) => check_target(file, scope, &format!("{place}.file"), findings),
            TryStep::Path(to) => check_target(to, scope, &format!("{place}.path"), findings),
            TryStep::Route(name) => {
                check_route(leads, name, &format!("{place}.route"), findings);
            }
            TryStep::Status(status) => {
                findings.status(format!("{place}.status"), *status, 400, 599);
            }
        }
        let is_last = index + 1 == route.tries.len();
        if !is_last && !matches!(step, TryStep::File(_)) {
            let hint = "move it to the end, or remove what follows";
            findings.add(place, "what follows is never tried: only a `file` can be missing", hint);
        }
    }
}

fn check_target(path: &Template, scope: &Scope<'_>, place: &str, findings: &mut Findings<'_>) {
    if let Err(error) = Compiled::new(&path.0, scope) {
        findings.add(place, error.message, error.hint);
    }
    if !path.0.starts_with(['/', '$']) {
        findings.add(place, "a path begins with `/`", format!("write `/{}`", path.0));
    }
}

fn check_route(leads: &Leads<'_>, name: &str, place: &str, findings: &mut Findings<'_>) {
    if !leads.has_route(name) {
        let routes = &leads.config.routes;
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        let hint = match crate::suggest::closest(name, names.iter().copied()) {
            Some(closest) => format!("did you mean `{closest}`?"),
            None => format!("routes are {}", crate::suggest::list(&names)),
        };
        findings.add(place, format!("there is no route `{name}`"), hint);
    }
}

fn check_auth(config: &Config, auth: &AuthSubrequest, path: &str, findings: &mut Findings<'_>) {
    let place = format!("{path}.upstream");
    findings.must_exist(place, &auth.upstream, "upstreams", &config.upstreams);
    if !auth.path.starts_with('/') {
        let hint = format!("write `/{}`", auth.path);
        findings.add(format!("{path}.path"), "a path begins with `/`", hint);
    }
    for (index, name) in auth.copy_headers.iter().enumerate() {
        let place = item(format!("{path}.copy_headers"), index);
        if name.parse::<HeaderName>().is_err() {
            let message = format!("`{name}` is not the name of a header");
            findings.add(place, message, "write one such as `x-user`");
        } else if crate::header_edits::NOT_EDITABLE.iter().any(|no| no.eq_ignore_ascii_case(name)) {
            let message = format!("`{name}` belongs to the connection and cannot be copied");
            findings.add(place, message, "remove it");
        }
    }
}
