//! The requests of a trace, asked of a cache at the times of the trace.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue};
use pingora::http::ResponseHeader;
use proxy_config::Config;
use serde::Serialize;

use crate::cache::caches::Caches;
use crate::cache::directives::Directives;
use crate::cache::freshness::assess;
use crate::cache::object::{Head, Stored};
use crate::cache::policy::{self, Policy};
use crate::cache::tags::Tags;
use crate::cache::vary::Selection;
use crate::cache::{Asking, PASS_MS, Step};
use crate::fill::flow::{Flow, Held, Window};
use crate::fill::task::room_for;
use crate::fill::{Fill, Interest};
use crate::metrics::Metrics;
use crate::simulate::trace::{Asked, Trace};
use crate::video::manifest::Manifest;
use crate::video::playlist::Media;
use crate::video::role::{Format, Role};

/// Bodies are made of this, over and over.
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
const BLOCK_BYTES: usize = 16 * 1024;
/// Points of the curves over time.
const SAMPLES: u64 = 200;

/// What is assumed where the log says nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Assumptions {
    /// `Cache-Control` of the origin's answers.
    pub origin_says: Option<String>,
    /// Target duration of live playlists, in milliseconds.
    pub target_ms: u64,
    /// Bytes a second that the origin sends of one answer.
    pub origin_rate: u64,
}

/// What came of a trace under one policy.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub policy: String,
    pub requests: u64,
    pub hits: u64,
    /// Hits that were stale and refreshed beside the answer.
    pub stale: u64,
    /// Misses that shared a request to the origin.
    pub collapsed: u64,
    pub misses: u64,
    /// Requests that went to the origin beside the cache.
    pub passed: u64,
    pub origin_requests: u64,
    pub origin_bytes: u64,
    pub bytes: u64,
    pub memory_peak_bytes: u64,
    pub memory_max_bytes: u64,
    pub evictions: u64,
    /// Waits for the origin before a first byte could be sent, in milliseconds.
    pub first_byte_p50_ms: f64,
    pub first_byte_p99_ms: f64,
    /// Over time: seconds since the first request, hit ratio so far, bytes in memory.
    pub curve: Vec<(f64, f64, u64)>,
}

impl Figures {
    /// Part of the requests that were answered without waiting for the origin, from 0.0 to 1.0.
    pub fn hit_ratio(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            (self.hits + self.stale) as f64 / self.requests as f64
        }
    }
}

/// A fill under way.
struct Filling {
    fill: Arc<Fill>,
    _interest: Option<Interest>,
    asked: Asked,
    asked_ms: u64,
    bytes: u64,
}

struct Replay<'a> {
    trace: &'a Trace,
    policy: Policy,
    assumed: &'a Assumptions,
    filling: HashMap<u64, Filling>,
    /// When fills end, soonest first.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    fills: u64,
    figures: Figures,
    waits_ms: Vec<f64>,
}

/// Asks a cache of its own, under a policy of the document. `None`: there is no such policy.
pub fn replay(
    config: &Config,
    name: &str,
    trace: &Trace,
    assumed: &Assumptions,
) -> Option<Figures> {
    let said = config.cache_policies.get(name)?;
    let metrics = Metrics::new();
    let cache = Caches::default().named(&said.cache, &metrics);
    let limits = config.caches.get(&said.cache).map(policy::limits).unwrap_or_default();
    cache.set_limits(limits);
    let mut replay = Replay {
        trace,
        policy: Policy::new(name, said, "simulated", cache),
        assumed,
        filling: HashMap::new(),
        ends: BinaryHeap::new(),
        fills: 0,
        figures: Figures {
            policy: name.to_owned(),
            memory_max_bytes: limits.memory_max,
            ..Figures::default()
        },
        waits_ms: Vec::new(),
    };
    replay.run();
    Some(replay.figures)
}

impl Replay<'_> {
    fn run(&mut self) {
        let Some((first, last)) = self.trace.asked.first().zip(self.trace.asked.last()) else {
            return;
        };
        let (begun_ms, length_ms) = (first.at_ms, last.at_ms - first.at_ms);
        let mut next_sample = 0;
        for asked in &self.trace.asked {
            self.finish_until(asked.at_ms);
            self.ask(asked);
            let at_ms = asked.at_ms - begun_ms;
            if at_ms >= next_sample {
                let point = (at_ms as f64 / 1000.0, self.figures.hit_ratio(), self.memory());
                self.figures.curve.push(point);
                next_sample = at_ms + (length_ms / SAMPLES).max(1);
            }
        }
        self.finish_until(u64::MAX);
        self.figures.evictions = self.policy.cache.evicted();
        self.waits_ms.sort_by(f64::total_cmp);
        self.figures.first_byte_p50_ms = quantile(&self.waits_ms, 50);
        self.figures.first_byte_p99_ms = quantile(&self.waits_ms, 99);
    }

    fn memory(&mut self) -> u64 {
        let bytes = self.policy.cache.bytes();
        self.figures.memory_peak_bytes = self.figures.memory_peak_bytes.max(bytes);
        bytes
    }

    fn ask(&mut self, asked: &Asked) {
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::from_str(&asked.host) {
            headers.insert(HOST, host);
        }
        let scheme = if asked.tls { "https" } else { "http" };
        let key = self.policy.key.key(scheme, &asked.host, &asked.target, &headers);
        let said = Directives::default();
        let (may_wait, may_load, is_head) = (true, false, asked.is_head);
        let asking =
            Asking { key: &key, headers: &headers, said: &said, is_head, may_wait, may_load };
        let step = self.policy.cache.look(&asking, &self.policy, asked.at_ms);
        self.figures.requests += 1;
        self.figures.bytes += asked.bytes;
        let origin_ms = asked.origin_ms.unwrap_or(self.trace.origin_ms);
        let wait_ms = match step {
            Step::Serve { refresh, .. } => {
                match refresh {
                    Some(fill) => {
                        self.figures.stale += 1;
                        self.begin(fill, None, asked, origin_ms);
                    }
                    None => self.figures.hits += 1,
                }
                0.0
            }
            // Origins of traces do not fail.
            Step::StandIn(_) => 0.0,
            Step::Join { fill, .. } => {
                self.figures.collapsed += 1;
                let running = self.filling.values().find(|f| Arc::ptr_eq(&f.fill, &fill));
                let since_ms = running.map_or(0, |f| asked.at_ms.saturating_sub(f.asked_ms));
                (origin_ms - since_ms as f64).max(0.0)
            }
            Step::Lead { fill, interest, .. } => {
                self.figures.misses += 1;
                self.begin(fill, Some(interest), asked, origin_ms);
                origin_ms
            }
            Step::Pass(_) | Step::Unanswerable | Step::Load { .. } => {
                self.figures.passed += 1;
                self.figures.origin_requests += 1;
                self.figures.origin_bytes += asked.bytes;
                origin_ms
            }
        };
        self.waits_ms.push(wait_ms);
    }

    fn begin(
        &mut self,
        fill: Arc<Fill>,
        interest: Option<Interest>,
        asked: &Asked,
        origin_ms: f64,
    ) {
        let bytes = self.trace.size(asked);
        let body_s = bytes as f64 / self.assumed.origin_rate.max(1) as f64;
        let lasts = Duration::from_secs_f64((origin_ms.max(0.0) / 1000.0 + body_s).min(1e9));
        let ends_ms = asked.at_ms + u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX / 2);
        self.fills += 1;
        self.ends.push(Reverse((ends_ms, self.fills)));
        let asked_ms = asked.at_ms;
        let asked = asked.clone();
        self.filling
            .insert(self.fills, Filling { fill, _interest: interest, asked, asked_ms, bytes });
        self.figures.origin_requests += 1;
        self.figures.origin_bytes += bytes;
    }

    fn finish_until(&mut self, now_ms: u64) {
        while let Some(Reverse((ends_ms, id))) = self.ends.peek().copied() {
            if ends_ms > now_ms {
                return;
            }
            self.ends.pop();
            if let Some(filling) = self.filling.remove(&id) {
                let stored = self.stored(&filling, ends_ms);
                if stored.is_none() {
                    self.policy.cache.mark_uncacheable(&filling.fill, ends_ms, PASS_MS);
                }
                self.policy.cache.complete(&filling.fill, stored);
                self.memory();
            }
        }
    }

    /// The answer as the cache would have kept it; `None` when it would not have.
    fn stored(&mut self, filling: &Filling, now_ms: u64) -> Option<Arc<Stored>> {
        let asked = &filling.asked;
        // A part, or nothing new, came of a whole that the origin gave.
        let status = if matches!(asked.status, 206 | 304) { 200 } else { asked.status };
        let mut response = ResponseHeader::build(status, None).ok()?;
        response.insert_header(CONTENT_LENGTH, filling.bytes.to_string()).ok()?;
        if let Some(said) = &self.assumed.origin_says {
            response.insert_header(CACHE_CONTROL, said.as_str()).ok()?;
        }
        let path = asked.target.split('?').next().unwrap_or_default();
        let live = Media { target_ms: self.assumed.target_ms, ..Media::default() };
        let manifest =
            (Role::by_name(path) == Role::Manifest(Format::Hls)).then_some(Manifest::Media(live));
        let rules = self.policy.rules_for(&filling.fill.key.uri, &response, manifest.as_ref());
        let times = (filling.asked_ms, now_ms);
        let assessed = assess(response.status, &response.headers, false, &rules, times).ok()?;
        if filling.bytes > self.policy.body_bytes_max() {
            return None;
        }
        let head = Head {
            response,
            selection: Selection::default(),
            times: Some(assessed),
            length: Some(filling.bytes),
            tags: Tags::default(),
            layout: None,
        };
        let cost = head.cost(&filling.fill.key);
        let leases = self.policy.cache.reserve(cost, room_for(filling.bytes));
        let (head_lease, body_lease) = leases.ok()?;
        self.memory();
        let flow = Flow::new(Held::Lease(body_lease), Window::default());
        let mut left = filling.bytes;
        while left > 0 {
            let part = BLOCK_BYTES.min(usize::try_from(left).unwrap_or(BLOCK_BYTES));
            flow.push(Bytes::from_static(&ZEROS[..part]));
            left -= part as u64;
        }
        let body = flow.whole(&Bytes::new())?;
        let key = filling.fill.key.clone();
        Some(Arc::new(Stored::new(key, Arc::new(head), assessed, body, head_lease)))
    }
}

/// Of sorted values.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_config::Source;

    const DOCUMENT: &str = "version: 1
listeners: { a: { address: '127.0.0.1:0' } }
upstreams: { u: { servers: [ { address: '127.0.0.1:1' } ] } }
routes: [ { name: all, upstream: u, cache_policy: short } ]
cache_policies:
  short: { cache: small, freshness: { ttl_default: 1s } }
  long: { cache: small, freshness: { ttl_default: 60s } }
  gentle: { cache: small, freshness: { ttl_default: 1s, stale_while_revalidate: 60s } }
  tiny: { cache: tiny, freshness: { ttl_default: 60s } }
caches:
  small: { memory_max: 1MiB, object_memory_max: 64KiB }
  tiny: { memory_max: 64KiB, object_memory_max: 64KiB }
admin: { address: '127.0.0.1:0' }
";

    fn millis(seconds: f64) -> i64 {
        i64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap()
    }

    /// `(seconds, path)` each of 10 kB, with an origin that takes 100 ms.
    fn figures(policy: &str, asked: &[(f64, &str)]) -> Figures {
        let config = Config::load(Source::new("a.yaml", DOCUMENT)).unwrap();
        let lines: String = asked
            .iter()
            .map(|(at, path)| {
                let time = jiff::Timestamp::from_millisecond(millis(*at)).unwrap();
                format!(
                    "{{\"time\":\"{time}\",\"method\":\"GET\",\"host\":\"a\",\"path\":\"{path}\",\
                     \"status\":200,\"bytes_out\":10000,\"upstream_first_byte_ms\":100}}\n"
                )
            })
            .collect();
        let trace = Trace::read(lines.as_bytes()).unwrap();
        let assumed =
            Assumptions { origin_says: None, target_ms: 2000, origin_rate: 1_000_000_000 };
        replay(&config, policy, &trace, &assumed).unwrap()
    }

    #[test]
    fn time_decides_between_hit_shared_miss_and_miss() {
        let asked = [(0.0, "/a"), (0.05, "/a"), (0.5, "/a"), (2.0, "/a"), (2.5, "/a")];
        let short = figures("short", &asked);
        assert_eq!((short.misses, short.collapsed, short.hits, short.stale), (2, 1, 2, 0));
        assert_eq!((short.origin_requests, short.origin_bytes), (2, 20_000));
        assert_eq!((short.first_byte_p50_ms, short.first_byte_p99_ms), (50.0, 100.0));
        let long = figures("long", &asked);
        assert_eq!((long.misses, long.collapsed, long.hits), (1, 1, 3));
        assert_eq!(long.hit_ratio(), 0.6);
        let gentle = figures("gentle", &asked);
        assert_eq!((gentle.misses, gentle.stale, gentle.hits), (1, 1, 2));
    }

    #[test]
    fn memory_is_bounded_and_what_does_not_fit_is_asked_for_again() {
        let paths: Vec<String> = (0..20).map(|n| format!("/{}", n % 10)).collect();
        let asked: Vec<(f64, &str)> =
            paths.iter().enumerate().map(|(n, path)| (n as f64, path.as_str())).collect();
        let tiny = figures("tiny", &asked);
        assert_eq!(tiny.hits, 0, "ten objects in turn, and room for four");
        assert!(tiny.memory_peak_bytes <= 64 * 1024 && tiny.evictions > 0, "{tiny:?}");
        let long = figures("long", &asked);
        assert_eq!((long.hits, long.misses, long.evictions), (10, 10, 0));
        assert!(long.memory_peak_bytes > 100_000, "{long:?}");
    }
}
