//! The way of a request through the steps of routes, on this machine: the path it has in the end is
//! the request's from here on.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use pingora::http::RequestHeader;
use pingora::proxy::Session;
use proxy_config::matching::Target;
use proxy_config::program::Walk;
use proxy_config::route_rules::RenderedReply;
use proxy_config::steps::PathKind;
use proxy_config::way::{End, Map, find as find_end};

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::path::normalize_target;
use crate::rate_limit::key::Asking;
use crate::route::{Route, Routes};
use crate::rules::{self, facts, target};
use crate::split::Destination;

/// Where the way of a request ended.
pub struct Way {
    pub route: Arc<Route>,
    /// Variables and captures on the way.
    pub walk: Walk,
    /// What steps answered.
    pub reply: Option<RenderedReply>,
}

/// Finds the route of a request and rewrites the request as the steps on the way say.
///
/// Errors: no route, a connection that is to be closed, steps that lead in a circle or to no path.
pub fn find(
    listener: &str,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<Way, Failure> {
    let named = exchange.trail.named_route();
    let head = session.req_header();
    let generation = Arc::clone(&exchange.generation);
    let routes = &generation.routes;
    let target = target(listener, head);
    let at = match &named {
        Some(name) => Some(routes.named(name).ok_or(Failure::NoRoute)?),
        None => None,
    };
    if let Some(way) = direct(routes, &target, at, exchange) {
        return Ok(way);
    }
    let asked = rules::asked_for(head, exchange).into_owned();
    // What was set and found before a detour stays.
    let mut walk = exchange.ruled.walk.clone();
    walk.begin(target.path, target.query);
    let nothing = Walk::default();
    let facts = facts(head, exchange, target, &asked, &nothing);
    let map = Map {
        router: &routes.router,
        program: &|index| &routes.at(index).rules.steps,
        named: &|name| routes.named(name),
        leads_to: &leads_to,
    };
    let (index, reply) = match find_end(&map, &facts, &mut walk, at) {
        End::Route(index, reply) => (index, reply),
        End::Close(_) => return Err(Failure::Closed),
        End::Circle => return Err(Failure::Circle),
        End::NoRoute => return Err(routes.refusal(&target)),
    };
    let route = Arc::clone(routes.at(index));
    if walk.rewritten && reply.is_none() {
        let whole = match walk.query.as_str() {
            "" => walk.path.clone(),
            query => format!("{}?{query}", walk.path),
        };
        let form = normalize_target(whole.as_bytes()).map_err(Failure::Target)?;
        session.req_header_mut().set_raw_path(&form).map_err(|_| Failure::Internal)?;
        exchange.ruled.asked.get_or_insert(asked);
    }
    Ok(Way { route, walk, reply })
}

/// The way of nearly every request: to the first route, which has no steps.
pub fn direct(
    routes: &Routes,
    target: &Target<'_>,
    at: Option<usize>,
    exchange: &Exchange,
) -> Option<Way> {
    let index = at.or_else(|| routes.router.find_from(0, target))?;
    let route = routes.at(index);
    if !route.rules.steps.is_empty() || routes.router.is_passage(index) {
        return None;
    }
    let mut walk = exchange.ruled.walk.clone();
    if !route.rules.is_empty() {
        walk.captures.arrive(routes.router.captures(index, target));
    }
    Some(Way { route: Arc::clone(route), walk, reply: None })
}

/// Decides where a request goes, by what is known of it so far.
pub fn destine(head: &RequestHeader, exchange: &mut Exchange, route: &Route) {
    let (client, proved) = (exchange.client, &exchange.proved);
    let asking = Asking { client, route: &route.name, head, proved };
    let Destination { upstream, cache_policy } = route.split.choose(&asking);
    (exchange.upstream, exchange.cache_policy) = (upstream, cache_policy);
}

/// Looks at this machine's files while a request waits: steps that ask for one are few, and the
/// kernel mostly knows.
fn leads_to(path: &str) -> Option<PathKind> {
    let about = std::fs::metadata(path).ok()?;
    Some(match () {
        () if about.is_dir() => PathKind::Directory,
        () if about.is_file() && about.permissions().mode() & 0o111 != 0 => PathKind::Executable,
        () if about.is_file() => PathKind::File,
        () => PathKind::Anything,
    })
}
