//! DASH manifests (ISO/IEC 23009-1): what the root element says about when to look again.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use thiserror::Error;

/// Events before the root element: a declaration, comments, a style sheet.
const PROLOGUE_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mpd {
    /// `type="dynamic"`: more is to come.
    pub is_live: bool,
    pub update_ms: Option<u64>,
    pub segment_max_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MpdFault {
    #[error("it is not well-formed XML")]
    Malformed,
    #[error("its root element is not MPD")]
    NoMpd,
    #[error("`{0}` is not a duration")]
    Duration(&'static str),
}

pub fn read(bytes: &[u8]) -> Result<Mpd, MpdFault> {
    let mut reader = Reader::from_reader(bytes);
    for _ in 0..PROLOGUE_MAX {
        match reader.read_event().map_err(|_| MpdFault::Malformed)? {
            Event::Start(root) | Event::Empty(root) if root.local_name().as_ref() == b"MPD" => {
                return of_root(&root);
            }
            Event::Start(_) | Event::Empty(_) | Event::Eof => return Err(MpdFault::NoMpd),
            _ => {}
        }
    }
    Err(MpdFault::NoMpd)
}

fn of_root(root: &BytesStart<'_>) -> Result<Mpd, MpdFault> {
    let mut mpd = Mpd::default();
    for attribute in root.attributes() {
        let attribute = attribute.map_err(|_| MpdFault::Malformed)?;
        let value = std::str::from_utf8(&attribute.value).map_err(|_| MpdFault::Malformed)?;
        match attribute.key.as_ref() {
            b"type" => mpd.is_live = value == "dynamic",
            b"minimumUpdatePeriod" => {
                let fault = MpdFault::Duration("minimumUpdatePeriod");
                mpd.update_ms = Some(duration_ms(value).ok_or(fault)?);
            }
            b"maxSegmentDuration" => {
                let fault = MpdFault::Duration("maxSegmentDuration");
                mpd.segment_max_ms = Some(duration_ms(value).ok_or(fault)?);
            }
            _ => {}
        }
    }
    Ok(mpd)
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
        let expected = Mpd { is_live: true, update_ms: Some(2000), segment_max_ms: Some(60_500) };
        assert_eq!(read(live), Ok(expected));
        assert_eq!(read(b"<MPD type='static'/>"), Ok(Mpd::default()));
        assert_eq!(read(b"<html/>"), Err(MpdFault::NoMpd));
        assert_eq!(read(b""), Err(MpdFault::NoMpd));
        let wrong = b"<MPD minimumUpdatePeriod='2 s'/>";
        assert_eq!(read(wrong), Err(MpdFault::Duration("minimumUpdatePeriod")));
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
