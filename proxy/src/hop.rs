//! Moving work between the two runtimes while it runs. A request is read on the latency runtime;
//! once its lane is known and its body is large, the rest of it is polled on the bulk runtime.
//!
//! A future that is boxed and `Send` may be polled by any thread. [`drive`] polls one where it is,
//! and when the work asked for another [`Place`] while it was polled, goes on with it there. Sockets
//! stay registered where they were opened: only their readiness is told there, bytes move here.

use std::cell::Cell;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::task::JoinHandle;

use crate::runtimes::{Handles, Place, here};

/// What the work that is being polled on this thread has asked for.
#[derive(Clone, Copy, Default)]
struct Asked {
    /// Somebody is there to grant wishes.
    driven: bool,
    wish: Option<Place>,
    admitted: Option<Place>,
}

thread_local! {
    static ASKED: Cell<Asked> = const { Cell::new(Asked { driven: false, wish: None, admitted: None }) };
}

/// Puts back what the thread's outer work had asked for, even past a panic.
struct Restore(Asked);

impl Drop for Restore {
    fn drop(&mut self) {
        ASKED.set(self.0);
    }
}

/// Goes on at `place`. Outside of [`drive`] it does nothing.
pub async fn to(place: Place) {
    std::future::poll_fn(|_| match wish(place) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

/// Asks to be polled at `place` from the next poll on; says whether a move comes of it, once the
/// present poll returns pending.
pub fn wish(place: Place) -> bool {
    let asked = ASKED.get();
    let moves = asked.driven && place != here();
    if moves {
        ASKED.set(Asked { wish: Some(place), ..asked });
    }
    moves
}

/// Tells the connection that one of its requests belongs to a lane of this place.
pub fn admitted(place: Place) {
    ASKED.set(Asked { admitted: Some(place), ..ASKED.get() });
}

/// What the requests of one HTTP/2 connection have in common. A connection that has carried nothing
/// but bulk is itself served at low priority; one that mixes lanes stays on the latency runtime for
/// good, where its quantum bounds what its bulk does to others.
#[derive(Debug, Default)]
pub struct Company {
    bulk: AtomicBool,
    other: AtomicBool,
}

impl Company {
    fn admit(&self, place: Place) {
        let seen = if place == Place::Bulk { &self.bulk } else { &self.other };
        seen.store(true, Ordering::Release);
    }

    /// Where the connection belongs.
    pub fn place(&self) -> Place {
        let only_bulk = self.bulk.load(Ordering::Acquire) && !self.other.load(Ordering::Acquire);
        if only_bulk { Place::Bulk } else { Place::Latency }
    }
}

pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Step<T> {
    Done(T),
    /// It goes on elsewhere.
    Leave(Work<T>, Place),
}

/// Work in one place.
struct Leg<T> {
    work: Option<Work<T>>,
    company: Option<Arc<Company>>,
}

impl<T> Future for Leg<T> {
    type Output = Step<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Step<T>> {
        let Some(work) = self.work.as_mut() else { return Poll::Pending };
        let outer = Restore(ASKED.replace(Asked { driven: true, ..Asked::default() }));
        let polled = work.as_mut().poll(context);
        let asked = ASKED.get();
        drop(outer);
        if let (Some(place), Some(company)) = (asked.admitted, &self.company) {
            company.admit(place);
        }
        match (polled, asked.wish) {
            (Poll::Ready(done), _) => Poll::Ready(Step::Done(done)),
            (Poll::Pending, Some(place)) => match self.work.take() {
                Some(work) => Poll::Ready(Step::Leave(work, place)),
                None => Poll::Pending,
            },
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

/// A task elsewhere that ends with whoever waits for it.
struct Away<T>(JoinHandle<T>);

impl<T> Drop for Away<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does the work, here and wherever it asks to go, and returns here with what came of it.
pub async fn drive<T: Send + 'static>(
    runtimes: &Handles,
    company: Option<Arc<Company>>,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    carry(runtimes, company, Box::pin(work)).await
}

/// The same for work that is boxed already: who waits for it needs no room for it besides.
pub async fn carry<T: Send + 'static>(
    runtimes: &Handles,
    company: Option<Arc<Company>>,
    mut work: Work<T>,
) -> T {
    let home = here();
    let mut place = home;
    loop {
        let leg = Leg { work: Some(work), company: company.clone() };
        let step = if place == home {
            leg.await
        } else {
            let mut away = Away(runtimes.of(place).spawn(leg));
            match (&mut away.0).await {
                Ok(step) => step,
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                // The process is ending.
                Err(_) => std::future::pending().await,
            }
        };
        match step {
            Step::Done(done) => return done,
            Step::Leave(left, to) => (work, place) = (left, to),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::metrics::Metrics;
    use crate::runtimes::Runtimes;

    #[test]
    fn work_goes_where_it_asks_to_and_its_end_comes_home() {
        let runtimes = Runtimes::start(&Metrics::new()).unwrap();
        let handles = runtimes.handles();
        let company = Arc::new(Company::default());
        let with = Arc::clone(&company);
        let (places, home) = runtimes.latency.block_on(async move {
            let places = drive(&handles, Some(with), async {
                let mut seen = vec![here()];
                admitted(Place::Bulk);
                for place in [Place::Bulk, Place::Bulk, Place::Latency, Place::Bulk] {
                    to(place).await;
                    tokio::task::yield_now().await;
                    seen.push(here());
                }
                seen
            })
            .await;
            (places, here())
        });
        use Place::{Bulk, Latency};
        assert_eq!(places, [Latency, Bulk, Bulk, Latency, Bulk]);
        assert_eq!(home, Latency);
        assert_eq!(company.place(), Bulk);
        company.admit(Latency);
        assert_eq!(company.place(), Latency, "a connection that mixes lanes stays");
        runtimes.stop();
    }

    #[tokio::test]
    async fn without_anybody_to_grant_it_a_wish_holds_nothing_up() {
        to(Place::Bulk).await;
        assert_eq!(here(), Place::Latency);
    }

    #[test]
    fn work_that_nobody_waits_for_any_more_is_dropped_wherever_it_is() {
        let runtimes = Runtimes::start(&Metrics::new()).unwrap();
        let handles = runtimes.handles();
        runtimes.latency.block_on(async move {
            let (arrived, has_arrived) = oneshot::channel();
            let (kept, is_dropped) = oneshot::channel::<()>();
            let waiting = tokio::spawn(async move {
                drive(&handles, None, async move {
                    to(Place::Bulk).await;
                    let _ = arrived.send(here());
                    std::future::pending::<()>().await;
                    drop(kept);
                })
                .await;
            });
            assert_eq!(has_arrived.await, Ok(Place::Bulk));
            waiting.abort();
            assert!(is_dropped.await.is_err());
        });
        runtimes.stop();
    }
}
