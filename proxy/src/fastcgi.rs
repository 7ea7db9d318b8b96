//! FastCGI upstreams, as php-fpm speaks it.
//!
//! Its stops: [`caller`] and [`params`] say what a script is told of a request → [`connection`] reaches the server
//! and keeps what may be used again → [`conversation`] sends and hears records ([`record`]) and finds the
//! head of the answer ([`answer`]). What is asked without a body, or with one that is small, is asked
//! through [`ask`], by the cache and by detours too; [`pass`] sends a large body as it comes.

pub mod answer;
pub mod ask;
pub mod caller;
pub mod connection;
pub mod conversation;
pub mod params;
pub mod pass;
pub mod record;

use std::path::PathBuf;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;
use proxy_config::template::{Compiled, Scope};
use proxy_config::upstream::{FastCgi, UpstreamTimeouts};

use crate::fastcgi::connection::{Idle, Socket};
use crate::operator_log::Moderation;

/// A FastCGI upstream: what its scripts are told, its timeouts, and its unused connections.
pub struct Gateway {
    pub root: PathBuf,
    pub index: Option<String>,
    pub split: Vec<String>,
    pub params: Vec<(String, Compiled)>,
    pub idle: Idle,
    /// Of what scripts write to their standard error.
    pub moderation: Moderation,
}

impl Gateway {
    /// `scope`: the variables that parameters may name.
    pub fn new(config: &FastCgi, timeouts: &UpstreamTimeouts, scope: &Scope<'_>) -> Gateway {
        let params = config.params.iter().filter_map(|(name, value)| {
            // Validation refuses templates that cannot be rendered.
            Some((name.clone(), Compiled::new(&value.0, scope).ok()?))
        });
        Gateway {
            root: config.root.clone(),
            index: config.index.clone(),
            split: config.split.clone(),
            params: params.collect(),
            idle: Idle::new(config.idle_max, timeouts.idle.as_std()),
            moderation: Moderation::default(),
        }
    }

    /// A connection to the server, and whether it has been used before. `reuse`: the request does no
    /// harm if the server has closed it meanwhile.
    pub async fn connect(
        &self,
        peer: &HttpPeer,
        patience: Duration,
        reuse: bool,
    ) -> std::io::Result<(Socket, bool)> {
        if let Some(socket) = self.idle.take(&peer._address).filter(|_| reuse) {
            return Ok((socket, true));
        }
        let connecting = Socket::connect(&peer._address);
        match tokio::time::timeout(patience, connecting).await {
            Ok(connected) => connected.map(|socket| (socket, false)),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    /// Whether connections are kept when a request is done.
    pub fn keeps(&self) -> bool {
        self.idle.max > 0
    }
}
