//! How many connections an upstream may have: in use at once, kept unused, and how many requests wait
//! for one. It belongs to the process, like its servers: a reload keeps what is in use counted.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pingora::upstreams::peer::Tracing;
use prometheus::{IntCounter, IntGauge};
use proxy_config::upstream::ConnectionPool;
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// The connections of one upstream.
pub struct Pool {
    in_use: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
    /// Requests each open connection has carried.
    uses: Mutex<HashMap<RawFd, u32>>,
    waiting_gauge: IntGauge,
    refused: IntCounter,
}

/// The right to use one connection.
pub struct Place(Arc<Pool>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// One request that waits.
struct Waiting<'a>(&'a Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.waiting_gauge.dec();
    }
}

impl Pool {
    pub fn new(upstream: &str, metrics: &Metrics) -> Pool {
        Pool {
            in_use: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            freed: Notify::new(),
            uses: Mutex::default(),
            waiting_gauge: metrics.upstream_waiting.with_label_values(&[upstream]),
            refused: metrics.upstream_refused.with_label_values(&[upstream]),
        }
    }

    /// A connection, at once or when another request is done with one; nothing when too many wait
    /// already or it takes longer than `patience`.
    pub async fn enter(
        self: &Arc<Self>,
        limits: &ConnectionPool,
        patience: Duration,
    ) -> Option<Place> {
        if let Some(place) = self.try_enter(limits.connections_max) {
            return Some(place);
        }
        let place = match self.wait(limits.waiting_max) {
            Some(_waiting) => {
                tokio::time::timeout(patience, self.next_free(limits.connections_max)).await.ok()
            }
            None => None,
        };
        if place.is_none() {
            self.refused.inc();
        }
        place
    }

    async fn next_free(self: &Arc<Self>, max: u32) -> Place {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Before looking, so that a place freed in between is not missed.
            freed.as_mut().enable();
            if let Some(place) = self.try_enter(max) {
                return place;
            }
            freed.await;
        }
    }

    fn try_enter(self: &Arc<Self>, max: u32) -> Option<Place> {
        one_more(&self.in_use, max).then(|| Place(Arc::clone(self)))
    }

    fn wait(&self, max: u32) -> Option<Waiting<'_>> {
        one_more(&self.waiting, max).then(|| {
            self.waiting_gauge.inc();
            Waiting(self)
        })
    }

    /// Counts a request on this connection; says whether it is the last it may carry.
    pub fn is_last(&self, connection: RawFd, reused: bool, requests_max: u32) -> bool {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = uses.entry(connection).or_default();
        // The number of a descriptor is given out again once its connection is closed.
        *count = if reused { count.saturating_add(1) } else { 1 };
        *count >= requests_max
    }
}

fn one_more(count: &AtomicU32, max: u32) -> bool {
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < max).then(|| now + 1))
        .is_ok()
}

/// Counts open connections to a server.
#[derive(Clone, Debug, Default)]
pub struct Open(Arc<AtomicU32>);

impl Open {
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

impl Tracing for Open {
    fn on_connected(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn on_disconnected(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

/// Whether a connection is kept once its request is done: one that is unused now will be used again,
/// and a new one has a place as long as there are fewer than `idle_max`.
pub fn keeps(unused_at_server: u32, connections: u32, idle_max: u32) -> bool {
    idle_max > 0 && (unused_at_server > 0 || connections < idle_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Arc<Pool> {
        Arc::new(Pool::new("u", &Metrics::new()))
    }

    fn limits(connections_max: u32, waiting_max: u32) -> ConnectionPool {
        ConnectionPool { connections_max, waiting_max, ..ConnectionPool::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_a_connection_as_long_as_they_may() {
        let (pool, limits, patience) = (pool(), limits(1, 1), Duration::from_secs(1));
        let first = pool.enter(&limits, patience).await.unwrap();
        let (waiting, with) = (Arc::clone(&pool), limits.clone());
        let second = tokio::spawn(async move { waiting.enter(&with, patience).await });
        tokio::task::yield_now().await;
        assert_eq!(pool.waiting_gauge.get(), 1);
        assert!(pool.enter(&limits, patience).await.is_none(), "one waits already");
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(pool.enter(&limits, patience).await.is_none(), "nothing is freed in time");
        assert_eq!(pool.refused.get(), 2);
        drop(second);
        assert!(pool.enter(&limits, patience).await.is_some());
        assert_eq!(pool.waiting_gauge.get(), 0);
    }

    #[test]
    fn a_connection_has_a_last_request() {
        let pool = pool();
        let last: Vec<_> =
            [false, true, true].into_iter().map(|reused| pool.is_last(7, reused, 3)).collect();
        assert_eq!(last, [false, false, true]);
        assert!(!pool.is_last(7, false, 3), "a new connection with the same number");
        assert!(pool.is_last(8, false, 1));
    }

    #[test]
    fn unused_connections_are_kept_up_to_a_number() {
        assert!(keeps(0, 0, 1) && keeps(1, 5, 1));
        assert!(!keeps(0, 1, 1) && !keeps(0, 0, 0) && !keeps(1, 1, 0));
    }
}
