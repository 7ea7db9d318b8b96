//! What two samples of a proxy's metrics say of the time between them. Pure.

use serde::Serialize;

use crate::slowest::Slow;
use crate::top::samples::Sample;

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub version: String,
    pub generation: f64,
    pub draining: bool,
    pub connections: f64,
    /// Seconds between the samples.
    pub seconds: f64,
    pub routes: Vec<RouteFigures>,
    pub lanes: Vec<LaneFigures>,
    pub caches: Vec<CacheFigures>,
    pub servers: Vec<ServerFigures>,
    /// Nothing where nobody may be told.
    pub slowest: Option<Vec<Slow>>,
}

/// Per second, milliseconds, bytes per second.
#[derive(Debug, Serialize)]
pub struct RouteFigures {
    pub route: String,
    pub lane: String,
    pub requests: f64,
    /// Answered with 5xx, or broken off.
    pub failures: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub bytes_in: f64,
    pub bytes_out: f64,
    pub tunnels: f64,
}

#[derive(Debug, Serialize)]
pub struct LaneFigures {
    pub lane: String,
    pub in_flight: f64,
    pub max: f64,
    pub waiting: f64,
    pub shed: f64,
    pub at_origins: f64,
    /// Client connections that count in the lane, and connections to servers in use; of each what is allowed, 0 for
    /// no limit.
    pub connections: f64,
    pub connections_max: f64,
    pub upstream_connections: f64,
    pub upstream_connections_max: f64,
    /// Bytes that bodies under way may lie in, and what of it is allowed; 0 for no limit.
    pub memory: f64,
    pub memory_max: f64,
    pub paced_bytes: f64,
}

#[derive(Debug, Serialize)]
pub struct CacheFigures {
    pub cache: String,
    pub requests: f64,
    /// Of the requests, those answered from what was stored, 0 to 1.
    pub hit_ratio: Option<f64>,
    pub fills: f64,
    pub fill_bytes: f64,
    pub bytes: f64,
    pub bytes_max: f64,
    pub disk_bytes: f64,
}

#[derive(Debug, Serialize)]
pub struct ServerFigures {
    pub upstream: String,
    pub server: String,
    pub up: bool,
    pub in_flight: f64,
    /// Of the whole upstream.
    pub failures: f64,
    pub first_byte_p99_ms: Option<f64>,
}

/// What `after` says more than `before`.
struct Between<'a> {
    before: &'a Sample,
    after: &'a Sample,
    seconds: f64,
}

impl Between<'_> {
    fn grown(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        // A process that was restarted counts from zero.
        (self.after.sum(family, labels) - self.before.sum(family, labels)).max(0.0)
    }

    fn rate(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        self.grown(family, labels) / self.seconds
    }

    /// The bound of the bucket that this part of the observations is below, in milliseconds.
    fn quantile(&self, family: &str, labels: &[(&str, &str)], part: f64) -> Option<f64> {
        let buckets = format!("{family}_bucket");
        let total = self.grown(&format!("{family}_count"), labels);
        if total < 1.0 {
            return None;
        }
        let mut bounds: Vec<f64> = self
            .after
            .values(&buckets, "le")
            .iter()
            .filter_map(|bound| bound.parse().ok())
            .collect();
        bounds.sort_by(f64::total_cmp);
        let below = |bound: &&f64| {
            let bound = **bound;
            let of = |sample: &Sample| -> f64 {
                let fits = |series: &&crate::top::samples::Series| {
                    labels.iter().all(|(name, is)| series.label(name) == *is)
                        && series.label("le").parse() == Ok(bound)
                };
                sample.all(&buckets).iter().filter(fits).map(|series| series.value).sum()
            };
            of(self.after) - of(self.before) >= part * total
        };
        bounds.iter().find(below).map(|bound| bound * 1e3)
    }
}

/// What the samples say of the time between them.
pub fn between(before: &Sample, after: &Sample, slowest: Option<Vec<Slow>>) -> Figures {
    let seconds = after.at.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
    let between = Between { before, after, seconds };
    let version = after.values("build_info", "version");
    Figures {
        version: version.into_iter().next().unwrap_or_default(),
        generation: after.sum("config_generation", &[]),
        draining: after.sum("draining", &[]) > 0.0,
        connections: after.sum("downstream_connections", &[]),
        seconds,
        routes: routes(&between),
        lanes: lanes(&between),
        caches: caches(&between),
        servers: servers(&between),
        slowest,
    }
}

fn routes(between: &Between<'_>) -> Vec<RouteFigures> {
    let mut names: Vec<(String, String)> = between
        .after
        .all("request_duration_seconds_count")
        .iter()
        .map(|series| (series.label("route").to_owned(), series.label("lane").to_owned()))
        .collect();
    names.sort();
    let mut routes: Vec<RouteFigures> = names
        .into_iter()
        .map(|(route, lane)| {
            let own = [("route", route.as_str()), ("lane", lane.as_str())];
            let failed: f64 = between
                .after
                .values("requests_total", "code")
                .iter()
                .filter(|code| code.starts_with('5'))
                .map(|code| {
                    between.rate("requests_total", &[own[0], own[1], ("code", code.as_str())])
                })
                .fold(0.0, |sum, rate| sum + rate);
            let quantile = |part| between.quantile("request_duration_seconds", &own, part);
            let tunnel = |direction| {
                between.rate("tunnel_bytes_total", &[own[0], own[1], ("direction", direction)])
            };
            RouteFigures {
                requests: between.rate("requests_total", &own),
                failures: failed + between.rate("requests_aborted_total", &own),
                p50_ms: quantile(0.5),
                p99_ms: quantile(0.99),
                bytes_in: between.rate("request_body_bytes_total", &own) + tunnel("in"),
                bytes_out: between.rate("response_body_bytes_total", &own) + tunnel("out"),
                tunnels: between.after.sum("tunnels", &own),
                route,
                lane,
            }
        })
        .collect();
    routes.sort_by(|a, b| b.requests.total_cmp(&a.requests));
    routes
}

fn lanes(between: &Between<'_>) -> Vec<LaneFigures> {
    let after = between.after;
    let names = after.values("lane_requests_max", "lane");
    let of = |lane: String| {
        let own = [("lane", lane.as_str())];
        LaneFigures {
            in_flight: after.sum("lane_requests_in_flight", &own),
            max: after.sum("lane_requests_max", &own),
            waiting: after.sum("lane_waiting", &own),
            shed: between.rate("lane_shed_total", &own),
            at_origins: after.sum("lane_origin_requests", &own),
            connections: after.sum("lane_connections", &own),
            connections_max: after.sum("lane_connections_max", &own),
            upstream_connections: after.sum("lane_upstream_connections", &own),
            upstream_connections_max: after.sum("lane_upstream_connections_max", &own),
            memory: after.sum("lane_memory_bytes", &own),
            memory_max: after.sum("lane_memory_max_bytes", &own),
            paced_bytes: between.rate("lane_paced_bytes_total", &own),
            lane,
        }
    };
    names.into_iter().map(of).collect()
}

/// Results of `cache_requests_total` that were answered from what was stored.
const HITS: [&str; 4] = ["hit", "stale", "stale_on_error", "revalidated"];

fn caches(between: &Between<'_>) -> Vec<CacheFigures> {
    let after = between.after;
    let of = |cache: String| {
        let own = [("cache", cache.as_str())];
        let asked = between.grown("cache_requests_total", &own);
        let hits =
            HITS.map(|hit| between.grown("cache_requests_total", &[own[0], ("result", hit)]));
        CacheFigures {
            requests: asked / between.seconds,
            hit_ratio: (asked > 0.0).then(|| hits.iter().sum::<f64>() / asked),
            fills: after.sum("cache_fills_in_progress", &own),
            fill_bytes: between.rate("cache_fill_bytes_total", &own),
            bytes: after.sum("cache_bytes", &own),
            bytes_max: after.sum("cache_bytes_max", &own),
            disk_bytes: after.sum("cache_disk_bytes", &own),
            cache,
        }
    };
    after.values("cache_bytes_max", "cache").into_iter().map(of).collect()
}

fn servers(between: &Between<'_>) -> Vec<ServerFigures> {
    let after = between.after;
    let of = |series: &crate::top::samples::Series| {
        let (upstream, server) = (series.label("upstream"), series.label("server"));
        let own = [("upstream", upstream)];
        ServerFigures {
            upstream: upstream.to_owned(),
            server: server.to_owned(),
            up: series.value > 0.0,
            in_flight: after.sum("upstream_server_in_flight", &[own[0], ("server", server)]),
            failures: between.rate("upstream_failures_total", &own),
            first_byte_p99_ms: between.quantile("upstream_first_byte_seconds", &own, 0.99),
        }
    };
    after.all("upstream_server_up").iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_happened_between_two_samples() {
        let metrics = Metrics::new();
        let begun = Instant::now();
        let sample = |after_s| {
            let text = String::from_utf8(metrics.render()).unwrap();
            Sample::read(&text, begun + Duration::from_secs(after_s))
        };
        let requests = |code, count| {
            metrics.requests.with_label_values(&["public", "all", "bulk", code]).inc_by(count);
        };
        let seconds = metrics.request_seconds.with_label_values(&["all", "bulk"]);
        requests("200", 1000);
        seconds.observe(9.0);
        metrics.lane_requests_max.with_label_values(&["bulk"]).set(8);
        let before = sample(0);
        requests("200", 18);
        requests("502", 2);
        (0..98).for_each(|_| seconds.observe(0.002));
        (0..2).for_each(|_| seconds.observe(0.2));
        metrics.lane_in_flight.with_label_values(&["bulk"]).set(3);
        let figures = between(&before, &sample(10), None);
        let route = &figures.routes[0];
        assert_eq!((route.route.as_str(), route.requests, route.failures), ("all", 2.0, 0.2));
        assert_eq!((route.p50_ms, route.p99_ms), (Some(2.5), Some(250.0)));
        assert_eq!((figures.lanes[0].in_flight, figures.lanes[0].max), (3.0, 8.0));
        let quiet = between(&sample(0), &sample(1), None);
        assert_eq!((quiet.routes[0].requests, quiet.routes[0].p99_ms), (0.0, None));
    }
}
