//! A socket that is lent.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use pingora::upstreams::peer::Tracer;

/// A socket out of its stream; who drops it closes the connection.
#[derive(Debug)]
pub struct Lent {
    pub(super) socket: OwnedFd,
    pub(super) counted: Counted,
}

/// Is told when the connection is closed, if anybody counts it.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) tracer: Option<Tracer>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(tracer) = &self.tracer {
            tracer.0.on_disconnected();
        }
    }
}

impl AsRawFd for Lent {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
