//! Several upstreams that share a route's requests by percentage.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proxy_config::rate_limit::RequestKey;

use crate::cache::policy::Policy;
use crate::rate_limit::key::Asking;
use crate::upstream::Upstream;

/// One part: what is below `up_to`, in hundredths of a percent, and not in an earlier part.
#[derive(Clone)]
struct Part {
    up_to: u64,
    destination: Destination,
}

/// Where a request goes. Each part stores its own answers: a canary's must not reach everyone.
#[derive(Clone, Default)]
pub struct Destination {
    /// None on a route that answers by itself.
    pub upstream: Option<Arc<Upstream>>,
    pub cache_policy: Option<Arc<Policy>>,
}

/// The parts of a route; one on a route with a single upstream.
pub struct Split {
    parts: Vec<Part>,
    sticky_by: Vec<RequestKey>,
    drawn: AtomicU64,
    seed: RandomState,
}

impl Split {
    /// `parts` with their shares in hundredths of a percent, which sum to 10,000.
    pub fn new(parts: Vec<(u16, Destination)>, sticky_by: Vec<RequestKey>) -> Split {
        let mut up_to = 0;
        let parts = parts.into_iter().map(|(share, destination)| {
            up_to += u64::from(share);
            Part { up_to, destination }
        });
        Split {
            parts: parts.collect(),
            sticky_by,
            drawn: AtomicU64::new(0),
            seed: RandomState::new(),
        }
    }

    /// Whether where a request goes is only known when its client has proved something.
    pub fn is_by_claim(&self) -> bool {
        self.sticky_by.iter().any(|key| matches!(key, RequestKey::Claim(_)))
    }

    pub fn cache_policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.parts.iter().filter_map(|part| part.destination.cache_policy.as_ref())
    }

    /// The same destination for the same key, in every process; drawn anew without a key.
    pub fn choose(&self, asking: &Asking<'_>) -> Destination {
        let number = match (self.parts.as_slice(), self.sticky_by.as_slice()) {
            ([_], _) => 0,
            (_, []) => self.seed.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed)),
            (_, parts) => {
                let key = asking.key(parts, None);
                key[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        };
        let point = number % 10_000;
        let part = self.parts.iter().find(|part| point < part.up_to);
        part.map(|part| part.destination.clone()).unwrap_or_default()
    }
}
