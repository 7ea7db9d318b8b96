//! In a lane that is half full, small bodies are taken in before their request takes its place: clients that send slowly
//! keep connections, and no more places than half. In one with room, a request flows as its client makes it.
//!
//! What has come lies in pingora's own buffer for repeating requests. Its proxying begins with that by itself; who reads the
//! body here asks [`Gathered::take`] first.

use bytes::Bytes;
use http::header::EXPECT;
use pingora::proxy::Session;
use prometheus::IntGauge;

use crate::buffer::pass::declared;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::state::State;

/// Bodies up to here wait: what pingora keeps of a body to repeat it.
const BODY_MAX: u64 = 64 * 1024;
/// What all of them together may hold. Beyond it, a request takes its place with a body that is still to come.
const ALL_MAX: i64 = 64 * 1024 * 1024;

/// What has come of a body before its request had a place.
#[derive(Debug, Default)]
pub struct Gathered {
    room: Vec<Room>,
    taken: bool,
}

impl Gathered {
    /// The bytes, once; `None` when there are none.
    pub fn take(&mut self, session: &Session) -> Option<Bytes> {
        let is_due = !self.room.is_empty() && !std::mem::replace(&mut self.taken, true);
        is_due.then(|| session.downstream_session.get_retry_buffer()).flatten()
    }
}

/// A part of [`ALL_MAX`]; dropping it gives it back.
#[derive(Debug)]
struct Room {
    held: IntGauge,
    bytes: i64,
}

impl Room {
    /// For what has come already; says whether there is room for more.
    fn take(held: &IntGauge, bytes: usize) -> (Room, bool) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        held.add(bytes);
        (Room { held: held.clone(), bytes }, held.get() < ALL_MAX)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.sub(self.bytes);
    }
}

/// Waits for the client's body where its lane is crowded, it is small and the client does not wait itself.
pub async fn small_body(
    state: &State,
    session: &mut Session,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let head = session.req_header();
    let is_small = declared(head).is_some_and(|length| (1..=BODY_MAX).contains(&length));
    if !is_small || head.headers.contains_key(EXPECT) || exchange.trail.is_inside {
        return Ok(());
    }
    if !exchange.route.as_ref().is_some_and(|route| route.lane.is_half_full()) {
        return Ok(());
    }
    while !session.is_body_done() {
        session.downstream_session.enable_retry_buffering();
        let read = session.downstream_session.read_body_or_idle(false).await;
        let Some(part) = read.map_err(|error| Failure::of(&error.into_down()))? else { break };
        let (room, is_within) = Room::take(&state.metrics.gathered, part.len());
        exchange.gathered.room.push(room);
        if !is_within {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bodies_together_have_so_much_room_and_give_it_back() {
        let held = IntGauge::new("held", "bytes").unwrap();
        let most = usize::try_from(ALL_MAX).unwrap();
        let (almost, is_within) = Room::take(&held, most - 1);
        assert!(is_within);
        let (rest, is_within) = Room::take(&held, 1);
        assert!(!is_within && held.get() == ALL_MAX);
        drop((almost, rest));
        assert!(Room::take(&held, 1).1);
        assert_eq!(held.get(), 0);
    }
}
