//! A `server` block: where it listens, the hosts it answers for, and what becomes of each location.

use std::collections::HashSet;
use std::rc::Rc;

use proxy_config::Route;
use proxy_config::host::HostPattern;
use proxy_config::route::PathMatch;

use crate::place::Files;
use crate::translate::answer::{self, Here};
use crate::translate::auth::ByPath;
use crate::translate::buffers::Buffers;
use crate::translate::cache::Caches;
use crate::translate::detour::Named;
use crate::translate::files::Types;
use crate::translate::limit::Limits;
use crate::translate::location::{self, Kind, Location};
use crate::translate::log::Logs;
use crate::translate::order::{self, Spot};
use crate::translate::rewrite::{self, Program, Reading};
use crate::translate::scope::Scope;
use crate::translate::upstream::Pools;
use crate::translate::value::{slug, unique};
use crate::translate::variable::{Names, Place};
use crate::translate::{
    as_sent, captured, detour, except, fastcgi, files, identity, link, listen, referer,
    response_header, returned, server_name, undecided,
};
use crate::tree::Directive;
use crate::verdict::{Verdict, Verdicts};

/// One route to be of a site, before it is said for which hosts.
#[derive(Debug)]
pub struct Step {
    pub paths: Vec<PathMatch>,
    pub within: Vec<PathMatch>,
    /// What its name ends in.
    pub label: String,
    /// `file:line: location /x`
    pub origin: String,
    /// What answers, or why nothing does.
    pub outcome: Result<Route, String>,
    /// Whether it only stands for what nothing else takes, or takes requests a part of their way.
    pub is_filler: bool,
    /// Id of the directive it stands for.
    pub block: usize,
}

#[derive(Debug)]
pub struct Site<'a> {
    pub directive: &'a Directive,
    pub scope: Rc<Scope<'a>>,
    pub listens: Vec<listen::Listen<'a>>,
    pub hosts: Vec<HostPattern>,
    /// The name that stands for it.
    pub name: String,
    /// What `$server_name` is there.
    pub told_name: String,
    pub name_lines: Vec<&'a Directive>,
    pub steps: Vec<Step>,
    pub differences: Vec<String>,
    /// Routes of its named locations.
    pub named: Rc<Named>,
    /// Its locations by their paths.
    pub by_path: Rc<ByPath<'a>>,
}

impl Site<'_> {
    /// Whether anything of it is answered.
    pub fn is_live(&self) -> bool {
        self.steps.iter().any(|step| step.outcome.is_ok() && !step.is_filler)
    }
}

/// What translating a server needs to know and adds to.
pub struct Work<'w, 'a> {
    pub files: &'w Files,
    pub verdicts: &'w mut Verdicts,
    pub pools: &'w mut Pools<'a>,
    pub caches: &'w mut Caches<'a>,
    pub names: &'w mut Names<'a>,
    /// Names that routes have.
    pub taken: &'w mut HashSet<String>,
    pub limits: &'w mut Limits<'a>,
    pub types: &'w mut Types,
    pub buffers: &'w mut Buffers,
    /// Routes that requests are only led to by their names, which are final.
    pub by_name: &'w mut Vec<ByName>,
    pub logs: &'w mut Logs<'a>,
}

/// A route by name, the comment above it, and the id of the directive it stands for.
pub type ByName = (Route, String, usize);

/// Reads where a server listens and what it is called.
pub fn read<'a>(
    directive: &'a Directive,
    http: &Rc<Scope<'a>>,
    verdicts: &mut Verdicts,
) -> Site<'a> {
    let scope = Scope::of(directive, Some(http));
    let mut listens = Vec::new();
    for line in scope.own("listen") {
        match listen::parse(line) {
            Ok(listen) => listens.push(listen),
            Err(why) => verdicts.add(line, Verdict::unsupported(why)),
        }
    }
    if scope.own("listen").is_empty() {
        listens.push(listen::assumed());
    }
    let mut hosts = Vec::new();
    let name_lines = scope.own("server_name").to_vec();
    for line in &name_lines {
        let names = server_name::parse(line);
        verdicts.add(line, names.verdict());
        let new: Vec<_> = names.hosts.into_iter().filter(|host| !hosts.contains(host)).collect();
        hosts.extend(new);
    }
    let name = name_lines.first().and_then(|line| line.argument(0)).unwrap_or_default();
    let told_name = match name.starts_with('~') {
        true => name.to_owned(),
        false => name.strip_prefix('.').unwrap_or(name).to_ascii_lowercase(),
    };
    let name = name.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    let (steps, differences) = (Vec::new(), Vec::new());
    let (named, by_path) = (Rc::default(), Rc::default());
    Site {
        directive,
        scope,
        listens,
        hosts,
        name,
        told_name,
        name_lines,
        steps,
        differences,
        named,
        by_path,
    }
}

/// Decides what becomes of a server and of each of its locations.
pub fn decide<'a>(site: &mut Site<'a>, work: &mut Work<'_, 'a>) {
    let locations = location::locations(site.directive, &site.scope);
    let mut named = Named::new();
    name_all(&locations, site, &mut named, work);
    let named = Rc::new(named);
    site.named = Rc::clone(&named);
    let mut by_path = ByPath::new();
    all_by_path(&locations, &mut by_path);
    let by_path = Rc::new(by_path);
    site.by_path = Rc::clone(&by_path);
    let place = place(site, &site.scope);
    let origin = format!("{}: server", work.files.line(site.directive.start));
    let block = site.directive.id;
    let everywhere = |outcome| Step {
        paths: Vec::new(),
        within: Vec::new(),
        label: "server".to_owned(),
        origin: origin.clone(),
        outcome,
        is_filler: false,
        block,
    };
    let identity = identity::steps(&site.scope);
    if rewrite::has_steps(site.directive) || !identity.is_empty() {
        let program = steps(site.directive, None, &place, site, work);
        let program = program.map(|mut program| {
            program.steps.splice(0..0, identity);
            program
        });
        match program {
            Err(why) => {
                site.steps.push(everywhere(Err(why.clone())));
                return closed_inside(site, &why, work);
            }
            Ok(program) if program.always_ends => {
                let route = {
                    let here = here(&site.scope, (&named, &by_path), &place);
                    let route = answer::of_steps(&here, &program, work);
                    with_pages(route, &here, block, work)
                };
                site.steps.push(everywhere(Ok(route)));
                return unreached_inside(site, work);
            }
            Ok(program) => {
                let here = here(&site.scope, (&named, &by_path), &place);
                let steps = program.steps;
                let route = Route { steps, ..answer::before_steps(&here, work) };
                let route = with_pages(route, &here, block, work);
                site.steps.push(Step { is_filler: true, ..everywhere(Ok(route)) });
            }
        }
    }
    slashes(&locations, site, work);
    let spots = order::in_order(&locations);
    for spot in &spots {
        let step = of_spot(spot, site, work);
        site.steps.push(step);
    }
    of_named(&locations, site, work);
    let decided = spots.iter().map(|spot| spot.location.directive.id).collect();
    undecided::say(&locations, &decided, &named, work);
    let all = PathMatch::Prefix("/".to_owned());
    if !spots.iter().any(|spot| spot.path == all && spot.within.is_empty()) {
        let route = remainder(&all, site, &place, work);
        // A server that refuses handshakes has nothing to answer, and is one all the same.
        let refuses = site.scope.one("ssl_reject_handshake").is_some_and(|line| line.has("on"));
        let is_filler = route.respond.is_some() && !refuses;
        site.steps.push(Step { paths: vec![all], is_filler, ..everywhere(Ok(route)) });
    }
}

/// What no location takes is the server's own matter, unless one takes all.
fn remainder<'a>(
    all: &PathMatch,
    site: &mut Site<'a>,
    place: &Place,
    work: &mut Work<'_, 'a>,
) -> Route {
    let here = Here { path: Some(all), ..here(&site.scope, (&site.named, &site.by_path), place) };
    let route = answer::route(&here, work).unwrap_or_else(|_| nothing());
    let route = with_pages(route, &here, site.directive.id, work);
    if route.respond.is_some() {
        site.differences.push("paths without a location get 404; nginx looks for files".to_owned());
    }
    route
}

fn nothing() -> Route {
    Route { upstream: None, respond: Some(answer::answered(404)), ..Route::to("", "") }
}

fn here<'s, 'a>(
    scope: &'s Rc<Scope<'a>>,
    (named, locations): (&'s Named, &'s ByPath<'a>),
    place: &'s Place,
) -> Here<'s, 'a> {
    Here { scope, around: None, path: None, named, locations, place }
}

/// A route with the error pages of its place.
fn with_pages<'a>(
    route: Route,
    here: &Here<'_, 'a>,
    block: usize,
    work: &mut Work<'_, 'a>,
) -> Route {
    let mut made = Vec::new();
    let route = answer::with_pages(route, here, work, &mut made);
    work.by_name.extend(made.into_iter().map(|route| (route, "error_page".to_owned(), block)));
    route
}

fn all_by_path<'a>(level: &[Location<'a>], by_path: &mut ByPath<'a>) {
    for location in level {
        all_by_path(&location.nested, by_path);
        if let Some(path) = location.path() {
            let found = (location.directive, Rc::clone(&location.scope));
            by_path.insert(path.to_owned(), found);
        }
    }
}

/// Gives every named location the name of its route.
fn name_all(level: &[Location<'_>], site: &Site<'_>, named: &mut Named, work: &mut Work<'_, '_>) {
    for location in level {
        if let Kind::Named(at) = &location.kind {
            let wanted = slug(&format!("{}-{}", site.name, at));
            let name = unique(&wanted, |name| work.taken.contains(name));
            work.taken.insert(name.clone());
            named.insert(at.clone(), name);
        }
        name_all(&location.nested, site, named, work);
    }
}

/// The routes of named locations: only what leads to them by name reaches them.
fn of_named<'a>(level: &[Location<'a>], site: &mut Site<'a>, work: &mut Work<'_, 'a>) {
    for location in level {
        let Kind::Named(at) = &location.kind else { continue };
        let Some(name) = site.named.get(at).cloned() else { continue };
        let outcome = of_location(location, None, site, work);
        let heading = location.directive.heading();
        let mut origin = format!("{}: {heading}", work.files.line(location.directive.start));
        let route = outcome.unwrap_or_else(|why| {
            origin.push_str(&format!(": NOT TRANSLATED, answers 502: {why}"));
            Route::to("", work.pools.closed())
        });
        let route = Route { name, internal: true, ..route };
        work.by_name.push((route, origin, location.directive.id));
    }
}

/// What nginx puts before the path of a redirect of its own, where that is not how the client named it.
fn origin(scope: &Scope<'_>, server_name: &str) -> Option<String> {
    let is = |name: &str, value: &str| scope.one(name).is_some_and(|line| line.has(value));
    if is("absolute_redirect", "off") {
        return Some(String::new());
    }
    let host = match is("server_name_in_redirect", "on") && !server_name.is_empty() {
        true => server_name.replace('$', "$$"),
        false => "${host}".to_owned(),
    };
    is("port_in_redirect", "off").then(|| format!("${{scheme}}://{host}"))
}

/// As they are written.
fn server_names(site: &Site<'_>) -> Vec<String> {
    site.name_lines.iter().flat_map(|line| line.texts()).map(str::to_owned).collect()
}

fn place(site: &Site<'_>, scope: &Scope<'_>) -> Place {
    let one = |name: &str| scope.one(name).and_then(|line| line.argument(0)).map(str::to_owned);
    let alias = files::inherited_alias(scope).and_then(|(line, holder)| {
        let prefix = match files::path_of(holder) {
            Some(PathMatch::Prefix(prefix)) => Some(prefix),
            _ => None,
        };
        Some((line.argument(0)?.to_owned(), prefix))
    });
    let server_name = Some(site.told_name.clone());
    let origin = origin(scope, &site.told_name);
    Place {
        server_name,
        root: one("root"),
        alias,
        origin,
        script: fastcgi::script(scope),
        link: link::is_in_force(scope),
        referers: referer::words(scope, &server_names(site)),
        vouches_for_none: identity::vouches_for_none(scope),
        as_sent: as_sent::is_so(scope),
        puts_slash: as_sent::puts_slash(scope),
        ..Place::default()
    }
}

/// The steps of a block, where it has any.
fn steps<'a>(
    block: &'a Directive,
    around: Option<(&Location<'a>, Option<&PathMatch>)>,
    place: &Place,
    site: &mut Site<'a>,
    work: &mut Work<'_, 'a>,
) -> Result<Program, String> {
    let scope = around.map_or(&site.scope, |(location, _)| &location.scope);
    let types = files::Types::of(scope, work.verdicts);
    let path = around.and_then(|(_, path)| path);
    let content_type = returned::content_type(block, path, &types, work.names);
    referer::say(scope, work.verdicts);
    let link = rewrite::link(block, scope, place, work.names, work.verdicts)?;
    let (own_named, own_locations) = (Rc::clone(&site.named), Rc::clone(&site.by_path));
    let Work {
        files,
        verdicts,
        pools,
        caches,
        names,
        taken,
        limits,
        types,
        buffers,
        by_name,
        logs,
    } = work;
    let mut route_of_if = |line: &'a Directive, names: &mut Names<'a>, verdicts: &mut Verdicts| {
        let Some((location, path)) = around else {
            return Err("an `if` in a server that does more than rewrite".to_owned());
        };
        let scope = Scope::of(line, Some(&location.scope));
        let here = Here {
            scope: &scope,
            around: Some(&*location.scope),
            path,
            named: &own_named,
            locations: &own_locations,
            place,
        };
        let mut work = Work {
            files,
            verdicts,
            pools,
            caches,
            names,
            taken,
            limits,
            types,
            buffers,
            by_name,
            logs,
        };
        let mut route = answer::route(&here, &mut work)?;
        let origin = format!("{}: {}", work.files.line(line.start), line.heading());
        let wanted = format!("if-of-line-{}", line.start.line);
        route.name = unique(&wanted, |name| work.taken.contains(name));
        work.taken.insert(route.name.clone());
        route.internal = true;
        route.rewrite = detour::by_expression(route.rewrite, path);
        let name = route.name.clone();
        work.by_name.push((route, origin, line.id));
        Ok(name)
    };
    let passes = block.children().iter().any(|line| rewrite::passes(&line.name));
    let mut reading = Reading {
        names,
        verdicts,
        place,
        block,
        path,
        content_type,
        passes,
        link,
        route_of_if: &mut route_of_if,
    };
    rewrite::program(block, &mut reading)
}

/// What answers in a location, or why nothing does.
fn of_location<'a>(
    location: &Location<'a>,
    path: Option<&PathMatch>,
    site: &mut Site<'a>,
    work: &mut Work<'_, 'a>,
) -> Result<Route, String> {
    let expression = captured::of_path(location.directive, path);
    let place = Place { expression, ..place(site, &location.scope) };
    let (named, by_path) = (Rc::clone(&site.named), Rc::clone(&site.by_path));
    let first = work.by_name.len();
    let program = steps(location.directive, Some((location, path)), &place, site, work);
    let outcome = program.and_then(|program| {
        let here = Here { path, ..here(&location.scope, (&named, &by_path), &place) };
        let route = match program.always_ends {
            true => answer::of_steps(&here, &program, work),
            false => {
                let mut route = answer::route(&here, work)?;
                let limited = except::steps(&here, work)?;
                route.steps.splice(0..0, program.steps.into_iter().chain(limited));
                route
            }
        };
        let led = first..work.by_name.len();
        let route = with_pages(route, &here, location.directive.id, work);
        for (other, _, _) in &mut work.by_name[led] {
            other.error_pages.clone_from(&route.error_pages);
        }
        Ok(route)
    });
    let verdict = match &outcome {
        Err(why) => Verdict::unsupported(format!("stays closed: {why}")),
        Ok(_) => Verdict::exact(),
    };
    work.verdicts.add(location.directive, verdict);
    outcome
}

fn of_spot<'a>(spot: &Spot<'_, 'a>, site: &mut Site<'a>, work: &mut Work<'_, 'a>) -> Step {
    let location = spot.location;
    let outcome = of_location(location, Some(&spot.path), site, work);
    let label = match &location.kind {
        Kind::Exact(path) => format!("{path}-exact"),
        Kind::Prefix { path, .. } => path.clone(),
        Kind::Regex { pattern, .. } => pattern.clone(),
        Kind::Named(name) => name.clone(),
        Kind::Invalid(_) => String::new(),
    };
    Step {
        paths: vec![spot.path.clone()],
        within: spot.within.clone(),
        label,
        origin: format!(
            "{}: {}",
            work.files.line(location.directive.start),
            location.directive.heading()
        ),
        outcome,
        is_filler: false,
        block: location.directive.id,
    }
}

/// nginx redirects `/api` to `/api/` when a location `/api/` passes requests on and none is for
/// `/api`.
fn slashes<'a>(locations: &[Location<'a>], site: &mut Site<'a>, work: &mut Work<'_, 'a>) {
    let mut paths = HashSet::new();
    all_paths(locations, &mut paths);
    slashes_of(locations, &paths, site, work);
}

/// Those that stand in locations of paths, too: nginx looks there before it looks for expressions.
fn all_paths<'l>(level: &'l [Location<'_>], paths: &mut HashSet<&'l str>) {
    for location in level {
        paths.extend(location.path());
        all_paths(&location.nested, paths);
    }
}

fn slashes_of<'a>(
    level: &[Location<'a>],
    paths: &HashSet<&str>,
    site: &mut Site<'a>,
    work: &mut Work<'_, 'a>,
) {
    const PASSES: [&str; 6] =
        ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass"];
    for location in level {
        let Some(path) = location.path() else { continue };
        slashes_of(&location.nested, paths, site, work);
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty());
        let passes = PASSES.iter().any(|name| !location.scope.own(name).is_empty());
        let (Some(bare), true, Some(_)) = (bare, passes, order::matched(location)) else {
            continue;
        };
        if paths.contains(bare) {
            continue;
        }
        let place = place(site, &location.scope);
        let mut route = answer::to_slash(path, place.origin());
        let scope = &location.scope;
        route.access_logs = work.logs.of(scope, &place, work.names, work.verdicts);
        route.error_logs = work.logs.errors.of(scope, false, work.verdicts);
        route.response_headers =
            response_header::edits(scope, None, &place, work.names, work.verdicts);
        site.steps.push(Step {
            paths: vec![PathMatch::Exact(bare.to_owned())],
            within: Vec::new(),
            label: format!("{bare}-slash"),
            origin: format!("{}: its slash", work.files.line(location.directive.start)),
            outcome: Ok(route),
            is_filler: true,
            block: location.directive.id,
        });
    }
}

/// Locations of a server whose own steps cannot be translated.
fn closed_inside(site: &Site<'_>, why: &str, work: &mut Work<'_, '_>) {
    for location in location::locations(site.directive, &site.scope) {
        let why = format!("stays closed: its server's steps are not translated ({why})");
        work.verdicts.add(location.directive, Verdict::unsupported(why));
    }
}

/// Locations of a server that answers every request before it looks for one.
fn unreached_inside(site: &Site<'_>, work: &mut Work<'_, '_>) {
    for location in location::locations(site.directive, &site.scope) {
        let why = "its server answers every request before it looks for a location";
        crate::tree::walk(std::slice::from_ref(location.directive), &mut |directive| {
            work.verdicts.add(directive, Verdict::ignored(why));
        });
    }
}
