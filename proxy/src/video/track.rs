//! Which segments a DASH representation has: its `SegmentTemplate` (ISO/IEC 23009-1 section 5.3.9.4), with a
//! timeline or with segments of one duration.

use std::sync::Arc;

/// Most segments of one line that repeats to the end.
const REPEATS_MAX: u64 = 100_000;
/// Most segments of a timeline.
const LISTED_MAX: usize = 200_000;
/// Segments listed of a live representation that has no timeline: those before its edge.
const LIVE_EDGE: u64 = 10;
/// Longest number a template pads to.
const WIDTH_MAX: usize = 20;

/// One `S` of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Without it, where the line before ends.
    pub at: Option<u64>,
    pub lasts: u64,
    /// Further segments of the same duration; below 0, up to the next line or the period's end.
    pub repeats: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub media: String,
    /// Units a second.
    pub timescale: u64,
    /// Of each segment, in those units, where there is no timeline.
    pub duration: Option<u64>,
    /// `startNumber` and `endNumber`.
    pub first: u64,
    pub last: Option<u64>,
    pub lines: Arc<Vec<Line>>,
}

impl Default for Template {
    fn default() -> Template {
        Template {
            media: String::new(),
            timescale: 1,
            duration: None,
            first: 1,
            last: None,
            lines: Arc::default(),
        }
    }
}

/// A representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// What its references stand behind.
    pub base: String,
    pub id: String,
    pub bandwidth: String,
    pub template: Template,
    /// How long its period lasts, where that is known.
    pub period_ms: Option<u64>,
    /// When its period begins, in milliseconds since 1970.
    pub begins_ms: u64,
}

impl Track {
    /// References of the segments there are at this time, in order: at most so many, the last of a live
    /// representation, the first of another.
    pub fn references(&self, is_live: bool, now_ms: u64, max: usize) -> Vec<String> {
        let named = |(number, time)| {
            let file = self.named(number, time)?;
            let alone = file.starts_with('/') || file.contains("://");
            Some(if alone { file } else { format!("{}{file}", folder(&self.base)) })
        };
        if self.template.lines.is_empty() {
            return self.by_number(is_live, now_ms, max).filter_map(|n| named((n, 0))).collect();
        }
        let mut all = self.by_timeline(if is_live { usize::MAX } else { max });
        all.drain(..all.len().saturating_sub(max));
        all.into_iter().filter_map(named).collect()
    }

    fn by_number(&self, is_live: bool, now_ms: u64, max: usize) -> std::ops::Range<u64> {
        let Template { timescale, duration, first, last, .. } = &self.template;
        let Some(duration) = duration.filter(|duration| *duration > 0) else { return 0..0 };
        let whole = |ms: u64| {
            let segments = u128::from(ms) * u128::from(*timescale) / 1000 / u128::from(duration);
            u64::try_from(segments).unwrap_or(u64::MAX)
        };
        let max = max as u64;
        if is_live {
            // A segment is there when it is whole.
            let end = first.saturating_add(whole(now_ms.saturating_sub(self.begins_ms)));
            let end = last.map_or(end, |last| end.min(last.saturating_add(1)));
            return end.saturating_sub(LIVE_EDGE.min(max)).max(*first)..end;
        }
        let count = self.period_ms.map_or(max, |ms| {
            let exact = whole(ms).saturating_mul(duration).saturating_mul(1000);
            whole(ms).saturating_add(u64::from(exact < ms.saturating_mul(*timescale)))
        });
        let end = last.map_or(first.saturating_add(count), |last| last.saturating_add(1));
        *first..end.min(first.saturating_add(max))
    }

    /// Numbers and times of a timeline's segments.
    fn by_timeline(&self, max: usize) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        let (mut number, mut at) = (self.template.first, 0_u64);
        let lines = &self.template.lines;
        for (index, line) in lines.iter().enumerate() {
            at = line.at.unwrap_or(at);
            if line.lasts == 0 {
                continue;
            }
            let until = lines.get(index + 1).and_then(|next| next.at).or_else(|| {
                let units =
                    u128::from(self.period_ms?) * u128::from(self.template.timescale) / 1000;
                u64::try_from(units).ok()
            });
            let count = match u64::try_from(line.repeats) {
                Ok(repeats) => repeats.saturating_add(1),
                Err(_) => until.map_or(1, |until| until.saturating_sub(at).div_ceil(line.lasts)),
            };
            for _ in 0..count.min(REPEATS_MAX) {
                if all.len() >= max.min(LISTED_MAX) {
                    return all;
                }
                all.push((number, at));
                number = number.saturating_add(1);
                at = at.saturating_add(line.lasts);
            }
        }
        all
    }

    /// The template with its identifiers replaced; `None` when it has one that is not known.
    fn named(&self, number: u64, time: u64) -> Option<String> {
        let mut name = String::new();
        let mut parts = self.template.media.split('$');
        name.push_str(parts.next()?);
        while let Some(identifier) = parts.next() {
            let after = parts.next()?;
            let (identifier, width) = match identifier.split_once("%0") {
                Some((identifier, width)) => (identifier, width.strip_suffix('d')?.parse().ok()?),
                None => (identifier, 1_usize),
            };
            let padded = |value: u64| format!("{value:0>width$}", width = width.min(WIDTH_MAX));
            match identifier {
                "" => name.push('$'),
                "RepresentationID" => name.push_str(&self.id),
                "Bandwidth" => name.push_str(&padded(self.bandwidth.parse().ok()?)),
                "Number" => name.push_str(&padded(number)),
                "Time" => name.push_str(&padded(time)),
                _ => return None,
            }
            name.push_str(after);
        }
        Some(name)
    }
}

fn folder(base: &str) -> &str {
    base.rfind('/').map_or("", |end| &base[..=end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn track(media: &str, template: Template) -> Track {
        Track {
            base: String::new(),
            id: "hd".to_owned(),
            bandwidth: "5000".to_owned(),
            template: Template { media: media.to_owned(), ..template },
            period_ms: None,
            begins_ms: 100_000,
        }
    }

    #[test]
    fn identifiers() {
        let named = |media| track(media, Template::default()).named(7, 90);
        assert_eq!(
            named("$RepresentationID$-$Bandwidth$-$Number%05d$.m4s").as_deref(),
            Some("hd-5000-00007.m4s")
        );
        assert_eq!(named("t$Time$$$.m4s").as_deref(), Some("t90$.m4s"));
        for wrong in ["$Nonsense$", "$Number", "$Number%05x$"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_live_edge_is_what_is_whole_by_now() {
        let template =
            Template { timescale: 10, duration: Some(20), first: 5, ..Template::default() };
        let track = track("$Number$", template);
        assert_eq!(track.references(true, 107_900, 100), ["5", "6", "7"]);
        assert_eq!(track.references(true, 0, 100), [""; 0]);
        assert_eq!(track.references(true, 1_000_000, 2), ["453", "454"]);
    }

    #[test]
    fn a_line_repeats_to_the_next_or_to_the_end() {
        let line = |at, lasts, repeats| Line { at, lasts, repeats };
        let lines =
            Arc::new(vec![line(Some(10), 10, -1), line(Some(35), 5, 0), line(None, 10, -1)]);
        let mut track = track("$Time$", Template { timescale: 1000, lines, ..Template::default() });
        track.period_ms = Some(60);
        assert_eq!(track.references(false, 0, 100), ["10", "20", "30", "35", "40", "50"]);
        assert_eq!(track.references(true, 0, 2), ["40", "50"]);
    }

    proptest! {
        #[test]
        fn no_template_lists_more_than_is_asked_for(
            media in "[$%0-9a-zA-Z]{0,20}",
            numbers in prop::collection::vec(any::<u64>(), 5),
            lines in prop::collection::vec((any::<Option<u64>>(), any::<u64>(), any::<i64>()), 0..5),
            is_live in any::<bool>(),
        ) {
            let lines = lines.into_iter().map(|(at, lasts, repeats)| Line { at, lasts, repeats });
            let mut track = track(&media, Template {
                timescale: numbers[0].max(1),
                duration: Some(numbers[1]),
                first: numbers[2],
                last: None,
                lines: Arc::new(lines.collect()),
                ..Template::default()
            });
            track.period_ms = Some(numbers[3]);
            prop_assert!(track.references(is_live, numbers[4], 20).len() <= 20);
        }
    }
}
