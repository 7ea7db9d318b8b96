//! An origin's answer whose head was read: its body, read as it is asked for, and its connection, given back in the end.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use tokio::runtime::Handle;

use crate::cache::heeded::X_ACCEL_EXPIRES;
use crate::failure::Failure;
use crate::fastcgi::ask::Begun;
use crate::fastcgi::conversation::Conversation;
use crate::fill::origin::Origin;
use crate::lane::Seat;
use crate::lane::memory::Reserved;
use crate::lent::socket::Lent;
use crate::splice::Splice;
use crate::telemetry::attempt::Attempt;
use crate::upstream::aim::Aim;
use crate::upstream::attempts::Attempts;
use crate::upstream::connector::{Berth, Connector};
use crate::upstream::fault::UpstreamFault;
use crate::upstream::lines::Lines;
use crate::upstream::patience::Patience;
use crate::upstream::server::InUse;
use crate::upstream::{Upstream, delimited};

/// Bytes of an unwanted body that are read for the sake of the connection.
const DISCARDED_MAX: usize = 64 * 1024;

/// Where the body of a reply comes from.
pub enum Source {
    Http(Box<HttpSession>),
    Delimited(delimited::Body),
    Script(Box<Conversation>),
}

/// A response whose body is still to be read.
pub struct Reply {
    pub source: Source,
    /// Where its connection is kept.
    pub way_back: Option<(Aim, Arc<Connector>)>,
    pub upstream: Arc<Upstream>,
    pub attempts: Attempts,
    pub patience: Patience,
    pub in_use: InUse,
    pub last: bool,
    /// Its place among its lane's requests to origins, until the connection breaks: what asks for the rest
    /// takes one of its own.
    pub seat: Option<Seat>,
    /// What is recorded of it; it ends with the reply.
    pub(super) span: Option<Box<Attempt>>,
    /// Without hop-by-hop fields; where `lines` has them, without any.
    pub head: ResponseHeader,
    /// The head as it came, for who has asked for it so.
    pub lines: Option<Box<Lines>>,
    /// What a server that is obeyed said to this proxy alone of how long it may be kept: `X-Accel-Expires`.
    pub accel_expires: Option<HeaderValue>,
    /// The body ends with the connection: whether it is whole cannot be known.
    pub unframed: bool,
}

/// A head without fields.
pub fn bare(status: StatusCode) -> ResponseHeader {
    ResponseHeader::build_no_case(status, Some(0)).expect("what is a status is one")
}

impl Reply {
    /// The reply of a script whose head has come.
    pub fn of_script(
        begun: Begun,
        origin: &Origin,
        attempts: Attempts,
        (mut head, accel_expires): (ResponseHeader, Option<HeaderValue>),
    ) -> Box<Reply> {
        head.set_version(Version::HTTP_11);
        Box::new(Reply {
            source: Source::Script(Box::new(begun.conversation)),
            way_back: None,
            upstream: Arc::clone(&origin.upstream),
            attempts,
            patience: origin.patience.clone(),
            in_use: begun.in_use,
            last: false,
            seat: None,
            span: begun.span,
            head,
            lines: None,
            accel_expires,
            unframed: false,
        })
    }

    /// Has it recorded, its body included, that this was answered with this status.
    pub fn trace(&mut self, span: Option<Box<Attempt>>, status: u16) {
        let Some(mut span) = span else { return };
        span.answered(status);
        span.version = match &self.source {
            Source::Http(session) if session.as_http2().is_some() => Some(Version::HTTP_2),
            Source::Http(_) | Source::Delimited(_) => Some(Version::HTTP_11),
            Source::Script(_) => None,
        };
        self.span = Some(span);
    }

    /// The fields that say how long it may be kept, those that do not go on to clients among them.
    pub fn heard(&self) -> Cow<'_, HeaderMap> {
        self.heard_in(&self.head.headers)
    }

    /// The same of what it brings up to date.
    pub fn heard_in<'h>(&self, headers: &'h HeaderMap) -> Cow<'h, HeaderMap> {
        let Some(expires) = &self.accel_expires else { return Cow::Borrowed(headers) };
        let mut heard = headers.clone();
        heard.insert(X_ACCEL_EXPIRES, expires.clone());
        Cow::Owned(heard)
    }

    /// The head, for who sends it on; what is left is a bare 200.
    pub fn take_head(&mut self) -> ResponseHeader {
        std::mem::replace(&mut self.head, bare(StatusCode::OK))
    }

    /// The next bytes of the body; `None` when it is whole by its framing.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Failure> {
        let patience = self.patience.clone();
        patience.within(self.read_in_time()).await
    }

    async fn read_in_time(&mut self) -> Result<Option<Bytes>, Failure> {
        let (read, done) = match &mut self.source {
            Source::Http(session) => {
                if session.response_done() {
                    return Ok(None);
                }
                let read = session.read_response_body().await;
                (read.map_err(|error| UpstreamFault::of(error, false)), session.response_done())
            }
            Source::Delimited(body) => {
                let read = body.part().await;
                (read.map_err(|fault| UpstreamFault::of_delimited(&fault, false)), body.is_done())
            }
            Source::Script(conversation) => (conversation.read().await, false),
        };
        // Before anybody can hear that this is the end: who has heard it finds the place free.
        if done || !matches!(read, Ok(Some(_))) {
            self.seat = None;
        }
        read.map_err(|fault| self.broke(fault))
    }

    /// The same of a server that speaks HTTP/1, lent from where it was read.
    ///
    /// Errors: `Internal` for another server, besides those of reading.
    pub async fn read_lent(&mut self) -> Result<Option<&[u8]>, Failure> {
        if self.is_done() {
            // As ever when it is heard of.
            self.seat = None;
            return Ok(None);
        }
        let (patience, source) = (&self.patience, &mut self.source);
        let reading = async {
            match source {
                Source::Delimited(body) => {
                    let lent = body.lend().await;
                    Ok(lent.map_err(|fault| UpstreamFault::of_delimited(&fault, false)))
                }
                Source::Http(session) => match &mut **session {
                    HttpSession::H1(session) => {
                        let lent = session.read_body_ref().await;
                        Ok(lent.map_err(|error| UpstreamFault::of(error, false)))
                    }
                    _ => Err(Failure::Internal),
                },
                Source::Script(_) => Err(Failure::Internal),
            }
        };
        match patience.within(reading).await? {
            Ok(Some(part)) => Ok(Some(part)),
            Ok(None) => {
                self.seat = None;
                Ok(None)
            }
            // As `broke` does: what is lent keeps it from being called.
            Err(fault) => {
                self.seat = None;
                self.span.iter_mut().for_each(|span| span.failed(fault.kind));
                self.upstream.failed(&mut self.attempts, fault.kind, false);
                Err(fault.failure)
            }
        }
    }

    /// Takes out the socket that its body comes from, when nothing of that waits here.
    pub fn lend_socket(&mut self) -> Option<Lent> {
        match &mut self.source {
            Source::Delimited(body) => body.lend_socket(),
            Source::Http(_) | Source::Script(_) => None,
        }
    }

    /// Puts it back, for the runtime `home`. Where that cannot be, the connection is not used again.
    pub fn put_back(&mut self, lent: Lent, home: &Handle) {
        if let Source::Delimited(body) = &mut self.source {
            self.last |= body.put_back(lent, home).is_err();
        }
    }

    /// Takes the next bytes of the body from that socket without reading them; says how many. 0 is the end.
    ///
    /// Errors: as of reading; `Internal` where there is no such socket.
    pub async fn take_in(&mut self, splice: &Splice, bytes_max: usize) -> Result<usize, Failure> {
        let Source::Delimited(body) = &mut self.source else { return Err(Failure::Internal) };
        let taking = async { Ok(body.take_in(splice, bytes_max).await) };
        let taken = self.patience.within(taking).await?;
        if body.is_done() {
            self.seat = None;
        }
        taken.map_err(|fault| self.broke(UpstreamFault::of_delimited(&fault, false)))
    }

    /// What a fault means for the client; the place at the origin is free before anybody hears of it.
    fn broke(&mut self, fault: UpstreamFault) -> Failure {
        self.seat = None;
        self.span.iter_mut().for_each(|span| span.failed(fault.kind));
        self.upstream.failed(&mut self.attempts, fault.kind, false);
        fault.failure
    }

    /// Whether it is known already that nothing follows what was read.
    pub fn is_done(&mut self) -> bool {
        match &mut self.source {
            Source::Http(session) => session.response_done(),
            Source::Delimited(body) => body.is_done(),
            Source::Script(_) => false,
        }
    }

    /// Whoever is to come back to this server is told so by this value of `Set-Cookie`.
    pub fn sticky_cookie(&self, tls: bool) -> Option<String> {
        self.upstream.sticky_cookie(&self.attempts, tls)
    }

    /// Throws the body away: a small one is read, so that the connection can be used again.
    pub async fn discard(mut self: Box<Self>) {
        let mut left = DISCARDED_MAX;
        while let Ok(Some(part)) = self.read().await {
            let Some(rest) = left.checked_sub(part.len()) else { break };
            left = rest;
        }
        self.release().await;
    }

    /// The connection itself after a 101, what was read of it already, and what its use holds. The question is
    /// answered: its place among those to origins is given back.
    pub async fn into_stream(
        self: Box<Self>,
    ) -> Option<(Stream, Bytes, (InUse, Option<Reserved>))> {
        let Source::Http(session) = self.source else { return None };
        let HttpSession::H1(mut session) = *session else { return None };
        // Only what came in one piece with the head is there without waiting.
        let early = tokio::select! {
            biased;
            read = session.read_body_bytes() => read.ok()?.unwrap_or_default(),
            () = std::future::ready(()) => Bytes::new(),
        };
        let held = (self.in_use, self.seat.map(Seat::into_memory));
        Some((session.into_inner(), early, held))
    }

    /// Gives the connection back when it can be used again; otherwise closes it.
    pub async fn release(self: Box<Self>) {
        let Reply { source, way_back, last, .. } = *self;
        match (source, way_back) {
            (Source::Script(conversation), _) => conversation.release(),
            (Source::Delimited(body), Some((aim, connector))) => {
                body.release(last, Berth::of(&aim), &connector).await;
            }
            (Source::Http(mut session), Some((aim, connector))) => {
                match last || !session.response_done() {
                    true => session.shutdown().await,
                    false => connector.release_http_session(session, aim.peer()).await,
                }
            }
            // Only scripts have no way back.
            (Source::Http(_) | Source::Delimited(_), None) => {}
        }
    }

    /// Closes the connection: the reply is not wanted.
    pub async fn close(mut self: Box<Self>) {
        self.last = true;
        self.release().await;
    }
}
