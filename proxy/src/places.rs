//! A bounded place with a bounded queue before it: who enters, who waits, who is turned away.
//!
//! [`decide`] is the whole decision and pure; [`Places`] keeps the count and the queue. Places are
//! handed on in the order of arrival, and a place that nobody fetches goes to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::metrics::Metrics;

/// What a places may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub inside_max: usize,
    pub waiting_max: usize,
    pub waiting_time_max: Duration,
}

/// What a places holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub inside: usize,
    pub waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Enter,
    Wait,
    Refuse,
}

/// What becomes of one who arrives. Nobody overtakes those who wait.
pub fn decide(limits: &Limits, load: Load) -> Decision {
    if load.inside < limits.inside_max && load.waiting == 0 {
        Decision::Enter
    } else if load.waiting < limits.waiting_max && !limits.waiting_time_max.is_zero() {
        Decision::Wait
    } else {
        Decision::Refuse
    }
}

/// How many of those who wait may enter now.
pub fn let_in(limits: &Limits, load: Load) -> usize {
    limits.inside_max.saturating_sub(load.inside).min(load.waiting)
}

/// There was no room, or none in time.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

struct State {
    limits: Limits,
    inside: usize,
    queue: VecDeque<(u64, oneshot::Sender<Permit>)>,
    tickets: u64,
}

impl State {
    fn load(&self) -> Load {
        Load { inside: self.inside, waiting: self.queue.len() }
    }
}

/// The series of a places.
pub struct Counts {
    pub inside: IntGauge,
    pub waiting: IntGauge,
    pub admitted: IntCounter,
    pub timed_out: IntCounter,
    pub left: IntCounter,
}

pub struct Places {
    state: Mutex<State>,
    counts: Counts,
}

/// One place inside; dropping it gives the place back, exactly once.
pub struct Permit(Arc<Places>);

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

/// A place in the queue.
struct Waiting<'a> {
    places: &'a Places,
    ticket: u64,
    result: &'a IntCounter,
}

impl Permit {
    pub fn is_of(&self, places: &Arc<Places>) -> bool {
        Arc::ptr_eq(&self.0, places)
    }
}

impl Places {
    /// A lane's; `kind` is a label: place, origin, connection or upstream.
    pub fn new(lane: &str, kind: &str, inside: IntGauge, metrics: &Metrics) -> Arc<Places> {
        let result = |result| metrics.lane_waits.with_label_values(&[lane, kind, result]);
        Places::counted(Counts {
            inside,
            waiting: metrics.lane_waiting.with_label_values(&[lane, kind]),
            admitted: result("admitted"),
            timed_out: result("timed_out"),
            left: result("left"),
        })
    }

    /// A places that lets nobody in until it has limits.
    pub fn counted(counts: Counts) -> Arc<Places> {
        let limits =
            Limits { inside_max: 0, waiting_max: 0, waiting_time_max: Duration::default() };
        let state = State { limits, inside: 0, queue: VecDeque::new(), tickets: 0 };
        Arc::new(Places { state: Mutex::new(state), counts })
    }

    /// New limits hold for those who arrive; nobody inside or waiting is turned out.
    pub fn set_limits(self: &Arc<Self>, limits: Limits) {
        if std::mem::replace(&mut self.state.lock().limits, limits) != limits {
            self.admit_waiting();
        }
    }

    /// Whether half of the places are taken.
    pub fn are_half_taken(&self) -> bool {
        let state = self.state.lock();
        state.inside >= state.limits.inside_max / 2
    }

    /// Enters now, or waits as long as the limits allow. Dropping the future leaves the queue.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, Full> {
        let (mut place, patience, ticket) = {
            let mut state = self.state.lock();
            match decide(&state.limits, state.load()) {
                Decision::Enter => return Ok(self.hand_out(&mut state)),
                Decision::Refuse => return Err(Full),
                Decision::Wait => {}
            }
            let (sender, place) = oneshot::channel();
            state.tickets += 1;
            let ticket = state.tickets;
            state.queue.push_back((ticket, sender));
            self.counts.waiting.inc();
            (place, state.limits.waiting_time_max, ticket)
        };
        let mut waiting = Waiting { places: self, ticket, result: &self.counts.left };
        let entered = timeout(patience, &mut place).await;
        waiting.result = match &entered {
            Ok(Ok(_)) => &self.counts.admitted,
            _ => &self.counts.timed_out,
        };
        drop(waiting);
        match entered {
            Ok(Ok(permit)) => Ok(permit),
            // It may have come between the deadline and leaving the queue.
            _ => place.try_recv().map_err(|_| Full),
        }
    }

    /// Enters now, or not at all; nothing is counted for who does not.
    pub fn enter_now(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock();
        let enters = matches!(decide(&state.limits, state.load()), Decision::Enter);
        enters.then(|| self.hand_out(&mut state))
    }

    fn hand_out(self: &Arc<Self>, state: &mut State) -> Permit {
        state.inside += 1;
        self.counts.inside.inc();
        Permit(Arc::clone(self))
    }

    /// Hands free places to those who wait longest.
    fn admit_waiting(self: &Arc<Self>) {
        let mut handed = Vec::new();
        {
            let mut state = self.state.lock();
            for _ in 0..let_in(&state.limits, state.load()) {
                let Some((_, sender)) = state.queue.pop_front() else { break };
                self.counts.waiting.dec();
                handed.push((sender, self.hand_out(&mut state)));
            }
        }
        // Outside of the lock: a permit whose receiver is gone comes straight back.
        for (sender, permit) in handed {
            drop(sender.send(permit));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.state.lock().inside -= 1;
        self.0.counts.inside.dec();
        self.0.admit_waiting();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.result.inc();
        let mut state = self.places.state.lock();
        let before = state.queue.len();
        state.queue.retain(|(ticket, _)| *ticket != self.ticket);
        if state.queue.len() < before {
            self.places.counts.waiting.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(inside_max: usize, waiting_max: usize) -> Limits {
        Limits { inside_max, waiting_max, waiting_time_max: Duration::from_secs(1) }
    }

    fn places(limits: Limits) -> Arc<Places> {
        let metrics = Metrics::new();
        let inside = metrics.lane_in_flight.with_label_values(&["bulk"]);
        let places = Places::new("bulk", "place", inside, &metrics);
        places.set_limits(limits);
        places
    }

    fn load(places: &Places) -> (usize, usize) {
        let Load { inside, waiting } = places.state.lock().load();
        let counted =
            [&places.counts.inside, &places.counts.waiting].map(prometheus::IntGauge::get);
        assert_eq!(counted.map(usize::try_from), [Ok(inside), Ok(waiting)]);
        (inside, waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn places_go_to_those_who_wait_longest() {
        let places = places(limits(1, 2));
        let first = places.enter().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..2)
            .map(|number| {
                let (places, order) = (Arc::clone(&places), Arc::clone(&order));
                tokio::spawn(async move {
                    let _permit = places.enter().await.unwrap();
                    order.lock().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(load(&places), (1, 2));
        assert!(places.enter().await.is_err(), "the queue is full");
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!((&**order.lock(), load(&places)), (&[0, 1][..], (0, 0)));
        assert_eq!(places.counts.admitted.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_at_the_deadline_or_when_the_client_leaves() {
        let places = places(limits(1, 2));
        let held = places.enter().await.unwrap();
        assert_eq!(places.enter().await.err(), Some(Full));
        {
            let leaving = places.enter();
            tokio::pin!(leaving);
            assert!(timeout(Duration::from_millis(1), &mut leaving).await.is_err());
            assert_eq!(load(&places), (1, 1));
        }
        assert_eq!(load(&places), (1, 0));
        assert_eq!((places.counts.timed_out.get(), places.counts.left.get()), (1, 1));
        drop(held);
        assert_eq!(load(&places), (0, 0));
    }

    #[tokio::test]
    async fn more_room_lets_those_in_who_wait_and_less_turns_nobody_out() {
        let places = places(limits(1, 1));
        let first = places.enter().await.unwrap();
        let entering = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.enter().await.unwrap() }
        });
        tokio::task::yield_now().await;
        places.set_limits(limits(2, 0));
        let second = entering.await.unwrap();
        places.set_limits(limits(1, 0));
        assert_eq!(load(&places), (2, 0));
        drop(first);
        assert!(places.enter().await.is_err());
        drop(second);
        assert!(places.enter().await.is_ok());
    }

    /// What may happen at two places, by number.
    fn happenings() -> impl Strategy<Value = Vec<(bool, u8)>> {
        proptest::collection::vec((any::<bool>(), 0..4_u8), 0..200)
    }

    proptest! {
        /// Two lanes side by side: neither exceeds its limits, nobody is refused or waits while
        /// there is room, and nothing that happens to one changes what the other decides.
        #[test]
        fn a_lane_is_decided_by_its_own_load_alone(
            happenings in happenings(),
            inside_max in 1..5_usize,
            waiting_max in 0..4_usize,
        ) {
            let limits = limits(inside_max, waiting_max);
            let mut loads = [Load::default(); 2];
            for (lane, what) in happenings {
                let other = loads[usize::from(!lane)];
                let load = &mut loads[usize::from(lane)];
                match what {
                    0 | 1 => match decide(&limits, *load) {
                        Decision::Enter => load.inside += 1,
                        Decision::Wait => {
                            prop_assert_eq!(load.inside, inside_max);
                            load.waiting += 1;
                        }
                        Decision::Refuse => {
                            prop_assert_eq!((load.inside, load.waiting), (inside_max, waiting_max));
                        }
                    },
                    2 => {
                        load.inside = load.inside.saturating_sub(1);
                        let count = let_in(&limits, *load);
                        load.inside += count;
                        load.waiting -= count;
                    }
                    _ => load.waiting = load.waiting.saturating_sub(1),
                }
                prop_assert!(load.inside <= inside_max && load.waiting <= waiting_max);
                prop_assert!(load.waiting == 0 || load.inside == inside_max, "room while one waits");
                prop_assert_eq!(loads[usize::from(!lane)], other);
            }
        }
    }
}
