//! What a route's rules make of one request: its target rewritten, edits of headers both ways, and
//! the answer of a route that answers by itself.

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use proxy_config::detours::{Step, To};
use proxy_config::facts::{Captures, Facts};
use proxy_config::header_edits::Rendered;
use proxy_config::matching::Target;
use proxy_config::route_rules::RenderedReply;
use proxy_config::template::Compiled;

use crate::disguise;
use crate::edge::Exchange;
use crate::path::normalize_target;
use crate::respond::Failure;
use crate::route::Route;

/// The rules of a route, rendered for one request.
#[derive(Default)]
pub struct Ruled {
    /// Path and query as the client asked for them, where a rewrite has changed them.
    pub asked: Option<String>,
    pub to_upstream: Rendered,
    pub to_client: ToClient,
    pub reply: Option<RenderedReply>,
    /// The reply is one to a preflight, which proves nothing.
    pub is_preflight: bool,
    pub tries: Vec<Step>,
    /// Where each of the route's error pages is.
    pub pages: Vec<To>,
    /// What the target is to become.
    rewritten: Option<String>,
}

/// What becomes of an answer on its way to the client.
#[derive(Clone, Default)]
pub struct ToClient {
    /// The route's edits, made last.
    pub edits: Rendered,
    /// Fields that replace those of the answer: what led here has said them.
    pub kept: Vec<(HeaderName, HeaderValue)>,
    /// Sent in place of the answer's own.
    pub status: Option<StatusCode>,
}

impl ToClient {
    /// What is answered does not come from where a detour led.
    pub fn stand_alone(&mut self) {
        self.kept.clear();
        self.status = None;
    }
}

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

/// Renders the rules of the route that takes the request.
pub fn render(head: &RequestHeader, exchange: &Exchange, listener: &str, route: &Route) -> Ruled {
    let (kept, status) = exchange.trail.overlay();
    let to_client = |edits| ToClient { edits, kept, status };
    if route.rules.is_empty() {
        return Ruled { to_client: to_client(Rendered::default()), ..Ruled::default() };
    }
    let target = target(listener, head);
    let asked = exchange.trail.asked.as_ref().map(|(_, target)| target.as_str());
    let request_uri =
        asked.map_or_else(|| String::from_utf8_lossy(head.raw_path()), std::borrow::Cow::Borrowed);
    let routes = &exchange.generation.routes;
    let captures = routes.router.captures(route.index, &target);
    let facts = Facts {
        target,
        request_uri: &request_uri,
        scheme: if exchange.tls.is_some() { "https" } else { "http" },
        client: exchange.client,
        request_id: &exchange.request_id,
        proved: &exchange.proved,
        captures: &captures,
        maps: &routes.maps,
    };
    let rewritten = route.rules.rewrite.as_ref().filter(|_| target.path != "*").map(|rewrite| {
        let (path, rest) = routes.router.rest(route.index, &target);
        rewrite.target(&facts, &path, &rest)
    });
    Ruled {
        to_upstream: route.rules.request_headers.render(&facts),
        to_client: to_client(route.rules.response_headers.render(&facts)),
        reply: route.rules.reply.as_ref().map(|reply| reply.render(&facts)),
        is_preflight: false,
        tries: route.rules.tries.render(&facts),
        pages: route.rules.pages.iter().map(|page| page.render(&facts)).collect(),
        rewritten,
        asked: None,
    }
}

/// Renders templates that belong to no route: they see the request and no captures.
pub fn render_params(
    head: &RequestHeader,
    exchange: &Exchange,
    listener: &str,
    params: &[(String, Compiled)],
) -> Vec<(String, String)> {
    if params.is_empty() {
        return Vec::new();
    }
    let asked = exchange.trail.asked.as_ref().map(|(_, target)| target.clone());
    let request_uri = asked.or_else(|| exchange.ruled.asked.clone());
    let request_uri =
        request_uri.unwrap_or_else(|| String::from_utf8_lossy(head.raw_path()).into_owned());
    let facts = Facts {
        target: target(listener, head),
        request_uri: &request_uri,
        scheme: if exchange.tls.is_some() { "https" } else { "http" },
        client: exchange.client,
        request_id: &exchange.request_id,
        proved: &exchange.proved,
        captures: &Captures::default(),
        maps: &exchange.generation.routes.maps,
    };
    params.iter().map(|(name, value)| (name.clone(), value.render(&facts))).collect()
}

/// Rewrites the request's target in place. After this, limits and conditions see another request.
///
/// Errors: `Target` when it is none after the rewrite.
pub fn rewrite(session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
    let Some(rewritten) = exchange.ruled.rewritten.take() else { return Ok(()) };
    let form = normalize_target(rewritten.as_bytes()).map_err(Failure::Target)?;
    let head = session.req_header_mut();
    exchange.ruled.asked = Some(String::from_utf8_lossy(head.raw_path()).into_owned());
    head.set_raw_path(&form).map_err(|_| Failure::Internal)
}

/// Edits a request on its way to an upstream.
pub fn edit_request(head: &mut RequestHeader, edits: &Rendered) -> pingora::Result<()> {
    let edited = |name: &str| {
        edits.remove.iter().any(|edited| edited.as_str() == name)
            || edits.set.iter().any(|(edited, _)| edited.as_str() == name)
    };
    for name in disguise::twins(&head.headers, edited) {
        head.remove_header(&name);
    }
    for name in &edits.remove {
        head.remove_header(name);
    }
    for (name, value) in &edits.set {
        head.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Edits a response on its way to the client, whoever made it; interim responses stay as they are.
pub fn edit_response(head: &mut ResponseHeader, to_client: &ToClient) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    for (name, value) in &to_client.kept {
        match *name {
            SET_COOKIE => head.append_header(name.clone(), value.clone())?,
            _ => head.insert_header(name.clone(), value.clone()).map(|()| true)?,
        };
    }
    if let Some(status) = to_client.status {
        head.set_status(status)?;
        head.set_reason_phrase(None)?;
    }
    let edits = &to_client.edits;
    for name in &edits.remove {
        head.remove_header(name);
    }
    for (name, value) in &edits.set {
        head.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}
