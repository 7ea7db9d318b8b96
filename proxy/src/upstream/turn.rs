//! A turn at a server, or why there is none.

use std::os::fd::RawFd;

use crate::failure::{Failure, LANE_FULL, NO_SERVER};
use crate::lane::{Full, Lane};
use crate::upstream::Upstream;
use crate::upstream::aim::Aim;
use crate::upstream::attempts::Attempts;
use crate::upstream::server::InUse;

/// A server's turn: where to connect, and the request's place there while it lasts.
pub struct Turn {
    pub aim: Aim,
    pub in_use: InUse,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// No server is left that is fit and has room, or none has in time.
    NoServer,
    /// The lane has as many connections in use as it may.
    LaneFull,
}

impl NoTurn {
    /// The custom pingora error for it.
    pub fn name(self) -> &'static str {
        match self {
            NoTurn::NoServer => NO_SERVER,
            NoTurn::LaneFull => LANE_FULL,
        }
    }
}

impl From<NoTurn> for Failure {
    fn from(why: NoTurn) -> Failure {
        match why {
            NoTurn::NoServer => Failure::NoServer,
            NoTurn::LaneFull => Failure::LaneFull,
        }
    }
}

impl Upstream {
    /// The server for the next attempt, once there is a connection for it, in the lane and in the pool.
    pub async fn turn(&self, attempts: &mut Attempts, lane: &Lane) -> Result<Turn, NoTurn> {
        // Which connection of HTTP/2 it shares is known when it has one.
        let conduit = match self.transport.is_http2() {
            false => Some(lane.connect().await.map_err(|Full| NoTurn::LaneFull)?),
            true => None,
        };
        let place = match &self.config.connections {
            Some(limits) => {
                let patience = self.config.timeouts.connect.as_std();
                Some(self.pool.enter(limits, patience).await.ok_or(NoTurn::NoServer)?)
            }
            None => None,
        };
        let mut turn = self.next(attempts).ok_or(NoTurn::NoServer)?;
        turn.in_use.hold(place, conduit);
        Ok(turn)
    }

    /// Counts a connection of HTTP/2 in the lane, unless it does already.
    ///
    /// Errors: the lane has no room for another.
    pub fn share(&self, in_use: &mut InUse, connection: RawFd, lane: &Lane) -> Result<(), Full> {
        if self.transport.is_http2() {
            in_use.share(lane.connect_shared(connection)?);
        }
        Ok(())
    }
}
