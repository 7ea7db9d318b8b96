//! Counting what is under way, so that a graceful stop ends as soon as nothing is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// After the last request, how long idle connections may take to close by themselves. HTTP/2
/// clients need a round trip to acknowledge; one that does not answer must not hold the stop up.
const LINGER: Duration = Duration::from_millis(250);

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    tunnels: AtomicUsize,
    changed: Notify,
    /// Whether tunnels are being closed.
    cut: watch::Sender<bool>,
    /// A graceful stop has begun.
    begun: AtomicBool,
}

/// Until when what is under way is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    pub requests: Instant,
    pub tunnels: Instant,
}

/// Shared count of open client connections and requests in flight.
#[derive(Clone, Default)]
pub struct Drain(Arc<Counts>);

/// One connection or request under way; dropping it counts it off.
pub struct UnderWay {
    counts: Arc<Counts>,
    count: fn(&Counts) -> &AtomicUsize,
}

impl UnderWay {
    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Acquire)
    }

    /// Requests that are under way now.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::Acquire)
    }

    /// Whether a graceful stop has begun.
    pub fn is_to_end(&self) -> bool {
        self.counts.begun.load(Ordering::Acquire)
    }
}

impl Drain {
    pub fn connection(&self) -> UnderWay {
        self.enter(|counts| &counts.connections)
    }

    pub fn request(&self) -> UnderWay {
        self.enter(|counts| &counts.requests)
    }

    /// A connection that was upgraded: it may go on for hours.
    pub fn tunnel(&self) -> UnderWay {
        self.enter(|counts| &counts.tunnels)
    }

    /// True from when on tunnels are to close.
    pub fn cut(&self) -> watch::Receiver<bool> {
        self.0.cut.subscribe()
    }

    /// Closes tunnels, and gives them a moment to be told of.
    pub async fn cut_tunnels(&self) {
        self.0.cut.send_replace(true);
        let deadline = Instant::now() + LINGER;
        while self.tunnels() > 0 {
            let changed = self.0.changed.notified();
            if self.tunnels() > 0 && tokio::time::timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
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

    pub fn tunnels(&self) -> usize {
        self.0.tunnels.load(Ordering::Acquire)
    }

    /// Waits until no connection is open, or no request is in flight and connections have had
    /// [`LINGER`] to close, or the deadlines. Says whether every request and tunnel was finished.
    pub async fn finished(&self, until: Deadlines) -> bool {
        loop {
            let changed = self.0.changed.notified();
            let (requests, tunnels) = (self.requests(), self.tunnels());
            if self.0.connections.load(Ordering::Acquire) == 0 && requests == 0 && tunnels == 0 {
                return true;
            }
            let wait_until = match (requests, tunnels) {
                (0, 0) => until.requests.min(Instant::now() + LINGER),
                (0, _) => until.tunnels,
                (_, 0) => until.requests,
                _ => until.requests.max(until.tunnels),
            };
            if tokio::time::timeout_at(wait_until, changed).await.is_err() {
                return self.requests() == 0 && self.tunnels() == 0;
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

    fn within(requests_s: u64, tunnels_s: u64) -> Deadlines {
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        Deadlines { requests: at(requests_s), tunnels: at(tunnels_s) }
    }

    fn soon() -> Deadlines {
        within(3600, 3600)
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
        assert!(!drain.finished(within(5, 60)).await);
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finished(soon()).await }
        });
        tokio::task::yield_now().await;
        drop(request);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn tunnels_have_a_time_of_their_own_and_are_told() {
        let drain = Drain::default();
        let tunnel = drain.tunnel();
        let begun = Instant::now();
        assert!(!drain.finished(within(5, 60)).await);
        assert!(begun.elapsed() >= Duration::from_secs(60));
        let mut cut = drain.cut();
        let told = tokio::spawn(async move {
            cut.wait_for(|cut| *cut).await.unwrap();
            drop(tunnel);
        });
        drain.cut_tunnels().await;
        told.await.unwrap();
        assert_eq!(drain.tunnels(), 0);
        assert!(drain.finished(soon()).await);
    }
}
