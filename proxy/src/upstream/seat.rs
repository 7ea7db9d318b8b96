//! A server's place in an upstream, and the peers pingora is given for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora::upstreams::peer::{HttpPeer, Tracer};

use crate::upstream::aim::Aim;
use crate::upstream::bounds::AT_ONCE;
use crate::upstream::resolve::Name;
use crate::upstream::server::Server;

/// A server's place in an upstream.
pub(super) struct Seat {
    pub(super) server: Arc<Server>,
    pub(super) weight: u32,
    pub(super) backup: bool,
    pub(super) connections_max: u32,
    pub(super) attempts_max: usize,
    pub(super) slow_start_ms: u64,
    pub(super) aim: Aim,
    /// Where it is now, when that may change.
    pub(super) name: Option<Name>,
    /// What stands for it in a Host that the client did not send.
    pub(super) host: String,
}

impl Seat {
    /// Where it is asked.
    pub(super) fn aim(&self) -> Aim {
        match &self.name {
            Some(name) => self.aim.but(|peer| name.addresses.place(peer)),
            None => self.aim.clone(),
        }
    }
}

/// Counts the connections that are made to it.
pub(super) fn traced(mut peer: HttpPeer, server: &Server) -> Aim {
    peer.options.tracer = Some(Tracer(Box::new(server.open.clone())));
    Aim::of(peer)
}

/// The same server on a connection that cannot come from the pool: pingora has no switch for it,
/// but connections are only shared within a group, and this group has one member.
pub(super) fn fresh(peer: &HttpPeer) -> HttpPeer {
    static GROUP: AtomicU64 = AtomicU64::new(1);
    let mut peer = peer.clone();
    peer.group_key = GROUP.fetch_add(1, Ordering::Relaxed);
    peer.options.idle_timeout = Some(AT_ONCE);
    peer
}
