//! How much is going on in the process, as texts may name it: what is under way from the counts that a stop waits for, what
//! was from the metrics.

use prometheus::IntCounterVec;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use proxy_config::load::Load;

use crate::drain::UnderWay;
use crate::metrics::Metrics;

/// Counters of what was, in all listeners and routes.
#[derive(Clone)]
pub struct Totals {
    accepted: IntCounterVec,
    refused: IntCounterVec,
    finished: IntCounterVec,
}

impl Totals {
    pub fn new(metrics: &Metrics) -> Totals {
        Totals {
            accepted: metrics.connections_total.clone(),
            refused: metrics.connections_refused.clone(),
            finished: metrics.requests.clone(),
        }
    }
}

/// Over all series of a family.
fn sum(family: &IntCounterVec) -> u64 {
    let series = family.collect();
    let values = series.iter().flat_map(MetricFamily::get_metric);
    // Whole numbers, which the library tells as floats.
    let whole = |value: f64| format!("{value:.0}").parse().unwrap_or(0);
    values.map(|metric| whole(metric.get_counter().get_value())).fold(0, u64::saturating_add)
}

impl Totals {
    /// With what is under way.
    pub fn load(&self, under_way: &UnderWay) -> Load {
        let Totals { accepted, refused, finished } = self;
        let requests = u64::try_from(under_way.requests()).unwrap_or(u64::MAX);
        let accepted = sum(accepted);
        Load {
            open: u64::try_from(under_way.connections()).unwrap_or(u64::MAX),
            accepted,
            handled: accepted.saturating_sub(sum(refused)),
            requests: sum(finished).saturating_add(requests),
            under_way: requests,
        }
    }
}
