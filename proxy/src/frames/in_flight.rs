//! How many requests of a connection are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The requests of one connection.
#[derive(Debug, Default)]
pub struct InFlight(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    requests: AtomicUsize,
    none: Notify,
}

/// One of them; dropping it counts it off.
#[derive(Debug)]
pub struct UnderWay(Arc<Count>);

impl InFlight {
    pub fn enter(&self) -> UnderWay {
        self.0.requests.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(&self.0))
    }

    /// Waits until none is.
    pub async fn until_none(&self) {
        loop {
            // A permit that is left from before costs a second look.
            let told = self.0.none.notified();
            if self.0.requests.load(Ordering::Acquire) == 0 {
                return;
            }
            told.await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}
