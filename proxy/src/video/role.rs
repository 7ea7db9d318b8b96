//! What an object is to a player, by its media type or else by the end of its name.

use http::HeaderMap;

use crate::headers::media_type;

/// Media types of segments that are named by no `video/` or `audio/`.
const SEGMENT_TYPES: [&str; 3] = ["application/mp4", "text/vtt", "application/ttml+xml"];
const SEGMENT_ENDINGS: [&str; 12] =
    ["ts", "m4s", "mp4", "m4v", "m4a", "cmfv", "cmfa", "cmft", "aac", "vtt", "webvtt", "webm"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Hls,
    Dash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Manifest(Format),
    /// A part of the stream that does not change once it is there.
    Segment,
    Other,
}

impl Role {
    /// Of an answer. A type that says nothing (`text/plain`, none) leaves it to the name.
    pub fn of(path: &str, headers: &HeaderMap) -> Role {
        let media_type = media_type(headers).to_ascii_lowercase();
        match media_type.as_str() {
            "application/vnd.apple.mpegurl"
            | "application/x-mpegurl"
            | "audio/mpegurl"
            | "audio/x-mpegurl" => Role::Manifest(Format::Hls),
            "application/dash+xml" => Role::Manifest(Format::Dash),
            _ if SEGMENT_TYPES.contains(&media_type.as_str()) => Role::Segment,
            // A playlist with the type of what it lists is a common fault of set-ups; its name is right.
            _ if media_type.starts_with("video/") || media_type.starts_with("audio/") => {
                match Role::by_name(path) {
                    manifest @ Role::Manifest(_) => manifest,
                    _ => Role::Segment,
                }
            }
            _ => Role::by_name(path),
        }
    }

    /// Of a request, before there is an answer.
    pub fn by_name(path: &str) -> Role {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        match ending.as_str() {
            "m3u8" | "m3u" => Role::Manifest(Format::Hls),
            "mpd" => Role::Manifest(Format::Dash),
            ending if SEGMENT_ENDINGS.contains(&ending) => Role::Segment,
            _ => Role::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    #[test]
    fn the_type_says_it_and_else_the_name() {
        let hls = Role::Manifest(Format::Hls);
        let cases = [
            ("/live/x.m3u8", "", hls),
            ("/live/x.M3U8", "text/plain; charset=utf-8", hls),
            ("/live/index", "application/vnd.apple.mpegurl", hls),
            ("/live/x.m3u8", "video/mp2t", hls),
            ("/film/x.mpd", "", Role::Manifest(Format::Dash)),
            ("/film/1.m4s", "video/iso.segment", Role::Segment),
            ("/film/1", "video/mp2t", Role::Segment),
            ("/film/en.vtt", "text/vtt", Role::Segment),
            ("/film/1.ts", "application/octet-stream", Role::Segment),
            ("/m4s", "", Role::Other),
            ("/x.html", "text/html", Role::Other),
            ("/x.m3u8.html", "text/html", Role::Other),
        ];
        for (path, media_type, expected) in cases {
            let mut headers = HeaderMap::new();
            if !media_type.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            }
            assert_eq!(Role::of(path, &headers), expected, "{path} {media_type}");
        }
    }
}
