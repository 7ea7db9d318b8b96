//! One question to the origin and its reply: the same choice of server, timeouts, header rules and
//! budget of attempts as requests that pass through.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Version};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use proxy_config::header_edits::Rendered;
use proxy_config::route::ForwardedHeaders;

use crate::detour;
use crate::headers::{self, Downstream};
use crate::respond::{Failure, UpstreamFault};
use crate::rules::edit_request;
use crate::runtimes::{Handles, Place};
use crate::upstream::retry::Failed;
use crate::upstream::server::InUse;
use crate::upstream::{Attempts, POOL_CONNECTIONS_MAX, Upstream, Wish};
use crate::video::ahead::Reach;

/// Interim responses (1xx) read before an answer; more is an origin that never answers.
const INTERIM_MAX: usize = 16;

/// Bytes of an unwanted body that are read for the sake of the connection.
const DISCARDED_MAX: usize = 64 * 1024;

/// The connections that fills use, shared by all of them.
pub fn connector() -> Connector {
    Connector::new(Some(ConnectorOptions::new(POOL_CONNECTIONS_MAX)))
}

/// What is asked for, and on whose behalf.
#[derive(Clone)]
pub struct Question {
    /// As the client sent it, without fields that frame a body; a fill's is a GET without conditions
    /// and ranges.
    pub head: RequestHeader,
    pub body: Option<Bytes>,
    pub client: Option<IpAddr>,
    pub tls: bool,
    pub request_id: String,
    pub forwarded: ForwardedHeaders,
    /// The route's edits of requests.
    pub edits: Rendered,
}

/// Where to ask.
#[derive(Clone)]
pub struct Origin {
    pub connector: Arc<Connector>,
    pub upstream: Arc<Upstream>,
    pub wish: Wish,
    pub runtimes: Handles,
    /// Where large bodies of its lane are moved.
    pub place: Place,
    /// On routes that understand video: how what it leads to may be asked for ahead.
    pub reach: Option<Arc<Reach>>,
}

/// How the origin was reached, for the log.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    pub attempts: Attempts,
    pub reused: Option<bool>,
    pub connect_time: Option<Duration>,
    pub first_byte: Option<Duration>,
}

/// A response whose body is still to be read.
pub struct Reply {
    session: HttpSession,
    peer: HttpPeer,
    connector: Arc<Connector>,
    upstream: Arc<Upstream>,
    attempts: Attempts,
    _in_use: InUse,
    /// Without hop-by-hop fields.
    pub head: ResponseHeader,
    /// The body ends with the connection: whether it is whole cannot be known.
    pub unframed: bool,
}

/// Who is asked, in one attempt.
struct Asked<'a> {
    peer: HttpPeer,
    in_use: InUse,
    attempts: &'a Attempts,
    reused: bool,
}

impl Origin {
    /// Asks with these fields added; tries again as the upstream says.
    pub async fn ask(
        &self,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
        contact: &mut Contact,
    ) -> Result<Reply, Failure> {
        contact.attempts.wish = self.wish;
        let head = &question.head;
        let harmless =
            head.method.is_idempotent() || self.upstream.declares_repeatable(&head.headers);
        loop {
            let turn = self.upstream.next(&mut contact.attempts).ok_or(Failure::NoServer)?;
            let peer = turn.peer;
            let begun = Instant::now();
            let connected = self.connector.get_http_session(&peer).await;
            let (session, reused) = match connected.map_err(|error| UpstreamFault::of(error, false))
            {
                Ok(connected) => connected,
                Err(fault) => {
                    self.upstream.failed(&contact.attempts, fault.kind, false);
                    if !self.upstream.again(&mut contact.attempts, Failed::Connect, harmless) {
                        return Err(fault.failure);
                    }
                    continue;
                }
            };
            contact.connect_time = Some(begun.elapsed());
            contact.reused = Some(reused);
            self.upstream.connected(reused);
            let asked = Instant::now();
            let asking = Asked { peer, in_use: turn.in_use, attempts: &contact.attempts, reused };
            match self.converse(session, asking, question, fields).await {
                Ok(mut reply) => {
                    let status = reply.head.status.as_u16();
                    self.upstream.answered(&contact.attempts, status, asked.elapsed());
                    let gateway = (502..=504).contains(&status);
                    if gateway
                        && self.upstream.again(&mut contact.attempts, Failed::Gateway, harmless)
                    {
                        reply.session.shutdown().await;
                        continue;
                    }
                    contact.first_byte = Some(asked.elapsed());
                    return Ok(reply);
                }
                Err(fault) => {
                    self.upstream.failed(&contact.attempts, fault.kind, fault.stale);
                    let failed = if fault.stale { Failed::Stale } else { Failed::of(fault.kind) };
                    if !self.upstream.again(&mut contact.attempts, failed, harmless) {
                        return Err(fault.failure);
                    }
                }
            }
        }
    }

    async fn converse(
        &self,
        mut session: HttpSession,
        asked: Asked<'_>,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
    ) -> Result<Reply, UpstreamFault> {
        let Asked { peer, in_use, attempts, reused } = asked;
        session.set_read_timeout(peer.options.read_timeout);
        session.set_write_timeout(peer.options.write_timeout);
        let fault = |error| UpstreamFault::of(error, reused);
        let server = self.upstream.server_name(attempts).unwrap_or_default();
        let head = request_head(question, fields, server).map_err(fault)?;
        session.write_request_header(Box::new(head)).await.map_err(fault)?;
        if let Some(body) = &question.body {
            session.write_request_body(body.clone(), false).await.map_err(fault)?;
        }
        session.finish_request_body().await.map_err(fault)?;
        for _ in 0..INTERIM_MAX {
            session.read_response_header().await.map_err(fault)?;
            let Some(head) = session.response_header() else { break };
            if head.status.as_u16() == 101 {
                break;
            }
            if head.status.is_informational() {
                continue;
            }
            let mut head = head.clone();
            let framed = head.headers.contains_key(http::header::CONTENT_LENGTH)
                || head.headers.contains_key(http::header::TRANSFER_ENCODING)
                || matches!(head.status.as_u16(), 204 | 304);
            headers::from_upstream(&mut head).map_err(fault)?;
            if self.upstream.x_accel {
                detour::settle(&mut head);
            }
            head.remove_header(&http::header::TRANSFER_ENCODING);
            head.set_version(Version::HTTP_11);
            let (connector, upstream) = (Arc::clone(&self.connector), Arc::clone(&self.upstream));
            return Ok(Reply {
                session,
                peer,
                connector,
                upstream,
                attempts: attempts.clone(),
                _in_use: in_use,
                head,
                unframed: !framed,
            });
        }
        session.shutdown().await;
        Err(UpstreamFault::nonsense())
    }
}

fn request_head(
    question: &Question,
    fields: &[(HeaderName, HeaderValue)],
    server: &str,
) -> pingora::Result<RequestHeader> {
    let mut head = question.head.clone();
    head.set_version(Version::HTTP_11);
    let downstream = Downstream {
        client: question.client,
        tls: question.tls,
        request_id: &question.request_id,
        forwarded: question.forwarded,
    };
    headers::to_upstream(&mut head, &downstream, server)?;
    edit_request(&mut head, &question.edits)?;
    if let Some(body) = &question.body {
        head.insert_header(http::header::CONTENT_LENGTH, body.len())?;
    }
    for (name, value) in fields {
        head.insert_header(name.clone(), value.clone())?;
    }
    Ok(head)
}

impl Reply {
    /// The next bytes of the body; `None` when it is whole by its framing.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.session.response_done() {
            return Ok(None);
        }
        let read = self.session.read_response_body().await;
        read.map_err(|error| {
            let fault = UpstreamFault::of(error, false);
            self.upstream.failed(&self.attempts, fault.kind, false);
            fault.failure
        })
    }

    /// Whoever is to come back to this server is told so by this value of `Set-Cookie`.
    pub fn sticky_cookie(&self, tls: bool) -> Option<String> {
        self.upstream.sticky_cookie(&self.attempts, tls)
    }

    /// Throws the body away: a small one is read, so that the connection can be used again.
    pub async fn discard(mut self) {
        let mut left = DISCARDED_MAX;
        while let Ok(Some(part)) = self.read().await {
            let Some(rest) = left.checked_sub(part.len()) else { break };
            left = rest;
        }
        self.release().await;
    }

    /// Gives the connection back when it can be used again; otherwise closes it.
    pub async fn release(mut self) {
        if !self.session.response_done() {
            self.session.shutdown().await;
            return;
        }
        let idle = self.peer.options.idle_timeout;
        self.connector.release_http_session(self.session, &self.peer, idle).await;
    }
}
