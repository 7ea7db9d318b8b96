//! A request the proxy itself asks an upstream, and whose answer it sends on, unless the answer leads
//! elsewhere.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, EXPECT, SET_COOKIE, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::cache::serve::CACHE_STATUS;
use crate::detour::{self, Next};
use crate::edge::Exchange;
use crate::fill::origin::{Contact, Origin, Question, Reply};
use crate::pace::Pacing;
use crate::rate_limit::Quota;
use crate::respond::{self, Failure};
use crate::rules::edit_response;
use crate::{dating, hop};

/// A response whose head was sent.
pub struct Open {
    pub has_body: bool,
}

/// Asks the upstream, without a body, and sends its answer on.
pub async fn pass(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
) -> Result<Next, Failure> {
    hop::to(exchange.place()).await;
    let mut question = question(session.req_header(), exchange);
    question.caller.clone_from(&origin.caller);
    ask(session, exchange, origin, &question).await
}

/// Asks this question and sends the answer on.
pub async fn ask(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    question: &Question,
) -> Result<Next, Failure> {
    let mut contact = Contact::default();
    let asking = Box::pin(origin.ask(question, &[], &mut contact, &|_| {}));
    let asked = unless_gone(session, asking).await;
    exchange.met(contact);
    let reply = asked??;
    exchange.upstream_status = Some(reply.head.status.as_u16());
    match detour::after(exchange, &reply.head) {
        Some(detour) => {
            reply.discard().await;
            Ok(Next::Elsewhere(detour))
        }
        None => {
            let pacing = exchange.pacing().ok_or(Failure::Internal)?;
            send(session, exchange, reply, &pacing).await.map(|()| Next::Sent)
        }
    }
}

/// The client's request without its body.
pub fn question(head: &RequestHeader, exchange: &Exchange) -> Question {
    let mut head = head.clone();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT] {
        head.remove_header(&name);
    }
    let ask = exchange.route.as_ref().and_then(|route| route.ask.as_ref());
    let method = ask.and_then(|ask| ask.method.as_ref()).and_then(|method| method.parse().ok());
    if let Some(method) = method {
        head.set_method(method);
    }
    let body = exchange.ruled.texts.body.clone().filter(|body| !body.is_empty());
    Question {
        head,
        body: body.map(Bytes::from),
        caller: None,
        client: exchange.peer.map(|peer| peer.ip()),
        tls: exchange.tls.is_some(),
        request_id: exchange.request_id.clone(),
        forwarded: exchange.forwarded(),
        edits: exchange.ruled.to_upstream.clone(),
    }
}

/// Waits for something, or for the client to leave.
async fn unless_gone<T>(
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

/// Sends an upstream's answer to the client as it comes.
async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    mut reply: Reply,
    pace: &Pacing,
) -> Result<(), Failure> {
    let cookie = reply.sticky_cookie(exchange.tls.is_some());
    let head = reply.head.clone();
    let Open { has_body } = open(session, exchange, head, cookie).await?;
    if has_body {
        while let Some(part) = unless_gone(session, reply.read()).await?? {
            write(session, pace, part).await?;
        }
    }
    close(session).await?;
    reply.release().await;
    Ok(())
}

/// Sends the head of an upstream's answer, as the route has it.
pub async fn open(
    session: &mut Session,
    exchange: &mut Exchange,
    mut head: ResponseHeader,
    cookie: Option<String>,
) -> Result<Open, Failure> {
    let bodiless = matches!(head.status.as_u16(), 204 | 304);
    let has_body = !bodiless && session.req_header().method != Method::HEAD;
    let built = || {
        if !head.headers.contains_key(CONTENT_LENGTH) && has_body {
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
        edit_response(&mut head, &exchange.ruled.to_client)?;
        Ok(head)
    };
    let built: pingora::Result<_> = built();
    let mut head = built.map_err(|_| Failure::Internal)?;
    respond::fit_protocol(session, &mut head);
    dating::keep_date(session, &mut head);
    let written = session.write_response_header(Box::new(head), !has_body).await;
    written.map_err(|_| Failure::ClientGone)?;
    exchange.first_byte = Some(exchange.begun.elapsed());
    Ok(Open { has_body })
}

/// Sends a part of the body as soon as the lane's bandwidth lets it.
pub async fn write(session: &mut Session, pace: &Pacing, part: Bytes) -> Result<(), Failure> {
    let mut rest = part;
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(pace.piece()));
        pace.wait(part.len()).await;
        let written = session.write_response_body(Some(part), false).await;
        written.map_err(|_| Failure::ClientGone)?;
    }
    Ok(())
}

/// The response is whole.
pub async fn close(session: &mut Session) -> Result<(), Failure> {
    session.write_response_body(None, true).await.map_err(|_| Failure::ClientGone)
}
