//! Signals, with the meaning nginx gives them.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// QUIT: no new connections, requests under way are finished.
    StopGracefully,
    /// TERM, INT: stop now.
    StopFast,
    /// HUP: read the document again.
    Reload,
    /// USR1: close and open log files again.
    ReopenLogs,
    /// USR2: start the program again, which takes over.
    Upgrade,
}

pub struct Signals {
    quit: Signal,
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Must be called inside the runtime, and before the process says that it is ready.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            quit: signal(SignalKind::quit())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.term.recv() => Wish::StopFast,
            _ = self.int.recv() => Wish::StopFast,
            _ = self.quit.recv() => Wish::StopGracefully,
            _ = self.hup.recv() => Wish::Reload,
            _ = self.usr1.recv() => Wish::ReopenLogs,
            _ = self.usr2.recv() => Wish::Upgrade,
        }
    }
}
