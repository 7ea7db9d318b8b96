//! What a route's rules make of one request: its target rewritten, edits of headers both ways, and
//! the answer of a route that answers by itself.

pub mod edits;
pub mod ruled;

use std::borrow::Cow;
use std::time::SystemTime;

use pingora::http::RequestHeader;
use pingora::proxy::Session;
use proxy_config::facts::{Connection, Facts};
use proxy_config::header_edits::Rendered;
use proxy_config::load::Figures;
use proxy_config::matching::Target;
use proxy_config::program::Walk;
use proxy_config::template::Compiled;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::machine;
use crate::path::normalize_target;
use crate::route::Route;
use crate::rules::ruled::{Ruled, ToClient};

/// A request as routes look at it.
pub fn target<'a>(listener: &'a str, head: &'a RequestHeader) -> Target<'a> {
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    Target {
        listener,
        host: host.unwrap_or_default(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        method: head.method.as_str(),
        headers: Some(&head.headers),
    }
}

/// Renders the rules of the route that takes the request, after the steps that led it there.
pub fn render(
    head: &RequestHeader,
    exchange: &Exchange,
    listener: &str,
    route: &Route,
    walk: Walk,
) -> Ruled {
    let (kept, status) = exchange.trail.overlay();
    let to_client = |edits| ToClient { edits, kept, status };
    let asked = exchange.ruled.asked.clone();
    if route.rules.is_empty() {
        let to_client = to_client(Rendered::default());
        return Ruled { asked, to_client, walk, ..Ruled::default() };
    }
    let target = target(listener, head);
    let request_uri = asked_for(head, exchange).into_owned();
    let request_uri = request_uri.as_str();
    let routes = &exchange.generation.routes;
    let facts = facts(head, exchange, target, request_uri, &walk);
    let rewrite = route.rules.rewrite.as_ref().filter(|_| target.path != "*");
    let rewrite = rewrite.filter(|rewrite| !(walk.stayed && rewrite.is_of_prefix()));
    let rewritten = rewrite.map(|rewrite| {
        let (path, rest) = routes.router.rest(route.index, &target);
        rewrite.target(&facts, &path, &rest)
    });
    let to_upstream = route.rules.request_headers.render(&facts);
    let to_client = to_client(route.rules.response_headers.render(&facts));
    let reply = route.rules.reply.as_ref().map(|reply| reply.render(&facts));
    let tries = route.rules.tries.render(&facts);
    let pages = route.rules.pages.iter().map(|page| page.render(&facts)).collect();
    Ruled {
        asked,
        to_upstream,
        to_client,
        reply,
        is_preflight: false,
        by_steps: false,
        texts: route.rules.texts.render(&facts),
        tries,
        pages,
        walk,
        rewritten,
    }
}

/// Path and query as the client asked for them, before any rewrite or detour.
pub fn asked_for<'a>(head: &'a RequestHeader, exchange: &'a Exchange) -> Cow<'a, str> {
    let asked = exchange.trail.asked.as_ref().map(|(_, target)| target.as_str());
    match asked.or(exchange.ruled.asked.as_deref()) {
        Some(asked) => Cow::Borrowed(asked),
        None => String::from_utf8_lossy(head.raw_path()),
    }
}

/// What is known of a request.
pub fn facts<'a>(
    head: &RequestHeader,
    exchange: &'a Exchange,
    target: Target<'a>,
    request_uri: &'a str,
    walk: &'a Walk,
) -> Facts<'a> {
    Facts {
        request_uri,
        scheme: if exchange.tls.is_some() { "https" } else { "http" },
        client: exchange.client,
        request_id: &exchange.request_id,
        proved: &exchange.proved,
        set: &walk.variables,
        tried: &exchange.attempts.tried,
        body: exchange.kept_body.told(),
        connection: Connection {
            peer: exchange.peer,
            local: exchange.local,
            protocol: protocol(head.version),
            now: Some(SystemTime::now()),
            number: Some(exchange.caller.number),
            requests: Some(exchange.caller.requests),
            introduced: exchange.caller.introduced.map(|ends| (ends.source, ends.destination)),
            tls: exchange.caller.tls.as_deref(),
            machine: machine::name(),
            figures: Some(Figures(exchange)),
        },
        ..Facts::of(target, &walk.captures, &exchange.generation.routes.maps)
    }
}

/// A version as logs and rules name it.
pub fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Renders templates that belong to no route: they see the request, what steps have set, and no captures of their own.
pub fn render_params(
    head: &RequestHeader,
    exchange: &Exchange,
    listener: &str,
    params: &[(String, Compiled)],
) -> Vec<(String, String)> {
    if params.is_empty() {
        return Vec::new();
    }
    let asked = asked_for(head, exchange);
    let facts = facts(head, exchange, target(listener, head), &asked, &exchange.ruled.walk);
    params.iter().map(|(name, value)| (name.clone(), value.render(&facts))).collect()
}

/// Rewrites the request's target in place. After this, limits and conditions see another request.
///
/// Errors: `Target` when it is none after the rewrite.
pub fn rewrite(session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
    let Some(rewritten) = exchange.ruled.rewritten.take() else { return Ok(()) };
    go_to(session, exchange, &rewritten)
}

/// Makes this the request's target.
///
/// Errors: `Target` when it is none.
pub fn go_to(session: &mut Session, exchange: &mut Exchange, target: &str) -> Result<(), Failure> {
    let form = normalize_target(target.as_bytes()).map_err(Failure::Target)?;
    let head = session.req_header_mut();
    let asked = String::from_utf8_lossy(head.raw_path()).into_owned();
    exchange.trail.unwritten.get_or_insert_with(|| asked.clone());
    exchange.ruled.asked.get_or_insert(asked);
    head.set_raw_path(&form).map_err(|_| Failure::Internal)
}
