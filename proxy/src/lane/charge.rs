//! Which lanes a client's connection counts in (`connections_max`): each that it carries a request of, and, while it
//! carries none, the lane of the last one ([decision 0097](../../../docs/decisions/0097-connections-a-lane-holds.md)).

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::places::{Full, Permit, Places};

/// What one connection counts as. Clones are the same connection.
#[derive(Clone, Default)]
pub struct Charged(Arc<Mutex<Vec<Charge>>>);

/// Its count in one lane.
struct Charge {
    permit: Permit,
    /// Requests of the lane that are under way on it; 0 for the lane of the last.
    carried: usize,
}

/// One request on its connection; dropping it says that the connection carries it no more.
pub struct Carried {
    on: Charged,
    places: Arc<Places>,
}

impl Charged {
    /// Counts a request of the lane whose connections these are; waits, or is refused, as the lane says. The lane of the
    /// last one is left before.
    pub async fn carry(&self, places: &Arc<Places>) -> Result<Carried, Full> {
        if let Some(carried) = self.carry_one_more(places) {
            return Ok(carried);
        }
        self.leave_idle();
        let permit = places.enter().await?;
        Ok(self.carry_first(places, permit))
    }

    /// The same at once; nothing has changed where there is no room.
    pub fn carry_now(&self, places: &Arc<Places>) -> Option<Carried> {
        if let Some(carried) = self.carry_one_more(places) {
            return Some(carried);
        }
        let permit = places.enter_now()?;
        self.leave_idle();
        Some(self.carry_first(places, permit))
    }

    /// Where it counts in the lane already.
    fn carry_one_more(&self, places: &Arc<Places>) -> Option<Carried> {
        let mut all = self.0.lock();
        let charge = all.iter_mut().find(|charge| charge.permit.is_of(places))?;
        charge.carried += 1;
        drop(all);
        Some(Carried { on: self.clone(), places: Arc::clone(places) })
    }

    fn carry_first(&self, places: &Arc<Places>, permit: Permit) -> Carried {
        // Another of its requests may have come in between; what is counted twice is given back.
        if let Some(carried) = self.carry_one_more(places) {
            return carried;
        }
        self.0.lock().push(Charge { permit, carried: 1 });
        Carried { on: self.clone(), places: Arc::clone(places) }
    }

    fn leave_idle(&self) {
        // Given back outside of the lock: somebody may wait for it.
        let _left: Vec<Charge> =
            self.0.lock().extract_if(.., |charge| charge.carried == 0).collect();
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let mut all = self.on.0.lock();
        let Some(at) = all.iter().position(|charge| charge.permit.is_of(&self.places)) else {
            return;
        };
        all[at].carried = all[at].carried.saturating_sub(1);
        let is_last = all[at].carried > 0 || all.iter().all(|charge| charge.carried == 0);
        let left = (!is_last).then(|| all.swap_remove(at));
        drop(all);
        drop(left);
    }
}

impl fmt::Debug for Charged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Charged")
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;
    use crate::places::Limits;

    struct Lane {
        connections: Arc<Places>,
        gauge: prometheus::IntGauge,
    }

    fn lane(inside_max: usize, waiting_max: usize) -> Lane {
        let metrics = Metrics::new();
        let gauge = metrics.lane_connections.with_label_values(&["bulk"]);
        let connections = Places::new("bulk", "connection", gauge.clone(), &metrics);
        let waiting_time_max = Duration::from_secs(60);
        connections.set_limits(Limits { inside_max, waiting_max, waiting_time_max });
        Lane { connections, gauge }
    }

    #[tokio::test]
    async fn a_connection_counts_once_and_goes_on_counting_where_it_was_last() {
        let (bulk, other) = (lane(1, 0), lane(9, 0));
        let (one, two) = (Charged::default(), Charged::default());
        let first = one.carry(&bulk.connections).await.unwrap();
        let second = one.carry(&bulk.connections).await.unwrap();
        assert_eq!(bulk.gauge.get(), 1);
        assert!(two.carry(&bulk.connections).await.is_err());
        drop((first, second));
        assert_eq!(bulk.gauge.get(), 1, "it waits for its next request");
        assert!(two.carry_now(&bulk.connections).is_none());
        let elsewhere = one.carry(&other.connections).await.unwrap();
        assert_eq!((bulk.gauge.get(), other.gauge.get()), (0, 1));
        assert!(two.carry_now(&bulk.connections).is_some());
        drop((elsewhere, one));
        assert_eq!(other.gauge.get(), 0, "it was closed");
    }

    #[tokio::test]
    async fn requests_of_several_lanes_count_in_each_while_they_are_under_way() {
        let (bulk, other) = (lane(9, 0), lane(9, 0));
        let one = Charged::default();
        let of_bulk = one.carry(&bulk.connections).await.unwrap();
        let of_other = one.carry_now(&other.connections).unwrap();
        assert_eq!((bulk.gauge.get(), other.gauge.get()), (1, 1));
        drop(of_bulk);
        assert_eq!((bulk.gauge.get(), other.gauge.get()), (0, 1));
        drop(of_other);
        assert_eq!((bulk.gauge.get(), other.gauge.get()), (0, 1), "the last one");
    }

    #[tokio::test]
    async fn who_waits_for_one_lane_holds_no_other() {
        let (bulk, other) = (lane(1, 1), lane(1, 1));
        let (one, two) = (Charged::default(), Charged::default());
        drop(one.carry(&bulk.connections).await.unwrap());
        drop(two.carry(&other.connections).await.unwrap());
        // Each wants to be where the other one is.
        let crossed =
            async { tokio::join!(one.carry(&other.connections), two.carry(&bulk.connections)) };
        let (first, second) = tokio::time::timeout(Duration::from_secs(10), crossed).await.unwrap();
        assert!(first.is_ok() && second.is_ok());
    }
}
