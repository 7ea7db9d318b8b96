//! A request passed through at the door: the proxy asks the upstream by itself and sends on what comes. It is for
//! requests that are there whole, to upstreams that speak HTTP/1. Large bodies of answers move where their lane's do.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::fill::contact::Contact;
use crate::fill::origin::Question;
use crate::fill::reply::Reply;
use crate::front::arrival::Arrival;
use crate::front::direct::{self, End};
use crate::front::head::{end, write};
use crate::front::{HEAD_BYTES, READ_BYTES, Sent, read_some};
use crate::lane::Lane;
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::runtimes::Place;
use crate::{detour, hop, relay};

/// Whether the door asks the upstream of such a request.
pub fn is_for_door(arrival: &Arrival) -> bool {
    let Arrival { exchange, route } = arrival;
    let speaks = exchange.upstream.as_ref().is_some_and(|upstream| upstream.is_plain());
    speaks
        && exchange.cache_policy.is_none()
        && exchange.ruled.reply.is_none()
        && route.rules.pages.is_empty()
        && !detour::may_follow(exchange)
}

/// The client's side of one request.
pub struct Client {
    pub stream: Stream,
    /// The runtime that waits for it between requests.
    pub home: Handle,
    /// What it has sent of requests to come.
    pub ahead: BytesMut,
    pub lane: Arc<Lane>,
    /// The head sent, and bytes of its body.
    pub sent: Option<Sent>,
    pub bytes_out: usize,
}

/// Asks the upstream and sends its answer on.
///
/// Errors: what is to be answered instead, or, when a head was sent, what broke the answer off.
pub async fn pass(
    edge: &Edge,
    mut client: Client,
    head: &Arc<RequestHeader>,
    body: Option<Bytes>,
    exchange: &mut Exchange,
) -> (Client, Result<(), Failure>) {
    let opened = match ask(edge, &mut client, head, body, exchange).await {
        Ok(reply) => open(&mut client, head, reply, exchange),
        Err(failure) => Err(failure),
    };
    let answer = match opened {
        Ok(answer) => answer,
        Err(failure) => return (client, Err(failure)),
    };
    let place = client.lane.place();
    if place == Place::Latency || answer.is_small() {
        let sent = client.send(answer).await;
        return (client, sent);
    }
    // Apart, so that the others have no room for it.
    let work = Box::pin(async move {
        hop::to(place).await;
        let sent = client.send(answer).await;
        (client, sent)
    });
    Box::pin(hop::drive(&edge.state.runtimes, None, work)).await
}

async fn ask(
    edge: &Edge,
    client: &mut Client,
    head: &Arc<RequestHeader>,
    body: Option<Bytes>,
    exchange: &mut Exchange,
) -> Result<Box<Reply>, Failure> {
    let origin = edge.origin_without_scripts(head, exchange).ok_or(Failure::Internal)?;
    let as_lines = is_passed_as_it_came(exchange);
    let question = Question { body, as_lines, ..relay::question_of(Arc::clone(head), exchange) };
    let mut contact = Contact::default();
    let interim = Mutex::new(Vec::new());
    let reply = {
        let tell = |head| interim.lock().push(head);
        let mut asking = pin!(origin.ask(&question, &[], &mut contact, &tell));
        client.until(&interim, asking.as_mut()).await
    };
    exchange.met(contact);
    reply?
}

/// Whether no field of an answer is added, taken off or looked at.
fn is_passed_as_it_came(exchange: &Exchange) -> bool {
    exchange.upstream.as_ref().is_some_and(|upstream| upstream.leaves_heads_alone())
        && exchange.ruled.to_client.is_empty()
        && exchange.cache_status.is_none()
        && exchange.limits.quota.is_none()
}

/// Makes the head of the answer, as the route has its clients see it.
fn open(
    client: &mut Client,
    head: &RequestHeader,
    mut reply: Box<Reply>,
    exchange: &mut Exchange,
) -> Result<Answer, Failure> {
    exchange.upstream_status = Some(reply.head.status.as_u16());
    if let Some(lines) = reply.lines.take() {
        let has_body = relay::has_body(&head.method, &reply.head);
        let length = usize::try_from(lines.body_length()).ok();
        let mut out = BytesMut::with_capacity(HEAD_BYTES);
        lines.write(&mut out);
        end(lines.has_date(), true, &mut out);
        client.sent = Some(Sent::AsCame(lines));
        exchange.first_byte = Some(exchange.begun.elapsed());
        return Ok(Answer { reply, has_body, is_chunked: false, length, out });
    }
    let cookie = reply.sticky_cookie(exchange.tls.is_some());
    let has_body = relay::has_body(&head.method, &reply.head);
    let length = || reply.head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    let length = length();
    let mut answer = reply.take_head();
    let settled = relay::settle_head(&mut answer, exchange, cookie, has_body);
    settled.map_err(|_| Failure::Internal)?;
    let is_chunked = answer.headers.contains_key(TRANSFER_ENCODING);
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    write(&answer, true, &mut out);
    client.sent = Some(Sent::Head(Box::new(answer)));
    exchange.first_byte = Some(exchange.begun.elapsed());
    Ok(Answer { reply, has_body, is_chunked, length, out })
}

/// An upstream's answer on its way to the client.
struct Answer {
    reply: Box<Reply>,
    has_body: bool,
    is_chunked: bool,
    /// Bytes of its body, where they are known.
    length: Option<usize>,
    /// Written, and not sent yet.
    out: BytesMut,
}

impl Answer {
    fn is_small(&self) -> bool {
        !self.has_body || self.length.is_some_and(|length| length <= QUANTUM_BYTES)
    }
}

/// What came of waiting.
enum Met<T> {
    Done(T),
    Interim,
}

impl Client {
    /// The client of a request that is served on the runtime this is called on.
    pub fn new(stream: Stream, ahead: BytesMut, lane: &Arc<Lane>) -> Client {
        let (home, lane) = (Handle::current(), Arc::clone(lane));
        Client { stream, home, ahead, lane, sent: None, bytes_out: 0 }
    }

    /// Waits for something, or for the client to leave.
    pub async fn stays<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.until(&Mutex::default(), pin!(work)).await
    }

    /// Waits for something, or for the client to leave, and passes interim responses on meanwhile.
    async fn until<T>(
        &mut self,
        interim: &Mutex<Vec<ResponseHeader>>,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Failure> {
        loop {
            let met = poll_fn(|context| {
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    return Poll::Ready(Ok(Met::Done(done)));
                }
                if !interim.lock().is_empty() {
                    return Poll::Ready(Ok(Met::Interim));
                }
                self.poll_gone(context).map(Err)
            });
            let met = met.await?;
            let heads = std::mem::take(&mut *interim.lock());
            if !heads.is_empty() {
                let mut out = BytesMut::with_capacity(HEAD_BYTES);
                heads.iter().for_each(|head| write(head, true, &mut out));
                self.write(out).await.map_err(|_| Failure::ClientGone)?;
            }
            if let Met::Done(done) = met {
                return Ok(done);
            }
        }
    }

    /// Ready when the client has left. What it sends ahead is kept, as far as there is room.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Failure> {
        while self.ahead.len() < READ_BYTES {
            match ready!(read_some(&mut self.stream, &mut self.ahead, context)) {
                Ok(0) | Err(_) => return Poll::Ready(Failure::ClientGone),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Sends what is written of an answer, and the body behind it, and gives the upstream's connection back.
    async fn send(&mut self, mut answer: Answer) -> Result<(), Failure> {
        let end = match answer.has_body {
            true => self.send_body(&mut answer).await?,
            false => None,
        };
        let Answer { reply, out, .. } = answer;
        // Before the client has it all and asks again.
        reply.release().await;
        if let Some(end) = end {
            return direct::send_end(self, end).await;
        }
        self.write(out).await.map_err(|_| Failure::ClientGone)
    }

    /// Sends a body but for its end, which is written, or on its way past the stream.
    async fn send_body(&mut self, answer: &mut Answer) -> Result<Option<End>, Failure> {
        let gone = |_: io::Error| Failure::ClientGone;
        let Answer { reply, is_chunked, length: left, out, .. } = answer;
        let is_large = left.is_some_and(|left| left > QUANTUM_BYTES);
        // Tried once, when what came with the head is out of the way.
        let mut goes_direct = is_large && !*is_chunked;
        loop {
            if goes_direct && self.bytes_out > 0 {
                goes_direct = false;
                self.write(std::mem::take(out)).await.map_err(gone)?;
                if let Some(way) = direct::way(self, reply) {
                    return direct::move_rest(way, self, reply).await.map(Some);
                }
            }
            let part = match self.part(reply, out).await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(failure) => {
                    // What came before the fault is the client's.
                    self.write(std::mem::take(out)).await.map_err(gone)?;
                    return Err(failure);
                }
            };
            self.lane.pace.wait(part.len()).await;
            self.bytes_out += part.len();
            *left = left.and_then(|left| left.checked_sub(part.len()));
            let is_last = *left == Some(0);
            if is_last || part.len() < READ_BYTES {
                frame(part, *is_chunked, out);
                if !is_last && out.len() >= READ_BYTES {
                    self.write(std::mem::take(out)).await.map_err(gone)?;
                }
            } else {
                // Large parts are not copied.
                begin_frame(part, *is_chunked, out);
                let mut both = std::mem::take(out).chain(part);
                self.stream.write_all_buf(&mut both).await.map_err(gone)?;
                end_frame(*is_chunked, out);
            }
        }
        if *is_chunked {
            out.put_slice(b"0\r\n\r\n");
        }
        Ok(None)
    }

    /// The next part of a body. What is there already goes out with what was written before it; who has to
    /// wait sends that first.
    async fn part<'a>(
        &mut self,
        reply: &'a mut Reply,
        out: &mut BytesMut,
    ) -> Result<Option<&'a [u8]>, Failure> {
        let mut reading = pin!(reply.read_lent());
        let at_once = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
        if let Poll::Ready(part) = at_once {
            return part;
        }
        self.write(std::mem::take(out)).await.map_err(|_| Failure::ClientGone)?;
        self.stays(reading).await?
    }

    /// Writes and does not wait for more to write.
    pub async fn write(&mut self, mut bytes: BytesMut) -> io::Result<()> {
        self.stream.write_all_buf(&mut bytes).await?;
        self.stream.flush().await
    }
}

/// Appends a part of a body, as a chunk where the body is chunked (RFC 9112 section 7.1).
fn frame(part: &[u8], is_chunked: bool, into: &mut BytesMut) {
    if part.is_empty() {
        return;
    }
    begin_frame(part, is_chunked, into);
    into.extend_from_slice(part);
    end_frame(is_chunked, into);
}

fn begin_frame(part: &[u8], is_chunked: bool, into: &mut BytesMut) {
    if is_chunked {
        into.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
    }
}

fn end_frame(is_chunked: bool, into: &mut BytesMut) {
    if is_chunked {
        into.extend_from_slice(b"\r\n");
    }
}
