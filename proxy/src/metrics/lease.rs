//! Series that go with the last who tells of them: a server that no document names any more is neither up nor down.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many hold the series of what goes by these names.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<BTreeMap<Key, usize>>>);

/// A kind of thing, its upstream and its name.
type Key = [String; 3];

/// Holds series; the last that is dropped takes them away.
pub struct Lease {
    all: Leases,
    key: Key,
    end: Box<dyn Fn() + Send + Sync>,
}

impl Leases {
    /// Makes series, or finds those that are there; `end` takes them away.
    pub fn hold<T>(
        &self,
        key: [&str; 3],
        make: impl FnOnce() -> T,
        end: impl Fn() + Send + Sync + 'static,
    ) -> (T, Lease) {
        let key = key.map(str::to_owned);
        let mut all = self.0.lock();
        *all.entry(key.clone()).or_default() += 1;
        // Before anybody else may take away what was there.
        let made = make();
        drop(all);
        (made, Lease { all: self.clone(), key, end: Box::new(end) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        let Some(count) = all.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            all.remove(&self.key);
            (self.end)();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn series_go_with_the_last_who_holds_them() {
        let metrics = Metrics::new();
        let family = metrics.upstream_server_up.clone();
        let hold = |name: &str| {
            let (vec, labels) = (family.clone(), ["u".to_owned(), name.to_owned()]);
            let make = || family.with_label_values(&["u", name]);
            metrics.leases.hold(["server", "u", name], make, move || {
                let _ = vec.remove_label_values(&labels);
            })
        };
        let count = || prometheus::core::Collector::collect(&family)[0].get_metric().len();
        let ((gauge, first), (again, second), (_, other)) = (hold("a"), hold("a"), hold("b"));
        gauge.set(7);
        assert_eq!((again.get(), count()), (7, 2));
        drop(first);
        assert_eq!(count(), 2, "another holds it");
        drop(second);
        assert_eq!(count(), 1);
        assert_eq!(hold("a").0.get(), 0, "it begins anew");
        drop(other);
        assert_eq!(count(), 0);
    }
}
