//! How long clients may take.

use std::future::Future;
use std::io;
use std::time::Duration;

use pingora::time::timeout;
use prometheus::IntCounter;
use proxy_config::listener::ListenerTimeouts;

use crate::metrics::Metrics;
use crate::prompt::lingering::Lingering;

/// How long a client may take, and where it is counted when it takes longer.
#[derive(Clone, Debug)]
pub struct Patience {
    pub head: Duration,
    pub write: Duration,
    pub(super) heads_late: IntCounter,
    pub(super) writes_late: IntCounter,
    pub(super) lingering: Lingering,
}

impl Patience {
    pub fn new(listener: &str, timeouts: &ListenerTimeouts, metrics: &Metrics) -> Self {
        let late = |what| metrics.client_timeouts.with_label_values(&[listener, what]);
        Self {
            head: timeouts.head.as_std(),
            write: timeouts.write.as_std(),
            heads_late: late("head"),
            writes_late: late("write"),
            lingering: Lingering::new(listener, metrics),
        }
    }

    /// Waits for what is written to a client past its stream, as long as for what is written to it.
    pub async fn to_write<T>(&self, writing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let written = timeout(self.write, writing).await;
        written.unwrap_or_else(|_| {
            self.writes_late.inc();
            Err(unread())
        })
    }
}

pub(super) fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client does not read")
}
