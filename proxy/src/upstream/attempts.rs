//! What one request has tried so far, and what of it has a say in where it goes.

use std::net::IpAddr;
use std::time::Instant;

use proxy_config::tried::Tried;

use crate::proxy_protocol::Ends;
use crate::upstream::retry::STALE_MAX;

/// What of a request has a say in which server it goes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    pub(super) hash: Option<u64>,
    /// The server the client was given before.
    pub(super) sticky: Option<u64>,
    /// The client's address, where it chooses the server.
    pub(super) address: Option<IpAddr>,
    /// The client's connection, which a server may be told of; nothing when the proxy asks for itself.
    pub client: Option<Ends>,
}

/// What one request has tried so far.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    pub wish: Wish,
    /// The servers asked, and what they said.
    pub tried: Tried,
    /// The servers that failed, and how: as labels of the metric are called.
    pub failures: Vec<(String, String)>,
    /// Index of the server of the current attempt.
    pub(super) server: Option<usize>,
    pub(super) failed: Vec<usize>,
    pub(super) made: u32,
    pub(super) begun: Option<Instant>,
    pub(super) stale: usize,
    pub(super) repeat_fresh: bool,
}

impl Attempts {
    /// Attempts beyond the first.
    pub fn retries(&self) -> u32 {
        self.made.saturating_sub(1)
    }

    pub(super) fn after_stale_connection(&mut self) -> bool {
        self.stale += 1;
        self.repeat_fresh = self.stale <= STALE_MAX;
        self.repeat_fresh
    }
}
