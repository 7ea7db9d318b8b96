//! What a route's rules make of one request: its target rewritten, edits of headers both ways, and
//! the answer of a route that answers by itself.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::SystemTime;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use proxy_config::detours::{Step, To};
use proxy_config::facts::{Connection, Facts};
use proxy_config::header_edits::Rendered;
use proxy_config::load::Figures;
use proxy_config::matching::Target;
use proxy_config::program::Walk;
use proxy_config::route_rules::{RenderedReply, RenderedTexts};
use proxy_config::template::Compiled;

use crate::disguise;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::headers::{self, titled};
use crate::path::normalize_target;
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
    /// The reply is one of steps, which come before limits and proof.
    pub by_steps: bool,
    /// Further texts of the route.
    pub texts: RenderedTexts,
    pub tries: Vec<Step>,
    /// Where each of the route's error pages is.
    pub pages: Vec<To>,
    /// Variables and captures on the way to its route.
    pub walk: Walk,
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
    /// Whether an answer goes out as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.kept.is_empty() && self.status.is_none()
    }

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
            machine: machine(),
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

/// The name of this machine, as it was when it was first asked for.
pub fn machine() -> &'static str {
    static NAME: LazyLock<String> =
        LazyLock::new(|| rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase());
    &NAME
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

/// What a message cannot do without.
const FRAMING: [HeaderName; 4] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];

/// Edits a request on its way to an upstream.
pub fn edit_request(head: &mut RequestHeader, edits: &Rendered) -> pingora::Result<()> {
    let edited = |name: &str| {
        edits.remove.iter().any(|edited| edited.as_str() == name)
            || edits.set.iter().any(|(edited, _)| edited.as_str() == name)
    };
    for name in disguise::twins(&head.headers, edited) {
        head.remove_header(&name);
    }
    if edits.remove_all {
        let all: Vec<HeaderName> = head.headers.keys().cloned().collect();
        for name in all.iter().filter(|name| !FRAMING.contains(name)) {
            head.remove_header(name);
        }
    }
    for (name, values) in edits.replaced(0, &head.headers) {
        head.remove_header(&name);
        for value in values {
            head.append_header(name.clone(), value)?;
        }
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
    for (name, value, how) in edits.appended(0, &head.headers) {
        if how.replace {
            head.insert_header(name, value)?;
        } else {
            head.append_header(name, value)?;
        }
    }
    Ok(())
}

/// The fields of a request as its upstream is asked with them, where they differ from those it came with.
pub fn as_asked(head: &RequestHeader, edits: &Rendered) -> Option<HeaderMap> {
    if edits.is_empty() {
        return None;
    }
    let mut asked = head.clone();
    edit_request(&mut asked, edits).ok()?;
    Some(http::request::Parts::from(asked).headers)
}

/// Edits a response on its way to the client, whoever made it; interim responses stay as they are.
pub fn edit_response(head: &mut ResponseHeader, to_client: &ToClient) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    for (name, value) in &to_client.kept {
        match *name {
            SET_COOKIE => head.append_header(name.clone(), value.clone())?,
            _ => head.insert_header(titled(name), value.clone()).map(|()| true)?,
        };
    }
    if let Some(status) = to_client.status {
        if head.status == StatusCode::NO_CONTENT && status != StatusCode::NO_CONTENT {
            head.insert_header(CONTENT_LENGTH, "0")?;
        }
        head.set_status(status)?;
        head.set_reason_phrase(None)?;
    }
    let edits = &to_client.edits;
    let status = head.status.as_u16();
    if edits.remove_all {
        let all: Vec<HeaderName> = head.headers.keys().cloned().collect();
        for name in all.iter().filter(|name| !FRAMING.contains(name)) {
            head.remove_header(name);
        }
    }
    // What is said of the answer is said of it as it came.
    let appended = edits.appended(status, &head.headers);
    for (name, values) in edits.replaced(status, &head.headers) {
        match values.as_slice() {
            // One value takes its place where the other stood.
            [value] => head.insert_header(titled(&name), value.clone())?,
            values => {
                head.remove_header(&name);
                for value in values {
                    head.append_header(titled(&name), value.clone())?;
                }
            }
        }
    }
    headers::take_off(head, &edits.remove)?;
    for (name, value) in &edits.set {
        head.insert_header(titled(name), value.clone())?;
    }
    for (name, value) in &edits.add {
        head.append_header(titled(name), value.clone())?;
    }
    for (name, value, how) in appended {
        if how.replace {
            head.insert_header(name, value)?;
        } else {
            head.append_header(name, value)?;
        }
    }
    Ok(())
}
