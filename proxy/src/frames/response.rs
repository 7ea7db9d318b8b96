//! The response to a request: heads that say something before it, its own head, its body and its trailers. What is not ended by [`Response::end`]
//! or an `end` on the way is reset when it is dropped.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::time::timeout;

use crate::dating;

/// What says something of a connection of HTTP/1, and must not be in HTTP/2 (RFC 9113 section 8.2.2).
const OF_CONNECTIONS: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

pub struct Response {
    stream: SendResponse<Bytes>,
    /// Is there when the head has been sent.
    body: Option<SendStream<Bytes>>,
    head: Option<Box<ResponseHeader>>,
    /// The client has been told that it is whole.
    is_ended: bool,
    bytes: usize,
    /// How long a client may read nothing.
    pub patience: Option<Duration>,
}

impl Response {
    pub fn new(stream: SendResponse<Bytes>) -> Response {
        Response { stream, body: None, head: None, is_ended: false, bytes: 0, patience: None }
    }

    /// The head that was sent.
    pub fn head(&self) -> Option<&ResponseHeader> {
        self.head.as_deref()
    }

    /// Bytes of the body that were sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends a head: what is said before the response, or that of the response itself, of which there is one.
    pub async fn begin(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.is_ended || self.head.is_some() {
            tracing::debug!("a head came behind that of its response");
            return Ok(());
        }
        for name in &OF_CONNECTIONS {
            head.remove_header(name);
        }
        if head.status.is_informational() {
            return self.say_before(&head).await;
        }
        dating::settle(&mut head)?;
        let response = http::Response::from_parts(head.as_owned_parts(), ());
        let body = self.stream.send_response(response, end);
        self.body = Some(body.or_err(ErrorType::WriteError, "while sending a response's head")?);
        (self.head, self.is_ended) = (Some(head), end);
        Ok(())
    }

    async fn say_before(&mut self, head: &ResponseHeader) -> Result<()> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // There is no such thing here (RFC 9113 section 8.6).
            return Ok(());
        }
        // `h2` would queue it for a stream that is over, too.
        let is_over = poll_fn(|context| Poll::Ready(self.poll_left(context).is_ready())).await;
        if is_over {
            return Err(Error::explain(ErrorType::H2Error, "the client has reset the stream"));
        }
        let response = http::Response::from_parts(head.as_owned_parts(), ());
        let sent = self.stream.send_informational(response);
        sent.or_err(ErrorType::WriteError, "while sending an interim response")
    }

    /// Sends a part of the body, as the client has room for it.
    pub async fn write(&mut self, mut part: Bytes, end: bool) -> Result<()> {
        if self.is_ended {
            tracing::debug!("a part came behind the end of its response");
            return Ok(());
        }
        let body = self.body.as_mut().ok_or_else(headless)?;
        if part.is_empty() && end {
            let sent = body.send_data(Bytes::new(), true);
            sent.or_err(ErrorType::WriteError, "while ending a response")?;
        }
        while !part.is_empty() {
            body.reserve_capacity(part.len());
            let room = room(body, self.patience).await?.min(part.len());
            if room > 0 {
                let fits = part.split_to(room);
                let sent = body.send_data(fits, end && part.is_empty());
                sent.or_err(ErrorType::WriteError, "while sending a response's body")?;
                self.bytes += room;
            }
        }
        self.is_ended = end;
        Ok(())
    }

    /// Sends what follows the body, and ends it.
    pub fn trail(&mut self, mut trailers: HeaderMap) -> Result<()> {
        if self.is_ended {
            return Ok(());
        }
        for name in &OF_CONNECTIONS {
            trailers.remove(name);
        }
        let body = self.body.as_mut().ok_or_else(headless)?;
        let sent = body.send_trailers(trailers);
        sent.or_err(ErrorType::WriteError, "while sending a response's trailers")?;
        self.is_ended = true;
        Ok(())
    }

    /// Tells the client that it has all; of a response that has not begun there is nothing to tell.
    pub fn end(&mut self) -> Result<()> {
        if let Some(body) = self.body.as_mut().filter(|_| !self.is_ended) {
            let sent = body.send_data(Bytes::new(), true);
            sent.or_err(ErrorType::WriteError, "while ending a response")?;
            self.is_ended = true;
        }
        Ok(())
    }

    /// Breaks it off, unless it is whole.
    pub fn reset(&mut self, reason: Reason) {
        if !self.is_ended {
            self.stream.send_reset(reason);
        }
    }

    /// Waits until the client wants no more of it.
    pub async fn left(&mut self) -> Result<Reason> {
        let left = poll_fn(|context| self.poll_left(context)).await;
        left.or_err(ErrorType::H2Error, "the client's connection ended")
    }

    fn poll_left(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<std::result::Result<Reason, h2::Error>> {
        match &mut self.body {
            Some(body) => body.poll_reset(context),
            None => self.stream.poll_reset(context),
        }
    }
}

/// Waits until the client takes some bytes.
async fn room(body: &mut SendStream<Bytes>, patience: Option<Duration>) -> Result<usize> {
    let waiting = poll_fn(|context| body.poll_capacity(context));
    let room = match patience {
        Some(patience) => timeout(patience, waiting).await.map_err(|_| {
            let what = format!("writing body, timeout: {patience:?}");
            Error::explain(ErrorType::WriteTimedout, what)
        })?,
        None => waiting.await,
    };
    let room = room.ok_or_else(|| Error::explain(ErrorType::H2Error, "the stream is over"))?;
    room.or_err(ErrorType::H2Error, "while waiting for a client to read")
}

fn headless() -> Box<Error> {
    Error::explain(ErrorType::H2Error, "a body came ahead of its head")
}
