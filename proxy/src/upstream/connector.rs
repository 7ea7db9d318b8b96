//! The connections that this proxy asks upstreams on by itself, shared by all that does.

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::{Connector as AnyVersion, v1};
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client;
use pingora::upstreams::peer::{HttpPeer, Peer};

use crate::upstream::POOL_CONNECTIONS_MAX;
use crate::upstream::sips::Sips;

/// Connects to servers, and keeps connections that are not used.
pub struct Connector {
    /// Servers that speak HTTP/1 alone. Taking an idle connection is little work, and connecting a great deal: here
    /// what the second takes is only made room for when it is done.
    h1: v1::Connector,
    others: AnyVersion,
}

impl Default for Connector {
    fn default() -> Connector {
        let options = || Some(ConnectorOptions::new(POOL_CONNECTIONS_MAX));
        Connector { h1: v1::Connector::new(options()), others: AnyVersion::new(options()) }
    }
}

impl Connector {
    /// A session on an idle connection, or on a new one; says which.
    ///
    /// Errors: pingora's, of connecting and of TLS.
    pub async fn get_http_session(&self, peer: &HttpPeer) -> pingora::Result<(HttpSession, bool)> {
        if !is_h1(peer) {
            return Box::pin(self.others.get_http_session(peer)).await;
        }
        if let Some(session) = self.h1.reused_http_session(peer).await {
            return Ok((sipping(session, peer), true));
        }
        let (session, reused) = Box::pin(self.h1.get_http_session(peer)).await?;
        Ok((sipping(session, peer), reused))
    }

    /// Keeps the connection, if another request may be sent on it.
    pub async fn release_http_session(&self, session: HttpSession, peer: &HttpPeer) {
        let idle = peer.options.idle_timeout;
        match session {
            HttpSession::H1(session) if is_h1(peer) => {
                self.h1.release_http_session(session, peer, idle).await;
            }
            session => self.others.release_http_session(session, peer, idle).await,
        }
    }
}

/// The session, which has not begun, on a stream that is read in [`Sips`].
fn sipping(session: client::HttpSession, peer: &HttpPeer) -> HttpSession {
    HttpSession::H1(match Sips::reads(session.stream()) {
        true => session,
        false => {
            let stream: Stream = Box::new(Sips::of(session.into_inner()));
            client::HttpSession::new_with_options(stream, peer)
        }
    })
}

fn is_h1(peer: &HttpPeer) -> bool {
    peer.get_alpn().is_none_or(|alpn| alpn.get_max_http_version() == 1)
}
