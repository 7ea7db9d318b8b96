//! How many connections an upstream may have: in use at once, kept unused, and how many requests wait
//! for one. It belongs to the process, like its servers: a reload keeps what is in use counted.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::upstreams::peer::Tracing;
use prometheus::IntCounter;
use proxy_config::upstream::ConnectionPool;

use crate::metrics::Metrics;
use crate::places::{Counts, Limits, Permit, Places};

/// The connections of one upstream.
pub struct Pool {
    places: Arc<Places>,
    /// Requests each open connection has carried.
    uses: Mutex<HashMap<RawFd, u32>>,
    refused: IntCounter,
}

impl Pool {
    pub fn new(upstream: &str, metrics: &Metrics) -> Pool {
        let waited = |result| metrics.upstream_waits.with_label_values(&[upstream, result]);
        Pool {
            places: Places::counted(Counts {
                inside: metrics.upstream_in_use.with_label_values(&[upstream]),
                waiting: metrics.upstream_waiting.with_label_values(&[upstream]),
                admitted: waited("admitted"),
                timed_out: waited("timed_out"),
                left: waited("left"),
            }),
            uses: Mutex::default(),
            refused: metrics.upstream_refused.with_label_values(&[upstream]),
        }
    }

    /// The right to use one connection, at once or when those who came before have had theirs; nothing when too many
    /// wait already or it takes longer than `patience`.
    pub async fn enter(&self, limits: &ConnectionPool, patience: Duration) -> Option<Permit> {
        let most = |count| usize::try_from(count).unwrap_or(usize::MAX);
        // Those of who asks: requests that began before a reload may still come with the old ones.
        self.places.set_limits(Limits {
            inside_max: most(limits.connections_max),
            waiting_max: most(limits.waiting_max),
            waiting_time_max: patience,
        });
        let place = self.places.enter().await.ok();
        if place.is_none() {
            self.refused.inc();
        }
        place
    }

    /// Counts a request on this connection; says whether it is the last it may carry.
    pub fn is_last(&self, connection: RawFd, reused: bool, requests_max: u32) -> bool {
        let mut uses = self.uses.lock();
        let count = uses.entry(connection).or_default();
        // The number of a descriptor is given out again once its connection is closed.
        *count = if reused { count.saturating_add(1) } else { 1 };
        *count >= requests_max
    }
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
        let metrics = Metrics::new();
        let waiting = metrics.upstream_waiting.with_label_values(&["u"]);
        let (pool, limits) = (Arc::new(Pool::new("u", &metrics)), limits(1, 1));
        let patience = Duration::from_secs(1);
        let first = pool.enter(&limits, patience).await.unwrap();
        let (behind, with) = (Arc::clone(&pool), limits.clone());
        let second = tokio::spawn(async move { behind.enter(&with, patience).await });
        tokio::task::yield_now().await;
        assert_eq!(waiting.get(), 1);
        assert!(pool.enter(&limits, patience).await.is_none(), "one waits already");
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(pool.enter(&limits, patience).await.is_none(), "nothing is freed in time");
        assert_eq!(pool.refused.get(), 2);
        drop(second);
        assert!(pool.enter(&limits, patience).await.is_some());
        assert_eq!(waiting.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_overtakes_who_waits() {
        let (pool, limits, patience) = (pool(), limits(1, 9), Duration::from_secs(1));
        let held = pool.enter(&limits, patience).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |number: u32| {
            let (pool, limits, order) = (Arc::clone(&pool), limits.clone(), Arc::clone(&order));
            tokio::spawn(async move {
                let _place = pool.enter(&limits, patience).await.unwrap();
                order.lock().push(number);
            })
        };
        let mut tasks = vec![wait(0), wait(1)];
        tokio::task::yield_now().await;
        drop(held);
        // Free by now, and those who wait have not been woken yet.
        let newcomer = pool.enter(&limits, patience).await.unwrap();
        order.lock().push(2);
        tasks.push(wait(3));
        drop(newcomer);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock(), [0, 1, 2, 3]);
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
