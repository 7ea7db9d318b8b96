//! What is in force: one configuration and everything made from it, replaced as a whole by a
//! reload, and the state of the process that outlives every configuration.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use proxy_config::Config;
use proxy_config::lane::{LaneName, Spill};

use crate::admin::tokens::Tokens;
use crate::buffer::Policies;
use crate::buffer::spill::Place;
use crate::cache::Caches;
use crate::compress::Encoding;
use crate::drain::Drain;
use crate::kept_folder;
use crate::lane::{Budget, Lanes};
use crate::line_writer::LineWriter;
use crate::listening::Listening;
use crate::load::Totals;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::operator_log::Moderation;
use crate::rate_limit::Limits;
use crate::route::{RouteFault, Routes};
use crate::runtimes::Handles;
use crate::slowest::Slowest;
use crate::telemetry::Spans;
use crate::tls;
use crate::tuning::history::History;
use crate::upstream::connector::Connector;
use crate::upstream::probe::Probes;
use crate::upstream::resolve::Renewals;
use crate::upstream::server::Servers;

/// One configuration made ready. A request keeps the generation it began with.
pub struct Generation {
    /// 1 at start, one more per reload that succeeded.
    pub number: u64,
    pub config: Config,
    pub routes: Routes,
    pub logs: Logs,
    pub totals: Totals,
}

impl Generation {
    /// Changes nothing yet: see [`Generation::enter_into_force`]. Blocks on name look-ups.
    pub fn new(
        (number, config, logs): (u64, Config, Logs),
        metrics: &Metrics,
        lanes: &Lanes,
        caches: &Caches,
        limits: &Limits,
        servers: &Servers,
        buffers: &Policies,
    ) -> Result<Self, RouteFault> {
        let routes = Routes::new(&config, metrics, lanes, caches, limits, servers, buffers)?;
        Ok(Self { number, config, routes, logs, totals: Totals::new(metrics) })
    }

    /// Sets what generations share: limits of lanes, caches and tables, and the metrics that
    /// describe the configuration.
    pub fn enter_into_force(
        &self,
        metrics: &Metrics,
        lanes: &Lanes,
        caches: &Caches,
        limits: &Limits,
        buffers: &Policies,
    ) {
        buffers.set(&self.config.buffer_policies, metrics);
        limits.set_limits(&self.config.rate_limits, metrics);
        caches.set_limits(&self.config.caches, metrics);
        for name in LaneName::ALL {
            let budget = Budget::of(&self.config.lanes, name);
            let lane = lanes.named(name.as_str(), metrics);
            lane.enter_into_force(&budget);
            let spill = self.config.lanes.get(name).spill.as_ref();
            let bytes_max = |spill: &Spill| spill.bytes_max.as_bytes();
            lane.spill.set_place(
                spill.map(|at| Place { path: at.path.clone(), bytes_max: bytes_max(at) }),
            );
        }
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        metrics.config_generation.with_label_values::<&str>(&[]).set(number);
    }
}

/// The process: one of each.
pub struct State {
    pub metrics: Metrics,
    pub lanes: Lanes,
    pub buffers: Policies,
    pub runtimes: Handles,
    pub caches: Caches,
    pub limits: Limits,
    /// Responses that are being compressed.
    pub encoding: Encoding,
    pub servers: Servers,
    pub probes: Probes,
    pub renewals: Renewals,
    /// Connections of what this proxy asks by itself; what pingora's proxy asks has a pool per listener there.
    pub connector: Arc<Connector>,
    pub access_log: LineWriter,
    pub error_log: LineWriter,
    pub drain: Drain,
    /// Where bodies of requests become files.
    pub kept_folders: kept_folder::Folders,
    pub moderation: Moderation,
    pub slowest: Slowest,
    /// On their way to the collector of traces.
    pub spans: Arc<Spans>,
    pub listening: Listening,
    pub tls: tls::Kept,
    pub generation: ArcSwap<Generation>,
    /// What has been in force. Whoever changes it holds this lock.
    pub history: Mutex<History>,
    /// Who may change things through the admin API.
    pub tokens: ArcSwap<Tokens>,
}

impl State {
    pub fn current(&self) -> Arc<Generation> {
        self.generation.load_full()
    }
}
