//! Bodies in pages of the kernel. A large body whose length is known is written into a memory file as it comes, so that a
//! hit is sent from there without being copied through this process; its bytes are lent to all else as ever.

use rustix::process::{Resource, getrlimit};

use crate::cache::Cache;
use crate::raw::PagesWriter;

/// Smaller bodies cost less to copy than a descriptor and a mapping to keep.
const BODY_BYTES_MIN: u64 = 128 * 1024;
/// Bodies so kept at once; each is a descriptor and a mapping, of which a process may have 65,530.
const BODIES_MAX: u64 = 16 * 1024;
/// Descriptors of the process for each of them: the others are connections.
const DESCRIPTORS_EACH: u64 = 4;
/// What pages cost beyond their bytes: the file, the mapping, the end of the last page.
pub const OVERHEAD: u64 = 8 * 1024;

/// What a body of this length may cost beyond its bytes for being kept in pages.
pub fn beside(length: u64) -> u64 {
    if length < BODY_BYTES_MIN { 0 } else { OVERHEAD }
}

impl Cache {
    /// Pages for a body of this length; none where it is small, or there are enough of them: it is kept in blocks then.
    pub fn pages_for(&self, length: Option<u64>) -> Option<PagesWriter> {
        let length = length.filter(|length| *length >= BODY_BYTES_MIN)?;
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let bodies_max = BODIES_MAX.min(descriptors / DESCRIPTORS_EACH);
        let count = &self.series.paged_bodies;
        if u64::try_from(count.get()).unwrap_or(0) >= bodies_max {
            return None;
        }
        PagesWriter::new(usize::try_from(length).ok()?, count.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use crate::cache::caches::Caches;
    use crate::metrics::Metrics;

    use super::*;

    #[test]
    fn large_bodies_of_known_length_have_pages_as_long_as_they_live() {
        let metrics = Metrics::new();
        let cache = Caches::default().named("c", &metrics);
        let count = || metrics.cache_paged_bodies.with_label_values(&["c"]).get();
        assert!(cache.pages_for(None).is_none() && cache.pages_for(Some(1000)).is_none());
        let mut writer = cache.pages_for(Some(BODY_BYTES_MIN)).unwrap();
        let lent = writer.write(b"lent").unwrap();
        drop(writer);
        assert_eq!((count(), &lent[..]), (1, &b"lent"[..]));
        drop(lent);
        assert_eq!(count(), 0);
    }
}
