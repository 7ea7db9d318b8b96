//! A request that has become a tunnel leaves pingora: what carried it there, futures of tens of KiB, is let go of,
//! and the connection that brought it goes on with its two streams alone.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;

use crate::edge::Edge;
use crate::exchange::Exchange;
use crate::finish::{self, Moved, Sent};
use crate::hop;
use crate::lane::Lane;
use crate::lane::memory::Reserved;
use crate::tunnel::carry::{Counts, Limits, carry};
use crate::upstream::server::InUse;

/// Everything there is to a tunnel.
pub struct Departure {
    pub edge: Edge,
    pub exchange: Exchange,
    pub request: RequestHeader,
    pub client: (Stream, Bytes),
    /// What the client is owed first, and as it is sent.
    pub answer: ResponseHeader,
    pub head: Bytes,
    pub server: (Stream, Bytes),
    /// Its place at the server, with its connection, and its lane's memory.
    pub held: (InUse, Option<Reserved>),
    pub idle: std::time::Duration,
    pub lane: Arc<Lane>,
    pub counts: Counts,
}

/// Where a connection finds what its request has become.
#[derive(Clone, Default)]
pub struct Exit(Arc<Mutex<Option<Box<Departure>>>>);

impl Exit {
    pub fn leave(&self, departure: Box<Departure>) {
        *self.0.lock() = Some(departure);
    }

    pub fn left(&self) -> Option<Box<Departure>> {
        self.0.lock().take()
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exit")
    }
}

impl Departure {
    /// Carries until it ends, and tells of it.
    pub async fn run(self: Box<Self>) {
        let Departure {
            edge,
            mut exchange,
            request,
            client,
            answer,
            head,
            server,
            held,
            idle,
            lane,
            counts,
        } = *self;
        hop::to(exchange.place()).await;
        let limits = Limits { idle, pace: &lane.pace, stop: edge.state.drain.cut() };
        let carried = carry(client, head, server, limits, &counts).await;
        drop(held);
        exchange.tunnel.carried = Some(carried);
        (exchange.permit, exchange.at_origin) = (None, None);
        exchange.limits.leave();
        let moved =
            Moved { head: &request, sent: Some(Sent::Head(&answer)), bytes_in: 0, bytes_out: 0 };
        finish::record(&edge, &moved, false, &mut exchange).written().await;
    }
}
