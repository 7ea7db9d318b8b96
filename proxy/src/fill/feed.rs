//! Sends the body of a question to a server. One that waits in a [`Body`](crate::buffer::body::Body) goes part by
//! part, and the server is listened to meanwhile: it may answer before it has heard all.

use std::time::Duration;

use pingora::protocols::http::client::HttpSession;

use crate::fill::origin::{Feed, Question, Stop};
use crate::upstream::fault::UpstreamFault;

/// Sends all of it; `true` when the head of an answer came before it was whole.
pub async fn send_body(
    session: &mut HttpSession,
    question: &Question,
    of_head: Duration,
    reused: bool,
) -> Result<bool, Stop> {
    let fault = |error| Stop::Upstream(UpstreamFault::of(error, reused));
    if let Some(body) = &question.body {
        session.write_request_body(body.clone(), false).await.map_err(fault)?;
    }
    let is_answered = match &question.feed {
        Some(feed) => send(session, feed, of_head, reused).await?,
        None => false,
    };
    if !is_answered {
        session.finish_request_body().await.map_err(fault)?;
    }
    Ok(is_answered)
}

async fn send(
    session: &mut HttpSession,
    feed: &Feed,
    of_head: Duration,
    reused: bool,
) -> Result<bool, Stop> {
    let fault = |error| Stop::Upstream(UpstreamFault::of(error, reused));
    // The client has its own time to send: the server is not late meanwhile.
    session.set_read_timeout(None);
    let answered = loop {
        let part = tokio::select! {
            biased;
            heard = session.read_response_header() => {
                heard.map_err(fault)?;
                if is_final(session) {
                    break true;
                }
                continue;
            }
            part = feed.body.next() => part.map_err(Stop::Client)?,
        };
        let Some(part) = part else { break false };
        if let Err(error) = session.write_request_body(part, false).await {
            // It may have said why it hears no more.
            session.set_read_timeout(Some(of_head));
            return match session.read_response_header().await {
                Ok(()) if is_final(session) => Ok(true),
                _ => Err(fault(error)),
            };
        }
    };
    session.set_read_timeout(Some(of_head));
    Ok(answered)
}

fn is_final(session: &HttpSession) -> bool {
    session.response_header().is_some_and(|head| !head.status.is_informational())
}
