//! Sends a body that waits in a [`Body`](crate::buffer::body::Body) to a server, part by part, and listens
//! meanwhile: a server may answer before it has heard all.

use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;

use crate::fill::origin::{Feed, Stop};
use crate::respond::UpstreamFault;

/// Sends the body; `true` when the head of an answer came before it was whole.
pub async fn send(
    session: &mut HttpSession,
    feed: &Feed,
    peer: &HttpPeer,
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
            session.set_read_timeout(peer.options.read_timeout);
            return match session.read_response_header().await {
                Ok(()) if is_final(session) => Ok(true),
                _ => Err(fault(error)),
            };
        }
    };
    session.set_read_timeout(peer.options.read_timeout);
    Ok(answered)
}

fn is_final(session: &HttpSession) -> bool {
    session.response_header().is_some_and(|head| !head.status.is_informational())
}
