//! Connections to servers that a lane has in use (`upstream_connections_max`): one for each question over HTTP/1, a script's
//! included, until its tunnel has ended where it opens one; over HTTP/2 one for all questions of the lane that it carries.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::RawFd;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::places::{Full, Permit, Places};

/// What one lane has in use.
pub struct Conduits {
    places: Arc<Places>,
    /// Connections that carry many questions, by their descriptors, with how many of the lane.
    shared: Mutex<HashMap<RawFd, (usize, Permit)>>,
}

/// The use of one connection; dropping it ends it.
pub enum Conduit {
    Own(Permit),
    Shared(Share),
}

/// One question among those of the lane on a connection.
pub struct Share {
    of: Arc<Conduits>,
    connection: RawFd,
}

impl Conduits {
    pub fn new(places: Arc<Places>) -> Arc<Conduits> {
        Arc::new(Conduits { places, shared: Mutex::default() })
    }

    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// One that carries nothing else, at once or after a wait.
    pub async fn own(&self) -> Result<Conduit, Full> {
        self.places.enter().await.map(Conduit::Own)
    }

    /// One that carries others too, and is there already: nobody waits with it.
    pub fn shared(self: &Arc<Self>, connection: RawFd) -> Result<Conduit, Full> {
        match self.shared.lock().entry(connection) {
            Entry::Occupied(mut known) => known.get_mut().0 += 1,
            Entry::Vacant(new) => {
                new.insert((1, self.places.enter_now().ok_or(Full)?));
            }
        }
        Ok(Conduit::Shared(Share { of: Arc::clone(self), connection }))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shared = self.of.shared.lock();
        let Entry::Occupied(mut known) = shared.entry(self.connection) else { return };
        known.get_mut().0 -= 1;
        let ended = (known.get().0 == 0).then(|| known.remove());
        // Given back outside of the lock: somebody may wait for it.
        drop(shared);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Metrics;
    use crate::places::Limits;

    #[tokio::test]
    async fn a_connection_that_is_shared_counts_once() {
        let metrics = Metrics::new();
        let gauge = metrics.lane_upstream_connections.with_label_values(&["bulk"]);
        let places = Places::new("bulk", "upstream", gauge.clone(), &metrics);
        let limits = Limits { inside_max: 2, waiting_max: 0, waiting_time_max: Duration::ZERO };
        places.set_limits(limits);
        let conduits = Conduits::new(places);
        let shares = [7, 7, 7].map(|connection| conduits.shared(connection).ok().unwrap());
        assert_eq!(gauge.get(), 1);
        let own = conduits.own().await.ok().unwrap();
        assert!(conduits.own().await.is_err() && conduits.shared(8).is_err());
        assert!(conduits.shared(7).is_ok(), "it is in use already");
        drop(own);
        assert!(conduits.shared(8).is_ok());
        let [first, rest @ ..] = shares;
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop(rest);
        assert_eq!(gauge.get(), 0);
    }
}
