//! A fill whose origin is the disk: one read for all who ask, after which each of them looks into
//! memory again.

use std::sync::Arc;

use crate::cache::disk::index::Number;
use crate::cache::disk::{Disk, Loaded, stale_since};
use crate::cache::now_ms;
use crate::cache::object::{Blocks, Body, Stored};
use crate::cache::paged;
use crate::cache::policy::Policy;
use crate::fill::contact::Contact;
use crate::fill::{Answer, Fill};

/// How far the clock may have gone back since an answer was written.
const CLOCK_BACK_MS: u64 = 1000;

/// All that loading a record needs.
pub struct Load {
    pub fill: Arc<Fill>,
    pub disk: Arc<Disk>,
    pub number: Number,
}

/// Whatever way a load ends, nobody waits for it in vain.
struct Ending(Arc<Fill>, Arc<Policy>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.1.cache.complete_load(&self.0, None);
        if !self.0.is_known() {
            self.0.make_known(Answer::Loaded, &Contact::default());
        }
    }
}

impl Load {
    pub fn start(self, policy: Arc<Policy>) {
        tokio::spawn(async move {
            let ending = Ending(Arc::clone(&self.fill), policy);
            let uri = &self.fill.key.uri;
            let Some(loaded) = self.disk.load(uri, self.number).await else { return };
            let stored = self.stored(loaded, &ending.1).await;
            if stored.is_none() {
                self.disk.count_read("no_room");
            }
            ending.1.cache.complete_load(&self.fill, stored);
        });
    }

    async fn stored(&self, loaded: Loaded, policy: &Policy) -> Option<Arc<Stored>> {
        let Loaded { start, head, body } = loaded;
        let times = head.times;
        let (key, head) = head.into_head()?;
        // Another answer would be a fault of the index; a time to come makes every age wrong.
        if key != self.fill.key || times.arrived_ms() > now_ms() + CLOCK_BACK_MS {
            self.disk.remove(&key.uri, self.number);
            return None;
        }
        let mut blocks = Blocks::from_iter([body]);
        let cost = blocks.cost() + paged::beside(blocks.end());
        let (head_lease, mut lease) = policy.cache.reserve(head.cost(&key), cost).ok()?;
        self.disk.count_read("loaded");
        let mut pages = None;
        if let Some(mut writer) = policy.cache.pages_for(Some(blocks.end())) {
            let from = blocks.from(0);
            // What is copied may be large.
            let copying = tokio::task::spawn_blocking(move || writer.write(&from).map(|_| writer));
            if let Ok(Ok(writer)) = copying.await {
                blocks = Blocks::from_iter([writer.all()]);
                pages = Some(Arc::clone(writer.pages()));
            }
        }
        if pages.is_none() {
            lease.shrink_to(blocks.cost());
        }
        let body = Arc::new(Body { blocks, pages, lease });
        let stored = Stored::new(key, Arc::new(head), times, body, head_lease);
        if let Some(since_ms) = stale_since(&start) {
            stored.make_stale(since_ms);
        }
        Some(Arc::new(stored))
    }
}
