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

use crate::headers::{self, Downstream};
use crate::respond::{Failure, UpstreamFault};
use crate::rules::edit_request;
use crate::upstream::{Attempts, POOL_CONNECTIONS_MAX, Upstream};

/// Interim responses (1xx) read before an answer; more is an origin that never answers.
const INTERIM_MAX: usize = 16;

/// The connections that fills use, shared by all of them.
pub fn connector() -> Connector {
    Connector::new(Some(ConnectorOptions::new(POOL_CONNECTIONS_MAX)))
}

/// What is asked for, and on whose behalf.
#[derive(Clone)]
pub struct Question {
    /// A GET without a body, as the client sent it but for conditions and ranges.
    pub head: RequestHeader,
    pub client: Option<IpAddr>,
    pub tls: bool,
    pub request_id: String,
    /// The route's edits of requests.
    pub edits: Rendered,
}

/// Where to ask.
#[derive(Clone)]
pub struct Origin {
    pub connector: Arc<Connector>,
    pub upstream: Arc<Upstream>,
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
    /// Without hop-by-hop fields.
    pub head: ResponseHeader,
    /// The body ends with the connection: whether it is whole cannot be known.
    pub unframed: bool,
}

impl Origin {
    /// Asks with these fields added. Tries other servers that cannot be connected to, and once more
    /// on a fresh connection when a pooled one turns out closed.
    pub async fn ask(
        &self,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
        contact: &mut Contact,
    ) -> Result<Reply, Failure> {
        loop {
            let peer = self.upstream.next_peer(&mut contact.attempts).ok_or(Failure::NoServer)?;
            let begun = Instant::now();
            let connected = self.connector.get_http_session(&peer).await;
            let (session, reused) = match connected.map_err(|error| UpstreamFault::of(error, false))
            {
                Ok(connected) => connected,
                Err(fault) => {
                    self.upstream.count_failure(fault.kind);
                    if !self.upstream.try_another(&mut contact.attempts) {
                        return Err(fault.failure);
                    }
                    self.upstream.count_retry("connect");
                    continue;
                }
            };
            contact.connect_time = Some(begun.elapsed());
            contact.reused = Some(reused);
            self.upstream.connected(reused);
            let asked = Instant::now();
            match self.converse(session, &peer, question, fields, &contact.attempts, reused).await {
                Ok(reply) => {
                    contact.first_byte = Some(asked.elapsed());
                    return Ok(reply);
                }
                Err(fault) => {
                    self.upstream.count_failure(fault.kind);
                    if !(fault.stale && contact.attempts.after_stale_connection()) {
                        return Err(fault.failure);
                    }
                    self.upstream.count_retry("stale_connection");
                }
            }
        }
    }

    async fn converse(
        &self,
        mut session: HttpSession,
        peer: &HttpPeer,
        question: &Question,
        fields: &[(HeaderName, HeaderValue)],
        attempts: &Attempts,
        reused: bool,
    ) -> Result<Reply, UpstreamFault> {
        session.set_read_timeout(peer.options.read_timeout);
        session.set_write_timeout(peer.options.write_timeout);
        let fault = |error| UpstreamFault::of(error, reused);
        let server = self.upstream.server_name(attempts).unwrap_or_default();
        let head = request_head(question, fields, server).map_err(fault)?;
        session.write_request_header(Box::new(head)).await.map_err(fault)?;
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
            head.remove_header(&http::header::TRANSFER_ENCODING);
            head.set_version(Version::HTTP_11);
            let (connector, upstream) = (Arc::clone(&self.connector), Arc::clone(&self.upstream));
            let peer = peer.clone();
            return Ok(Reply { session, peer, connector, upstream, head, unframed: !framed });
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
    let downstream =
        Downstream { client: question.client, tls: question.tls, request_id: &question.request_id };
    headers::to_upstream(&mut head, &downstream, server)?;
    edit_request(&mut head, &question.edits)?;
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
            self.upstream.count_failure(fault.kind);
            fault.failure
        })
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
