//! Internal redirects: the one engine behind `error_pages`, `try`, `X-Accel-Redirect` and `X-Sendfile`.
//!
//! A detour sends a request on inside the proxy, to the route of another path or to one it names. There
//! it is admitted anew: gate, proof, lane and limits of that route apply. A path that a failure or an
//! upstream's answer leads to is asked for with GET and without the client's body; a route they name is asked as the
//! failed one was, if the body can be had again ([`kept_body::again`](crate::kept_body::again)); what `try` leads
//! to is the request as the client sent it. No request takes more than [`DETOURS_MAX`].

pub mod trail;

use std::borrow::Cow;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, EXPIRES,
    HeaderName, SET_COOKIE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use proxy_config::detours::To;

use crate::cache::conditional;
use crate::cache::heeded::X_ACCEL_EXPIRES;
use crate::detour::trail::{Detour, Goal, Page, Trail, Why};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::handed_out::named::Named;
use crate::path::{TargetFault, normalize_target, target_of_server};
use crate::respond;

/// Detours of one request; more is a circle.
pub const DETOURS_MAX: u32 = 10;

const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
/// What else servers say to a proxy and not to its clients.
const X_ACCEL: [HeaderName; 3] = [
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-accel-charset"),
    HeaderName::from_static("x-accel-limit-rate"),
];
/// Fields of the answer that named the path which go on to the client with what is found there.
const KEPT: [HeaderName; 6] =
    [CONTENT_TYPE, CONTENT_DISPOSITION, ACCEPT_RANGES, CACHE_CONTROL, EXPIRES, SET_COOKIE];

/// The body of a request that is sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// There is none to send.
    Empty,
    /// All of it can be had.
    There,
    Lost,
}

impl Detour {
    /// Whether it leads, by its name, to a route that takes the request as it is: one that asks somebody.
    pub fn takes_request(&self, exchange: &Exchange) -> bool {
        let Goal::To(To::Route(name)) = &self.to else { return false };
        let routes = &exchange.generation.routes;
        let route = routes.named(name).map(|index| routes.at(index));
        let asks = route.is_some_and(|route| route.files.is_none() && route.rules.reply.is_none());
        asks && !matches!(self.why, Why::Try | Why::Inside)
    }
}

/// Sets a request on its way to somewhere else: its head now says what is asked for inside, or the file that it is answered
/// with is given back. `again` is what can be had of its body, where the detour [takes the request](Detour::takes_request).
pub fn enter(
    session: &mut Session,
    exchange: &mut Exchange,
    detour: Detour,
    again: Option<Again>,
) -> Result<Option<Named>, Failure> {
    let trail = &mut exchange.trail;
    trail.count += 1;
    if trail.count > DETOURS_MAX {
        tracing::warn!(request_id = exchange.request_id, "a request was sent round in a circle");
        return Err(Failure::Circle);
    }
    let head = session.req_header_mut();
    trail.asked.get_or_insert_with(|| {
        let asked = exchange.ruled.asked.clone();
        let own = || String::from_utf8_lossy(head.raw_path()).into_owned();
        (head.method.clone(), asked.unwrap_or_else(own))
    });
    let goes_as_it_came = matches!(detour.why, Why::Try | Why::Inside);
    if !goes_as_it_came && again != Some(Again::There) {
        trail.without_body = true;
        if again != Some(Again::Empty) && head.method != Method::HEAD {
            head.set_method(Method::GET);
        }
    }
    match detour.to {
        Goal::To(To::Route(name)) => {
            trail.route = Some(name);
            if let Some(target) = trail.unwritten.take_if(|_| !goes_as_it_came) {
                head.set_raw_path(target.as_bytes()).map_err(|_| Failure::Internal)?;
            }
        }
        Goal::To(To::Path(path)) => {
            let target = normalize_target(path.as_bytes());
            lead_to(head, trail, path.as_bytes(), target)?;
        }
        Goal::Named(path) => {
            let target = target_of_server(path.as_bytes()).map(Cow::Owned);
            lead_to(head, trail, path.as_bytes(), target)?;
        }
        Goal::File(named) => return Ok(Some(*named)),
    }
    let path = String::from_utf8_lossy(head.raw_path()).into_owned();
    trail.entrance = Some((path, trail.route.clone()));
    match detour.why {
        Why::Try | Why::Inside => {}
        Why::Accel(kept) => trail.kept = kept,
        Why::Page(page) => {
            for name in conditional::LEFT_OUT {
                head.remove_header(&name);
            }
            trail.kept = respond::fields_of(&page.failure, &exchange.request_id);
            trail.failed = trail.failed.take().or_else(|| exchange.route.clone());
            trail.page = Some(page);
        }
    }
    Ok(None)
}

/// The request asks for this target from here on.
fn lead_to(
    head: &mut RequestHeader,
    trail: &mut Trail,
    path: &[u8],
    target: Result<Cow<'_, [u8]>, TargetFault>,
) -> Result<(), Failure> {
    trail.unwritten = None;
    let target = target.map_err(|fault| {
        let path = String::from_utf8_lossy(path);
        tracing::warn!(%path, %fault, "a request cannot be sent on to this path");
        Failure::Internal
    })?;
    head.set_raw_path(&target).map_err(|_| Failure::Internal)
}

/// The page that stands in for a failure.
///
/// Errors: the failure to answer with, when there is none. A page that fails is replaced by the plain
/// answer to what it stands in for.
pub fn page_for(
    session: &mut Session,
    exchange: &mut Exchange,
    failure: Failure,
) -> Result<Detour, Failure> {
    let begun = session.response_written().is_some_and(|head| !head.status.is_informational());
    if let Some(page) = exchange.trail.page.take() {
        if begun || failure == Failure::ClientGone {
            exchange.trail.page = Some(page);
            return Err(failure);
        }
        exchange.ruled.to_client.stand_alone();
        if page.own_failures {
            return Err(failure);
        }
        tracing::warn!(request_id = exchange.request_id, %failure, "an error page failed");
        return Err(page.failure);
    }
    let status = failure.status().filter(|_| !begun);
    let Some(detour) = status.and_then(|status| page(exchange, status, false, &failure)) else {
        exchange.ruled.to_client.stand_alone();
        return Err(failure);
    };
    respond::distrust(session, &failure);
    Ok(detour)
}

fn page(
    exchange: &Exchange,
    status: StatusCode,
    is_upstreams: bool,
    failure: &Failure,
) -> Option<Detour> {
    let route = exchange.route.as_ref()?;
    let mut pages = route.rules.pages.iter().zip(&exchange.ruled.pages);
    let (page, to) = pages.find(|(page, _)| page.takes(status.as_u16(), is_upstreams))?;
    let set = page.status.and_then(|status| StatusCode::from_u16(status).ok());
    let sent = if page.own_status { None } else { Some(set.unwrap_or(status)) };
    let (failure, own_failures) = (failure.clone(), page.own_failures);
    let why = Why::Page(Page { failure, status: sent, own_failures });
    Some(Detour { to: to.clone().into(), why })
}

/// What answers here in place of an error does so with a redirect or an error of its own: that is what is sent, where
/// the page says so.
pub fn speaks_for_itself(exchange: &mut Exchange, status: u16) {
    let own = exchange.trail.page.as_ref().is_some_and(|page| page.own_failures);
    if own && status >= 300 {
        exchange.trail.page = None;
        exchange.ruled.to_client.stand_alone();
    }
}

/// Where an upstream's answer leads, if it is not the answer the client gets.
pub fn after(exchange: &Exchange, head: &ResponseHeader) -> Option<Detour> {
    let obeyed = exchange.upstream.as_ref().is_some_and(|upstream| upstream.x_accel);
    if obeyed && let Some(path) = head.headers.get(X_ACCEL_REDIRECT) {
        let to = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => To::Route(String::from_utf8_lossy(name).into_owned()).into(),
            None => Goal::Named(path.clone()),
        };
        return Some(Detour { to, why: Why::Accel(kept_of(&head.headers)) });
    }
    let folders = exchange.upstream.as_ref().and_then(|upstream| upstream.folders.as_ref());
    if let Some(named) = folders.and_then(|folders| folders.named(head)) {
        return Some(Detour { to: Goal::File(Box::new(named)), why: Why::Accel(Vec::new()) });
    }
    if exchange.trail.page.is_some() || head.status.as_u16() < 300 {
        return None;
    }
    page(exchange, head.status, true, &Failure::UpstreamStatus(head.status))
}

fn kept_of(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let all = headers.iter().filter(|(name, _)| KEPT.contains(name));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether an answer of this request's upstream may lead elsewhere: then the proxy asks by itself, so
/// that the client's connection outlives the answer that is not passed on.
pub fn may_follow(exchange: &Exchange) -> bool {
    let obeys = exchange.upstream.as_ref().is_some_and(|upstream| upstream.folders.is_some());
    let mut pages = exchange.route.iter().flat_map(|route| &route.rules.pages);
    obeys || pages.any(proxy_config::detours::Page::takes_upstream_errors)
}

/// Takes off what a server that is obeyed says to this proxy alone, and gives back how long the answer may be kept.
pub fn settle(head: &mut ResponseHeader) -> Option<HeaderValue> {
    for name in X_ACCEL {
        head.remove_header(&name);
    }
    head.remove_header(&X_ACCEL_EXPIRES)
}

/// The request is answered: says so for what a page stood in for.
pub fn arrived(session: &Session, exchange: &mut Exchange) {
    if let Some(page) = exchange.trail.page.take() {
        exchange.answered = session.response_written().map(|head| head.status);
        exchange.failure = Some(page.failure);
    }
}

/// Whether the body of the client's request, if there is one, has no say in what is asked.
pub fn is_bodiless(session: &mut Session, exchange: &Exchange) -> bool {
    let head = session.req_header();
    let plain = head.method == Method::GET || head.method == Method::HEAD;
    let empty = head.headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    exchange.trail.without_body || (plain && empty && session.is_body_empty())
}
