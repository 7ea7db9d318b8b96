//! Lanes: who may be in flight at once. A lane belongs to the process, not to a configuration:
//! a reload changes its limit and keeps its count, so requests of the old generation still count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntGauge};

use crate::metrics::Metrics;
use crate::runtimes::Place;

/// One lane's budget and what it holds now.
pub struct Lane {
    name: String,
    requests_max: AtomicUsize,
    requests: AtomicUsize,
    /// Its bodies move on the bulk runtime.
    on_bulk: AtomicBool,
    in_flight: IntGauge,
    max: IntGauge,
    shed: IntCounter,
}

/// The lane had no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// One request's place in a lane; dropping it gives the place back, exactly once.
pub struct Permit(Arc<Lane>);

impl Lane {
    fn new(name: &str, metrics: &Metrics) -> Self {
        Self {
            name: name.to_owned(),
            requests_max: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            on_bulk: AtomicBool::new(false),
            in_flight: metrics.lane_in_flight.with_label_values(&[name]),
            max: metrics.lane_requests_max.with_label_values(&[name]),
            shed: metrics.lane_shed.with_label_values(&[name]),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its bodies are moved.
    pub fn place(&self) -> Place {
        if self.on_bulk.load(Ordering::Acquire) { Place::Bulk } else { Place::Latency }
    }

    pub fn enter_into_force(&self, requests_max: usize, place: Place) {
        self.on_bulk.store(place == Place::Bulk, Ordering::Release);
        self.requests_max.store(requests_max, Ordering::Release);
        self.max.set(i64::try_from(requests_max).unwrap_or(i64::MAX));
    }

    /// Takes a place, or sheds: never waits and never takes from another lane.
    pub fn admit(self: &Arc<Self>) -> Result<Permit, Full> {
        let max = self.requests_max.load(Ordering::Acquire);
        let took = self.requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            (held < max).then_some(held + 1)
        });
        if took.is_err() {
            self.shed.inc();
            return Err(Full);
        }
        self.in_flight.inc();
        Ok(Permit(Arc::clone(self)))
    }
}

impl Permit {
    pub fn is_of(&self, lane: &Arc<Lane>) -> bool {
        Arc::ptr_eq(&self.0, lane)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
        self.0.in_flight.dec();
    }
}

/// All lanes this process has ever known, by name.
#[derive(Default)]
pub struct Lanes(Mutex<BTreeMap<String, Arc<Lane>>>);

impl Lanes {
    /// The lane of that name, made when new. Its limit is set by whoever puts a configuration
    /// into force, not here: a document that is only being checked changes nothing.
    pub fn named(&self, name: &str, metrics: &Metrics) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lane =
            lanes.entry(name.to_owned()).or_insert_with(|| Arc::new(Lane::new(name, metrics)));
        Arc::clone(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_once_and_a_smaller_limit_holds_for_new_requests() {
        let metrics = Metrics::new();
        let lane = Lanes::default().named("bulk", &metrics);
        lane.enter_into_force(2, Place::Latency);
        let first = lane.admit().ok();
        let second = lane.admit().ok();
        assert!(first.is_some() && second.is_some());
        assert!(lane.admit().is_err());
        assert_eq!((lane.in_flight.get(), lane.shed.get()), (2, 1));
        lane.enter_into_force(1, Place::Bulk);
        drop(second);
        assert!(lane.admit().is_err(), "one is still in flight and the limit is now one");
        drop(first);
        assert!(lane.admit().is_ok());
        assert_eq!(lane.in_flight.get(), 0);
    }

    #[test]
    fn the_same_name_is_the_same_lane() {
        let (metrics, lanes) = (Metrics::new(), Lanes::default());
        assert!(Arc::ptr_eq(&lanes.named("a", &metrics), &lanes.named("a", &metrics)));
    }
}
