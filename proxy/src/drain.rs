//! Counting what is under way, so that a graceful stop ends as soon as nothing is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// After the last request, how long idle connections may take to close by themselves. HTTP/2
/// clients need a round trip to acknowledge; one that does not answer must not hold the stop up.
const LINGER: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    changed: Notify,
    /// A graceful stop has begun.
    begun: AtomicBool,
}

/// Shared count of open client connections and requests in flight.
#[derive(Clone, Default)]
pub struct Drain(Arc<Counts>);

/// One connection or request under way; dropping it counts it off.
pub struct UnderWay {
    counts: Arc<Counts>,
    count: fn(&Counts) -> &AtomicUsize,
}

impl Drain {
    pub fn connection(&self) -> UnderWay {
        self.enter(|counts| &counts.connections)
    }

    pub fn request(&self) -> UnderWay {
        self.enter(|counts| &counts.requests)
    }

    fn enter(&self, count: fn(&Counts) -> &AtomicUsize) -> UnderWay {
        count(&self.0).fetch_add(1, Ordering::AcqRel);
        UnderWay { counts: Arc::clone(&self.0), count }
    }

    /// From now on answers say that their connection ends.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::Release);
    }

    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Acquire)
    }

    pub fn requests(&self) -> usize {
        self.0.requests.load(Ordering::Acquire)
    }

    /// Waits until no connection is open, or no request is in flight and connections have had
    /// [`LINGER`] to close, or the deadline. Says whether every request was finished.
    pub async fn finished(&self, deadline: Instant) -> bool {
        loop {
            let changed = self.0.changed.notified();
            if self.0.connections.load(Ordering::Acquire) == 0 && self.requests() == 0 {
                return true;
            }
            let wait_until = match self.requests() {
                0 => deadline.min(Instant::now() + LINGER),
                _ => deadline,
            };
            let timed_out = tokio::time::timeout_at(wait_until, changed).await.is_err();
            if timed_out && (self.requests() == 0 || Instant::now() >= deadline) {
                return self.requests() == 0;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        (self.count)(&self.counts).fetch_sub(1, Ordering::AcqRel);
        self.counts.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[tokio::test(start_paused = true)]
    async fn ends_at_once_when_idle() {
        let drain = Drain::default();
        let begun = Instant::now();
        assert!(drain.finished(soon()).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_gets_the_linger_only() {
        let drain = Drain::default();
        let _connection = drain.connection();
        let begun = Instant::now();
        assert!(drain.finished(soon()).await);
        assert!(begun.elapsed() >= LINGER && begun.elapsed() < 2 * LINGER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_waited_for_until_the_deadline() {
        let drain = Drain::default();
        let request = drain.request();
        assert!(!drain.finished(Instant::now() + Duration::from_secs(5)).await);
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finished(soon()).await }
        });
        tokio::task::yield_now().await;
        drop(request);
        assert!(waiting.await.unwrap());
    }
}
