//! One question to a FastCGI upstream, its body at hand: the same choice of server and budget of
//! attempts as with any upstream.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::Method;
use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;

use crate::detour;
use crate::failure::Failure;
use crate::fastcgi::Gateway;
use crate::fastcgi::conversation::{Conversation, Event};
use crate::fill::contact::Contact;
use crate::fill::origin::{Feed, Origin, Question};
use crate::fill::reply::Reply;
use crate::fill::wire::request_head;
use crate::telemetry::attempt::Attempt;
use crate::upstream::fault::UpstreamFault;
use crate::upstream::retry::Failed;
use crate::upstream::server::InUse;

/// A request that has been begun at a server.
pub struct Begun {
    pub conversation: Conversation,
    pub in_use: InUse,
    pub reused: bool,
    pub asked: Instant,
    /// What is recorded of it.
    pub span: Option<Box<Attempt>>,
}

/// Connects to a server and begins the request there; `length` is that of its body.
pub async fn begin(
    origin: &Origin,
    gateway: &Arc<Gateway>,
    (question, fields): (&Question, &[(HeaderName, HeaderValue)]),
    length: u64,
    contact: &mut Contact,
) -> Result<Begun, Failure> {
    let upstream = &origin.upstream;
    let harmless = question.is_harmless(upstream);
    loop {
        let turn = upstream.turn(&mut contact.attempts, &origin.lane).await?;
        let mut span = origin.span(question, &contact.attempts);
        let begun = Instant::now();
        match gateway.connect(turn.aim.peer(), origin.patience.connect(), harmless).await {
            Ok((socket, reused)) => {
                contact.connect_time = Some(begun.elapsed());
                contact.reused = Some(reused);
                upstream.connected(reused, None);
                let server = upstream.host(&contact.attempts);
                let told = span.as_ref().map(|span| question.under(span));
                let head = request_head(told.as_deref().unwrap_or(question), fields, server);
                let mut head = head.map_err(|_| Failure::Internal)?;
                // Scripts are told what the client speaks.
                head.set_version(question.head.version);
                let address = turn.aim.peer()._address.clone();
                let conversation = Conversation::begin(
                    (gateway, &origin.patience),
                    socket,
                    address,
                    question,
                    &head,
                    length,
                );
                let in_use = turn.in_use;
                span.iter_mut().for_each(|span| span.reused = Some(reused));
                return Ok(Begun { conversation, in_use, reused, asked: Instant::now(), span });
            }
            Err(error) => {
                let late = error.kind() == io::ErrorKind::TimedOut;
                let kind = if late { "connect_timeout" } else { "connect" };
                tracing::debug!(%error, "a FastCGI server could not be connected to");
                span.iter_mut().for_each(|span| span.failed(kind));
                upstream.failed(&mut contact.attempts, kind, false);
                if !upstream.again(&mut contact.attempts, Failed::Connect, harmless) {
                    return Err(match late {
                        true => Failure::UpstreamTimeout,
                        false => Failure::UpstreamUnreachable,
                    });
                }
            }
        }
    }
}

/// Asks; tries again as the upstream says.
pub async fn ask(
    origin: &Origin,
    gateway: &Arc<Gateway>,
    question: &Question,
    fields: &[(HeaderName, HeaderValue)],
    contact: &mut Contact,
) -> Result<Box<Reply>, Failure> {
    let upstream = &origin.upstream;
    let harmless = question.is_harmless(upstream);
    let length = match &question.feed {
        // Scripts read no more than they were told to.
        Some(feed) => feed.length.ok_or(Failure::LengthRequired)?,
        None => question.body.as_ref().map_or(0, |body| body.len() as u64),
    };
    let mut failure = Failure::Internal;
    loop {
        if !question.rewind() {
            return Err(failure);
        }
        let mut begun = begin(origin, gateway, (question, fields), length, contact).await?;
        let answered = match &question.feed {
            Some(feed) => fed(&mut begun.conversation, feed).await?,
            None => begun.conversation.answered().await,
        };
        match answered {
            Ok(mut head) => {
                let status = head.status.as_u16();
                upstream.answered(&mut contact.attempts, status, begun.asked.elapsed());
                begun.span.iter_mut().for_each(|span| span.answered(status));
                let gateway_error = (502..=504).contains(&status);
                if gateway_error && upstream.again(&mut contact.attempts, Failed::Gateway, harmless)
                {
                    continue;
                }
                contact.answered(status, begun.asked.elapsed());
                let has_body = question.head.method != Method::HEAD;
                let expires = settle(&mut head, &mut begun.conversation, origin, has_body);
                let attempts = contact.attempts.clone();
                return Ok(Reply::of_script(begun, origin, attempts, (head, expires)));
            }
            Err(fault) => {
                begun.span.iter_mut().for_each(|span| span.failed(fault.kind));
                let stale = fault.stale && begun.reused;
                upstream.failed(&mut contact.attempts, fault.kind, stale);
                let failed = if stale { Failed::Stale } else { Failed::of(fault.kind) };
                if !upstream.again(&mut contact.attempts, failed, harmless) {
                    return Err(fault.failure);
                }
                failure = fault.failure;
            }
        }
    }
}

/// Sends a body from where it waits, until there is an answer. Fails when the body does not come as it should.
async fn fed(
    conversation: &mut Conversation,
    feed: &Feed,
) -> Result<Result<ResponseHeader, UpstreamFault>, Failure> {
    while conversation.is_open() {
        tokio::select! {
            biased;
            event = conversation.next() => match event {
                Ok(Event::Head(head)) => return Ok(Ok(*head)),
                Ok(Event::Moved) => {}
                Ok(Event::Body(_) | Event::End) => return Ok(Err(UpstreamFault::nonsense())),
                Err(fault) => return Ok(Err(fault)),
            },
            part = feed.body.next(), if conversation.has_room() => match part? {
                Some(part) => conversation.send(&part),
                None => conversation.finish(),
            },
        }
    }
    Ok(conversation.answered().await)
}

/// What this proxy alone is told leaves the head, and how long the answer may be kept is given back; where no body
/// follows, none is waited for.
pub fn settle(
    head: &mut ResponseHeader,
    conversation: &mut Conversation,
    origin: &Origin,
    has_body: bool,
) -> Option<HeaderValue> {
    let expires = if origin.upstream.x_accel { detour::settle(head) } else { None };
    if !has_body || matches!(head.status.as_u16(), 204 | 304) {
        conversation.expect_nothing();
    }
    expires
}

/// Tells the upstream that an attempt failed after its head.
pub fn failed(origin: &Origin, contact: &mut Contact, fault: UpstreamFault) -> Failure {
    origin.upstream.failed(&mut contact.attempts, fault.kind, false);
    fault.failure
}
