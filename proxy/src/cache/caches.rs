//! The caches of a process, and a document's limits of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use proxy_config::Config;

use crate::cache::{Cache, policy};
use crate::metrics::Metrics;

/// All caches this process has ever known, by name.
#[derive(Default)]
pub struct Caches(Mutex<BTreeMap<String, Arc<Cache>>>);

impl Caches {
    /// The cache of that name, made when new, without memory until a configuration gives it some.
    pub fn named(&self, name: &str, metrics: &Metrics) -> Arc<Cache> {
        let mut caches = self.0.lock();
        let cache =
            caches.entry(name.to_owned()).or_insert_with(|| Arc::new(Cache::new(name, metrics)));
        Arc::clone(cache)
    }

    pub fn all(&self) -> Vec<Arc<Cache>> {
        self.0.lock().values().cloned().collect()
    }

    /// Takes a document's limits into force; a cache it no longer has is emptied.
    pub fn set_limits(&self, config: &Config, metrics: &Metrics) {
        let (config, protected) = (&config.caches, &config.protected_paths);
        for name in config.keys() {
            self.named(name, metrics);
        }
        for cache in self.all() {
            let limits = config.get(&cache.name).map(policy::limits).unwrap_or_default();
            cache.set_limits(limits);
            let disk = config.get(&cache.name).and_then(|cache| cache.disk.as_ref());
            if let Err(error) = cache.set_disk((disk, protected), metrics) {
                tracing::error!(cache = cache.name, %error, "no thread for the cache on disk");
            }
            let redis = config.get(&cache.name).and_then(|cache| cache.purge_redis.as_deref());
            if let Err(error) = cache.set_fan_out(redis, metrics) {
                tracing::error!(cache = cache.name, %error, "purges are not shared");
            }
        }
    }
}
