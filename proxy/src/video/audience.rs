//! Who watches what, and how it goes, as players tell it. Titles come from requests, so their number
//! is bounded: once there are [`TITLES_MAX`], further ones are counted together as `other`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::video::cmcd::Report;
use crate::video::series::Series;

/// Titles with series of their own, in one cache.
pub const TITLES_MAX: usize = 100;
/// The label of all others.
pub const OTHER: &str = "other";
/// A title that nobody has watched for so long gives its place to another.
const TITLE_IDLE_MS: u64 = 10 * 60 * 1000;
/// Who has not asked for anything for so long does not watch.
const VIEWER_IDLE_MS: u64 = 60 * 1000;
/// Sessions told apart at once; the count of viewers is never higher.
const SESSIONS_MAX: NonZeroUsize = NonZeroUsize::new(100_000).expect("not 0");

struct Session {
    title: Arc<str>,
    seen_ms: u64,
}

pub struct Audience {
    /// When each title was last told of.
    titles: HashMap<Arc<str>, u64>,
    sessions: LruCache<u64, Session>,
    hasher: RandomState,
}

impl Default for Audience {
    fn default() -> Audience {
        Audience {
            titles: HashMap::new(),
            sessions: LruCache::new(SESSIONS_MAX),
            hasher: RandomState::new(),
        }
    }
}

impl Audience {
    /// Takes in a report; says under which title it is counted. `folder` stands in for a content id.
    pub fn hear(
        &mut self,
        report: &Report,
        folder: &str,
        series: &Series,
        now_ms: u64,
    ) -> Arc<str> {
        let title = self.title(report.content.as_deref().unwrap_or(folder), series, now_ms);
        if let Some(session) = &report.session {
            let hash = self.hasher.hash_one(session);
            self.sessions.put(hash, Session { title: Arc::clone(&title), seen_ms: now_ms });
        }
        title
    }

    fn title(&mut self, name: &str, series: &Series, now_ms: u64) -> Arc<str> {
        let known = self.titles.get_key_value(name).map(|(title, _)| Arc::clone(title));
        let title = match known {
            Some(title) => title,
            None if self.has_room(series, now_ms) => Arc::from(name),
            None => return Arc::from(OTHER),
        };
        self.titles.insert(Arc::clone(&title), now_ms);
        title
    }

    fn has_room(&mut self, series: &Series, now_ms: u64) -> bool {
        if self.titles.len() >= TITLES_MAX {
            self.titles.retain(|title, heard_ms| {
                let kept = now_ms.saturating_sub(*heard_ms) < TITLE_IDLE_MS;
                if !kept {
                    series.forget_title(title);
                }
                kept
            });
        }
        self.titles.len() < TITLES_MAX
    }

    /// Viewers of each title that is known.
    pub fn publish(&mut self, series: &Series, now_ms: u64) {
        while let Some((_, oldest)) = self.sessions.peek_lru() {
            if now_ms.saturating_sub(oldest.seen_ms) < VIEWER_IDLE_MS {
                break;
            }
            self.sessions.pop_lru();
        }
        let mut viewers: HashMap<&str, usize> =
            self.titles.keys().map(|title| (title.as_ref(), 0)).collect();
        for (_, session) in &self.sessions {
            *viewers.entry(&session.title).or_default() += 1;
        }
        for (title, count) in viewers {
            series.viewers(title, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn report(content: &str, session: &str) -> Report {
        Report {
            content: Some(content.to_owned()),
            session: Some(session.to_owned()),
            ..Report::default()
        }
    }

    fn viewers(audience: &mut Audience, metrics: &Metrics, now_ms: u64) -> Vec<(String, i64)> {
        let series = Series::new("c", metrics);
        audience.publish(&series, now_ms);
        let text = String::from_utf8(metrics.render()).unwrap();
        let prefix = "forebay_proxy_video_viewers{cache=\"c\",title=\"";
        let mut counts: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix)?.split_once("\"} "))
            .map(|(title, count)| (title.to_owned(), count.parse().unwrap()))
            .collect();
        counts.sort();
        counts
    }

    #[test]
    fn a_session_counts_once_and_for_what_it_watches_now() {
        let (metrics, mut audience) = (Metrics::new(), Audience::default());
        let series = Series::new("c", &metrics);
        for (title, session) in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "2")] {
            audience.hear(&report(title, session), "/", &series, 0);
        }
        let expected = [("a".to_owned(), 1), ("b".to_owned(), 1)];
        assert_eq!(viewers(&mut audience, &metrics, 1000), expected);
        let gone = [("a".to_owned(), 0), ("b".to_owned(), 0)];
        assert_eq!(viewers(&mut audience, &metrics, VIEWER_IDLE_MS), gone);
    }

    #[test]
    fn titles_are_bounded_and_idle_ones_make_room() {
        let (metrics, mut audience) = (Metrics::new(), Audience::default());
        let series = Series::new("c", &metrics);
        for number in 0..TITLES_MAX {
            let title = number.to_string();
            assert_eq!(audience.hear(&report(&title, "s"), "/", &series, 0).as_ref(), title);
        }
        assert_eq!(audience.hear(&report("new", "s"), "/", &series, 1).as_ref(), OTHER);
        assert_eq!(audience.hear(&report("7", "s"), "/", &series, 1).as_ref(), "7");
        let later_ms = TITLE_IDLE_MS;
        assert_eq!(audience.hear(&report("new", "s"), "/", &series, later_ms).as_ref(), "new");
        assert_eq!(audience.titles.len(), 2, "the one heard of since, and the new one");
    }
}
