//! A request passed through at the door: the proxy asks the upstream by itself and sends on what comes. It is for
//! requests that are there whole, to upstreams that speak HTTP/1; bodies of answers move here only on
//! the latency runtime.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::TRANSFER_ENCODING;
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;

use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::fill::origin::{Contact, Question, Reply};
use crate::front::arrival::Arrival;
use crate::front::head::write;
use crate::front::{HEAD_BYTES, READ_BYTES, Sent, read_some};
use crate::lane::Lane;
use crate::respond::Failure;
use crate::runtimes::Place;
use crate::{detour, relay};

/// Whether the door asks the upstream of such a request.
pub fn is_for_door(arrival: &Arrival) -> bool {
    let Arrival { exchange, route } = arrival;
    let speaks = exchange.upstream.as_ref().is_some_and(|upstream| upstream.is_plain());
    speaks
        && exchange.cache_policy.is_none()
        && exchange.ruled.reply.is_none()
        && route.rules.pages.is_empty()
        && route.lane.place() == Place::Latency
        && !detour::may_follow(exchange)
}

/// The client's side of one request.
pub struct Client<'a> {
    pub stream: &'a mut Stream,
    /// What it has sent of requests to come.
    pub ahead: &'a mut BytesMut,
    pub lane: &'a Lane,
    /// The head sent, and bytes of its body.
    pub sent: Option<Sent>,
    pub bytes_out: usize,
}

/// Asks the upstream and sends its answer on.
///
/// Errors: what is to be answered instead, or, when a head was sent, what broke the answer off.
pub async fn pass(
    edge: &Edge,
    client: &mut Client<'_>,
    head: &RequestHeader,
    body: Option<Bytes>,
    exchange: &mut Exchange,
) -> Result<(), Failure> {
    let origin = edge.origin_without_scripts(head, exchange).ok_or(Failure::Internal)?;
    let question = Question { body, ..relay::question(head, exchange) };
    let mut contact = Contact::default();
    let interim = Mutex::new(Vec::new());
    let reply = {
        let tell = |head| interim.lock().push(head);
        let mut asking = pin!(origin.ask(&question, &[], &mut contact, &tell));
        client.until(&interim, asking.as_mut()).await
    };
    exchange.met(contact);
    let mut reply = reply??;
    exchange.upstream_status = Some(reply.head.status.as_u16());
    let cookie = reply.sticky_cookie(exchange.tls.is_some());
    let has_body = relay::has_body(&head.method, &reply.head);
    let mut answer = reply.head.clone();
    let settled = relay::settle_head(&mut answer, exchange, cookie, has_body);
    settled.map_err(|_| Failure::Internal)?;
    let is_chunked = answer.headers.contains_key(TRANSFER_ENCODING);
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    write(&answer, true, &mut out);
    client.sent = Some(Sent::Head(Box::new(answer)));
    exchange.first_byte = Some(exchange.begun.elapsed());
    let last = client.send(&mut reply, has_body, is_chunked, out).await?;
    // Before the client has it all and asks again.
    reply.release().await;
    client.write(last).await.map_err(|_| Failure::ClientGone)
}

/// What came of waiting.
enum Met<T> {
    Done(T),
    Interim,
}

impl Client<'_> {
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
            match ready!(read_some(self.stream, self.ahead, context)) {
                Ok(0) | Err(_) => return Poll::Ready(Failure::ClientGone),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Sends what `out` has, and the body behind it; returns what is still to be written.
    async fn send(
        &mut self,
        reply: &mut Reply,
        has_body: bool,
        is_chunked: bool,
        mut out: BytesMut,
    ) -> Result<BytesMut, Failure> {
        let gone = |_: io::Error| Failure::ClientGone;
        if !has_body {
            return Ok(out);
        }
        loop {
            let part = match self.part(reply, &mut out).await {
                Ok(Some(part)) => part,
                Ok(None) => break,
                Err(failure) => {
                    // What came before the fault is the client's.
                    self.write(out).await.map_err(gone)?;
                    return Err(failure);
                }
            };
            self.lane.pace.wait(part.len()).await;
            self.bytes_out += part.len();
            if !part.is_empty() {
                frame(&part, is_chunked, &mut out);
            }
            if out.len() >= READ_BYTES {
                self.write(std::mem::take(&mut out)).await.map_err(gone)?;
            }
        }
        if is_chunked {
            out.put_slice(b"0\r\n\r\n");
        }
        Ok(out)
    }

    /// The next part of a body. What is there already goes out with what was written before it; who has to
    /// wait sends that first.
    async fn part(
        &mut self,
        reply: &mut Reply,
        out: &mut BytesMut,
    ) -> Result<Option<Bytes>, Failure> {
        let mut reading = pin!(reply.read());
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
    if !is_chunked {
        into.extend_from_slice(part);
        return;
    }
    into.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
    into.extend_from_slice(part);
    into.extend_from_slice(b"\r\n");
}
