//! Where a connection for a request leads. Requests for a server share what it is asked with, and what that comes to
//! among idle connections; a copy is made where one of them needs it otherwise.

use std::sync::Arc;

use pingora::upstreams::peer::{HttpPeer, Peer as _};

/// A server as it is connected to.
#[derive(Clone)]
pub struct Aim {
    peer: Arc<HttpPeer>,
    kind: u64,
}

impl Aim {
    pub fn of(peer: HttpPeer) -> Aim {
        Aim { kind: peer.reuse_hash(), peer: Arc::new(peer) }
    }

    /// The same but for this.
    #[must_use]
    pub fn but(&self, change: impl FnOnce(&mut HttpPeer)) -> Aim {
        let mut peer = HttpPeer::clone(&self.peer);
        change(&mut peer);
        Aim::of(peer)
    }

    /// Connections of one kind may stand in for each other.
    pub fn kind(&self) -> u64 {
        self.kind
    }

    pub fn peer(&self) -> &HttpPeer {
        &self.peer
    }

    /// To be changed at will.
    pub fn into_peer(self) -> Box<HttpPeer> {
        Box::new(Arc::unwrap_or_clone(self.peer))
    }
}
