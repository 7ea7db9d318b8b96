//! A request the proxy itself asks an upstream, and whose answer it sends on, unless the answer leads
//! elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use proxy_config::buffer_policy::Way;
use tokio::sync::mpsc;

use crate::buffer::body::Body;
use crate::buffer::tempo::Pacing;
use crate::cache::answer::invalidate;
use crate::cache::serve::CACHE_STATUS;
use crate::detour;
use crate::detour::trail::Next;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::origin::{Origin, Question};
use crate::fill::reply::Reply;
use crate::lane::Full;
use crate::rate_limit::quota::Quota;
use crate::respond;
use crate::rules::edits::edit_response;
use crate::upstream::bounds::INTERIM_MAX;
use crate::{bodies, dating, hop, mirror};

/// A response whose head was sent.
pub struct Open {
    pub has_body: bool,
}

/// Asks the upstream, without a body or with one that is kept in memory, and sends its answer on.
pub async fn pass(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
) -> Result<Next, Failure> {
    hop::to(exchange.place()).await;
    let mut question = question(session.req_header(), exchange);
    question.caller.clone_from(&origin.caller);
    let own_body = exchange.ruled.texts.body.is_some();
    if let Some(body) =
        exchange.kept_body.bytes().filter(|_| !own_body && !exchange.trail.without_body)
    {
        exchange.body_bytes = body.len() as u64;
        mirror::body(&mut exchange.mirroring, Some(&body), true);
        question.body = Some(body);
    }
    ask(session, exchange, origin, &question).await
}

/// Asks this question and sends the answer on.
pub async fn ask(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    question: &Question,
) -> Result<Next, Failure> {
    // Before the upstream is asked: what it answers must have its memory.
    let held = room(exchange)?;
    let reply = asked(session, exchange, origin, question, &[]).await?;
    answer(session, exchange, reply, held).await
}

/// The upstream's answer to this question with these fields added.
pub async fn asked(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    question: &Question,
    fields: &[(HeaderName, HeaderValue)],
) -> Result<Box<Reply>, Failure> {
    let mut contact = Contact::default();
    let (tell, mut told) = mpsc::channel(INTERIM_MAX);
    // The origin tells no more than this.
    let tell = move |head| drop(tell.try_send(head));
    let mut asking = Box::pin(origin.ask(question, fields, &mut contact, &tell));
    let asked = loop {
        let head = tokio::select! {
            biased;
            Some(head) = told.recv() => head,
            asked = unless_gone(session, &mut asking) => break asked,
        };
        interim(session, head).await?;
    };
    drop(asking);
    while let Ok(head) = told.try_recv() {
        interim(session, head).await?;
    }
    exchange.met(contact);
    asked?
}

/// Sends a response on that is none yet, such as 103 (RFC 8297).
async fn interim(session: &mut Session, head: ResponseHeader) -> Result<(), Failure> {
    let written = session.write_response_header(Box::new(head), false).await;
    written.map_err(|_| Failure::ClientGone)
}

/// What an answer's body is held in, on a route whose policy holds any.
pub fn room(exchange: &Exchange) -> Result<Option<Body>, Failure> {
    let Some(route) = &exchange.route else { return Ok(None) };
    if route.buffering.side(Way::Responses).is_off() {
        return Ok(None);
    }
    let body = Body::new(&route.buffering, Way::Responses, &route.lane);
    body.map(Some).map_err(|Full| Failure::LaneFull)
}

/// Sends an upstream's answer on, unless it leads elsewhere.
pub async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    reply: Box<Reply>,
    held: Option<Body>,
) -> Result<Next, Failure> {
    exchange.upstream_status = Some(reply.head.status.as_u16());
    if let Some(policy) = &exchange.cache_policy {
        invalidate(policy, session.req_header(), exchange, &reply.head);
    }
    match detour::after(exchange, &reply.head) {
        Some(detour) => {
            reply.discard().await;
            Ok(Next::Elsewhere(detour))
        }
        None => send(session, exchange, reply, held).await.map(|()| Next::Sent),
    }
}

/// The client's request without its body.
pub fn question(head: &RequestHeader, exchange: &Exchange) -> Question {
    question_of(Arc::new(head.clone()), exchange)
}

/// The same of a head that is shared as far as it is not changed.
pub fn question_of(mut head: Arc<RequestHeader>, exchange: &Exchange) -> Question {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT] {
        if head.headers.contains_key(&name) {
            Arc::make_mut(&mut head).remove_header(&name);
        }
    }
    if bodies::asks_whole(&head, exchange) {
        bodies::ask_whole(Arc::make_mut(&mut head));
    }
    let ask = exchange.route.as_ref().and_then(|route| route.ask.as_ref());
    let method = ask.and_then(|ask| ask.method.as_ref()).and_then(|method| method.parse().ok());
    if let Some(method) = method {
        Arc::make_mut(&mut head).set_method(method);
    }
    let body = exchange.ruled.texts.body.clone().filter(|body| !body.is_empty());
    Question { body: body.map(Bytes::from), ..exchange.question(head) }
}

/// Waits for something, or for the client to leave.
pub async fn unless_gone<T>(
    session: &mut Session,
    waiting: impl Future<Output = T>,
) -> Result<T, Failure> {
    // A body that is still to come would be read here; then only a write tells that the client left.
    let is_whole = session.is_body_done();
    tokio::select! {
        biased;
        done = waiting => Ok(done),
        _ = session.downstream_session.read_body_or_idle(true), if is_whole => {
            Err(Failure::ClientGone)
        }
    }
}

/// Sends an upstream's answer to the client: as it comes, or through what it is held in.
async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    reply: Box<Reply>,
    held: Option<Body>,
) -> Result<(), Failure> {
    let cookie = reply.sticky_cookie(exchange.tls.is_some());
    let head = reply.head.clone();
    let pacing = exchange.pacing().ok_or(Failure::Internal)?;
    if let Some(body) = held.filter(|_| has_body(&session.req_header().method, &head)) {
        let sending = async {
            unless_gone(session, body.ready()).await??;
            open(session, exchange, head, cookie).await?;
            while let Some(part) = unless_gone(session, body.next()).await?? {
                mirror::answer(&mut exchange.mirroring, &part);
                write(session, &pacing, part).await?;
            }
            close(session).await
        };
        tokio::pin!(sending);
        // The connection to the upstream is given back when the last byte is here, not when it is sent.
        tokio::select! {
            sent = &mut sending => return sent,
            () = take_in(reply, &body) => {}
        }
        return sending.await;
    }
    // The upstream's connection is given back before the client has all of the answer and asks again.
    if !has_body(&session.req_header().method, &head) {
        reply.release().await;
        open(session, exchange, head, cookie).await?;
        return close(session).await;
    }
    open(session, exchange, head, cookie).await?;
    let mut rest = Some(reply);
    while let Some(reply) = &mut rest
        && let Some(part) = unless_gone(session, reply.read()).await??
    {
        if reply.is_done()
            && let Some(reply) = rest.take()
        {
            reply.release().await;
        }
        mirror::answer(&mut exchange.mirroring, &part);
        write(session, &pacing, part).await?;
    }
    if let Some(reply) = rest {
        reply.release().await;
    }
    close(session).await
}

/// Reads an upstream's answer as its policy lets it.
async fn take_in(mut reply: Box<Reply>, body: &Body) {
    loop {
        body.readable().await;
        match reply.read().await {
            Ok(Some(part)) => body.put(part).await,
            Ok(None) => break,
            Err(failure) => return body.fail(failure),
        }
    }
    body.end();
    reply.release().await;
}

/// Sends the head of an upstream's answer, as the route has it.
pub async fn open(
    session: &mut Session,
    exchange: &mut Exchange,
    mut head: ResponseHeader,
    cookie: Option<String>,
) -> Result<Open, Failure> {
    let has_body = has_body(&session.req_header().method, &head);
    exchange.ruled.to_client.edits.tried = exchange.attempts.tried.clone();
    settle_head(&mut head, exchange, cookie, has_body).map_err(|_| Failure::Internal)?;
    respond::fit_protocol(session, &mut head);
    if exchange.under_way.is_to_end() {
        session.set_keepalive(None);
    }
    dating::keep_date(session, &head);
    let written = session.write_response_header(Box::new(head), !has_body).await;
    written.map_err(|_| Failure::ClientGone)?;
    exchange.first_byte = Some(exchange.begun.elapsed());
    Ok(Open { has_body })
}

/// Whether bytes follow the answer to such a request.
pub fn has_body(method: &Method, head: &ResponseHeader) -> bool {
    !matches!(head.status.as_u16(), 204 | 304) && *method != Method::HEAD
}

/// Makes the head of an upstream's answer what the route has its clients see.
pub fn settle_head(
    head: &mut ResponseHeader,
    exchange: &Exchange,
    cookie: Option<String>,
    has_body: bool,
) -> pingora::Result<()> {
    if has_body && !head.headers.contains_key(CONTENT_LENGTH) {
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    if let Some(cookie) = cookie {
        head.append_header(SET_COOKIE, cookie)?;
    }
    if let Some(status) = &exchange.cache_status {
        head.append_header(CACHE_STATUS, status.as_str())?;
    }
    for (name, value) in exchange.limits.quota.iter().flat_map(Quota::fields) {
        head.append_header(name, value)?;
    }
    edit_response(head, &exchange.ruled.to_client)
}

/// Sends a part of the body as soon as the lane's bandwidth and its own pace let it.
pub async fn write(session: &mut Session, pacing: &Pacing, part: Bytes) -> Result<(), Failure> {
    let mut rest = part;
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(pacing.piece()));
        pacing.wait(part.len()).await;
        let written = session.write_response_body(Some(part), false).await;
        written.map_err(|_| Failure::ClientGone)?;
    }
    Ok(())
}

/// The response is whole.
pub async fn close(session: &mut Session) -> Result<(), Failure> {
    session.write_response_body(None, true).await.map_err(|_| Failure::ClientGone)
}
