//! HTTP/2 towards clients: a connection is taken apart into its streams, each of which is a session that pingora serves like any
//! other.
//!
//! It stands in place of pingora's own (`protocols::http::v2::server`), which keeps the half of a stream that interim responses
//! are sent by to itself, and writes its own `Date` over the origin's
//! ([decision 0125](../../docs/decisions/0125-http2-by-sessions-of-our-own.md)). What frames, compresses and limits is the `h2` crate, as it was
//! there; a request that may not be is no business of this place, but of [`crate::request`], like those of HTTP/1.

mod farewell;
mod in_flight;
mod request_body;
mod response;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Error, Reason};
use pingora::protocols::{Digest, Stream};
use pingora::proxy;
use pingora::server::ShutdownWatch;
use prometheus::IntCounterVec;
use proxy_config::listener::ListenerTimeouts;
use tokio::time::timeout;

use crate::frames::farewell::Farewell;
use crate::frames::in_flight::InFlight;
pub use crate::frames::in_flight::UnderWay;
pub use crate::frames::session::Session;
use crate::metrics::Metrics;
use crate::operator_log::Moderation;

/// What a client may send on all streams of a connection before it is read. Twice the default: clients are told so
/// at once, as they are by nginx, and one stream that nobody reads does not stop the others.
const CONNECTION_WINDOW: u32 = 128 * 1024;
/// Streams of one connection at once, as nginx has it.
const STREAMS_MAX: u32 = 128;
/// How long the rest of a body is read when its request has been answered, on HTTP/1 as well.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);
/// The fields of a head, uncompressed, each with 32 bytes on top (RFC 9113 section 6.5.2). More is answered with 431 by `h2`.
const HEADER_LIST_MAX: u32 = 64 * 1024;

/// How long clients of HTTP/2 may take, and where their faults are counted.
#[derive(Clone)]
pub struct Terms {
    listener: Arc<str>,
    head: Duration,
    idle: Duration,
    body: Duration,
    write: Duration,
    given_up: IntCounterVec,
    telling: Arc<Moderation>,
}

impl Terms {
    pub fn new(listener: &str, timeouts: &ListenerTimeouts, metrics: &Metrics) -> Terms {
        let given_up = metrics.http2_given_up.clone();
        // What has not happened is 0, not absent.
        for reason in REASONS.iter().map(|(_, name)| name).chain([&LATE, &OTHER]) {
            given_up.with_label_values(&[listener, reason]);
        }
        Terms {
            listener: listener.into(),
            head: timeouts.head.as_std(),
            idle: timeouts.idle.as_std(),
            body: timeouts.body.as_std(),
            write: timeouts.write.as_std(),
            given_up,
            telling: Arc::default(),
        }
    }

    fn given_up(&self, reason: &str) {
        self.given_up.with_label_values(&[&*self.listener, reason]).inc();
    }

    /// Counts a connection that ends for what its client did, and tells of it; who just went away is no news.
    fn ended(&self, error: &Error, client: Option<SocketAddr>) {
        // What the client says by a GOAWAY is its own affair.
        let Some(reason) = error.reason().filter(|_| error.is_go_away() && !error.is_remote())
        else {
            tracing::debug!(%error, "an HTTP/2 connection ended");
            return;
        };
        self.given_up(name(reason));
        if self.telling.may_tell() {
            let (listener, client) = (&*self.listener, client.map(|client| client.to_string()));
            tracing::info!(listener, client, %error, "an HTTP/2 connection was given up");
        }
    }
}

/// Whether a session is a stream of HTTP/2: pingora knows it by no name.
pub fn is_http2(session: &proxy::Session) -> bool {
    session.downstream_session.is_custom()
}

/// Serves a connection to its end; a session is handed to `serve` for each of its requests.
pub async fn drive<F>(stream: Stream, terms: &Terms, closing: ShutdownWatch, mut serve: F)
where
    F: FnMut(Box<Session>, UnderWay),
{
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let client =
        digest.socket_digest.as_ref().and_then(|socket| socket.peer_addr()?.as_inet().copied());
    let handshake = options().handshake::<_, Bytes>(stream);
    let mut connection = match timeout(terms.head, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return terms.ended(&error, client),
        Err(_) => return terms.given_up(LATE),
    };
    let in_flight = InFlight::default();
    let mut farewell = Farewell::new(closing, terms.idle);
    while let Some(next) = farewell.or_next(&mut connection, &in_flight).await {
        let (request, respond) = match next {
            Ok(accepted) => accepted,
            Err(error) => return terms.ended(&error, client),
        };
        let session = Session::new(request, respond, Arc::clone(&digest), terms);
        serve(Box::new(session), in_flight.enter());
    }
}

fn options() -> Builder {
    let mut options = Builder::new();
    options
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_MAX);
    options
}

/// Why `h2` gives a connection up, as RFC 9113 section 7 names it.
const REASONS: [(Reason, &str); 5] = [
    (Reason::PROTOCOL_ERROR, "protocol_error"),
    (Reason::FLOW_CONTROL_ERROR, "flow_control_error"),
    (Reason::FRAME_SIZE_ERROR, "frame_size_error"),
    (Reason::COMPRESSION_ERROR, "compression_error"),
    (Reason::ENHANCE_YOUR_CALM, "enhance_your_calm"),
];
const OTHER: &str = "other";
/// It was silent in place of HTTP/2.
const LATE: &str = "late";

fn name(reason: Reason) -> &'static str {
    let known = REASONS.iter().find(|(code, _)| *code == reason);
    known.map_or(OTHER, |(_, name)| name)
}

type Http2 = Connection<Stream, Bytes>;

#[cfg(test)]
mod tests;
