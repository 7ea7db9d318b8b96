//! A request whose body, or whose answer, is held by a policy: taken in, asked for, handed back.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TE, UPGRADE};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use proxy_config::buffer_policy::Way;

use crate::buffer::body::Body;
use crate::buffer::intake::take_in;
use crate::detour::trail::Next;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::origin::{Feed, Origin};
use crate::{frames, headers, hop, relay};

/// Whether the proxy asks by itself for what it is about to hold. What is no exchange of one body for another
/// is left to pingora: upgrades, and calls of gRPC, which end in trailers.
pub fn applies(session: &mut Session, exchange: &Exchange) -> bool {
    let Some(policy) = exchange.route.as_ref().map(|route| &route.buffering) else { return false };
    let holds = |way| !policy.side(way).is_off();
    let has_request = !session.is_body_empty() && !exchange.trail.without_body;
    !goes_both_ways(session) && (holds(Way::Responses) || (has_request && holds(Way::Requests)))
}

/// Whether a request is no exchange of one body for another.
pub fn goes_both_ways(session: &Session) -> bool {
    let fields = &session.req_header().headers;
    let grpc = fields
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    fields.contains_key(UPGRADE)
        || grpc
        || (fields.contains_key(TE) && headers::takes_trailers(fields) && frames::is_http2(session))
}

/// Whether a script is asked by [`pass`] too. It must be told the length of its body: what is gathered first has
/// one, and what the client says has one.
pub fn suits_scripts(session: &Session, exchange: &Exchange) -> bool {
    let route = exchange.route.as_ref();
    let spools = route.is_some_and(|route| route.buffering.side(Way::Requests).spool);
    spools || session.req_header().headers.contains_key(CONTENT_LENGTH)
}

/// Asks the upstream with the client's body, and sends its answer on.
pub async fn pass(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
) -> Result<Next, Failure> {
    hop::to(exchange.place()).await;
    let route = exchange.route.clone().ok_or(Failure::Internal)?;
    let held = relay::room(exchange)?;
    let body = Body::new(&route.buffering, Way::Requests, &route.lane);
    let body = Arc::new(body.map_err(|_| Failure::LaneFull)?);
    let said = exchange.kept_body.length().or_else(|| declared(session.req_header()));
    expect_no_more(session).await?;
    let mut question = relay::question(session.req_header(), exchange);
    let mut contact = Contact::default();
    let asked = {
        let asking = Box::pin(async {
            body.ready().await?;
            body.keep();
            let length = body.whole_length().or(said);
            question.feed = Some(Feed { body: Arc::clone(&body), length });
            origin.ask(&question, &[], &mut contact, &|_| {}).await
        });
        let taking = take_in(session, exchange, &route.buffering, &body);
        tokio::select! {
            biased;
            asked = asking => asked,
            failure = taking => Err(failure),
        }
    };
    // An answer that does not wait for the body ends the connection it would still come on.
    if !session.is_body_done() {
        session.set_keepalive(None);
    }
    drop((question, body));
    exchange.met(contact);
    relay::answer(session, exchange, asked?, held).await
}

/// The length of its body, as the client says it.
pub fn declared(head: &RequestHeader) -> Option<u64> {
    let length = head.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Tells a client that waits for it to send its body.
pub async fn expect_no_more(session: &mut Session) -> Result<(), Failure> {
    if !session.req_header().headers.contains_key(EXPECT) {
        return Ok(());
    }
    let told = session.downstream_session.write_continue_response().await;
    told.map_err(|_| Failure::ClientGone)
}
