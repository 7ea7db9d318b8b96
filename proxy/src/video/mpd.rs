//! DASH manifests (ISO/IEC 23009-1), read as far as a cache needs it: when to look again, and which segments
//! each representation has ([`Track`]).

use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use thiserror::Error;

use crate::video::track::{Line, Template, Track};

/// Events of one manifest; a day of two-second segments in ten timelines has 432,000.
const EVENTS_MAX: usize = 500_000;
/// Events before the root element: a declaration, comments, a style sheet.
const PROLOGUE_MAX: usize = 64;
/// Representations whose segments are known.
const TRACKS_MAX: usize = 64;
/// Lines of one timeline.
const LINES_MAX: usize = 20_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mpd {
    /// `type="dynamic"`: more is to come.
    pub is_live: bool,
    pub update_ms: Option<u64>,
    pub segment_max_ms: Option<u64>,
    /// Of each representation with a `SegmentTemplate`, which segments there are.
    pub tracks: Vec<Track>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MpdFault {
    #[error("it is not well-formed XML")]
    Malformed,
    #[error("its root element is not MPD")]
    NoMpd,
    #[error("`{0}` is not a duration")]
    Duration(&'static str),
    #[error("it has more elements than any manifest needs")]
    TooLarge,
}

pub fn read(bytes: &[u8]) -> Result<Mpd, MpdFault> {
    let mut reader = Reader::from_reader(bytes);
    for _ in 0..PROLOGUE_MAX {
        match reader.read_event().map_err(|_| MpdFault::Malformed)? {
            Event::Empty(root) if is_mpd(&root) => return Ok(of_root(&root)?.mpd),
            Event::Start(root) if is_mpd(&root) => {
                let mut reading = of_root(&root)?;
                // A fault there costs the segments, not what the root says: players are lenient too.
                if reading.body(&mut reader).is_err() {
                    reading.mpd.tracks.clear();
                }
                return Ok(reading.mpd);
            }
            Event::Start(_) | Event::Empty(_) | Event::Eof => return Err(MpdFault::NoMpd),
            _ => {}
        }
    }
    Err(MpdFault::NoMpd)
}

fn is_mpd(root: &BytesStart<'_>) -> bool {
    root.local_name().as_ref() == b"MPD"
}

/// Elements inside of which other things hold.
const SCOPES: [&[u8]; 3] = [b"Period", b"AdaptationSet", b"Representation"];

/// What holds inside of an element, unless an inner one says otherwise.
#[derive(Clone, Debug, Default)]
struct Scope {
    base: String,
    has_base: bool,
    template: Option<Template>,
    id: String,
    bandwidth: String,
}

/// A manifest being read.
#[derive(Debug, Default)]
struct Reading {
    mpd: Mpd,
    available_ms: Option<u64>,
    /// How long the presentation, and the period being read, last, and when the period begins.
    lasts_ms: Option<u64>,
    period_ms: Option<u64>,
    period_begins_ms: u64,
    scopes: Vec<Scope>,
    base: Option<String>,
}

fn of_root(root: &BytesStart<'_>) -> Result<Reading, MpdFault> {
    let mut reading = Reading { scopes: vec![Scope::default()], ..Reading::default() };
    let mpd = &mut reading.mpd;
    let duration = |name, value: &str| duration_ms(value).ok_or(MpdFault::Duration(name));
    for (name, value) in attributes(root)? {
        match name.as_slice() {
            b"type" => mpd.is_live = value == "dynamic",
            b"minimumUpdatePeriod" => {
                mpd.update_ms = Some(duration("minimumUpdatePeriod", &value)?);
            }
            b"maxSegmentDuration" => {
                mpd.segment_max_ms = Some(duration("maxSegmentDuration", &value)?);
            }
            b"mediaPresentationDuration" => reading.lasts_ms = duration_ms(&value),
            b"availabilityStartTime" => {
                let time: Option<jiff::Timestamp> = value.parse().ok();
                reading.available_ms = time.and_then(|at| u64::try_from(at.as_millisecond()).ok());
            }
            _ => {}
        }
    }
    Ok(reading)
}

fn attributes(element: &BytesStart<'_>) -> Result<Vec<(Vec<u8>, String)>, MpdFault> {
    let each = element.attributes().map(|attribute| {
        let attribute = attribute.map_err(|_| MpdFault::Malformed)?;
        let value = attribute.unescape_value().map_err(|_| MpdFault::Malformed)?;
        Ok((attribute.key.as_ref().to_vec(), value.into_owned()))
    });
    each.collect()
}

impl Reading {
    fn body(&mut self, reader: &mut Reader<&[u8]>) -> Result<(), MpdFault> {
        for _ in 0..EVENTS_MAX {
            match reader.read_event().map_err(|_| MpdFault::Malformed)? {
                Event::Start(element) => self.open(&element)?,
                Event::Empty(element) => {
                    self.open(&element)?;
                    self.close(element.local_name().as_ref());
                }
                Event::Text(text) => {
                    if let (Some(base), Ok(text)) = (&mut self.base, text.decode()) {
                        base.push_str(text.trim());
                    }
                }
                Event::End(element) if element.local_name().as_ref() == b"MPD" => return Ok(()),
                Event::End(element) => self.close(element.local_name().as_ref()),
                Event::Eof => return Err(MpdFault::Malformed),
                _ => {}
            }
        }
        Err(MpdFault::TooLarge)
    }

    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), MpdFault> {
        let said = attributes(element)?;
        let get =
            |name: &[u8]| said.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str());
        let number = |name: &[u8]| get(name).and_then(|value| value.parse::<u64>().ok());
        let name = element.local_name();
        if SCOPES.contains(&name.as_ref()) {
            let outer = self.scopes.last().cloned().unwrap_or_default();
            self.scopes.push(Scope { has_base: false, ..outer });
        }
        let scope = self.scopes.last_mut().ok_or(MpdFault::Malformed)?;
        match name.as_ref() {
            b"Period" => {
                let begins = get(b"start").and_then(duration_ms);
                let follows = self.period_begins_ms.saturating_add(self.period_ms.unwrap_or(0));
                self.period_begins_ms = begins.unwrap_or(follows);
                self.period_ms = get(b"duration")
                    .and_then(duration_ms)
                    .or_else(|| self.lasts_ms.map(|all| all.saturating_sub(self.period_begins_ms)));
            }
            b"Representation" => {
                scope.id = get(b"id").unwrap_or_default().to_owned();
                scope.bandwidth = get(b"bandwidth").unwrap_or_default().to_owned();
            }
            b"SegmentTemplate" => {
                let template = scope.template.get_or_insert_with(Template::default);
                if let Some(media) = get(b"media") {
                    media.clone_into(&mut template.media);
                }
                template.timescale = number(b"timescale").unwrap_or(template.timescale).max(1);
                template.duration = number(b"duration").or(template.duration);
                template.first = number(b"startNumber").unwrap_or(template.first);
                template.last = number(b"endNumber").or(template.last);
            }
            b"SegmentTimeline" => {
                if let Some(template) = &mut scope.template {
                    template.lines = Arc::default();
                }
            }
            b"S" => {
                let line = Line {
                    at: number(b"t"),
                    lasts: number(b"d").unwrap_or(0),
                    repeats: get(b"r").and_then(|value| value.parse().ok()).unwrap_or(0),
                };
                if let Some(template) =
                    scope.template.as_mut().filter(|t| t.lines.len() < LINES_MAX)
                {
                    Arc::make_mut(&mut template.lines).push(line);
                }
            }
            b"BaseURL" => self.base = Some(String::new()),
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, name: &[u8]) {
        if name == b"BaseURL"
            && let (Some(base), Some(scope)) = (self.base.take(), self.scopes.last_mut())
            && !scope.has_base
        {
            // Others are alternatives.
            scope.base = joined(&scope.base, &base);
            scope.has_base = true;
        }
        if !SCOPES.contains(&name) || self.scopes.len() < 2 {
            return;
        }
        let Some(Scope { base, id, bandwidth, template, .. }) = self.scopes.pop() else { return };
        let Some(template) = template.filter(|template| !template.media.is_empty()) else { return };
        if name == b"Representation" && self.mpd.tracks.len() < TRACKS_MAX {
            self.mpd.tracks.push(Track {
                base,
                id,
                bandwidth,
                template,
                period_ms: self.period_ms,
                begins_ms: self.available_ms.unwrap_or(0).saturating_add(self.period_begins_ms),
            });
        }
    }
}

/// A base within another (RFC 3986 section 5, as far as bases go). The last one wins where it stands alone.
fn joined(outer: &str, inner: &str) -> String {
    let stands_alone = inner.starts_with('/') || inner.contains("://");
    let folder = outer.rfind('/').map_or("", |end| &outer[..=end]);
    if stands_alone { inner.to_owned() } else { format!("{folder}{inner}") }
}

/// `PT1M2.5S`: days, hours, minutes and seconds (XML Schema `duration`); years and months have no
/// length of their own.
fn duration_ms(text: &str) -> Option<u64> {
    let (days, time) = text.strip_prefix('P')?.split_once('T').unwrap_or((&text[1..], ""));
    let mut total = 0.0;
    for (part, units) in [(days, [('D', 86_400.0)].as_slice()), (time, &TIME_UNITS)] {
        let mut rest = part;
        while !rest.is_empty() {
            let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let number: f64 = rest[..end].parse().ok()?;
            let unit = rest[end..].chars().next()?;
            let (_, seconds) = units.iter().find(|(name, _)| *name == unit)?;
            total += number * seconds;
            rest = &rest[end + 1..];
        }
    }
    let bounded = std::time::Duration::try_from_secs_f64(total).ok()?;
    u64::try_from(bounded.as_millis()).ok()
}

const TIME_UNITS: [(char, f64); 3] = [('H', 3600.0), ('M', 60.0), ('S', 1.0)];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_root_says_it() {
        let live = br#"<?xml version="1.0"?><!-- x -->
            <MPD type="dynamic" minimumUpdatePeriod="PT2S" maxSegmentDuration="PT1M0.5S"><Period/></MPD>"#;
        let expected = Mpd {
            is_live: true,
            update_ms: Some(2000),
            segment_max_ms: Some(60_500),
            tracks: Vec::new(),
        };
        assert_eq!(read(live), Ok(expected));
        assert_eq!(read(b"<MPD type='static'/>"), Ok(Mpd::default()));
        assert_eq!(read(b"<html/>"), Err(MpdFault::NoMpd));
        assert_eq!(read(b""), Err(MpdFault::NoMpd));
        let wrong = b"<MPD minimumUpdatePeriod='2 s'/>";
        assert_eq!(read(wrong), Err(MpdFault::Duration("minimumUpdatePeriod")));
    }

    #[test]
    fn each_representation_has_its_segments() {
        let text = br#"<MPD type="static" mediaPresentationDuration="PT7S"><BaseURL>v/</BaseURL>
            <Period><AdaptationSet><SegmentTemplate media="$RepresentationID$/$Number%03d$.m4s" timescale="1000" duration="2000"/>
            <Representation id="hd" bandwidth="5000000"/>
            <Representation id="sd" bandwidth="1000000"><BaseURL>low/</BaseURL></Representation></AdaptationSet>
            <AdaptationSet><Representation id="a"><SegmentTemplate media="a-$Time$.m4s"><SegmentTimeline>
            <S t="0" d="48000" r="1"/><S d="100"/></SegmentTimeline></SegmentTemplate></Representation></AdaptationSet>
            </Period></MPD>"#;
        let mpd = read(text).unwrap();
        let listed: Vec<Vec<String>> =
            mpd.tracks.iter().map(|track| track.references(false, 0, 10)).collect();
        let all = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(listed[0], all("v/hd/001.m4s v/hd/002.m4s v/hd/003.m4s v/hd/004.m4s"));
        assert_eq!(listed[1][0], "v/low/sd/001.m4s");
        assert_eq!(listed[2], all("v/a-0.m4s v/a-48000.m4s v/a-96000.m4s"));
    }

    #[test]
    fn a_base_elsewhere_stands_alone() {
        assert_eq!(joined("a/b.mpd", "c/"), "a/c/");
        assert_eq!(joined("a/", "https://cdn.example/x/"), "https://cdn.example/x/");
        assert_eq!(joined("https://cdn.example/x/", "y/"), "https://cdn.example/x/y/");
        assert_eq!(joined("a/", "/y/"), "/y/");
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("PT0S", 0), ("P1DT1H", 90_000_000), ("PT1.25S", 1250), ("P1D", 86_400_000)]
        {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for text in ["", "P1Y", "PT1X", "PTS", "1S", "PT-1S", "PT1e400S"] {
            assert_eq!(duration_ms(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "<MPD .{0,80}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }

        #[test]
        fn any_text_is_a_duration_or_none(text in "P[0-9DTHMS.é]{0,12}") {
            let _ = duration_ms(&text);
        }
    }
}
