//! One configuration and everything made from it, replaced as a whole by a reload.

use proxy_config::Config;

use crate::admin::tokens::Tokens;
use crate::load::Totals;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::route::{RouteFault, Routes};
use crate::standing::Standing;

/// One configuration made ready. A request keeps the generation it began with.
pub struct Generation {
    /// 1 at start, one more per reload that succeeded.
    pub number: u64,
    pub config: Config,
    pub routes: Routes,
    pub logs: Logs,
    /// Who may change things through the admin API.
    pub tokens: Tokens,
    pub totals: Totals,
}

impl Generation {
    /// Changes nothing yet. Blocks on name look-ups.
    pub fn new(
        number: u64,
        (config, logs, tokens): (Config, Logs, Tokens),
        standing: &Standing,
        metrics: &Metrics,
    ) -> Result<Self, RouteFault> {
        let routes = Routes::new(&config, standing, metrics)?;
        Ok(Self { number, config, routes, logs, tokens, totals: Totals::new(metrics) })
    }

    /// Sets what generations share, and the metrics that describe the configuration. Must be called on a runtime.
    pub fn enter_into_force(&self, standing: &Standing, metrics: &Metrics) {
        standing.resize(&self.config, metrics);
        let number = i64::try_from(self.number).unwrap_or(i64::MAX);
        metrics.config_generation.with_label_values::<&str>(&[]).set(number);
    }
}
