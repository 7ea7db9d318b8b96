//! What answers in a location: its route, without the name and the requests it takes.

use std::rc::Rc;

use proxy_config::Route;
use proxy_config::pattern::Template;
use proxy_config::route::PathMatch;
use proxy_config::route_action::{HeaderEdits, Redirect, Respond};
use proxy_config::steps::{Action, Condition, ConditionTest, Step};
use proxy_config::units::ByteSize;

use crate::translate::auth::ByPath;
use crate::translate::detour::{self, Named};
use crate::translate::proxy_pass::{PROXY, Target};
use crate::translate::rewrite::Program;
use crate::translate::scope::Scope;
use crate::translate::site::Work;
use crate::translate::upstream::timeouts;
use crate::translate::variable::Place;
use crate::translate::{
    access, auth, bodies, by_request, client, fastcgi, files, grpc, guard, gzip, mirror,
    proxy_pass, rate, redirected, request_body, request_header, response_header, status_page,
    upgrade, value,
};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// nginx's default for `client_max_body_size`.
const BODY_MAX: ByteSize = ByteSize::mib(1);

/// Where an answer is looked for.
#[derive(Clone, Copy)]
pub struct Here<'s, 'a> {
    pub scope: &'s Rc<Scope<'a>>,
    /// Of an `if`: the location around it, whose handler it has unless it has one of its own.
    pub around: Option<&'s Scope<'a>>,
    pub path: Option<&'s PathMatch>,
    /// Routes of named locations.
    pub named: &'s Named,
    pub locations: &'s ByPath<'a>,
    pub place: &'s Place,
}

impl<'a> Here<'_, 'a> {
    /// The directive that answers: of the place itself, or of what is around an `if`.
    pub fn handler(&self, name: &str) -> Option<&'a Directive> {
        let own = self.scope.own(name).first();
        own.or_else(|| self.around.and_then(|around| around.own(name).first())).copied()
    }
}

/// The route of a place whose steps do not always answer.
pub fn route<'a>(here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Result<Route, String> {
    if let Some(directive) = guard::closes(here.scope) {
        let place = work.files.line(directive.start);
        return Err(format!("{} ({place}) is not translated", directive.name));
    }
    let access = access::access(here.scope, work.verdicts)?;
    let auth = auth::asked(here.scope, here.locations, here.place, work)?;
    let first = work.by_name.len();
    let route = match here.handler("proxy_pass") {
        Some(pass) => proxied(here, pass, work).inspect_err(|why| {
            work.verdicts.add(pass, Verdict::unsupported(why.clone()));
        })?,
        None => match here.handler("fastcgi_pass") {
            Some(pass) => fastcgi::passed(here, pass, work).inspect_err(|why| {
                work.verdicts.add(pass, Verdict::unsupported(why.clone()));
            })?,
            None => match (here.handler("grpc_pass"), here.handler("stub_status")) {
                (Some(pass), _) => grpc::passed(here, pass, work).inspect_err(|why| {
                    work.verdicts.add(pass, Verdict::unsupported(why.clone()));
                })?,
                (None, Some(line)) => status_page::route(line, work)?,
                (None, None) => of_files(here, work)?,
            },
        },
    };
    let route = with_tries(route, here, work)?;
    let mirror = mirror::copy(here, work);
    let rate_limits = work.limits.of(here.scope, here.place, work.names, work.verdicts);
    let access_logs = work.logs.of(here.scope, here.place, work.names, work.verdicts);
    let error_logs = work.logs.errors.of(here.scope, route.files.is_some(), work.verdicts);
    let internal = is_internal(here.scope, work.verdicts);
    let client = client::of_location(here.scope, work.verdicts)?;
    let compression = gzip::compression(here.scope, work.verdicts);
    let gunzip = bodies::gunzip(here.scope, work.verdicts);
    let substitutions = bodies::substitutions(here.scope, here.place, work.names, work.verdicts);
    let includes = bodies::includes(here.scope, work.verdicts);
    let response_rate = rate::response_rate(here.scope, work.verdicts);
    let response_rate = route.response_rate.or(response_rate);
    // The other upstreams of a variable are guarded alike.
    for (route, _, _) in &mut work.by_name[first..] {
        (route.access, route.rate_limits) = (access.clone(), rate_limits.clone());
        (route.client, route.compression) = (client.clone(), compression.clone());
        (route.gunzip, route.substitutions) = (gunzip.clone(), substitutions.clone());
        route.includes.clone_from(&includes);
        route.error_logs.clone_from(&error_logs);
        route.auth.clone_from(&auth);
        route.mirror.clone_from(&mirror);
    }
    Ok(Route {
        client,
        access,
        auth,
        rate_limits,
        access_logs,
        error_logs,
        compression,
        gunzip,
        substitutions,
        includes,
        response_rate,
        internal,
        mirror,
        ..route
    })
}

/// `internal`, which comes before whatever its location answers.
fn is_internal(scope: &Scope<'_>, verdicts: &mut Verdicts) -> bool {
    let line = scope.own("internal").first();
    line.inspect(|line| verdicts.add(line, closed_to_clients(scope))).is_some()
}

/// What who asks for an `internal` location is told.
fn closed_to_clients(scope: &Scope<'_>) -> Verdict {
    let of_404 = |line: &&&Directive| line.has("404");
    let always = |line: &&&Directive| line.has("always");
    let lost = [
        ("error_page", scope.effective("error_page").iter().any(|line| of_404(&line))),
        ("add_header", scope.effective("add_header").iter().any(|line| always(&line))),
        ("access_log", scope.holder(&["access_log"]).is_some_and(|at| at.block().name != "http")),
    ];
    let lost: Vec<&str> = lost.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    match lost.is_empty() {
        true => Verdict::exact(),
        false => Verdict::approximate(format!(
            "who asks for it gets Forebay's own page of 404, without {} of its place",
            lost.join(", ")
        )),
    }
}

fn proxied<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let target = proxy_pass::target(pass);
    let one = target.as_ref().ok().and_then(Target::variable);
    let values = one.map(|name| work.names.values(name, here.place, work.verdicts));
    let is_open = values.as_ref().is_none_or(Result::is_err);
    if by_request::is_named(pass, &target) && is_open {
        return by_variables(here, pass, work);
    }
    let target = target?;
    let (Some(name), Some(values)) = (target.variable(), values) else {
        return zoned(here, pass, &target, work);
    };
    let values = values?;
    let mut routes = Vec::new();
    for value in &values {
        let target = Target { authority: value.as_str(), ..target };
        routes.push(passed(here, pass, &target, work).map_err(|why| format!("{value:?}: {why}"))?);
    }
    let Some(mut route) = routes.pop() else { return Err(format!("${name} has no value")) };
    let of = work.names.text(&format!("${name}"), here.place, work.verdicts)?;
    for (value, other) in values.iter().zip(routes) {
        let wanted = value::slug(&format!("to-{value}-of-line-{}", pass.start.line));
        let name = value::unique(&wanted, |name| work.taken.contains(name));
        work.taken.insert(name.clone());
        let is = Some(ConditionTest::Equals(Template(value.replace('$', "$$"))));
        let when = vec![Condition { of: of.clone(), is, not: false }];
        route.steps.push(Step { when, then: vec![Action::Route(name.clone()), Action::Stop] });
        let rewrite = detour::by_expression(other.rewrite, here.path);
        let origin = format!("{}: {} for {value}", work.files.line(pass.start), pass.heading());
        let other = Route { name, internal: true, rewrite, ..other };
        work.by_name.push((other, origin, pass.id));
    }
    Ok(route)
}

/// The route to a server that variables name.
fn by_variables<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let timeouts = timeouts(here.scope, PROXY, work.verdicts);
    let named = by_request::named(here, pass, timeouts, work)?;
    let ask = proxy_pass::ask(here.scope, here.place, work.names, work.verdicts)?;
    let url = pass.argument(0).unwrap_or_default();
    let target =
        Target { family: PROXY, authority: url, tls: named.tls, uri: None, by_variables: true };
    let route = asking(here, pass, (&target, here.place), named.differences, work);
    Ok(Route { upstream: Some(named.upstream), server: Some(named.server), ask, ..route })
}

/// Routes for each cache zone that a variable may name, and what leads to them; another name is nginx's 500.
fn zoned<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    target: &Target<'_>,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let name = here.scope.one("proxy_cache").and_then(|line| line.argument(0)).unwrap_or_default();
    if !name.contains('$') || here.place.zone.is_some() {
        return passed(here, pass, target, work);
    }
    let of = work.names.text(name, here.place, work.verdicts)?;
    let mut steps = Vec::new();
    for zone in work.caches.zones() {
        let place = Place { zone: Some(zone.clone()), ..here.place.clone() };
        let route = passed(&Here { place: &place, ..*here }, pass, target, work)?;
        let wanted = value::slug(&format!("{zone}-of-line-{}", pass.start.line));
        let name = value::unique(&wanted, |name| work.taken.contains(name));
        work.taken.insert(name.clone());
        let is = Some(ConditionTest::Equals(Template(zone.replace('$', "$$"))));
        let when = vec![Condition { of: of.clone(), is, not: false }];
        steps.push(Step { when, then: vec![Action::Route(name.clone()), Action::Stop] });
        let rewrite = detour::by_expression(route.rewrite, here.path);
        let origin = format!("{}: {} in {zone}", work.files.line(pass.start), pass.heading());
        work.by_name.push((Route { name, internal: true, rewrite, ..route }, origin, pass.id));
    }
    let any =
        vec![Condition { of, is: Some(ConditionTest::Equals(Template::default())), not: true }];
    steps.push(Step { when: any, then: vec![Action::Respond(answered(500))] });
    let place = Place { zone: Some(String::new()), ..here.place.clone() };
    let mut route = passed(&Here { place: &place, ..*here }, pass, target, work)?;
    route.steps = steps;
    Ok(route)
}

/// The route to one upstream.
fn passed<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    target: &Target<'_>,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let place = Place { proxy: Some(target.names()), proxy_tls: target.tls, ..here.place.clone() };
    let timeouts = timeouts(here.scope, PROXY, work.verdicts);
    let upstream = work.pools.name_of(target, here.scope, timeouts, work.verdicts, work.files)?;
    let rewrite = target.rewrite(here.path, &place, work.names, work.verdicts)?;
    let ask = proxy_pass::ask(here.scope, &place, work.names, work.verdicts)?;
    let route = asking(here, pass, (target, &place), Vec::new(), work);
    Ok(Route { upstream: Some(upstream), rewrite, ask, ..route })
}

/// What a route to an upstream does besides asking it.
fn asking<'a>(
    here: &Here<'_, 'a>,
    pass: &'a Directive,
    (target, place): (&Target<'_>, &Place),
    mut differences: Vec<String>,
    work: &mut Work<'_, 'a>,
) -> Route {
    proxy_pass::settings(here.scope, &mut differences, work.verdicts);
    work.verdicts.add(pass, Verdict::with_differences(&differences));
    let request_headers =
        request_header::edits((PROXY, here.scope), place, work.names, work.verdicts);
    let upgrades = upgrade::upgrades(here.scope, place, work.names, work.verdicts);
    let response_headers =
        response_header::edits(here.scope, Some(PROXY), place, work.names, work.verdicts);
    let mut response_headers = response_headers.unwrap_or_default();
    let replaced =
        redirected::replacements(here.scope, target, here.path, place, work.names, work.verdicts);
    response_headers.replace.extend(replaced);
    let cache_policy =
        work.caches.policy((PROXY, here.scope), place, work.names, work.verdicts, work.files);
    Route {
        upgrades: Some(upgrades),
        buffer_policy: work.buffers.policy(here.scope, work.verdicts),
        response_rate: rate::upstream_rate(here.scope, work.verdicts),
        force_ranges: proxy_pass::forces_ranges(here.scope, work.verdicts),
        chunked: response_header::has_trailers(here.scope),
        request_headers: Some(request_headers),
        response_headers: Some(response_headers).filter(|edits| *edits != HeaderEdits::default()),
        cache_policy,
        forwarded_headers: proxy_config::route::ForwardedHeaders::PassOn,
        request_body_max: body_max(here.scope, work.verdicts),
        kept_body: request_body::kept(here.scope, work.logs, work.verdicts),
        ..Route::to("", "")
    }
}

/// Pages for the errors of a place; the routes of those that are elsewhere become the site's.
pub fn with_pages<'a>(
    route: Route,
    here: &Here<'_, 'a>,
    work: &mut Work<'_, 'a>,
    by_name: &mut Vec<Route>,
) -> Route {
    let taken = &mut *work.taken;
    let mut new_name = |wanted: &str| {
        let name = value::unique(wanted, |name| taken.contains(name));
        taken.insert(name.clone());
        name
    };
    let (scope, place) = (here.scope, here.place);
    let (names, verdicts) = (&mut *work.names, &mut *work.verdicts);
    let pages = detour::pages(scope, here.named, place, names, verdicts, &mut new_name);
    by_name.extend(pages.redirects);
    Route { error_pages: pages.pages, ..route }
}

/// `try_files` of a place, which is not inherited.
fn with_tries<'a>(
    mut route: Route,
    here: &Here<'_, 'a>,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let Some(line) = here.scope.own("try_files").first().copied() else { return Ok(route) };
    let (named, place) = (here.named, here.place);
    let (names, verdicts) = (&mut *work.names, &mut *work.verdicts);
    let result = if route.files.is_some() {
        detour::tries(line, named, place, names, verdicts).map(|tries| route.tries = tries)
    } else if route.respond.is_some() {
        Err("there is no root to look in".to_owned())
    } else {
        let step = detour::must_exist(line, named, place, names, verdicts);
        step.map(|steps| route.steps.extend(steps))
    };
    result.inspect_err(|why| work.verdicts.add(line, Verdict::unsupported(why.clone())))?;
    Ok(route)
}

fn of_files<'a>(here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Result<Route, String> {
    let (scope, around) = (here.scope, here.around);
    let known = (&mut *work.types, &mut *work.names);
    let found = files::files(scope, around, here.path, here.place, known, work.verdicts);
    let found = found.inspect_err(|why| {
        let root = scope.one("root");
        let lines = scope.own("alias").iter().copied().chain(root);
        lines.for_each(|line| work.verdicts.add(line, Verdict::unsupported(why.clone())));
    })?;
    let response_headers =
        response_header::edits(scope, None, here.place, work.names, work.verdicts);
    let route = Route { upstream: None, response_headers, ..Route::to("", "") };
    Ok(match found {
        Some(found) => Route { files: Some(found.files), rewrite: found.rewrite, ..route },
        // nginx looks in a directory of its own, which has nothing for anybody.
        None => Route { respond: Some(answered(404)), ..route },
    })
}

pub fn body_max(scope: &Scope<'_>, verdicts: &mut Verdicts) -> Option<ByteSize> {
    let Some(line) = scope.one("client_max_body_size") else { return Some(BODY_MAX) };
    match line.argument(0).and_then(value::size) {
        Some(size) => {
            verdicts.add(line, Verdict::exact());
            Some(size).filter(|size| size.as_bytes() > 0)
        }
        None => {
            verdicts.add(line, Verdict::unsupported("it is no size"));
            Some(BODY_MAX)
        }
    }
}

/// The route of a place whose steps always answer: what the last of them says is its action.
pub fn of_steps<'a>(here: &Here<'_, 'a>, program: &Program, work: &mut Work<'_, 'a>) -> Route {
    let mut steps = program.steps.clone();
    // What answers after a rewrite does so before another route is looked for.
    let rewrites = |action: &Action| matches!(action, Action::Rewrite(_));
    let stays = steps.iter().any(|step| step.then.iter().any(rewrites));
    let last = steps.last_mut().filter(|step| step.when.is_empty() && !stays);
    let action = last.and_then(|step| step.then.pop());
    steps.retain(|step| !step.then.is_empty());
    let mut route = before_steps(here, work);
    match action {
        Some(Action::Respond(respond)) => route.respond = Some(respond),
        Some(Action::Redirect(redirect)) => route.redirect = Some(redirect),
        // The steps close the connection; nothing is ever answered.
        _ => {
            steps.clone_from(&program.steps);
            route.respond = Some(answered(403));
        }
    }
    Route { steps, ..route }
}

/// A route that answers by its steps alone: what becomes of answers made at its place, and where they are logged.
pub fn before_steps<'a>(here: &Here<'_, 'a>, work: &mut Work<'_, 'a>) -> Route {
    let (scope, place) = (here.scope, here.place);
    Route {
        upstream: None,
        response_headers: response_header::edits(scope, None, place, work.names, work.verdicts),
        access_logs: work.logs.of(scope, place, work.names, work.verdicts),
        error_logs: work.logs.errors.of(scope, false, work.verdicts),
        compression: gzip::compression(scope, work.verdicts),
        substitutions: bodies::substitutions(scope, place, work.names, work.verdicts),
        includes: bodies::includes(scope, work.verdicts),
        internal: is_internal(scope, work.verdicts),
        ..Route::to("", "")
    }
}

/// An answer without a body.
pub fn answered(status: u16) -> Respond {
    Respond { status, body: None, headers: std::collections::BTreeMap::new() }
}

/// nginx's redirect of `/path` to `/path/`, which passes requests on.
pub fn to_slash(path: &str, origin: &str) -> Route {
    let to = Template(format!("{origin}{path}${{question_mark}}${{query}}"));
    Route { upstream: None, redirect: Some(Redirect { to, status: 301 }), ..Route::to("", "") }
}
