//! HLS playlists (RFC 8216 and its second edition, draft-pantos-hls-rfc8216bis), read as far as a cache
//! needs it: what is listed, up to where, and when to look again. Reading is by lines, as the format
//! is; crates for it know nothing of parts and skipped segments.

use thiserror::Error;

use crate::video::reload::Reload;

/// Segments of one playlist; a day of two-second segments has 43,200.
pub const SEGMENTS_MAX: usize = 50_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Playlist {
    Multivariant,
    Media(Media),
}

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    pub target_ms: u64,
    /// `PART-TARGET` of a low-latency playlist.
    pub part_target_ms: Option<u64>,
    /// Media sequence number of the first segment, skipped ones included.
    pub first: u64,
    /// Segments left out by `EXT-X-SKIP`.
    pub skipped: u64,
    /// References of whole segments, in order.
    pub segments: Vec<String>,
    /// Parts of the segment that is not whole yet.
    pub parts: u64,
    /// Nothing will be added.
    pub ended: bool,
    /// The origin holds requests for what is not there yet.
    pub can_block_reload: bool,
}

impl Media {
    /// Media sequence number of the last whole segment; `None` when there is none.
    pub fn last(&self) -> Option<u64> {
        let count = self.skipped.saturating_add(self.segments.len() as u64);
        (count > 0).then(|| self.first.saturating_add(count - 1))
    }

    /// Whether it has what a reload was to be held for.
    pub fn has(&self, reload: Reload) -> bool {
        let next = self.last().map_or(self.first, |last| last.saturating_add(1));
        let parts = if reload.msn == next { self.parts } else { 0 };
        reload.msn < next || reload.part.is_some_and(|part| part < parts)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlaylistFault {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("it does not begin with #EXTM3U")]
    NoSignature,
    #[error("it has neither variants nor a target duration")]
    NoKind,
    #[error("`{0}` has no number that can be used")]
    Number(&'static str),
    #[error("it lists more than {SEGMENTS_MAX} segments")]
    TooMany,
}

pub fn read(bytes: &[u8]) -> Result<Playlist, PlaylistFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| PlaylistFault::NotUtf8)?;
    let mut lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().map(str::trim_end);
    if lines.next() != Some("#EXTM3U") {
        return Err(PlaylistFault::NoSignature);
    }
    let mut media = Media::default();
    let (mut has_target, mut is_multivariant) = (false, false);
    for line in lines {
        if line.is_empty() {
            continue;
        }
        if !line.starts_with('#') {
            if media.segments.len() >= SEGMENTS_MAX {
                return Err(PlaylistFault::TooMany);
            }
            media.segments.push(line.to_owned());
            media.parts = 0;
            continue;
        }
        let Some(tag) = line.strip_prefix("#EXT-X-") else { continue };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "STREAM-INF" | "I-FRAME-STREAM-INF" | "MEDIA" => is_multivariant = true,
            "TARGETDURATION" => {
                has_target = true;
                media.target_ms = millis("EXT-X-TARGETDURATION", value)?;
            }
            "MEDIA-SEQUENCE" => {
                let number = value.trim().parse();
                media.first = number.map_err(|_| PlaylistFault::Number("EXT-X-MEDIA-SEQUENCE"))?;
            }
            "PART-INF" => {
                let target = attribute(value, "PART-TARGET").unwrap_or_default();
                media.part_target_ms = Some(millis("EXT-X-PART-INF", target)?);
            }
            "SKIP" => {
                let skipped = attribute(value, "SKIPPED-SEGMENTS").unwrap_or_default().parse();
                media.skipped = skipped.map_err(|_| PlaylistFault::Number("EXT-X-SKIP"))?;
            }
            "SERVER-CONTROL" => {
                media.can_block_reload = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
            }
            "PART" => media.parts += 1,
            "ENDLIST" => media.ended = true,
            _ => {}
        }
    }
    match (is_multivariant, has_target) {
        (true, false) => Ok(Playlist::Multivariant),
        (_, true) => Ok(Playlist::Media(media)),
        (false, false) => Err(PlaylistFault::NoKind),
    }
}

/// Seconds with or without a fraction, in milliseconds; above 0 and at most a day.
fn millis(tag: &'static str, text: &str) -> Result<u64, PlaylistFault> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let whole: u64 = whole.parse().map_err(|_| PlaylistFault::Number(tag))?;
    let digits = format!("{fraction:0<3}");
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let part: u64 = digits.get(..3).and_then(|three| three.parse().ok()).unwrap_or(0);
    let total = whole.saturating_mul(1000).saturating_add(part);
    let fits = (1..=24 * 3600 * 1000).contains(&total);
    if all_digits && fits { Ok(total) } else { Err(PlaylistFault::Number(tag)) }
}

/// The value of a name in an attribute list, without its quotes (RFC 8216 section 4.2).
fn attribute<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = list;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, tail) = quoted.split_once('"')?;
                (value, tail.strip_prefix(',').unwrap_or(""))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if name.trim() == wanted {
            return Some(value.trim());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn media(text: &str) -> Media {
        match read(text.as_bytes()).unwrap() {
            Playlist::Media(media) => media,
            Playlist::Multivariant => panic!("a media playlist: {text}"),
        }
    }

    #[test]
    fn a_live_window() {
        let read = media(
            "#EXTM3U\r\n#EXT-X-VERSION:7\r\n#EXT-X-TARGETDURATION:2\r\n#EXT-X-MEDIA-SEQUENCE:266\r\n\
             #EXTINF:2.0,\r\ns266.m4s\r\n#EXTINF:2.0,\r\ns267.m4s\r\n",
        );
        assert_eq!((read.target_ms, read.first, read.last()), (2000, 266, Some(267)));
        assert_eq!(read.segments, ["s266.m4s", "s267.m4s"]);
        assert!(!read.ended && !read.can_block_reload);
    }

    #[test]
    fn a_low_latency_playlist_with_skipped_segments() {
        let read = media(
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0\n\
             #EXT-X-PART-INF:PART-TARGET=0.33334\n#EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-SKIP:SKIPPED-SEGMENTS=8\n\
             #EXT-X-PART:DURATION=0.3,URI=\"a,b=c.mp4\"\n#EXTINF:4,\nseg108.mp4\n\
             #EXT-X-PART:DURATION=0.3,URI=\"p0.mp4\"\n#EXT-X-PART:DURATION=0.3,URI=\"p1.mp4\"\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p2.mp4\"\n",
        );
        assert_eq!((read.last(), read.parts, read.part_target_ms), (Some(108), 2, Some(333)));
        assert!(read.can_block_reload);
    }

    #[test]
    fn kinds_and_faults() {
        let multivariant = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n";
        assert_eq!(read(multivariant.as_bytes()), Ok(Playlist::Multivariant));
        assert!(
            media("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.ts\n#EXT-X-ENDLIST\n").ended
        );
        let faults: [(&[u8], PlaylistFault); 6] = [
            (b"<html>", PlaylistFault::NoSignature),
            (b"", PlaylistFault::NoSignature),
            (b"\xff#EXTM3U", PlaylistFault::NotUtf8),
            (b"#EXTM3U\n#EXTINF:1,\na.ts\n", PlaylistFault::NoKind),
            (
                b"#EXTM3U\n#EXT-X-TARGETDURATION:soon\n",
                PlaylistFault::Number("EXT-X-TARGETDURATION"),
            ),
            (b"#EXTM3U\n#EXT-X-TARGETDURATION:0\n", PlaylistFault::Number("EXT-X-TARGETDURATION")),
        ];
        for (text, fault) in faults {
            assert_eq!(read(text), Err(fault));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes);
            let _ = read(&[b"#EXTM3U\n".as_slice(), &bytes].concat());
        }

        #[test]
        fn the_last_number_counts_what_is_listed_and_what_is_skipped(
            first in 0u64..1_000_000, skipped in 0u64..50, count in 0usize..50,
        ) {
            let mut text = format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"
            );
            (0..count).for_each(|n| text.push_str(&format!("#EXTINF:2,\n{n}.ts\n")));
            let total = skipped + count as u64;
            prop_assert_eq!(media(&text).last(), (total > 0).then(|| first + total - 1));
        }
    }
}
