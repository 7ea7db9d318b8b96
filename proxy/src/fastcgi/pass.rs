//! A request with a body on its way to a script. A small body is read first, so that the request can be
//! repeated like any other; so is one whose length nobody knows, because PHP reads no more than
//! `CONTENT_LENGTH` says. A large one is sent as it comes, while the answer may begin already.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pingora::proxy::Session;

use crate::buffer::intake;
use crate::buffer::pass::{declared, expect_no_more};
use crate::detour;
use crate::detour::trail::Next;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fastcgi::Gateway;
use crate::fastcgi::ask::{self, Begun};
use crate::fastcgi::conversation::{Conversation, Event};
use crate::fill::contact::Contact;
use crate::fill::origin::{Origin, Question};
use crate::lane::Full;
use crate::lane::memory::PASSING;
use crate::relay::{self, Open};
use crate::{hop, mirror};

/// Bodies up to this size are read first.
const READ_FIRST_MAX: u64 = 64 * 1024;
/// The largest body without a length.
const UNKNOWN_MAX: usize = 1024 * 1024;

/// Asks the script and sends its answer on.
pub async fn pass(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    gateway: &Arc<Gateway>,
) -> Result<Next, Failure> {
    hop::to(exchange.place()).await;
    let length = exchange.kept_body.length().or_else(|| declared(session.req_header()));
    expect_no_more(session).await?;
    let mut question = relay::question(session.req_header(), exchange);
    question.caller.clone_from(&origin.caller);
    match length {
        Some(length) if length > READ_FIRST_MAX => {
            stream(session, exchange, origin, (gateway, &question, length)).await
        }
        _ => {
            question.body = Some(read_all(session, exchange).await?);
            relay::ask(session, exchange, origin, &question).await
        }
    }
}

async fn read_all(session: &mut Session, exchange: &mut Exchange) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(part) = next_part(session, exchange, false).await? {
        if body.len() + part.len() > UNKNOWN_MAX {
            return Err(Failure::LengthRequired);
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}

/// The next part of the client's body; `None` at its end. With `whole`, waits for the client to leave.
async fn next_part(
    session: &mut Session,
    exchange: &mut Exchange,
    whole: bool,
) -> Result<Option<Bytes>, Failure> {
    if whole {
        let read = session.downstream_session.read_body_or_idle(true).await;
        return read.map_err(|error| Failure::of(&error.into_down()));
    }
    intake::next_part(session, exchange).await
}

async fn stream(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    (gateway, question, length): (&Arc<Gateway>, &Question, u64),
) -> Result<Next, Failure> {
    let _seat = origin.lane.ask_origin(PASSING).await.map_err(|Full| Failure::LaneFull)?;
    let mut contact = Contact::default();
    contact.attempts.wish = origin.wish;
    let begun = ask::begin(origin, gateway, (question, &[]), length, &mut contact).await;
    exchange.met(contact.clone());
    let mut begun = begun?;
    let (mut is_whole, mut open) = (false, None);
    loop {
        let Some(event) =
            turn(session, exchange, &mut begun.conversation, &mut is_whole, origin, &mut contact)
                .await?
        else {
            continue;
        };
        match event {
            Event::Moved => {}
            Event::Head(head) => {
                let opened = answer(session, exchange, origin, &mut begun, *head).await?;
                match opened {
                    Ok(opened) => open = Some(opened),
                    Err(next) => return Ok(next),
                }
            }
            Event::Body(part) => {
                mirror::answer(&mut exchange.mirroring, &part);
                if open.as_ref().is_some_and(|open: &Open| open.has_body) {
                    let pacing = exchange.pacing().ok_or(Failure::Internal)?;
                    relay::write(session, &pacing, part).await?;
                }
            }
            Event::End => break,
        }
    }
    begun.conversation.release();
    relay::close(session).await.map(|()| Next::Sent)
}

/// Waits for whichever comes first: word from the script, or more from the client while there is room.
async fn turn(
    session: &mut Session,
    exchange: &mut Exchange,
    conversation: &mut Conversation,
    is_whole: &mut bool,
    origin: &Origin,
    contact: &mut Contact,
) -> Result<Option<Event>, Failure> {
    let listens = *is_whole || conversation.has_room();
    tokio::select! {
        biased;
        event = conversation.next() => {
            event.map(Some).map_err(|fault| ask::failed(origin, contact, fault))
        }
        part = next_part(session, exchange, *is_whole), if listens => match part? {
            _ if *is_whole => Err(Failure::ClientGone),
            Some(part) => {
                conversation.send(&part);
                Ok(None)
            }
            None => {
                *is_whole = true;
                conversation.finish();
                Ok(None)
            }
        },
    }
}

/// The head of the answer: sent on, unless it leads elsewhere.
async fn answer(
    session: &mut Session,
    exchange: &mut Exchange,
    origin: &Origin,
    begun: &mut Begun,
    mut head: pingora::http::ResponseHeader,
) -> Result<Result<Open, Next>, Failure> {
    let took = begun.asked.elapsed();
    begun.span.iter_mut().for_each(|span| span.answered(head.status.as_u16()));
    origin.upstream.answered(&mut exchange.attempts, head.status.as_u16(), took);
    exchange.upstream_first_byte = Some(took);
    exchange.upstream_status = Some(head.status.as_u16());
    if let Some(detour) = detour::after(exchange, &head) {
        return Ok(Err(Next::Elsewhere(detour)));
    }
    ask::settle(&mut head, &mut begun.conversation, origin, true);
    let cookie = origin.upstream.sticky_cookie(&exchange.attempts, exchange.tls.is_some());
    relay::open(session, exchange, head, cookie).await.map(Ok)
}
