//! One request on a connection to a FastCGI server: sends what is to be sent, hears what is said, and
//! holds no more of either than one buffer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::io::Interest;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::fastcgi::Gateway;
use crate::fastcgi::connection::Socket;
use crate::fastcgi::record::{self, Decoder, Heard, Stream};
use crate::fastcgi::{answer, params};
use crate::fill::origin::Question;
use crate::headers;
use crate::upstream::fault::UpstreamFault;
use crate::upstream::patience::Patience;

/// Bytes read at once, and bytes waiting to be sent above which no more are taken.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of a request's standard error that are told.
const STDERR_BYTES_MAX: usize = 4096;

/// A request under way.
pub struct Conversation {
    socket: Socket,
    gateway: Arc<Gateway>,
    patience: Patience,
    server: SocketAddr,
    request_id: String,
    outgoing: BytesMut,
    incoming: BytesMut,
    decoder: Decoder,
    /// Output so far, until the head is whole.
    output: BytesMut,
    stderr: BytesMut,
    has_head: bool,
    /// Bytes of the body to come, by its Content-Length.
    left: Option<u64>,
    /// More of the request's body is to come from the client.
    is_open: bool,
    ended: bool,
}

/// What came of waiting.
pub enum Event {
    Head(Box<ResponseHeader>),
    Body(Bytes),
    End,
    /// Something was sent.
    Moved,
}

impl Conversation {
    /// Begins a request. `length` is that of its body, which is in the question or comes by [`Self::send`].
    pub fn begin(
        (gateway, patience): (&Arc<Gateway>, &Patience),
        socket: Socket,
        server: SocketAddr,
        question: &Question,
        head: &pingora::http::RequestHeader,
        length: u64,
    ) -> Conversation {
        let caller = question.caller.as_deref().cloned().unwrap_or_default();
        let pairs = params::encode(gateway, &caller, head, question.tls, length);
        let mut outgoing = BytesMut::with_capacity(pairs.len() + 64);
        record::begin(gateway.keeps(), &mut outgoing);
        record::write(Stream::Params, &pairs, &mut outgoing);
        record::finish(Stream::Params, &mut outgoing);
        let mut conversation = Conversation {
            socket,
            gateway: Arc::clone(gateway),
            patience: patience.clone(),
            server,
            request_id: question.request_id.clone(),
            outgoing,
            incoming: BytesMut::new(),
            decoder: Decoder::default(),
            output: BytesMut::new(),
            stderr: BytesMut::new(),
            has_head: false,
            left: None,
            is_open: true,
            ended: false,
        };
        if let Some(body) = &question.body {
            conversation.send(body);
        }
        if length == 0 || question.body.is_some() {
            conversation.finish();
        }
        conversation
    }

    /// Whether more of the request's body is taken now.
    pub fn has_room(&self) -> bool {
        self.is_open && self.outgoing.len() < BUFFER_BYTES
    }

    /// Whether more of the request's body is to come.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    pub fn send(&mut self, part: &[u8]) {
        record::write(Stream::Stdin, part, &mut self.outgoing);
    }

    /// The request's body is whole.
    pub fn finish(&mut self) {
        self.is_open = false;
        record::finish(Stream::Stdin, &mut self.outgoing);
    }

    /// Sends and hears until there is something to tell. May be dropped while it waits.
    pub async fn next(&mut self) -> Result<Event, UpstreamFault> {
        loop {
            if self.has_head && !self.output.is_empty() {
                let rest = self.output.split().freeze();
                if let Some(part) = self.body(rest) {
                    return Ok(Event::Body(part));
                }
            }
            let heard = self.decoder.next(&mut self.incoming);
            match heard.map_err(|fault| self.nonsense(&fault))? {
                Some(Heard::Stderr(part)) => self.keep_stderr(&part),
                Some(Heard::End { protocol_status }) => return self.end(protocol_status),
                Some(Heard::Stdout(part)) if self.has_head => {
                    if let Some(part) = self.body(part) {
                        return Ok(Event::Body(part));
                    }
                }
                Some(Heard::Stdout(part)) => {
                    self.output.extend_from_slice(&part);
                    if let Some(head) = self.head()? {
                        return Ok(Event::Head(Box::new(head)));
                    }
                }
                None => {
                    if self.exchange().await? {
                        return Ok(Event::Moved);
                    }
                }
            }
        }
    }

    /// Waits for the socket; says whether something was sent.
    async fn exchange(&mut self) -> Result<bool, UpstreamFault> {
        let patience = match (self.outgoing.is_empty(), self.is_open) {
            (false, _) => self.patience.write,
            // The client has its own time.
            (true, true) => Duration::MAX,
            (true, false) if self.has_head => self.patience.read,
            (true, false) => self.patience.first_byte,
        };
        let patience = self.patience.capped(patience);
        let is_sending = !self.outgoing.is_empty();
        let interest =
            if is_sending { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        loop {
            let ready = match timeout(patience, self.socket.ready(interest)).await {
                Ok(ready) => ready.map_err(|error| self.broken(&error))?,
                Err(_) => return Err(late(is_sending)),
            };
            if ready.is_readable() {
                self.incoming.reserve(BUFFER_BYTES);
                match self.socket.try_read(&mut self.incoming) {
                    Ok(0) => return Err(self.closed()),
                    Ok(_) => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(self.broken(&error)),
                }
            }
            if is_sending && ready.is_writable() {
                match self.socket.try_write(&self.outgoing) {
                    Ok(sent) => {
                        self.outgoing.advance(sent);
                        return Ok(true);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(self.broken(&error)),
                }
            }
        }
    }

    fn head(&mut self) -> Result<Option<ResponseHeader>, UpstreamFault> {
        let end = answer::end(&self.output).map_err(|fault| self.nonsense(&fault))?;
        let Some(end) = end else { return Ok(None) };
        let head = self.output.split_to(end);
        let mut head = answer::read(&head).map_err(|fault| self.nonsense(&fault))?;
        headers::from_upstream(&mut head).map_err(|error| UpstreamFault::of(error, false))?;
        self.has_head = true;
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        self.left = length.and_then(|length| length.parse().ok());
        Ok(Some(head))
    }

    /// A part of the body, no more than the answer's own length says.
    fn body(&mut self, mut part: Bytes) -> Option<Bytes> {
        if let Some(left) = &mut self.left {
            part.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= part.len() as u64;
        }
        (!part.is_empty()).then_some(part)
    }

    fn end(&mut self, protocol_status: u8) -> Result<Event, UpstreamFault> {
        self.ended = true;
        self.tell_stderr();
        let is_short = self.left.is_some_and(|left| left > 0);
        if protocol_status != 0 || !self.has_head || is_short {
            tracing::debug!(protocol_status, is_short, "a script ended without a whole answer");
            return Err(UpstreamFault::nonsense());
        }
        Ok(Event::End)
    }

    /// The head of the answer.
    pub async fn answered(&mut self) -> Result<ResponseHeader, UpstreamFault> {
        loop {
            if let Event::Head(head) = self.next().await? {
                return Ok(*head);
            }
        }
    }

    /// The next bytes of the answer's body; `None` at its end.
    pub async fn read(&mut self) -> Result<Option<Bytes>, UpstreamFault> {
        while !self.ended {
            match self.next().await? {
                Event::Body(part) => return Ok(Some(part)),
                Event::End => break,
                Event::Head(_) | Event::Moved => {}
            }
        }
        Ok(None)
    }

    /// Bodies of answers to HEAD, and of 204 and 304, are not read.
    pub fn expect_nothing(&mut self) {
        self.left = None;
    }

    /// Keeps the connection for another request, if this one is done.
    pub fn release(mut self) {
        self.tell_stderr();
        let done =
            self.ended && !self.is_open && self.outgoing.is_empty() && self.incoming.is_empty();
        if done && self.gateway.keeps() {
            self.gateway.idle.keep(&self.server, self.socket);
        }
    }

    fn keep_stderr(&mut self, part: &[u8]) {
        let room = STDERR_BYTES_MAX.saturating_sub(self.stderr.len());
        self.stderr.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// What the script wrote to its standard error, for the operator.
    fn tell_stderr(&mut self) {
        if !self.stderr.is_empty() && self.gateway.moderation.may_tell() {
            let stderr = String::from_utf8_lossy(&self.stderr);
            let request_id = &self.request_id;
            tracing::warn!(%request_id, server = %self.server, stderr = stderr.trim_end(), "a script says");
        }
        self.stderr.clear();
    }

    fn closed(&mut self) -> UpstreamFault {
        self.tell_stderr();
        self.broken(&io::ErrorKind::UnexpectedEof.into())
    }

    /// `stale` where nothing has been heard: a connection that was kept may have been closed before.
    fn broken(&self, error: &io::Error) -> UpstreamFault {
        tracing::debug!(%error, "a connection to a FastCGI server broke");
        let stale = !self.has_head && self.output.is_empty() && self.incoming.is_empty();
        let failure = Failure::UpstreamBroken;
        UpstreamFault { failure, kind: "read", stale, unprocessed: false }
    }

    fn nonsense(&self, fault: &dyn std::fmt::Display) -> UpstreamFault {
        if self.gateway.moderation.may_tell() {
            let request_id = &self.request_id;
            tracing::warn!(%request_id, server = %self.server, %fault, "a FastCGI server gave no answer");
        }
        UpstreamFault::nonsense()
    }
}

fn late(is_sending: bool) -> UpstreamFault {
    let kind = if is_sending { "write_timeout" } else { "read_timeout" };
    UpstreamFault { failure: Failure::UpstreamTimeout, kind, stale: false, unprocessed: false }
}
