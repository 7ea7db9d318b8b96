//! Asking the service of a route, and what its answer means.

use std::sync::Arc;

use http::Method;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderName, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use proxy_config::captures::Captures;
use proxy_config::late::Answer;
use proxy_config::tried::Tried;

use crate::auth_request::AuthRequest;
use crate::cache::conditional;
use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fastcgi::caller::Caller;
use crate::fill::contact::Contact;
use crate::fill::origin::{Origin, Question};
use crate::fill::reply::Reply;
use crate::rate_limit::key::Asking;
use crate::route::Route;
use crate::upstream::patience::Patience;

const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

impl AuthRequest {
    fn question(&self, head: &RequestHeader, exchange: &Exchange) -> pingora::Result<Question> {
        let asked = exchange.trail.asked.as_ref();
        let method = asked.map_or(&head.method, |(method, _)| method).as_str().to_owned();
        let uri = asked.map_or(head.raw_path(), |(_, target)| target.as_bytes()).to_vec();
        let mut head = head.clone();
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT] {
            head.remove_header(&name);
        }
        for name in conditional::LEFT_OUT {
            head.remove_header(&name);
        }
        head.set_method(Method::GET);
        head.set_raw_path(self.path.as_bytes())?;
        if self.is_told {
            head.insert_header(ORIGINAL_METHOD, method)?;
            head.insert_header(ORIGINAL_URI, uri)?;
        }
        let edits = exchange.ruled.texts.auth_edits.clone().unwrap_or_default();
        Ok(Question { edits, ..exchange.question(Arc::new(head)) })
    }
}

/// Asks the service of the route, where it has one.
///
/// Errors: `Unauthorized` and `Forbidden` where the service refuses, `AuthFailed` where it does not say.
pub async fn ask(edge: &Edge, session: &Session, exchange: &mut Exchange) -> Result<(), Failure> {
    let Some(route) = exchange.route.clone() else { return Ok(()) };
    let open = exchange.ruled.is_preflight || exchange.ruled.by_steps || !exchange.must_prove;
    let Some(auth) = route.auth_request.as_ref().filter(|_| !open) else {
        return Ok(());
    };
    let head = session.req_header();
    let mut question = auth.question(head, exchange).map_err(|_| Failure::Internal)?;
    let caller = Caller::for_upstream(session, exchange, &edge.listener, &auth.upstream);
    question.caller.clone_from(&caller);
    let proved = &exchange.proved;
    let asking = Asking { client: exchange.client, route: &route.name, head, proved };
    let origin = Origin {
        connector: Arc::clone(&edge.state.connector),
        wish: auth.upstream.wish(&asking),
        patience: Patience::of(auth.upstream.timeouts(), None),
        upstream: Arc::clone(&auth.upstream),
        runtimes: edge.state.runtimes.clone(),
        lane: Arc::clone(&route.lane),
        buffering: Arc::clone(&route.buffering),
        reach: None,
        caller,
    };
    let reply = Box::pin(origin.ask(&question, &[], &mut Contact::default(), &|_| {})).await;
    let judged = match &reply {
        Ok(reply) => judge(reply),
        Err(failure) => {
            tracing::warn!(request_id = exchange.request_id, %failure, "who may ask cannot be asked");
            Err(Failure::AuthFailed)
        }
    };
    let result = match &judged {
        Ok(()) => "allowed",
        Err(Failure::AuthFailed) => "failed",
        Err(_) => "refused",
    };
    auth.results.with_label_values(&[auth.route.as_str(), result]).inc();
    let Ok(reply) = reply else { return judged };
    told(edge, head, exchange, &route, &reply);
    if judged.is_ok() {
        let edits = &mut exchange.ruled.to_upstream;
        for name in &auth.copied {
            // What the client sent under this name is not the service's word.
            edits.remove.push(name.clone());
            let said = reply.head.headers.get_all(name).iter().cloned();
            edits.add.extend(said.map(|value| (name.clone(), value)));
        }
    }
    reply.discard().await;
    judged
}

/// Sets the variables that the answer gives, and renders anew what may name them.
fn told(edge: &Edge, head: &RequestHeader, exchange: &mut Exchange, route: &Route, reply: &Reply) {
    let given = std::mem::take(&mut exchange.ruled.texts.auth_set);
    if given.is_empty() {
        return;
    }
    let mut walk = std::mem::take(&mut exchange.ruled.walk);
    let (status, headers) = (reply.head.status.as_u16(), &reply.head.headers);
    let answer = Answer { status, headers, tried: &Tried::nothing(), body: None };
    for (name, text) in given {
        walk.variables.set(&name, text.text(&answer, &Captures::default()));
    }
    edge.rule(head, exchange, route, walk);
}

fn judge(reply: &Reply) -> Result<(), Failure> {
    let challenges = || reply.head.headers.get_all(WWW_AUTHENTICATE).iter().cloned().collect();
    match reply.head.status.as_u16() {
        200..300 => Ok(()),
        401 => Err(Failure::Unauthorized { challenges: challenges() }),
        403 => Err(Failure::Forbidden("the service that says who may ask refuses this")),
        _ => Err(Failure::AuthFailed),
    }
}
