//! Where the books end, for those who wait for more. The database is asked only while somebody waits: the writer, whose
//! time is dearer, does nothing for it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::store::Reader;

/// How often the database is asked; what is booked is told so much later at most, plus the time to read it.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The last transfer's number. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tail(watch::Sender<i64>);

impl Default for Tail {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Tail {
    /// Somebody who waits, until it is dropped.
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.0.subscribe()
    }

    /// As last seen; 0 before anybody waited.
    pub fn seen(&self) -> i64 {
        *self.0.borrow()
    }

    /// Keeps it up to date until `stop`.
    pub fn follow(&self, reader: Reader, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let tail = self.0.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = tokio::time::sleep(ASK_EVERY) => {}
                }
                if tail.receiver_count() == 0 {
                    continue;
                }
                // A database that is away has nothing new to tell.
                if let Ok(last) = reader.last_transfer().await {
                    tail.send_if_modified(|known| std::mem::replace(known, last) != last);
                }
            }
        })
    }
}
