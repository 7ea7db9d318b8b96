//! Lanes: budgets that keep kinds of traffic from taking from one another. A lane belongs to the
//! process, not to a configuration: a reload changes its limits and keeps its counts, so requests of
//! the old generation still count.

pub mod charge;
pub mod conduit;
pub mod enter;
pub mod memory;

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};
use proxy_config::lane::LaneName;

use crate::buffer::spill::Spill;
use crate::lane::charge::{Carried, Charged};
use crate::lane::conduit::{Conduit, Conduits};
use crate::lane::memory::{Memory, Reserved, TO_CLIENT};
use crate::metrics::Metrics;
use crate::pace::Pace;
pub use crate::places::Full;
use crate::places::{Limits, Permit, Places};
use crate::runtimes::Place;

/// What a lane may have.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub requests_max: usize,
    /// `None`: as many as there are.
    pub connections_max: Option<usize>,
    pub upstream_connections_max: Option<usize>,
    /// `None`: as many as requests.
    pub origin_concurrency_max: Option<usize>,
    /// Bytes that bodies under way may hold; `None` for no limit but that on requests.
    pub memory_max: Option<u64>,
    pub waiting_max: usize,
    pub waiting_time_max: Duration,
    /// Bytes per second of response bodies.
    pub bandwidth_max: Option<u64>,
    pub place: Place,
}

impl Budget {
    pub fn of(lanes: &proxy_config::lane::Lanes, name: LaneName) -> Budget {
        let (lane, waiting) = (lanes.get(name), lanes.waiting(name));
        let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
        Budget {
            requests_max: count(lane.requests_max),
            connections_max: lane.connections_max.map(count),
            upstream_connections_max: lane.upstream_connections_max.map(count),
            origin_concurrency_max: lane.origin_concurrency_max.map(count),
            memory_max: lane.memory_max.map(proxy_config::units::ByteSize::as_bytes),
            waiting_max: count(waiting.max),
            waiting_time_max: waiting.time_max.as_std(),
            bandwidth_max: lane.bandwidth_max.map(|rate| rate.0.as_bytes()),
            place: Place::of(lanes.priority(name)),
        }
    }

    fn limits(&self, inside_max: Option<usize>) -> Limits {
        let inside_max = inside_max.unwrap_or(usize::MAX);
        let Budget { waiting_max, waiting_time_max, .. } = *self;
        Limits { inside_max, waiting_max, waiting_time_max }
    }
}

/// A place in a lane, or among its requests to origins, with the memory that may take; dropping it gives
/// both back.
#[derive(Debug)]
pub struct Seat {
    permit: Permit,
    reserved: Reserved,
    /// Of one in the lane: its connection counts there.
    _carried: Option<Carried>,
}

/// Why a request was not let into its lane.
#[derive(Debug, PartialEq, Eq)]
pub enum Shed {
    /// Its connection has no place there (`connections_max`).
    Connection,
    Request,
}

impl Seat {
    /// Gives the place back and keeps the memory.
    pub fn into_memory(self) -> Reserved {
        self.reserved
    }
}

/// One lane: its places, its memory, its pace and where its bodies move.
pub struct Lane {
    name: String,
    places: Arc<Places>,
    origins: Arc<Places>,
    connections: Arc<Places>,
    /// Connections to servers.
    conduits: Arc<Conduits>,
    memory: Arc<Memory>,
    pub pace: Pace,
    /// Where its bodies go when memory is out.
    pub spill: Arc<Spill>,
    /// Its bodies move on the bulk runtime.
    on_bulk: AtomicBool,
    max: IntGauge,
    connections_max: IntGauge,
    upstream_connections_max: IntGauge,
    shed: IntCounter,
    shed_connections: IntCounter,
    shed_upstream_connections: IntCounter,
}

impl Lane {
    fn new(name: &str, metrics: &Metrics) -> Self {
        let with_queue = |kind, inside: &prometheus::IntGaugeVec| {
            Places::new(name, kind, inside.with_label_values(&[name]), metrics)
        };
        Self {
            name: name.to_owned(),
            places: with_queue("place", &metrics.lane_in_flight),
            origins: with_queue("origin", &metrics.lane_origin_requests),
            connections: with_queue("connection", &metrics.lane_connections),
            conduits: Conduits::new(with_queue("upstream", &metrics.lane_upstream_connections)),
            memory: Memory::new(
                metrics.lane_memory.with_label_values(&[name]),
                metrics.lane_memory_max.with_label_values(&[name]),
            ),
            pace: Pace::new(metrics.lane_paced_bytes.with_label_values(&[name])),
            spill: Spill::new(name, metrics),
            on_bulk: AtomicBool::new(false),
            max: metrics.lane_requests_max.with_label_values(&[name]),
            connections_max: metrics.lane_connections_max.with_label_values(&[name]),
            upstream_connections_max: metrics
                .lane_upstream_connections_max
                .with_label_values(&[name]),
            shed: metrics.lane_shed.with_label_values(&[name]),
            shed_connections: metrics.lane_connections_shed.with_label_values(&[name, "client"]),
            shed_upstream_connections: metrics
                .lane_connections_shed
                .with_label_values(&[name, "upstream"]),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its bodies are moved.
    pub fn place(&self) -> Place {
        if self.on_bulk.load(Ordering::Acquire) { Place::Bulk } else { Place::Latency }
    }

    pub fn enter_into_force(&self, budget: &Budget) {
        self.on_bulk.store(budget.place == Place::Bulk, Ordering::Release);
        self.places.set_limits(budget.limits(Some(budget.requests_max)));
        self.origins.set_limits(budget.limits(budget.origin_concurrency_max));
        self.connections.set_limits(budget.limits(budget.connections_max));
        self.conduits.places().set_limits(budget.limits(budget.upstream_connections_max));
        self.memory.set_max(budget.memory_max);
        self.pace.set_rate(budget.bandwidth_max);
        let gauge = |max: Option<usize>| max.map_or(0, |m| i64::try_from(m).unwrap_or(i64::MAX));
        self.max.set(gauge(Some(budget.requests_max)));
        self.connections_max.set(gauge(budget.connections_max));
        self.upstream_connections_max.set(gauge(budget.upstream_connections_max));
    }

    /// Memory for a body that waits, beyond what its request reserved; given back when it is dropped.
    pub fn hold(&self, bytes: u64) -> Option<Reserved> {
        self.memory.reserve(bytes)
    }

    /// Takes a place for a request on this connection, waits for one, or sheds: never takes from another lane.
    pub async fn admit(&self, connection: &Charged) -> Result<Seat, Shed> {
        let carried = connection.carry(&self.connections).await.map_err(|Full| {
            self.shed.inc();
            self.shed_connections.inc();
            Shed::Connection
        })?;
        let seat = self.sit_down(&self.places, TO_CLIENT).await.map_err(|Full| Shed::Request)?;
        Ok(Seat { _carried: Some(carried), ..seat })
    }

    /// Whether half of its places are taken.
    pub fn is_half_full(&self) -> bool {
        self.places.are_half_taken()
    }

    /// Takes a place if one is free; who gets none has not asked.
    pub fn admit_now(&self, connection: &Charged) -> Option<Seat> {
        let permit = self.places.enter_now()?;
        let reserved = self.memory.reserve(TO_CLIENT)?;
        let carried = connection.carry_now(&self.connections)?;
        Some(Seat { permit, reserved, _carried: Some(carried) })
    }

    /// Whether this is a place of this lane: a request that is led to another route of it keeps it.
    pub fn seats(&self, seat: &Seat) -> bool {
        seat.permit.is_of(&self.places)
    }

    /// The same for one of its requests to an origin, with so many bytes that its bodies may lie in.
    pub async fn ask_origin(&self, bytes: u64) -> Result<Seat, Full> {
        self.sit_down(&self.origins, bytes).await
    }

    async fn sit_down(&self, places: &Arc<Places>, bytes: u64) -> Result<Seat, Full> {
        let entered = async {
            let permit = places.enter().await?;
            let reserved = self.memory.reserve(bytes).ok_or(Full)?;
            Ok(Seat { permit, reserved, _carried: None })
        };
        entered.await.inspect_err(|Full| self.shed.inc())
    }

    /// A connection to a server for one question, at once or after a wait; to be had before anything of the server's
    /// or its upstream's is.
    pub async fn connect(&self) -> Result<Conduit, Full> {
        self.conduits.own().await.inspect_err(|Full| self.count_unconnected())
    }

    /// One that is there and may carry others of the lane already.
    pub fn connect_shared(&self, connection: RawFd) -> Result<Conduit, Full> {
        self.conduits.shared(connection).inspect_err(|Full| self.count_unconnected())
    }

    fn count_unconnected(&self) {
        self.shed.inc();
        self.shed_upstream_connections.inc();
    }
}

/// All lanes this process has ever known, by name.
#[derive(Default)]
pub struct Lanes(Mutex<BTreeMap<String, Arc<Lane>>>);

impl Lanes {
    /// The lane of that name, made when new. Its limits are set by whoever puts a configuration
    /// into force, not here: a document that is only being checked changes nothing.
    pub fn named(&self, name: &str, metrics: &Metrics) -> Arc<Lane> {
        let mut lanes = self.0.lock();
        let lane =
            lanes.entry(name.to_owned()).or_insert_with(|| Arc::new(Lane::new(name, metrics)));
        Arc::clone(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(requests_max: usize, origin_concurrency_max: Option<usize>) -> Budget {
        let place = Place::Bulk;
        let waiting_time_max = Duration::ZERO;
        let (waiting_max, bandwidth_max, memory_max) = (0, None, None);
        Budget {
            requests_max,
            connections_max: None,
            upstream_connections_max: None,
            origin_concurrency_max,
            memory_max,
            waiting_max,
            waiting_time_max,
            bandwidth_max,
            place,
        }
    }

    #[tokio::test]
    async fn a_place_is_given_back_once_and_a_smaller_limit_holds_for_new_requests() {
        let metrics = Metrics::new();
        let lane = Lanes::default().named("bulk", &metrics);
        assert!(lane.admit(&Charged::default()).await.is_err(), "nothing is in force yet");
        lane.enter_into_force(&budget(2, None));
        let (first, second) = (
            lane.admit(&Charged::default()).await.ok(),
            lane.admit(&Charged::default()).await.ok(),
        );
        assert!(first.is_some() && second.is_some());
        assert!(lane.admit(&Charged::default()).await.is_err());
        let in_flight = metrics.lane_in_flight.with_label_values(&["bulk"]);
        assert_eq!((in_flight.get(), lane.shed.get()), (2, 2));
        lane.enter_into_force(&budget(1, None));
        drop(second);
        assert!(
            lane.admit(&Charged::default()).await.is_err(),
            "one is still in flight and the limit is now one"
        );
        drop(first);
        assert!(lane.admit(&Charged::default()).await.is_ok());
        assert_eq!(in_flight.get(), 0);
    }

    #[tokio::test]
    async fn origins_have_a_limit_of_their_own() {
        let lane = Lanes::default().named("bulk", &Metrics::new());
        lane.enter_into_force(&budget(5, Some(1)));
        let asking = lane.ask_origin(1).await.unwrap();
        assert!(lane.ask_origin(1).await.is_err() && lane.admit(&Charged::default()).await.is_ok());
        drop(asking);
        assert!(lane.ask_origin(1).await.is_ok());
    }

    #[tokio::test]
    async fn memory_that_is_out_sheds_and_comes_back() {
        let metrics = Metrics::new();
        let lane = Lanes::default().named("bulk", &metrics);
        lane.enter_into_force(&Budget { memory_max: Some(TO_CLIENT + 10), ..budget(5, None) });
        let seat = lane.admit(&Charged::default()).await.unwrap();
        assert!(
            lane.admit(&Charged::default()).await.is_err() && lane.ask_origin(11).await.is_err()
        );
        assert!(lane.ask_origin(10).await.is_ok());
        drop(seat);
        assert!(lane.admit(&Charged::default()).await.is_ok());
        let in_flight = metrics.lane_in_flight.with_label_values(&["bulk"]);
        assert_eq!((in_flight.get(), lane.shed.get()), (0, 2));
    }

    #[test]
    fn the_same_name_is_the_same_lane() {
        let (metrics, lanes) = (Metrics::new(), Lanes::default());
        assert!(Arc::ptr_eq(&lanes.named("a", &metrics), &lanes.named("a", &metrics)));
    }
}
