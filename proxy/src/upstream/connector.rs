//! The connections that this proxy asks upstreams on by itself, shared by all that does.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use pingora::connectors::http::Connector as AnyVersion;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{Ssl as _, UniqueID as _};
use pingora::upstreams::peer::{HttpPeer, Peer};
use prometheus::IntGauge;

use crate::upstream::aim::Aim;
use crate::upstream::bounds::POOL_CONNECTIONS_MAX;
use crate::upstream::idle::Idle;
use crate::upstream::sips::Sips;

/// Connects to servers, and keeps connections that are not used.
pub struct Connector {
    /// Servers that speak HTTP/1 alone: pingora connects, and what is kept is kept here.
    h1: TransportConnector,
    idle: Arc<Idle>,
    others: AnyVersion,
}

/// A connection nobody has asked anything on.
pub enum Connection {
    /// To a server that speaks HTTP/1 alone.
    H1(Box<Sips>),
    Other(Box<HttpSession>),
}

/// How the requests of a connection are counted.
#[derive(Clone, Copy)]
pub enum Carries {
    /// It has carried so many, with the one to come.
    Requests(u32),
    /// Whoever counts knows it by its descriptor.
    Known(RawFd),
}

impl Connection {
    /// Counts a request that it is to carry; `None` where it carries many at once.
    pub fn carries(&mut self) -> Option<Carries> {
        match self {
            Connection::H1(stream) => Some(Carries::Requests(stream.use_again())),
            Connection::Other(session) => Some(Carries::Known(session.stream()?.id())),
        }
    }

    /// Names the connection while it is open.
    pub fn descriptor(&self) -> Option<RawFd> {
        match self {
            Connection::H1(stream) => Some(stream.id()),
            Connection::Other(session) => match &**session {
                HttpSession::H2(session) => Some(session.fd()),
                session => Some(session.stream()?.id()),
            },
        }
    }

    /// What was agreed on, over TLS.
    pub fn tls(&self) -> Option<Arc<SslDigest>> {
        match self {
            Connection::H1(stream) => stream.get_ssl_digest(),
            Connection::Other(session) => session.digest()?.ssl_digest.clone(),
        }
    }

    /// Pingora's session on it.
    pub fn into_session(self, peer: &HttpPeer) -> HttpSession {
        match self {
            Connection::H1(stream) => {
                HttpSession::H1(client::HttpSession::new_with_options(stream, peer))
            }
            Connection::Other(session) => *session,
        }
    }
}

/// Where a connection belongs when it carries no request, and how long it may stay there.
#[derive(Clone, Copy)]
pub struct Berth {
    kind: u64,
    time: Option<Duration>,
}

impl Berth {
    pub fn of(aim: &Aim) -> Berth {
        Berth { kind: aim.kind(), time: aim.peer().options.idle_timeout }
    }
}

impl Connector {
    /// `idle` counts the connections that are kept.
    pub fn new(idle: IntGauge) -> Connector {
        let options = || Some(ConnectorOptions::new(POOL_CONNECTIONS_MAX));
        Connector {
            h1: TransportConnector::new(options()),
            idle: Idle::new(idle),
            others: AnyVersion::new(options()),
        }
    }

    /// An idle connection, where this is who keeps those.
    pub fn idle(&self, aim: &Aim) -> Option<Connection> {
        let kept = is_h1(aim.peer()).then(|| self.idle.take(aim.kind()))?;
        kept.map(Connection::H1)
    }

    /// An idle connection, or a new one; says whether it was idle.
    ///
    /// Errors: pingora's, of connecting and of TLS.
    pub async fn connect(&self, peer: &HttpPeer) -> pingora::Result<(Connection, bool)> {
        if !is_h1(peer) {
            let (session, reused) = Box::pin(self.others.get_http_session(peer)).await?;
            return Ok((Connection::Other(Box::new(session)), reused));
        }
        if let Some(stream) = self.idle.take(peer.reuse_hash()) {
            return Ok((Connection::H1(stream), true));
        }
        let stream = Box::pin(self.h1.new_stream(peer)).await?;
        Ok((Connection::H1(Box::new(Sips::of(stream))), false))
    }

    /// Pingora's session on such a connection.
    pub async fn get_http_session(&self, peer: &HttpPeer) -> pingora::Result<HttpSession> {
        Ok(self.connect(peer).await?.0.into_session(peer))
    }

    /// Keeps the connection of a session, if another request may be sent on it.
    pub async fn release_http_session(&self, session: Box<HttpSession>, peer: &HttpPeer) {
        match *session {
            HttpSession::H1(mut session) if is_h1(peer) => {
                session.respect_keepalive();
                // Apart, so that the others have no room for a session.
                if let Some(stream) = Box::pin(session.reuse()).await.map(Sips::again) {
                    let (kind, time) = (peer.reuse_hash(), peer.options.idle_timeout);
                    self.release(stream, Berth { kind, time }).await;
                }
            }
            session => {
                let idle = peer.options.idle_timeout;
                Box::pin(self.others.release_http_session(session, peer, idle)).await;
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub async fn release(&self, stream: Box<Sips>, berth: Berth) {
        self.idle.put(berth.kind, stream, berth.time).await;
    }
}

fn is_h1(peer: &HttpPeer) -> bool {
    peer.get_alpn().is_none_or(|alpn| alpn.get_max_http_version() == 1)
}
