//! What lies fresh in memory, sent with one write.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;

use crate::cache::answer::at_hand;
use crate::cache::now_ms;
use crate::cache::object::Stored;
use crate::cache::policy::Policy;
use crate::cache::serve::{Response, Source, part, respond_to};
use crate::detour;
use crate::front::HEAD_BYTES;
use crate::front::arrival::Arrival;
use crate::front::head::write;
use crate::lane::Lane;
use crate::prompt::QUANTUM_BYTES;
use crate::rate_limit::Quota;
use crate::rules::{ToClient, edit_response};

/// A stored answer, and what this request gets of it.
pub struct Hit {
    pub policy: Arc<Policy>,
    stored: Arc<Stored>,
    response: Response,
}

/// Looks for an answer that nothing stands in the way of.
pub fn find(head: &RequestHeader, arrival: &Arrival) -> Option<Hit> {
    let exchange = &arrival.exchange;
    let policy = Arc::clone(exchange.cache_policy.as_ref()?);
    let now_ms = now_ms();
    let (stored, status) = at_hand(head, &policy, exchange.tls.is_some(), now_ms)?;
    let is_large = stored.length() > QUANTUM_BYTES as u64;
    if is_large || detour::after(exchange, &stored.head.response).is_some() {
        return None;
    }
    let response = respond_to(head, &Source::Stored(Arc::clone(&stored)), &status, now_ms)?;
    Some(Hit { policy, stored, response })
}

impl Hit {
    /// Makes the head what the route has its clients see.
    pub fn settle(&mut self, quota: Option<&Quota>, to_client: &ToClient) -> pingora::Result<()> {
        for (name, value) in quota.into_iter().flat_map(Quota::fields) {
            self.response.head.append_header(name, value)?;
        }
        edit_response(&mut self.response.head, to_client)
    }

    pub fn into_head(self) -> ResponseHeader {
        self.response.head
    }

    /// Sends the head with the first bytes of the body in one write, then the rest. Tells how many bytes of
    /// the body each write had.
    pub async fn send(
        &self,
        stream: &mut Stream,
        lane: &Lane,
        mut told: impl FnMut(usize),
    ) -> io::Result<()> {
        let Response { has_body, first, end, .. } = self.response;
        let (mut at, end) = if has_body { (first, end) } else { (0, 0) };
        let mut head = BytesMut::with_capacity(HEAD_BYTES);
        write(&self.response.head, true, &mut head);
        let mut head = head.freeze();
        loop {
            let body = if at < end { part(&self.stored, at, end) } else { Bytes::new() };
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
}
