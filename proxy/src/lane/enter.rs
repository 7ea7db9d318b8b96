//! A request enters its lane, and later perhaps its lane's share of the origins.

use pingora::proxy::Session;
use tokio::task::yield_now;

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::hop;
use crate::lane::memory::PASSING;
use crate::lane::{Full, Shed};

/// Takes a place in the request's lane, at once or after a wait, or sheds.
pub async fn lane(session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
    let Some(lane) = exchange.route.as_ref().map(|route| route.lane.clone()) else { return Ok(()) };
    // A part of a request has the place of the whole: one of its own would wait for that.
    if exchange.trail.is_inside {
        return Ok(());
    }
    if !exchange.permit.as_ref().is_some_and(|seat| lane.seats(seat)) {
        // The old place is given back first: who held one in each lane could wait for himself.
        exchange.permit = None;
        let admitted = unless_left(session, lane.admit(&exchange.caller.charged)).await?;
        let seat = admitted.map_err(|shed| {
            if shed == Shed::Connection {
                // It would go on and count nowhere.
                session.set_keepalive(None);
            }
            Failure::LaneFull
        })?;
        exchange.permit = Some(seat);
    }
    hop::admitted(lane.place());
    Ok(())
}

/// What a request that passes through needs before an upstream is connected to: a place among its
/// lane's requests to origins, and to be where its lane moves bodies, so that its socket is there too.
pub async fn origins(session: &mut Session, exchange: &mut Exchange) -> Result<(), Failure> {
    let Some(lane) = exchange.route.as_ref().map(|route| route.lane.clone()) else { return Ok(()) };
    if exchange.trail.is_inside {
        return Ok(());
    }
    let asking = unless_left(session, lane.ask_origin(PASSING)).await?;
    exchange.at_origin = Some(asking.map_err(|Full| Failure::LaneFull)?);
    hop::to(lane.place()).await;
    // Pingora takes a connection from its pool once the task that watched it has let go of it. The third task in a row
    // that wakes another leaves it to another thread, which may then be too early, and the connection is lost: so this
    // is the first.
    yield_now().await;
    Ok(())
}

/// Waits for a place, unless the client leaves first. A client with a body to send is not watched:
/// its body is the upstream's.
async fn unless_left<T>(
    session: &mut Session,
    entering: impl Future<Output = T>,
) -> Result<T, Failure> {
    let watches = session.is_body_empty();
    tokio::select! {
        biased;
        entered = entering => Ok(entered),
        _ = session.downstream_session.read_body_or_idle(true), if watches => {
            Err(Failure::ClientGone)
        }
    }
}
