//! The front door of an HTTP/1 connection: it reads requests ahead of pingora, answers what lies fresh in memory,
//! passes plain requests through to their upstream, and hands everything else on, with the bytes that
//! were read.
//!
//! [`head`] makes a request of bytes; [`arrival`] finds its route, with the functions that decide everywhere and
//! in their order; [`hit`] looks into the cache, [`pass`] asks the upstream. Until one of them takes the
//! request nothing is counted, taken or changed, so it is decided here or behind, never half here.

pub mod arrival;
pub mod as_stored;
mod direct;
pub mod head;
pub mod hit;
pub mod pass;

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use http::header::CONTENT_LENGTH;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use prometheus::IntCounter;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::cache::answer::count;
use crate::cache::verdict::Verdict;
use crate::connection::{Caller, Ends, whole_seconds};
use crate::edge::Edge;
use crate::error_logs::request_failed;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::finish::{self, Moved};
use crate::front::arrival::{Arrival, arrive};
use crate::front::as_stored::AsStored;
use crate::front::head::{Begins, Whole, read, write};
use crate::front::hit::Hit;
use crate::front::pass::Client;
use crate::rate_limit;
use crate::respond::rendered;
use crate::upstream::lines::Lines;

/// Bytes read at once, and of requests to come while one is being answered. What does not come in one piece
/// is pingora's to put together.
const READ_BYTES: usize = 8 * 1024;
/// Pieces that a head may come in; looking for HTTP/2 cuts off the first byte of a connection.
const READS_MAX: u32 = 4;
/// Room for a head of ordinary size, and a small body.
const HEAD_BYTES: usize = 2048;
/// Shuts the door when it is `off`, to tell its faults from others'.
const SWITCH: &str = "FOREBAY_FRONT_DOOR";

/// Whether the operator leaves it open.
///
/// Errors: what [`SWITCH`] is set to says neither.
pub fn switched() -> Result<bool, String> {
    match std::env::var_os(SWITCH) {
        None => Ok(true),
        Some(set) if set == "on" || set.is_empty() => Ok(true),
        Some(set) if set == "off" => Ok(false),
        Some(set) => Err(format!("{SWITCH} is `{}`; set it to `on` or `off`", set.display())),
    }
}

/// The same once a start has looked at it.
pub fn is_open() -> bool {
    switched().unwrap_or(true)
}

/// The door of a listener.
pub struct Door {
    edge: Edge,
    idle: Duration,
    answered: IntCounter,
    passed: IntCounter,
    handed_on: IntCounter,
}

/// One connection in front of it.
pub struct Guest {
    pub caller: Caller,
    pub ends: Ends,
    /// Requests that were answered, here and behind.
    pub served: u64,
    /// Bytes that were read and not yet looked at.
    pub read: BytesMut,
    /// Why nothing more comes.
    pub ended: Option<Ended>,
    /// Since when it waits, and until when it may.
    since: Instant,
    due: Option<Pin<Box<Sleep>>>,
}

/// Why no more of a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client sends nothing more, or is gone.
    Closed,
    /// A head has not come whole in its time.
    Late,
    /// It waited for as long as it may, or the proxy stops.
    Told,
}

impl Guest {
    pub fn new(stream: &Stream, caller: Caller) -> Guest {
        let (socket, tls) = (stream.get_socket_digest(), stream.get_ssl_digest());
        Guest {
            caller,
            ends: Ends::of(socket.as_deref(), tls.as_deref()),
            served: 0,
            read: BytesMut::new(),
            ended: None,
            since: Instant::now(),
            due: None,
        }
    }
}

/// What becomes of a connection.
pub enum Passed {
    Over,
    /// Its next request is not for the door.
    On(Stream),
}

/// The head that was sent.
pub enum Sent {
    Head(Box<ResponseHeader>),
    AsStored(AsStored),
    AsCame(Box<Lines>),
}

/// What the door does for a request.
enum Deed {
    Hit(Hit),
    /// Asks the upstream with this body.
    Pass(Option<Bytes>),
}

impl Door {
    pub fn new(edge: Edge) -> Door {
        let counted = |outcome| {
            let labels = [edge.listener.as_str(), outcome];
            edge.state.metrics.front_door_requests.with_label_values(&labels)
        };
        let idle = Duration::from_secs(whole_seconds(edge.timeouts.idle));
        Door {
            idle,
            answered: counted("answered"),
            passed: counted("passed_through"),
            handed_on: counted("handed_on"),
            edge,
        }
    }

    /// Answers requests until there is one for somebody else, or the last one of `requests_max`. `leaving`
    /// ends an idle connection.
    pub async fn receive(
        &self,
        mut stream: Stream,
        guest: &mut Guest,
        requests_max: u64,
        leaving: &mut Pin<&mut impl Future<Output = ()>>,
    ) -> Passed {
        loop {
            let state = &self.edge.state;
            let is_last = guest.served + 1 >= requests_max;
            let shut = is_last || state.drain.has_begun();
            if shut || !state.generation.load().routes.has_plain() {
                return Passed::On(stream);
            }
            let mut reads = 0;
            let begins = loop {
                let begins = match guest.read.is_empty() {
                    true => Begins::Partial,
                    false => read(&guest.read),
                };
                let is_over = reads >= READS_MAX && !guest.read.is_empty();
                if is_over || !matches!(begins, Begins::Partial) {
                    break begins;
                }
                let leaving = leaving.as_mut();
                let waiting = Waiting { idle: self.idle, stream: &mut stream, guest, leaving };
                match waiting.for_bytes().await {
                    true => reads += 1,
                    false if guest.read.is_empty() => return Passed::Over,
                    false => return Passed::On(stream),
                }
            };
            let considered = match begins {
                Begins::Request(whole) => self.consider(guest, whole),
                Begins::Partial | Begins::Other => None,
            };
            let Some((whole, arrival, deed)) = considered else {
                self.handed_on.inc();
                return Passed::On(stream);
            };
            guest.served += 1;
            guest.read.advance(whole.head_length + whole.body_length);
            // Apart, so that a connection that waits for a request has no room for one.
            let client = Client::new(stream, std::mem::take(&mut guest.read), &arrival.route.lane);
            match Box::pin(self.serve(client, whole, arrival, deed)).await {
                Some((open, ahead)) => (stream, guest.read) = (open, ahead),
                None => return Passed::Over,
            }
        }
    }

    /// The request and what to do for it, with its place in its lane; `None` when the door does
    /// nothing.
    fn consider(&self, guest: &Guest, mut whole: Whole) -> Option<(Whole, Arrival, Deed)> {
        let (raw, rest) = guest.read.split_at(whole.head_length);
        let mut arrival = arrive(&self.edge, guest, Arc::make_mut(&mut whole.head), raw)?;
        let deed = if let Some(hit) = hit::find(&whole, &arrival) {
            Deed::Hit(hit)
        } else if pass::is_for_door(&arrival) {
            let body = &rest[..whole.body_length];
            let has_body = whole.head.headers.contains_key(CONTENT_LENGTH);
            Deed::Pass(has_body.then(|| Bytes::copy_from_slice(body)))
        } else {
            return None;
        };
        arrival.exchange.permit = Some(arrival.route.lane.admit_now(&guest.caller.charged)?);
        match deed {
            Deed::Hit(_) => self.answered.inc(),
            Deed::Pass(_) => self.passed.inc(),
        }
        Some((whole, arrival, deed))
    }

    /// Does it and records it; gives the connection back, with what was read ahead, when it can go on.
    async fn serve(
        &self,
        mut client: Client,
        whole: Whole,
        arrival: Arrival,
        deed: Deed,
    ) -> Option<(Stream, BytesMut)> {
        let mut exchange = arrival.exchange;
        let head = &whole.head;
        let limited = match rate_limit::enter::keys(head, &exchange, &self.edge.listener) {
            Some(keys) => {
                let wait = async |time| client.stays(tokio::time::sleep(time)).await;
                rate_limit::enter::hold_against_all(keys, &mut exchange, wait).await
            }
            None => Ok(()),
        };
        let (mut client, done) = match (limited, deed) {
            (Err(failure), _) => (client, Err(failure)),
            (Ok(()), Deed::Hit(hit)) => {
                count(&hit.policy, &mut exchange, Verdict::Hit);
                hit.send(&self.edge.state.runtimes, client, head, &mut exchange).await
            }
            (Ok(()), Deed::Pass(body)) => {
                Box::pin(pass::pass(&self.edge, client, head, body, &mut exchange)).await
            }
        };
        let mut goes_on = done.is_ok();
        if let Err(failure) = done {
            goes_on = self.fail(&mut client, head, &failure, &mut exchange).await;
            exchange.failure = Some(failure);
        }
        (exchange.permit, exchange.at_origin) = (None, None);
        exchange.limits.leave();
        let Client { stream, ahead, sent, bytes_out, .. } = client;
        let sent = sent.as_ref().map(|sent| match sent {
            Sent::Head(head) => finish::Sent::Head(head),
            Sent::AsStored(sent) => finish::Sent::AsStored(sent),
            Sent::AsCame(sent) => finish::Sent::AsCame(sent),
        });
        let moved = Moved { head, sent, bytes_in: whole.body_length, bytes_out };
        let told = finish::record(&self.edge, &moved, false, &mut exchange);
        if !told.is_nothing() {
            // Apart, so that the others have no room for it.
            Box::pin(told.written()).await;
        }
        goes_on.then_some((stream, ahead))
    }

    /// Answers a failure where nothing was sent; says whether the connection can go on.
    async fn fail(
        &self,
        client: &mut Client,
        head: &RequestHeader,
        failure: &Failure,
        exchange: &mut Exchange,
    ) -> bool {
        request_failed(&self.edge.state, exchange, failure, failure);
        if client.sent.is_some() {
            return false;
        }
        let Some((answer, body)) = rendered(failure, exchange) else { return false };
        let mut out = BytesMut::with_capacity(HEAD_BYTES);
        write(&answer, true, &mut out);
        if head.method != Method::HEAD {
            out.extend_from_slice(&body);
            client.bytes_out = body.len();
        }
        let written = client.write(out).await.is_ok();
        exchange.first_byte = Some(exchange.begun.elapsed());
        exchange.answered = written.then_some(answer.status);
        client.sent = Some(Sent::Head(Box::new(answer)));
        written
    }
}

/// Reads what is there into a buffer. A connection that waits holds no room for it: idle ones are many.
fn read_some(
    stream: &mut Stream,
    into: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); READ_BYTES];
    let mut read = ReadBuf::uninit(&mut space);
    let polled = Pin::new(stream).poll_read(context, &mut read);
    polled.map_ok(|()| {
        into.extend_from_slice(read.filled());
        read.filled().len()
    })
}

/// A guest whose next request is not there yet.
pub struct Waiting<'a, L> {
    pub idle: Duration,
    pub stream: &'a mut Stream,
    pub guest: &'a mut Guest,
    pub leaving: Pin<&'a mut L>,
}

impl<L: Future<Output = ()>> Waiting<'_, L> {
    /// Reads some bytes, unless there will be none.
    pub async fn for_bytes(mut self) -> bool {
        self.guest.since = Instant::now();
        self.guest.ended = poll_fn(|context| self.poll(context)).await;
        self.guest.ended.is_none()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Ended>> {
        match read_some(self.stream, &mut self.guest.read, context) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Some(Ended::Closed)),
            Poll::Ready(Ok(_)) => return Poll::Ready(None),
            Poll::Ready(Err(error)) => {
                let is_late = error.kind() == io::ErrorKind::TimedOut;
                return Poll::Ready(Some(if is_late { Ended::Late } else { Ended::Closed }));
            }
            Poll::Pending => {}
        }
        if self.leaving.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Ended::Told));
        }
        // The timer is not set anew for each request: it looks when it is due.
        let (since, idle) = (self.guest.since, self.idle);
        let due = self.guest.due.get_or_insert_with(|| Box::pin(sleep(idle)));
        while due.as_mut().poll(context).is_ready() {
            let until = since + idle;
            if until <= Instant::now() {
                return Poll::Ready(Some(Ended::Told));
            }
            due.as_mut().reset(until);
        }
        Poll::Pending
    }
}
