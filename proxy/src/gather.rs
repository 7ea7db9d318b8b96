//! In a lane that is half full, small bodies are taken in before their request takes its place: clients that send slowly
//! keep connections, and no more places than half. In one with room, a request flows as its client makes it.
//!
//! Whoever reads the body afterwards finds its beginning here ([`Gathered::take`]), pingora's proxying in its own
//! buffer for repeating requests.

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use pingora::proxy::Session;
use prometheus::IntGauge;

use crate::buffer::pass::declared;
use crate::exchange::Exchange;
use crate::generation::State;
use crate::respond::Failure;

/// Bodies up to here wait: what pingora keeps of a body to repeat it.
const BODY_MAX: u64 = 64 * 1024;
/// What all of them together may hold. Beyond it, a request takes its place with a body that is still to come.
const ALL_MAX: i64 = 64 * 1024 * 1024;

/// What has come of a body before its request had a place.
#[derive(Debug, Default)]
pub struct Gathered {
    bytes: BytesMut,
    room: Vec<Room>,
}

impl Gathered {
    /// The bytes, once; `None` when there are none.
    pub fn take(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.split().freeze();
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// A part of [`ALL_MAX`]; dropping it gives it back.
#[derive(Debug)]
struct Room {
    held: IntGauge,
    bytes: i64,
}

impl Room {
    /// `None` when there is not so much.
    fn take(held: &IntGauge, bytes: usize) -> Option<Room> {
        let bytes = i64::try_from(bytes).ok()?;
        held.add(bytes);
        let room = Room { held: held.clone(), bytes };
        (held.get() <= ALL_MAX).then_some(room)
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
    let is_crowded = exchange.route.as_ref().is_some_and(|route| route.lane.is_half_full());
    if !is_small || !is_crowded || head.headers.contains_key(EXPECT) || exchange.trail.is_inside {
        return Ok(());
    }
    while !session.is_body_done() {
        session.downstream_session.enable_retry_buffering();
        let read = session.downstream_session.read_body_or_idle(false).await;
        let Some(part) = read.map_err(|error| Failure::of(&error.into_down()))? else { break };
        exchange.gathered.bytes.extend_from_slice(&part);
        match Room::take(&state.metrics.gathered, part.len()) {
            Some(room) => exchange.gathered.room.push(room),
            None => break,
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
        let (almost, rest) = (Room::take(&held, most - 1), Room::take(&held, 1));
        assert!(almost.is_some() && rest.is_some());
        assert!(Room::take(&held, 1).is_none());
        assert_eq!(held.get(), ALL_MAX);
        drop(almost);
        assert!(Room::take(&held, 1).is_some());
        drop(rest);
        assert_eq!(held.get(), 0);
    }

    #[test]
    fn what_was_gathered_is_taken_once() {
        let mut gathered = Gathered { bytes: BytesMut::from("body"), room: Vec::new() };
        assert_eq!(gathered.take().as_deref(), Some(&b"body"[..]));
        assert_eq!(gathered.take(), None);
    }
}
