//! Connections to servers that carry no request, kept for the next one.
//!
//! Giving one back and taking it again is two short turns of a lock: nobody is set to wait for what becomes of it. One
//! that its server closed is found by who would take it, or by a look at them all once in [`LOOK_EVERY`].

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::upstream::bounds::{AT_ONCE, POOL_CONNECTIONS_MAX};
use crate::upstream::sips::Sips;

/// How long a connection that its server has closed may lie here.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The connections that are kept, at most [`POOL_CONNECTIONS_MAX`].
pub struct Idle {
    kept: Mutex<Kept>,
    count: IntGauge,
}

#[derive(Default)]
struct Kept {
    /// By what they were made with, the one used last at the back: it is the likeliest to be open.
    by_kind: HashMap<u64, VecDeque<Waiting>>,
    count: usize,
    is_watched: bool,
}

struct Waiting {
    stream: Box<Sips>,
    since: Instant,
    /// Without an end, as long as there is room.
    time: Option<Duration>,
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.time.is_some_and(|time| self.since.elapsed() >= time)
    }
}

impl Idle {
    pub fn new(count: IntGauge) -> Arc<Idle> {
        Arc::new(Idle { kept: Mutex::default(), count })
    }

    /// A connection made with this, that nothing has come on since.
    pub fn take(&self, kind: u64) -> Option<Box<Sips>> {
        loop {
            let mut waiting = self.kept.lock().pop(kind)?;
            self.count.dec();
            if !waiting.is_over() && is_quiet(&mut waiting.stream) {
                return Some(waiting.stream);
            }
        }
    }

    /// Keeps a connection for so long, if it may be kept at all.
    pub async fn put(self: &Arc<Self>, kind: u64, mut stream: Box<Sips>, time: Option<Duration>) {
        if time.is_some_and(|time| time <= AT_ONCE) {
            // Its server is told; what it says to that is of no interest.
            let _ = stream.shutdown().await;
            return;
        }
        let waiting = Waiting { stream, since: Instant::now(), time };
        let (given_up, begins) = {
            let mut kept = self.kept.lock();
            let given_up =
                if kept.count >= POOL_CONNECTIONS_MAX { kept.pop_oldest() } else { None };
            kept.push(kind, waiting);
            (given_up, !std::mem::replace(&mut kept.is_watched, true))
        };
        if given_up.is_none() {
            self.count.inc();
        }
        if begins {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Lets go of those that are of no use any more; says whether any is left.
    fn look(&self) -> bool {
        let mut kept = self.kept.lock();
        let gone = kept.take_useless();
        self.count.sub(i64::try_from(gone.len()).unwrap_or(0));
        kept.is_watched = kept.count > 0;
        let is_watched = kept.is_watched;
        // Closed when nobody waits for the lock.
        drop(kept);
        is_watched
    }
}

async fn watch(idle: Weak<Idle>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !idle.upgrade().is_some_and(|idle| idle.look()) {
            return;
        }
    }
}

impl Kept {
    fn push(&mut self, kind: u64, waiting: Waiting) {
        self.by_kind.entry(kind).or_default().push_back(waiting);
        self.count += 1;
    }

    fn pop(&mut self, kind: u64) -> Option<Waiting> {
        let waiting = self.by_kind.get_mut(&kind)?.pop_back()?;
        self.count -= 1;
        Some(waiting)
    }

    /// The one that has not been used for the longest time.
    fn pop_oldest(&mut self) -> Option<Waiting> {
        // A kind whose connections are all in use has none that could be the oldest.
        let all = self.by_kind.values_mut().filter(|kind| !kind.is_empty());
        let oldest = all.min_by_key(|kind| kind.front().map(|waiting| waiting.since))?;
        let waiting = oldest.pop_front()?;
        self.count -= 1;
        Some(waiting)
    }

    fn take_useless(&mut self) -> Vec<Waiting> {
        let mut gone = Vec::new();
        for kind in self.by_kind.values_mut() {
            for mut waiting in std::mem::take(kind) {
                match waiting.is_over() || !is_quiet(&mut waiting.stream) {
                    true => gone.push(waiting),
                    false => kind.push_back(waiting),
                }
            }
        }
        self.by_kind.retain(|_, kind| !kind.is_empty());
        self.count -= gone.len();
        gone
    }
}

/// Whether nothing has come, not even the end.
fn is_quiet(stream: &mut Sips) -> bool {
    let mut byte = [0; 1];
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

    fn idle() -> Arc<Idle> {
        Idle::new(IntGauge::new("idle", "idle").unwrap())
    }

    fn pair() -> (Box<Sips>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Box::new(Sips::of(Box::new(ours))), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_used_last_is_used_next_and_only_for_its_kind() {
        let idle = idle();
        let (first, mut of_first) = pair();
        let (second, mut of_second) = pair();
        idle.put(1, first, MINUTE).await;
        idle.put(1, second, MINUTE).await;
        assert_eq!(idle.count.get(), 2);
        assert!(idle.take(2).is_none());
        for theirs in [&mut of_second, &mut of_first] {
            let mut taken = idle.take(1).unwrap();
            taken.write_all(b"x").await.unwrap();
            assert_eq!(tokio::io::AsyncReadExt::read_u8(theirs).await.unwrap(), b'x');
        }
        assert!(idle.take(1).is_none());
        assert_eq!(idle.count.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_closed_or_speaks_or_has_waited_too_long_is_not_taken() {
        let idle = idle();
        let (closed, theirs) = pair();
        drop(theirs);
        let (speaks, mut theirs) = pair();
        theirs.write_all(b"HTTP/1.1 408 ").await.unwrap();
        let (late, _open) = pair();
        let (at_once, _also_open) = pair();
        for (stream, time) in [(closed, MINUTE), (speaks, None), (late, MINUTE)] {
            idle.put(1, stream, time).await;
        }
        idle.put(1, at_once, Some(AT_ONCE)).await;
        assert_eq!(idle.count.get(), 3);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(idle.take(1).is_none());
        assert_eq!(idle.count.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_hear_of_the_end_though_nobody_asks_for_their_connections() {
        let idle = idle();
        let (stream, mut theirs) = pair();
        idle.put(1, stream, MINUTE).await;
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(idle.count.get(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(tokio::io::AsyncReadExt::read(&mut theirs, &mut [0; 1]).await.unwrap(), 0);
        assert_eq!(idle.count.get(), 0);
        assert!(!idle.kept.lock().is_watched);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_may_be() {
        let idle = idle();
        let mut servers = Vec::new();
        for kind in 0..=POOL_CONNECTIONS_MAX as u64 {
            let (stream, theirs) = pair();
            idle.put(kind, stream, MINUTE).await;
            tokio::time::advance(Duration::from_millis(1)).await;
            servers.push(theirs);
        }
        assert_eq!(usize::try_from(idle.count.get()), Ok(POOL_CONNECTIONS_MAX));
        assert!(idle.take(0).is_none(), "the oldest has gone");
        assert!(idle.take(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_kind_whose_connections_are_all_in_use_is_not_the_oldest() {
        let idle = idle();
        let (stream, _open) = pair();
        idle.put(u64::MAX, stream, MINUTE).await;
        let _used = idle.take(u64::MAX).unwrap();
        let mut servers = Vec::new();
        // All within the time between two looks, which would put it right.
        for kind in 0..=POOL_CONNECTIONS_MAX as u64 {
            let (stream, theirs) = pair();
            idle.put(kind, stream, MINUTE).await;
            tokio::time::advance(Duration::from_micros(1)).await;
            servers.push(theirs);
        }
        assert_eq!(usize::try_from(idle.count.get()), Ok(POOL_CONNECTIONS_MAX));
        assert_eq!(idle.kept.lock().count, POOL_CONNECTIONS_MAX);
        assert!(idle.take(0).is_none(), "the oldest has gone");
    }
}
