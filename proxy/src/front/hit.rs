//! What lies fresh in memory, sent with one write. A whole answer that nobody edits goes out as it lies there
//! ([`AsStored`]); a head is only made for what differs from it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use pingora::http::{RequestHeader, ResponseHeader};
use tokio::io::AsyncWriteExt;

use crate::cache::answer::{Wanted, at_hand, hit_status};
use crate::cache::now_ms;
use crate::cache::object::Stored;
use crate::cache::policy::Policy;
use crate::cache::serve::{Response, Source, part, respond_to};
use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::front::arrival::Arrival;
use crate::front::as_stored::AsStored;
use crate::front::direct;
use crate::front::head::{Whole, write};
use crate::front::pass::Client;
use crate::front::{HEAD_BYTES, Sent};
use crate::prompt::quantum::QUANTUM_BYTES;
use crate::rate_limit::quota::Quota;
use crate::rules::edits::edit_response;
use crate::runtimes::Handles;
use crate::{detour, hop};

/// A stored answer, and what this request gets of it.
pub struct Hit {
    pub policy: Arc<Policy>,
    stored: Arc<Stored>,
    now_ms: u64,
    fresh_for_ms: i64,
    /// The request is one that may be answered with the answer as it lies there.
    asks_for_all: bool,
}

/// A head ready to be written, with the bytes of the body that follow it.
struct Ready {
    head: BytesMut,
    first: u64,
    end: u64,
    sent: Sent,
}

/// Looks for an answer that nothing stands in the way of.
pub fn find(whole: &Whole, arrival: &Arrival) -> Option<Hit> {
    let exchange = &arrival.exchange;
    let policy = exchange.cache_policy.as_ref()?;
    let now_ms = now_ms();
    let wanted = Wanted {
        head: &whole.head,
        is_plain: whole.is_plain,
        edits: &exchange.ruled.to_upstream,
        tls: exchange.tls.is_some(),
        text: exchange.ruled.texts.cache_key.as_deref(),
    };
    let (stored, fresh_for_ms) = at_hand(&wanted, policy, now_ms)?;
    if detour::after(exchange, &stored.head.response).is_some() {
        return None;
    }
    let asks_for_all = whole.is_plain && whole.head.method == Method::GET;
    Some(Hit { policy: Arc::clone(policy), stored, now_ms, fresh_for_ms, asks_for_all })
}

impl Hit {
    /// Sends the head with the first bytes of the body in one write, then the rest; what is large moves where its
    /// lane's bodies do.
    ///
    /// Errors: `Internal` when no head can be made, `ClientGone` when it cannot be sent.
    pub async fn send(
        self,
        runtimes: &Handles,
        mut client: Client,
        head: &RequestHeader,
        exchange: &mut Exchange,
    ) -> (Client, Result<(), Failure>) {
        let Ready { head, first, end, sent } = match self.ready(head, exchange) {
            Ok(ready) => ready,
            Err(failure) => return (client, Err(failure)),
        };
        client.sent = Some(sent);
        let is_large = end - first > QUANTUM_BYTES as u64;
        let mut sending = Sending { client, stored: self.stored, head, first_byte: None };
        let place = sending.client.lane.place();
        let moved;
        (sending, moved) = match is_large {
            true => {
                let work = async move {
                    hop::to(place).await;
                    let moved = sending.run(first, end).await;
                    (sending, moved)
                };
                hop::drive(runtimes, None, work).await
            }
            false => {
                let moved = sending.run(first, end).await;
                (sending, moved)
            }
        };
        let Sending { mut client, first_byte, .. } = sending;
        exchange.first_byte = first_byte.map(|at| at.duration_since(exchange.begun));
        if first_byte.is_none() {
            client.sent = None;
        }
        (client, moved.map_err(|_| Failure::ClientGone))
    }

    /// The head as the route has its clients see it.
    fn ready(&self, request: &RequestHeader, exchange: &Exchange) -> Result<Ready, Failure> {
        let quota = exchange.limits.quota.as_ref();
        let to_client = &exchange.ruled.to_client;
        if self.asks_for_all && quota.is_none() && to_client.is_empty() {
            let as_is = AsStored::of(&self.stored, self.now_ms, self.fresh_for_ms);
            if let Some(as_is) = as_is {
                let head = as_is.head();
                let end = self.stored.length();
                return Ok(Ready { head, first: 0, end, sent: Sent::AsStored(as_is) });
            }
        }
        let status = hit_status(self.fresh_for_ms);
        let source = Source::Stored(Arc::clone(&self.stored));
        let made =
            respond_to(request, &source, &status, self.now_ms, true).ok_or(Failure::Internal)?;
        let Response { mut head, first, end, has_body } = made;
        edit(&mut head, quota, exchange).map_err(|_| Failure::Internal)?;
        let (first, end) = if has_body { (first, end) } else { (0, 0) };
        let mut wire = BytesMut::with_capacity(HEAD_BYTES);
        write(&head, true, &mut wire);
        Ok(Ready { head: wire, first, end, sent: Sent::Head(Box::new(head)) })
    }
}

/// A stored answer on its way to a client.
struct Sending {
    client: Client,
    stored: Arc<Stored>,
    /// What is still to be written ahead of the body.
    head: BytesMut,
    first_byte: Option<Instant>,
}

impl Sending {
    async fn run(&mut self, first: u64, end: u64) -> io::Result<()> {
        if end - first > QUANTUM_BYTES as u64
            && let Some(pages) = &self.stored.body.pages
        {
            let Sending { client, head, first_byte, .. } = self;
            let sending = direct::send_pages(client, head, pages, (first, end), first_byte);
            if let Some(sent) = Box::pin(sending).await {
                return sent;
            }
        }
        let mut at = first;
        loop {
            let body = if at < end { part(&self.stored, at, end) } else { Bytes::new() };
            if body.is_empty() && at < end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let length = body.len();
            self.client.lane.pace.wait(length).await;
            let stream = &mut self.client.stream;
            stream.write_all_buf(&mut std::mem::take(&mut self.head).chain(body)).await?;
            self.first_byte.get_or_insert_with(Instant::now);
            self.client.bytes_out += length;
            at += length as u64;
            if at >= end {
                return stream.flush().await;
            }
        }
    }
}

fn edit(
    head: &mut ResponseHeader,
    quota: Option<&Quota>,
    exchange: &Exchange,
) -> pingora::Result<()> {
    for (name, value) in quota.into_iter().flat_map(Quota::fields) {
        head.append_header(name, value)?;
    }
    edit_response(head, &exchange.ruled.to_client)
}
