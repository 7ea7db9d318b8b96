//! The live edge of each stream, as its playlists told it: what is new, what follows what, and
//! whether it stands still.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use crate::video::edge::Edge;
use crate::video::playlist::Media;

/// Streams remembered at once in one cache; those not seen for longest are forgotten first.
const STREAMS_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// Segments whose successor is remembered, of all streams.
const SUCCESSORS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not 0");
/// A stream whose playlist nobody has asked for during so many target durations is not live here.
const WATCHED_TARGETS: u64 = 6;

struct Stream {
    edge: Edge,
    /// When its last segment or part came.
    moved_ms: u64,
    stalled_after_ms: u64,
    is_stalled: bool,
}

/// What a playlist told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many of its last segments were not known.
    pub new_segments: usize,
    pub stall: Option<Stall>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    Begun,
    Over,
}

pub struct Windows {
    streams: LruCache<Arc<str>, Stream>,
    /// By the hash of a segment's URI, the target of the next.
    successors: LruCache<u64, Box<str>>,
    hasher: RandomState,
}

impl Default for Windows {
    fn default() -> Windows {
        Windows {
            streams: LruCache::new(STREAMS_MAX),
            successors: LruCache::new(SUCCESSORS_MAX),
            hasher: RandomState::new(),
        }
    }
}

impl Windows {
    /// Takes in what a playlist says. `stream` is its URI without delivery directives.
    pub fn advance(
        &mut self,
        stream: &str,
        media: &Media,
        stalled_after: Duration,
        now_ms: u64,
    ) -> Progress {
        let Some(last) = media.last() else { return Progress::default() };
        let edge = Edge {
            last,
            parts: media.parts,
            seen_ms: now_ms,
            target_ms: media.target_ms,
            part_target_ms: media.part_target_ms,
            ended: media.ended,
        };
        let stalled_after_ms = u64::try_from(stalled_after.as_millis()).unwrap_or(u64::MAX);
        let Some(known) = self.streams.get_mut(stream) else {
            let fresh = Stream { edge, moved_ms: now_ms, stalled_after_ms, is_stalled: false };
            self.streams.put(stream.into(), fresh);
            return Progress { new_segments: media.segments.len(), stall: None };
        };
        // An origin that began anew counts from the start again: everything is new.
        let new_segments = match last.checked_sub(known.edge.last) {
            Some(gained) => usize::try_from(gained).unwrap_or(usize::MAX).min(media.segments.len()),
            None => media.segments.len(),
        };
        if new_segments > 0 || known.edge.parts != edge.parts || edge.ended {
            known.moved_ms = now_ms;
        }
        known.edge = edge;
        known.stalled_after_ms = stalled_after_ms;
        let stalled = now_ms.saturating_sub(known.moved_ms) >= stalled_after_ms;
        let stall = match (known.is_stalled, stalled) {
            (false, true) => Some(Stall::Begun),
            (true, false) => Some(Stall::Over),
            _ => None,
        };
        known.is_stalled = stalled;
        Progress { new_segments, stall }
    }

    pub fn edge(&self, stream: &str) -> Option<Edge> {
        self.streams.peek(stream).map(|stream| stream.edge)
    }

    /// How many streams are live, and how many of them stand still. A stream that nobody watches, or
    /// that has ended, is neither.
    pub fn counts(&self, now_ms: u64) -> (usize, usize) {
        let is_live = |stream: &Stream| {
            let watched_ms = stream.stalled_after_ms.max(WATCHED_TARGETS * stream.edge.target_ms);
            !stream.edge.ended && now_ms.saturating_sub(stream.edge.seen_ms) < watched_ms
        };
        let live = || self.streams.iter().map(|(_, stream)| stream).filter(|s| is_live(s));
        (live().count(), live().filter(|stream| stream.is_stalled).count())
    }

    /// Remembers what follows each segment. `targets` are in order; `named` makes a URI of a target.
    pub fn chain(&mut self, targets: &[String], named: impl Fn(&str) -> Arc<str>) {
        for pair in targets.windows(2) {
            let hash = self.hasher.hash_one(named(&pair[0]).as_ref());
            self.successors.put(hash, pair[1].as_str().into());
        }
    }

    /// The target that follows a segment in its playlist.
    pub fn successor(&self, segment: &str) -> Option<String> {
        self.successors.peek(&self.hasher.hash_one(segment)).map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    fn media(first: u64, count: usize) -> Media {
        let segments = (0..count).map(|n| format!("{n}.ts")).collect();
        Media { target_ms: 2000, first, segments, ..Media::default() }
    }

    #[test]
    fn new_segments_are_told_from_known_ones() {
        let mut windows = Windows::default();
        let mut told = |first, count, now_ms| {
            windows.advance("s", &media(first, count), AFTER, now_ms).new_segments
        };
        assert_eq!(told(10, 3, 0), 3, "all are new at first");
        assert_eq!(told(10, 3, 1000), 0);
        assert_eq!(told(11, 3, 2000), 1);
        assert_eq!(told(30, 3, 3000), 3, "no more than are listed");
        assert_eq!(told(0, 3, 4000), 3, "it began anew");
    }

    #[test]
    fn a_stream_that_stands_still_is_told_once_and_so_is_its_recovery() {
        let mut windows = Windows::default();
        let mut told = |first, now_ms| windows.advance("s", &media(first, 3), AFTER, now_ms).stall;
        assert_eq!((told(10, 0), told(10, 9_999)), (None, None));
        assert_eq!((told(10, 10_000), told(10, 11_000)), (Some(Stall::Begun), None));
        assert_eq!((told(11, 12_000), told(11, 13_000)), (Some(Stall::Over), None));
        assert_eq!(windows.counts(13_000), (1, 0));
        windows.advance("s", &media(11, 3), AFTER, 23_000);
        assert_eq!(windows.counts(23_000), (1, 1));
        assert_eq!(windows.counts(40_000), (0, 0), "nobody watches it");
    }

    #[test]
    fn a_stream_that_has_ended_is_not_live_and_never_stalls() {
        let mut windows = Windows::default();
        let ended = Media { ended: true, ..media(1, 2) };
        windows.advance("s", &ended, AFTER, 0);
        assert_eq!(windows.advance("s", &ended, AFTER, 60_000).stall, None);
        assert_eq!(windows.counts(60_000), (0, 0));
    }

    #[test]
    fn segments_know_what_follows() {
        let mut windows = Windows::default();
        let targets: Vec<String> = ["/a.ts", "/b.ts", "/c.ts"].map(str::to_owned).to_vec();
        windows.chain(&targets, |target| format!("http://h{target}").into());
        assert_eq!(windows.successor("http://h/b.ts").as_deref(), Some("/c.ts"));
        assert_eq!(windows.successor("http://h/c.ts"), None);
    }
}
