//! The client's body on its way in.

use bytes::Bytes;
use pingora::proxy::Session;
use proxy_config::buffer_policy::Way;

use crate::buffer::Policy;
use crate::buffer::body::Body;
use crate::buffer::tempo::Tempo;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::mirror;

/// The next part of the client's body; `None` at its end.
pub async fn next_part(
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<Option<Bytes>, Failure> {
    let part = match exchange.kept_body.next().await? {
        Some(part) => Some(part),
        None if exchange.kept_body.is_whole() => None,
        None => arriving(session, exchange).await?,
    };
    exchange.body_bytes += part.as_ref().map_or(0, |part| part.len() as u64);
    if let Some(route) = &exchange.route {
        route.gate.check_body(exchange.body_bytes)?;
    }
    mirror::body(&mut exchange.mirroring, part.as_ref(), part.is_none());
    Ok(part)
}

/// The next part as it comes from the client.
pub async fn arriving(
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<Option<Bytes>, Failure> {
    // Where there is nothing more to read, pingora would wait for the client to leave.
    match exchange.gathered.take(session) {
        Some(part) => Ok(Some(part)),
        None if session.is_body_done() => Ok(None),
        None => {
            let read = session.downstream_session.read_body_or_idle(false).await;
            read.map_err(|error| Failure::of(&error.into_down()))
        }
    }
}

/// Takes in the client's body as the policy lets it. Returns when something went wrong: with the body, or,
/// once it is whole, because the client left.
pub async fn take_in(
    session: &mut Session,
    exchange: &mut Exchange,
    policy: &std::sync::Arc<Policy>,
    body: &Body,
) -> Failure {
    let tempo = Tempo::new(policy, Way::Requests);
    loop {
        body.readable().await;
        match next_part(session, exchange).await {
            Ok(Some(part)) => {
                tempo.wait(part.len()).await;
                body.put(part).await;
            }
            Ok(None) => break,
            Err(failure) => {
                body.fail(failure.clone());
                return failure;
            }
        }
    }
    body.end();
    let _ = session.downstream_session.read_body_or_idle(true).await;
    Failure::ClientGone
}
