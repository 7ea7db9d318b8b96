//! What stands while generations come and go. Each finds by name what it needs of it, and says how large it is when it
//! enters into force.

use proxy_config::Config;
use proxy_config::lane::{LaneName, Spill};

use crate::buffer::Policies;
use crate::buffer::spill::Place;
use crate::cache::caches::Caches;
use crate::lane::{Budget, Lanes};
use crate::metrics::Metrics;
use crate::rate_limit::Limits;
use crate::upstream::server::Servers;

#[derive(Default)]
pub struct Standing {
    pub lanes: Lanes,
    pub caches: Caches,
    pub limits: Limits,
    pub servers: Servers,
    pub buffers: Policies,
}

impl Standing {
    /// Sets the limits of lanes, caches, tables and buffers, and the metrics that tell them. Must be called on a runtime.
    pub fn resize(&self, config: &Config, metrics: &Metrics) {
        self.buffers.set(&config.buffer_policies, metrics);
        self.limits.set_limits(&config.rate_limits, metrics);
        self.caches.set_limits(config, metrics);
        for name in LaneName::ALL {
            let lane = self.lanes.named(name.as_str(), metrics);
            lane.enter_into_force(&Budget::of(&config.lanes, name));
            let spill = config.lanes.get(name).spill.as_ref();
            let bytes_max = |spill: &Spill| spill.bytes_max.as_bytes();
            lane.spill.set_place(
                spill.map(|at| Place { path: at.path.clone(), bytes_max: bytes_max(at) }),
            );
        }
    }
}
