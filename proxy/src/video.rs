//! What the cache understands of video, on routes whose cache policy says `video`.
//!
//! 1. [`role`]: what a request is for, by its name or its answer's type.
//! 2. [`playlist`] (HLS) and [`mpd`] (DASH, whose segments are a [`track`]'s) read manifests; [`manifest`] says how long each is fresh.
//! 3. [`window`] remembers the live edge of each stream: what came next, and whether it stands still.
//! 4. [`reload`]: LL-HLS blocking reloads, in one form and within the rules.
//! 5. [`ahead`] asks for segments before a player does.
//! 6. [`cmcd`] reads what players tell (CTA-5004); [`audience`] counts it by title.

pub mod ahead;
pub mod audience;
pub mod cmcd;
pub mod edge;
pub mod manifest;
pub mod mpd;
pub mod playlist;
pub mod reload;
pub mod role;
pub mod series;
pub mod track;
pub mod window;

use std::time::Duration;

use parking_lot::Mutex;
use pingora::http::RequestHeader;
use proxy_config::cache_policy::VideoRules;

use crate::metrics::Metrics;
use crate::video::audience::Audience;
use crate::video::reload::Reload;
use crate::video::series::Series;
use crate::video::window::{Stall, Windows};

/// A policy's rules for video, made ready.
#[derive(Clone, Debug)]
pub struct Rules {
    /// From 0.0 to 1.0, of the target duration.
    pub playlist_ttl: f64,
    pub multivariant_ttl_ms: u64,
    pub segment_ttl_ms: u64,
    pub prefetch_segments: usize,
    pub blocking_reload: bool,
    pub stalled_after: Duration,
}

impl Rules {
    pub fn new(config: &VideoRules) -> Rules {
        Rules {
            playlist_ttl: config.playlist_ttl.as_fraction(),
            multivariant_ttl_ms: config.multivariant_ttl.as_millis(),
            segment_ttl_ms: config.segment_ttl.as_millis(),
            prefetch_segments: usize::try_from(config.prefetch_segments).unwrap_or(usize::MAX),
            blocking_reload: config.blocking_reload,
            stalled_after: config.stalled_after.as_std(),
        }
    }
}

/// What a cache knows of the video in it. It belongs to the cache, so a reload keeps it.
pub struct Video {
    pub windows: Mutex<Windows>,
    pub audience: Mutex<Audience>,
    pub series: Series,
}

impl Video {
    pub fn new(cache: &str, metrics: &Metrics) -> Video {
        Video {
            windows: Mutex::default(),
            audience: Mutex::default(),
            series: Series::new(cache, metrics),
        }
    }

    pub fn tell_stall(&self, stream: &str, stall: Stall) {
        match stall {
            Stall::Begun => {
                self.series.stalled();
                tracing::warn!(
                    stream,
                    "a live stream stands still: its playlist brings nothing new"
                );
            }
            Stall::Over => tracing::info!(stream, "a live stream that stood still goes on"),
        }
    }

    /// Takes in what a request's player tells; gives back the reference of what it will ask for next.
    pub fn hear(&self, head: &RequestHeader, now_ms: u64) -> Option<String> {
        match cmcd::read(head.uri.query(), &head.headers)? {
            Ok(report) => {
                let path = head.uri.path();
                let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
                let title = self.audience.lock().hear(&report, folder, &self.series, now_ms);
                self.series.report(&title, &report);
                report.next
            }
            Err(_) => {
                self.series.malformed_report();
                None
            }
        }
    }

    /// What a playlist request is to be held for, if anything. Errors: what to refuse with 400.
    pub fn held(
        &self,
        query: &str,
        stream: &str,
        now_ms: u64,
    ) -> Result<Option<Reload>, &'static str> {
        let judged = reload::read(query).and_then(|reload| {
            if let Some(reload) = reload {
                let edge = self.windows.lock().edge(stream);
                edge::judge(reload, edge.as_ref(), now_ms)?;
                self.series.reload("held");
            }
            Ok(reload)
        });
        judged.inspect_err(|_| self.series.reload("refused"))
    }

    /// Brings the gauges up to date.
    pub fn refresh_metrics(&self, now_ms: u64) {
        let (live, stalled) = self.windows.lock().counts(now_ms);
        self.series.streams(live, stalled);
        self.audience.lock().publish(&self.series, now_ms);
    }
}
