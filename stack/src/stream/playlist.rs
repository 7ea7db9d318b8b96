//! As much of an HLS playlist (RFC 8216) as health needs.

/// What a media playlist says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// URI of the init segment (`EXT-X-MAP`).
    pub init: Option<String>,
    /// Segments listed.
    pub segments: usize,
}

/// Reads the tags health is judged by and skips every other.
pub fn summary(text: &str) -> Summary {
    let mut summary = Summary::default();
    for line in text.lines() {
        if let Some(attributes) = line.strip_prefix("#EXT-X-MAP:") {
            summary.init = attributes
                .split_once("URI=\"")
                .and_then(|(_, rest)| rest.split_once('"'))
                .map(|(uri, _)| uri.to_owned());
        } else if line.starts_with("#EXTINF:") {
            summary.segments += 1;
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ffmpeg_writes() {
        let text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:41\n\
            #EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:1.000000,\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-11-21T03:25:14.258+0000\nsegment-000041.m4s\n\
            #EXTINF:1.000000,\nsegment-000042.m4s\n";
        assert_eq!(summary(text), Summary { init: Some("init.mp4".to_owned()), segments: 2 });
        assert_eq!(summary(""), Summary::default());
    }
}
