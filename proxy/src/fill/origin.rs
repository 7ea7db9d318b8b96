//! One question to the origin and its reply: the same choice of server, timeouts, header rules and
//! budget of attempts as requests that pass through.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::ALPN;
use proxy_config::buffer_policy::Way;
use proxy_config::header_edits::Rendered;
use proxy_config::route::ForwardedHeaders;

use crate::buffer::Policy;
use crate::buffer::body::Body;
use crate::detour;
use crate::failure::Failure;
use crate::fastcgi::ask;
use crate::fastcgi::caller::Caller;
use crate::fill::contact::Contact;
use crate::fill::feed;
use crate::fill::flow::Window;
use crate::fill::reply::{Reply, Source, bare};
use crate::fill::wire::{self, request_head};
use crate::headers;
use crate::lane::memory::FILLING;
use crate::lane::{Full, Lane};
use crate::runtimes::Handles;
use crate::telemetry::Recorder;
use crate::telemetry::attempt::{self, Attempt};
use crate::trace::TRACEPARENT;
use crate::upstream::Upstream;
use crate::upstream::aim::Aim;
use crate::upstream::attempts::{Attempts, Wish};
use crate::upstream::bounds::INTERIM_MAX;
use crate::upstream::connector::{Connection, Connector};
use crate::upstream::delimited::{self, Answer, Began};
use crate::upstream::fault::UpstreamFault;
use crate::upstream::patience::Patience;
use crate::upstream::retry::Failed;
use crate::upstream::server::InUse;
use crate::upstream::sips::Sips;
use crate::video::ahead::Reach;

/// Bytes of a body that is sent with its head.
const BRIEF_BYTES_MAX: usize = 64 * 1024;

/// What is asked for, and on whose behalf.
#[derive(Clone)]
pub struct Question {
    /// As the client sent it, without fields that frame a body; a fill's is a GET without conditions
    /// and ranges.
    pub head: Arc<RequestHeader>,
    pub body: Option<Bytes>,
    /// A body that is not in one piece, or not all here yet.
    pub feed: Option<Feed>,
    /// What scripts are told besides.
    pub caller: Option<Arc<Caller>>,
    pub client: Option<IpAddr>,
    pub tls: bool,
    pub request_id: String,
    pub forwarded: ForwardedHeaders,
    /// The route's edits of requests.
    pub edits: Rendered,
    /// What records it, where the request it is for is traced.
    pub recorder: Option<Box<Recorder>>,
    /// What its client has proved that counts in the cache's key, there and in the keys of what is asked for ahead.
    pub claims: Option<Arc<[u8]>>,
    /// Nobody looks at the fields of its answer, so that it may be left as it came.
    pub as_lines: bool,
}

/// A body that is sent as it is taken from where it waits.
#[derive(Clone)]
pub struct Feed {
    pub body: Arc<Body>,
    /// Without it, it is sent in chunks.
    pub length: Option<u64>,
}

/// Where to ask.
#[derive(Clone)]
pub struct Origin {
    pub connector: Arc<Connector>,
    pub upstream: Arc<Upstream>,
    pub wish: Wish,
    pub patience: Patience,
    /// Counts its requests to origins, and says where large bodies are moved.
    pub lane: Arc<Lane>,
    /// How far a fill may be ahead of its readers.
    pub buffering: Arc<Policy>,
    pub runtimes: Handles,
    /// On routes that understand video: how what it leads to may be asked for ahead.
    pub reach: Option<Arc<Reach>>,
    /// What scripts are told besides the head, where scripts are asked.
    pub caller: Option<Arc<Caller>>,
}

impl Question {
    /// Whether it may be asked twice.
    pub fn is_harmless(&self, upstream: &Upstream) -> bool {
        self.head.method.is_idempotent() || upstream.declares_repeatable(&self.head.headers)
    }

    /// Whether all of its body can be sent once more.
    fn is_repeatable(&self) -> bool {
        self.feed.as_ref().is_none_or(|feed| feed.body.is_repeatable())
    }

    /// The same as a server is told of it that answers to this span.
    pub fn under(&self, span: &Attempt) -> Box<Question> {
        let mut told = Box::new(self.clone());
        if told.forwarded != ForwardedHeaders::PassOn
            && let Some(parent) = span.traceparent()
        {
            // It is made of hex digits.
            drop(Arc::make_mut(&mut told.head).insert_header(TRACEPARENT, parent));
        }
        told
    }

    /// Begins its body anew, if that is possible.
    pub fn rewind(&self) -> bool {
        self.feed.as_ref().is_none_or(|feed| feed.body.rewind())
    }
}

/// Who is asked, in one attempt.
struct Asked<'a> {
    aim: Aim,
    in_use: InUse,
    attempts: &'a Attempts,
    reused: bool,
    /// The connection is closed after this.
    last: bool,
    tell: Tell<'a>,
}

/// Who hears interim responses, without hop-by-hop fields.
pub type Tell<'a> = &'a (dyn Fn(ResponseHeader) + Send + Sync);

impl Origin {
    /// How far what it sends may be ahead of who reads it.
    pub fn window(&self) -> Window {
        Window::of(&self.buffering.side(Way::Responses))
    }

    /// Asks with these fields added; tries again as the upstream says. `tell` hears interim responses.
    pub async fn ask(
        &self,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
        contact: &mut Contact,
        tell: Tell<'_>,
    ) -> Result<Box<Reply>, Failure> {
        let asking = Box::pin(self.ask_in_time(question, fields, contact, tell));
        self.patience.within(asking).await
    }

    async fn ask_in_time(
        &self,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
        contact: &mut Contact,
        tell: Tell<'_>,
    ) -> Result<Box<Reply>, Failure> {
        let seat = self.lane.ask_origin(FILLING).await.map_err(|Full| Failure::LaneFull)?;
        contact.attempts.wish = self.wish;
        if let Some(gateway) = &self.upstream.gateway {
            let mut reply = Box::pin(ask::ask(self, gateway, question, fields, contact)).await?;
            reply.seat = Some(seat);
            return Ok(reply);
        }
        let mut failure = Failure::Internal;
        loop {
            // What was sent to one server in part is only sent to another from its beginning.
            if !question.rewind() {
                return Err(failure);
            }
            let harmless = question.is_harmless(&self.upstream);
            let turn = self.upstream.turn(&mut contact.attempts, &self.lane).await?;
            let (mut aim, mut in_use) = (turn.aim, turn.in_use);
            if upgrades(fields) {
                aim = aim.but(|peer| peer.options.alpn = ALPN::H1);
            }
            let mut span = self.span(question, &contact.attempts);
            let told = span.as_ref().map(|span| question.under(span));
            let begun = Instant::now();
            let (mut connection, reused) = match self.connect(&aim, &mut in_use).await {
                Ok(connected) => connected,
                Err(Stop::Client(failure)) => return Err(failure),
                Err(Stop::Upstream(fault)) => {
                    let how = (fault.kind, Failed::Connect);
                    if !self.goes_on(span, how, &mut contact.attempts, question) {
                        return Err(fault.failure);
                    }
                    continue;
                }
            };
            contact.connect_time = Some(begun.elapsed());
            contact.reused = Some(reused);
            let last = self.upstream.connected(reused, connection.carries());
            let asked = Instant::now();
            let asking = Asked { aim, in_use, attempts: &contact.attempts, reused, last, tell };
            span.iter_mut().for_each(|span| span.reused = Some(reused));
            let asked_as = told.as_deref().unwrap_or(question);
            match self.converse(connection, asking, asked_as, fields).await {
                Ok(mut reply) => {
                    let (status, after) = (reply.head.status.as_u16(), asked.elapsed());
                    reply.trace(span, status);
                    self.upstream.answered(&mut contact.attempts, status, after);
                    let failed =
                        self.upstream.failed_by(status).filter(|_| question.is_repeatable());
                    if failed.is_some_and(|failed| {
                        self.upstream.again(&mut contact.attempts, failed, harmless)
                    }) {
                        reply.close().await;
                        continue;
                    }
                    contact.answered(status, after);
                    reply.seat = Some(seat);
                    return Ok(reply);
                }
                Err(Stop::Client(failure)) => return Err(failure),
                Err(Stop::Upstream(fault)) => {
                    let how = (fault.kind, fault.failed());
                    if !self.goes_on(span, how, &mut contact.attempts, question) {
                        return Err(fault.failure);
                    }
                    failure = fault.failure;
                }
            }
        }
    }

    /// The span of the next attempt, where the request is traced.
    pub fn span(&self, question: &Question, attempts: &Attempts) -> Option<Box<Attempt>> {
        let recorder = question.recorder.as_ref()?;
        let asked = attempt::Asked {
            upstream: &self.upstream.name,
            server: self.upstream.host(attempts),
            tls: self.upstream.transport().is_tls(),
            resent: attempts.retries(),
        };
        let (method, target) = (question.head.method.as_str(), question.head.raw_path());
        Some(Box::new(Attempt::new(recorder, method, target, &asked)))
    }

    /// Tells of an attempt that failed in this way; says whether there is another.
    fn goes_on(
        &self,
        span: Option<Box<Attempt>>,
        (kind, failed): (&'static str, Failed),
        attempts: &mut Attempts,
        question: &Question,
    ) -> bool {
        span.into_iter().for_each(|mut span| span.failed(kind));
        self.upstream.failed(attempts, kind, failed.is_the_connections());
        // Who has not looked at it has done no harm.
        let harmless = match failed {
            Failed::Unprocessed => question.is_repeatable(),
            _ => question.is_harmless(&self.upstream),
        };
        self.upstream.again(attempts, failed, harmless)
    }

    /// A connection that the upstream allows and the lane has room for; says whether it was idle.
    async fn connect(&self, aim: &Aim, in_use: &mut InUse) -> Result<(Connection, bool), Stop> {
        let connected = match self.connector.idle(aim) {
            Some(connection) => Ok((connection, true)),
            None => Box::pin(self.connect_anew(aim)).await,
        };
        let connected = connected.map_err(|error| UpstreamFault::of(error, false));
        let (connection, reused) = connected.and_then(|made| self.allowed(made))?;
        let shared = |descriptor| self.upstream.share(in_use, descriptor, &self.lane);
        if connection.descriptor().map_or(Ok(()), shared).is_err() {
            let session = Box::new(connection.into_session(aim.peer()));
            self.connector.release_http_session(session, aim.peer()).await;
            return Err(Stop::Client(Failure::LaneFull));
        }
        Ok((connection, reused))
    }

    async fn connect_anew(&self, aim: &Aim) -> pingora::Result<(Connection, bool)> {
        self.connector.connect(&self.patience.fitted(aim.clone())).await
    }

    /// Refuses a connection that the upstream's `tls` does not allow.
    fn allowed(&self, made: (Connection, bool)) -> Result<(Connection, bool), UpstreamFault> {
        match self.upstream.accepts(made.0.tls().as_deref()) {
            true => Ok(made),
            false => Err(UpstreamFault::unreachable()),
        }
    }

    async fn converse(
        &self,
        connection: Connection,
        asked: Asked<'_>,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Box<Reply>, Stop> {
        let (connection, is_sent) = match connection {
            Connection::H1(stream) if is_brief(question, fields) => {
                match self.ask_briefly(stream, &asked, question, fields).await? {
                    Began::Delimited(answer) => {
                        let Answer { lines, body } = *answer;
                        let (head, lines) = match question.as_lines {
                            true => (bare(lines.status()), Some(Box::new(lines))),
                            false => (lines.head().ok_or_else(UpstreamFault::nonsense)?, None),
                        };
                        let mut reply = self.reply(Source::Delimited(body), asked, head, true);
                        reply.lines = lines;
                        return Ok(reply);
                    }
                    Began::Other(stream) => (Connection::H1(stream), true),
                }
            }
            connection => (connection, false),
        };
        // Apart, so that the others have no room for a session.
        Box::pin(self.converse_at_length(connection, is_sent, asked, question, fields)).await
    }

    /// The same in a session of pingora's; `is_sent` says that the server has heard all of the question.
    async fn converse_at_length(
        &self,
        connection: Connection,
        is_sent: bool,
        asked: Asked<'_>,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Box<Reply>, Stop> {
        let Asked { aim, in_use, attempts, reused, last, tell } = asked;
        let fault = |error| UpstreamFault::of(error, reused);
        let mut session = connection.into_session(aim.peer());
        let of_head = self.patience.of_head();
        session.set_read_timeout(Some(of_head));
        session.set_write_timeout(Some(self.patience.of_write()));
        let http2 = session.as_http2().is_some();
        let mut early = false;
        if !is_sent {
            let server = self.upstream.host(attempts);
            let mut head = request_head(question, fields, server).map_err(fault)?;
            if http2 {
                self.upstream.transport().fit_http2(&mut head);
            } else if last && !upgrades(fields) {
                head.insert_header(http::header::CONNECTION, "close").map_err(fault)?;
            }
            session.write_request_header(Box::new(head)).await.map_err(fault)?;
            early = feed::send_body(&mut session, question, of_head, reused).await?;
        }
        let last = last || early;
        for _ in 0..=INTERIM_MAX {
            if !std::mem::take(&mut early) {
                session.read_response_header().await.map_err(fault)?;
            }
            let Some(head) = session.response_header() else { break };
            if head.status == StatusCode::SWITCHING_PROTOCOLS && (http2 || !upgrades(fields)) {
                session.shutdown().await;
                return Err(Stop::Upstream(UpstreamFault::switched()));
            }
            let mut head = head.clone();
            let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
            if head.status.is_informational() && !switched {
                // 100 is between this proxy and the origin.
                if head.status != StatusCode::CONTINUE && headers::from_upstream(&mut head).is_ok()
                {
                    tell(head);
                }
                continue;
            }
            let framed = http2
                || head.headers.contains_key(http::header::CONTENT_LENGTH)
                || head.headers.contains_key(http::header::TRANSFER_ENCODING)
                || matches!(head.status.as_u16(), 204 | 304);
            if !switched {
                settle(&mut head).map_err(fault)?;
            }
            session.set_read_timeout(Some(self.patience.read));
            let asked = Asked { aim, in_use, attempts, reused, last, tell };
            return Ok(self.reply(Source::Http(Box::new(session)), asked, head, framed));
        }
        session.shutdown().await;
        Err(Stop::Upstream(UpstreamFault::nonsense()))
    }

    /// Asks on a connection of HTTP/1 without a session of pingora's.
    async fn ask_briefly(
        &self,
        mut stream: Box<Sips>,
        asked: &Asked<'_>,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Began, UpstreamFault> {
        let server = self.upstream.host(asked.attempts);
        let request = wire::bytes(question, fields, server, asked.last);
        let request = request.map_err(|error| UpstreamFault::of(error, asked.reused))?;
        let fault = |fault| UpstreamFault::of_delimited(&fault, asked.reused);
        let sent = delimited::send(&mut stream, &request, self.patience.of_write()).await;
        sent.map_err(fault)?;
        let began = delimited::read(stream, self.patience.of_head(), self.patience.read).await;
        began.map_err(fault)
    }

    fn reply(
        &self,
        source: Source,
        asked: Asked<'_>,
        mut head: ResponseHeader,
        framed: bool,
    ) -> Box<Reply> {
        let obeyed = self.upstream.x_accel && head.status != StatusCode::SWITCHING_PROTOCOLS;
        let accel_expires = if obeyed { detour::settle(&mut head) } else { None };
        Box::new(Reply {
            source,
            way_back: Some((asked.aim, Arc::clone(&self.connector))),
            upstream: Arc::clone(&self.upstream),
            last: asked.last,
            attempts: asked.attempts.clone(),
            patience: self.patience.clone(),
            in_use: asked.in_use,
            seat: None,
            span: None,
            head,
            lines: None,
            accel_expires,
            unframed: !framed,
        })
    }
}

/// Makes an answer's head what everybody here reads.
fn settle(head: &mut ResponseHeader) -> pingora::Result<()> {
    headers::from_upstream(head)?;
    head.remove_header(&http::header::TRANSFER_ENCODING);
    head.set_version(Version::HTTP_11);
    Ok(())
}

/// Why an attempt ended.
pub enum Stop {
    Upstream(UpstreamFault),
    /// The client's body did not come as it should, or its lane is full: no server is asked again.
    Client(Failure),
}

impl From<UpstreamFault> for Stop {
    fn from(fault: UpstreamFault) -> Stop {
        Stop::Upstream(fault)
    }
}

/// Whether all of it can be sent at once, and its answer read without knowing what it is an answer to.
fn is_brief(question: &Question, fields: &[(HeaderName, HeaderValue)]) -> bool {
    let is_small = question.body.as_ref().is_none_or(|body| body.len() <= BRIEF_BYTES_MAX);
    let is_whole = question.feed.is_none() && is_small;
    is_whole && question.head.method != Method::HEAD && !upgrades(fields)
}

/// Whether a question with these fields would change the connection's protocol.
fn upgrades(fields: &[(HeaderName, HeaderValue)]) -> bool {
    fields.iter().any(|(name, _)| *name == http::header::UPGRADE)
}
