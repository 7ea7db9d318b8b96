//! Taking answers out before their time: those that proved wrong, those a request made out of date, and
//! those a purge covers; in both tiers, and in fills under way.

use std::sync::Arc;

use crate::cache::disk::Disk;
use crate::cache::object::Stored;
use crate::cache::purge::{Busy, Scope, SweepId};
use crate::cache::{Cache, now_ms};

/// A purge in force in both tiers; what it covers is still to be taken out.
pub struct Begun {
    id: SweepId,
    scope: &'static str,
    soft_ms: Option<u64>,
    disk: Option<(Arc<Disk>, SweepId)>,
}

impl Cache {
    pub fn forget(&self, stored: &Arc<Stored>) {
        self.with(|inner| {
            inner.store.forget(stored);
            if let Some(disk) = &inner.disk {
                disk.forget(stored);
            }
        });
    }

    /// Forgets all answers to a URI, those under way included (RFC 9111 section 4.4).
    pub fn invalidate(&self, uri: &Arc<str>) {
        let count = self.with(|inner| {
            for fill in inner.fills.values().flatten().filter(|fill| fill.key.uri == *uri) {
                fill.doom();
            }
            if let Some(disk) = &inner.disk {
                disk.forget_uri(uri);
            }
            inner.store.forget_uri(uri)
        });
        let series = self.series.invalidations.with_label_values(&[self.name.as_str()]);
        series.inc_by(count as u64);
    }

    /// Forgets all answers with a tag, those under way included. Its sweep is a task of its own.
    pub fn invalidate_tag(self: &Arc<Self>, tag: &Arc<str>) {
        let cache = Arc::clone(self);
        // Too many at once: then it is done at the pace of this task.
        let Ok(begun) = self.begin_purge(&Scope::Tag(Arc::clone(tag)), false) else {
            self.with(|inner| {
                inner.store.forget_tag(tag);
                if let Some(disk) = &inner.disk {
                    disk.forget_covered(&Scope::Tag(Arc::clone(tag)));
                }
            });
            return;
        };
        tokio::spawn(async move {
            let count = cache.sweep(begun).await;
            let series = cache.series.invalidations.with_label_values(&[cache.name.as_str()]);
            series.inc_by(count as u64);
        });
    }

    /// Takes out what the scope covers, or makes it stale; says how many answers that were. Nothing of
    /// it is used from the first poll on, however long the rest takes.
    pub async fn purge(&self, scope: Scope, soft: bool) -> Result<usize, Busy> {
        Ok(self.finish_purge(self.begin_purge(&scope, soft)?).await)
    }

    /// Takes out, or makes stale, what a purge in force covers; says how many answers that were.
    pub async fn finish_purge(&self, begun: Begun) -> usize {
        let kind = if begun.soft_ms.is_some() { "soft" } else { "hard" };
        let series = self.series.purges.with_label_values(&[self.name.as_str(), begun.scope, kind]);
        let count = self.sweep(begun).await;
        series.inc();
        let objects = self.series.purged_objects.with_label_values(&[self.name.as_str()]);
        objects.inc_by(count as u64);
        count
    }

    /// Tells other proxies of purges, one after another; `false` once they could not be told of one: who did not take it
    /// is not waited for again and again.
    pub async fn tell_others(&self, scopes: &[Scope], soft: bool) -> bool {
        let fan_out = self.fan_out.lock().clone();
        let Some(fan_out) = fan_out else { return true };
        for (at, scope) in scopes.iter().enumerate() {
            if let Err(error) = fan_out.tell(scope, soft).await {
                let unsent = scopes.len() - at;
                tracing::warn!(cache = self.name, %error, unsent, "other proxies could not be told of purges");
                fan_out.count("unsent", unsent);
                return false;
            }
            fan_out.count("sent", 1);
        }
        true
    }

    /// Puts a purge in force. Fills under way were asked for before it, so what they bring is not kept.
    pub fn begin_purge(&self, scope: &Scope, soft: bool) -> Result<Begun, Busy> {
        let mut inner = self.inner.lock();
        let soft_ms = soft.then(now_ms);
        let id = inner.store.begin_purge(scope.clone(), soft_ms)?;
        let disk =
            inner.disk.as_ref().map(|disk| (Arc::clone(disk), disk.begin_purge(scope, soft_ms)));
        for fill in inner.fills.values().flatten().filter(|fill| fill.may_be_in(scope)) {
            fill.doom();
        }
        Ok(Begun { id, scope: scope.name(), soft_ms, disk })
    }

    /// Says how many answers there were, in the tier that had more of them: most are in both.
    async fn sweep(&self, begun: Begun) -> usize {
        let mut count = 0;
        loop {
            let swept = self.with(|inner| inner.store.sweep(begun.id));
            count += swept.count;
            if swept.done {
                break;
            }
            tokio::task::yield_now().await;
        }
        match begun.disk {
            Some((disk, id)) => count.max(disk.sweep(id, begun.soft_ms).await),
            None => count,
        }
    }
}
