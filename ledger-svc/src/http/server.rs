//! A listener: accepts, bounds what a connection may cost, and drains when told to stop.

use std::time::Duration;

use axum::Router;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus::IntGauge;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::tls::Tls;

/// What connections may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections_max: usize,
    /// For a request head to arrive, and for a kept-alive connection to stay idle.
    pub idle_timeout: Duration,
    /// After a stop, for what was accepted to be answered.
    pub drain_timeout: Duration,
}

/// What a listener counts.
#[derive(Clone, Debug)]
pub struct Gauges {
    pub connections: IntGauge,
    pub in_flight: IntGauge,
}

impl Gauges {
    /// For a listener whose connections nobody looks at.
    pub fn unwatched() -> Self {
        let gauge = || IntGauge::new("unwatched", "unwatched").expect("a valid name");
        Self { connections: gauge(), in_flight: gauge() }
    }
}

/// Header fields the parser takes; above it the parser itself answers 431.
const HEADERS_MAX: usize = 100;
/// The parser's buffer, which bounds a request head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// After a stop, how long a connection on which nothing is asked is still waited for.
const QUIET: Duration = Duration::from_millis(500);
/// Pause after a failed accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Serves until `stop` turns true, then drains. Returns how many requests were left unanswered at
/// the drain limit: 0 unless something hangs. Without `tls` it speaks plain HTTP.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    limits: Limits,
    gauges: Gauges,
    stop: watch::Receiver<bool>,
) -> u64 {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    let start = |connections: &mut JoinSet<()>, stream, slot| {
        gauges.connections.inc();
        let connection = Connection { router: router.clone(), gauges: gauges.clone(), _slot: slot };
        connections.spawn(connection.run(stream, tls.clone(), limits.idle_timeout, stop.clone()));
    };
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        while connections.try_join_next().is_some() {}
        if let Some((stream, slot)) = accepted {
            start(&mut connections, stream, slot);
        }
    }
    // What the kernel has accepted for us already has been promised an answer.
    while let Ok(Some((stream, slot))) =
        tokio::time::timeout(Duration::ZERO, accept(&listener, &slots)).await
    {
        start(&mut connections, stream, slot);
    }
    drop(listener);
    drain(connections, limits.drain_timeout, &gauges.in_flight).await
}

/// Ends when the service is to stop, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn drain(mut connections: JoinSet<()>, limit: Duration, in_flight: &IntGauge) -> u64 {
    let began = Instant::now();
    let mut step = tokio::time::interval(DRAIN_STEP);
    let mut quiet_since = began;
    loop {
        tokio::select! {
            ended = connections.join_next() => if ended.is_none() { return 0 },
            _ = step.tick() => {}
        }
        let now = Instant::now();
        let unanswered = u64::try_from(in_flight.get()).unwrap_or(0);
        if unanswered > 0 {
            quiet_since = now;
        }
        if now - quiet_since >= QUIET || now - began >= limit {
            return unanswered;
        }
    }
}

/// One connection, and what it holds while it lives.
struct Connection {
    router: Router,
    gauges: Gauges,
    _slot: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        tls: Option<Arc<Tls>>,
        idle: Duration,
        mut stop: watch::Receiver<bool>,
    ) {
        // Answers are small and complete; waiting to fill a packet would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.converse(TokioIo::new(stream), idle, stop).await };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(idle, tls.accept(stream)) => shaken,
            // It has asked for nothing yet.
            () = stopped(&mut stop) => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.converse(TokioIo::new(stream), idle, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn converse(
        self,
        io: impl Read + Write + Unpin,
        idle: Duration,
        mut stop: watch::Receiver<bool>,
    ) {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, TowerToHyperService::new(self.router.clone()));
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stopped(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gauges.connections.dec();
    }
}
