//! The front door of an HTTP/1 connection: it reads heads ahead of pingora, answers with one write what lies
//! fresh in memory, and hands everything else on, with the bytes that were read.
//!
//! [`head`] makes a head of bytes; [`hit`] decides, with the functions that decide everywhere and in their
//! order. It gives up before anything is counted on whatever would wait, be refused or lead elsewhere, so a
//! request is decided here or behind, never half here.

pub mod head;
pub mod hit;

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::cache::object::Stored;
use crate::cache::serve::{Response, part};
use crate::connection::{Caller, Ends, whole_seconds};
use crate::edge::Edge;
use crate::finish::{self, Moved};
use crate::front::head::{read, write};
use crate::front::hit::{Hit, find};
use crate::lane::Lane;
use crate::respond::Failure;

/// Bytes read at once; a head that does not come in one piece is pingora's to put together.
const READ_BYTES: usize = 8 * 1024;
/// Room for a head of ordinary size.
const HEAD_BYTES: usize = 1024;
/// Switches the door off when it says so, to tell its faults from others'.
const SWITCH: &str = "FOREBAY_FRONT_DOOR";

/// What the operator set [`SWITCH`] to.
pub fn is_open() -> bool {
    std::env::var_os(SWITCH).is_none_or(|set| set != "off")
}

/// The door of a listener.
pub struct Door {
    edge: Edge,
    idle: Duration,
    answered: IntCounter,
    handed_on: IntCounter,
}

/// One connection in front of it.
pub struct Guest {
    pub caller: Caller,
    pub ends: Ends,
    /// Requests that were answered, here and behind.
    pub served: u64,
    /// Bytes that were read and not yet looked at.
    read: BytesMut,
    /// Since when it waits, and until when it may.
    since: Instant,
    due: Option<Pin<Box<Sleep>>>,
}

impl Guest {
    pub fn new(stream: &Stream, caller: Caller) -> Guest {
        let (socket, tls) = (stream.get_socket_digest(), stream.get_ssl_digest());
        Guest {
            caller,
            ends: Ends::of(socket.as_deref(), tls.as_deref()),
            served: 0,
            read: BytesMut::new(),
            since: Instant::now(),
            due: None,
        }
    }
}

/// What becomes of a connection.
pub enum Passed {
    Over,
    /// Its next request begins with these bytes, and is not for the door.
    On(BytesMut),
}

impl Door {
    pub fn new(edge: Edge) -> Door {
        let counted = |outcome| {
            let labels = [edge.listener.as_str(), outcome];
            edge.state.metrics.front_door_requests.with_label_values(&labels)
        };
        let (answered, handed_on) = (counted("answered"), counted("handed_on"));
        let idle = Duration::from_secs(whole_seconds(edge.timeouts.idle));
        Door { idle, answered, handed_on, edge }
    }

    /// Answers requests until there is one for somebody else, or the last one of `requests_max`. `leaving` ends
    /// an idle connection.
    pub async fn receive(
        &self,
        stream: &mut Stream,
        guest: &mut Guest,
        requests_max: u64,
        leaving: &mut Pin<&mut impl Future<Output = ()>>,
    ) -> Passed {
        loop {
            let state = &self.edge.state;
            let is_last = guest.served + 1 >= requests_max;
            if is_last || state.drain.has_begun() || !state.generation.load().routes.are_at_once() {
                return Passed::On(std::mem::take(&mut guest.read));
            }
            if guest.read.is_empty() {
                let waited = Waiting { idle: self.idle, stream, guest, leaving: leaving.as_mut() };
                match waited.for_bytes().await {
                    Ok(0) | Err(_) => return Passed::Over,
                    Ok(_) => {}
                }
            }
            let Some((mut head, length)) = read(&guest.read) else {
                return self.hand_on(std::mem::take(&mut guest.read));
            };
            let Some(hit) = find(&self.edge, guest, &mut head, &guest.read[..length]) else {
                return self.hand_on(std::mem::take(&mut guest.read));
            };
            guest.read.advance(length);
            self.answered.inc();
            guest.served += 1;
            if !self.answer(stream, &head, hit).await {
                return Passed::Over;
            }
        }
    }

    fn hand_on(&self, read: BytesMut) -> Passed {
        self.handed_on.inc();
        Passed::On(read)
    }

    /// Sends a hit and records it; says whether the connection can go on.
    async fn answer(&self, stream: &mut Stream, head: &RequestHeader, hit: Hit) -> bool {
        let Hit { mut exchange, stored, response, lane } = hit;
        let begun = exchange.begun;
        let mut first_byte = None;
        let mut bytes_out = 0;
        let whole = {
            let told = |written: usize| {
                first_byte.get_or_insert_with(|| begun.elapsed());
                bytes_out += written;
            };
            send(stream, &stored, &response, &lane, told).await.is_ok()
        };
        if !whole {
            exchange.failure = Some(Failure::ClientGone);
        }
        exchange.first_byte = first_byte;
        exchange.permit = None;
        let moved = Moved { head, sent: Some(&response.head), bytes_in: 0, bytes_out };
        finish::record(&self.edge, &moved, !whole, &exchange);
        whole
    }
}

/// Sends a head with the first bytes of its body in one write, then the rest. Tells how many bytes of the
/// body each write had.
async fn send(
    stream: &mut Stream,
    stored: &Stored,
    response: &Response,
    lane: &Lane,
    mut told: impl FnMut(usize),
) -> io::Result<()> {
    let (mut at, end) = if response.has_body { (response.first, response.end) } else { (0, 0) };
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    write(&response.head, &mut head);
    let mut head = head.freeze();
    loop {
        let body = if at < end { part(stored, at, end) } else { Bytes::new() };
        if body.is_empty() && at < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        lane.pace.wait(body.len()).await;
        let length = body.len();
        stream.write_all_buf(&mut std::mem::take(&mut head).chain(body)).await?;
        told(length);
        at += length as u64;
        if at >= end {
            return stream.flush().await;
        }
    }
}

/// A guest whose next request is not there yet.
struct Waiting<'a, L> {
    idle: Duration,
    stream: &'a mut Stream,
    guest: &'a mut Guest,
    leaving: Pin<&'a mut L>,
}

impl<L: Future<Output = ()>> Waiting<'_, L> {
    /// Reads some bytes; 0 when there will be none.
    async fn for_bytes(mut self) -> io::Result<usize> {
        self.guest.since = Instant::now();
        poll_fn(|context| self.poll(context)).await
    }

    /// While it waits it holds no buffer: idle connections are many.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        if let Poll::Ready(done) = Pin::new(&mut *self.stream).poll_read(context, &mut read) {
            self.guest.read.extend_from_slice(read.filled());
            return Poll::Ready(done.map(|()| read.filled().len()));
        }
        if self.leaving.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(0));
        }
        // The timer is not set anew for each request: it looks when it is due.
        let (since, idle) = (self.guest.since, self.idle);
        let due = self.guest.due.get_or_insert_with(|| Box::pin(sleep(idle)));
        while due.as_mut().poll(context).is_ready() {
            let until = since + idle;
            if until <= Instant::now() {
                return Poll::Ready(Ok(0));
            }
            due.as_mut().reset(until);
        }
        Poll::Pending
    }
}
