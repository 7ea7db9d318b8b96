//! What clients and origins write, mutated in the same thousand ways each time: whatever comes of it, the
//! parsers read it or refuse it, and what they read holds. The targets in `fuzz/` are given the
//! same, and go further there, guided by coverage.

use forebay_proxy::cache::directives::Directives;
use forebay_proxy::cache::range::{Wanted, wanted};
use forebay_proxy::video::playlist::Playlist;
use forebay_proxy::video::{cmcd, mpd, playlist};
use http::header::{CACHE_CONTROL, RANGE};
use http::{HeaderMap, HeaderValue};

use super::fuzzed;

const MUTANTS: usize = 4000;

/// Draws that are the same in every run.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// Cuts, doubles, swaps and splices of a seed, with tokens of the format thrown in.
fn mutants(seeds: &[&str], tokens: &[&str], mut each: impl FnMut(&[u8])) {
    let mut draws = Draws(27);
    for _ in 0..MUTANTS {
        let mut bytes = seeds[draws.below(seeds.len())].as_bytes().to_vec();
        for _ in 0..=draws.below(4) {
            let at = draws.below(bytes.len() + 1);
            let to = (at + draws.below(12)).min(bytes.len());
            match draws.below(6) {
                0 => drop(bytes.drain(at..to)),
                1 => {
                    let part = bytes[at..to].to_vec();
                    bytes.splice(at..at, part);
                }
                2 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
                3 => bytes.truncate(at),
                4 => {
                    let token = tokens[draws.below(tokens.len())];
                    bytes.splice(at..to, token.bytes());
                }
                _ => {
                    let other = seeds[draws.below(seeds.len())].as_bytes();
                    bytes.splice(at.., other[draws.below(other.len())..].iter().copied());
                }
            }
        }
        each(&bytes);
    }
}

const NUMBERS: [&str; 7] =
    ["0", "-1", "1", "99999999999999999999", "18446744073709551615", "4294967296", "0.5"];

fn with(name: http::HeaderName, value: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_bytes(value).ok()?);
    Some(headers)
}

#[test]
fn ranges_lie_within_their_object_or_are_none() {
    let seeds =
        ["bytes=0-499", "bytes=-500", "bytes=9500-", "bytes=0-0,-1", "bytes=500-600,601-999"];
    let mut parts = 0;
    mutants(&seeds, &[&NUMBERS[..], &["-", ",", "bytes=", " "]].concat(), |bytes| {
        fuzzed::range::run(bytes);
        let Some(headers) = with(RANGE, bytes) else { return };
        for length in [0, 1, 500, 10_000, u64::MAX] {
            if let Wanted::Part { first, end } = wanted(&headers, length) {
                assert!(first < end && end <= length, "{bytes:?}: {first}..{end} of {length}");
                parts += 1;
            }
        }
    });
    assert!(parts > MUTANTS / 4, "{parts} of them were ranges");
}

#[test]
fn cache_control_never_becomes_looser_by_what_stands_beside() {
    let seeds = [
        "max-age=60, no-store",
        "no-store, private=\"set-cookie, x\", s-maxage=\"7\"",
        "public, max-age=0, stale-while-revalidate=5, no-store",
    ];
    let tokens = [&NUMBERS[..], &["\"", "\\\"", ",", "=", "no-cache", ";"]].concat();
    mutants(&seeds, &tokens, |bytes| {
        fuzzed::cache_control::run(bytes);
        let Some(mut headers) = with(CACHE_CONTROL, bytes) else { return };
        let alone = Directives::of_response(&headers);
        let _ = Directives::of_request(&headers);
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        assert!(Directives::of_response(&headers).no_store, "{bytes:?}");
        headers.remove(CACHE_CONTROL);
        headers.append(CACHE_CONTROL, HeaderValue::from_bytes(bytes).unwrap());
        assert_eq!(Directives::of_response(&headers).no_store, alone.no_store);
    });
}

#[test]
fn playlists_count_what_they_list() {
    let seeds = [
        "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:6,\na.ts\n#EXTINF:6,\nb.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n#EXT-X-PART-INF:PART-TARGET=0.3\n\
         #EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:4,\nc.ts\n#EXT-X-PART:URI=\"d.1.ts\",DURATION=0.3\n",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n",
    ];
    let tokens =
        [&NUMBERS[..], &["\n", "\"", "#EXTINF:", "#EXT-X-SKIP:SKIPPED-SEGMENTS=", "\u{feff}"]]
            .concat();
    let mut read = 0;
    mutants(&seeds, &tokens, |bytes| {
        fuzzed::playlist::run(bytes);
        if let Ok(Playlist::Media(media)) = playlist::read(bytes) {
            assert!(media.segments.len() <= bytes.len());
            assert!(media.last().is_none_or(|last| last >= media.first));
            read += 1;
        }
    });
    assert!(read > MUTANTS / 20, "{read} of them were playlists");
}

#[test]
fn manifests_list_no_more_than_is_asked_for() {
    let seeds = [
        "<MPD type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:00:10Z\" minimumUpdatePeriod=\"PT2S\"><Period start=\"PT5S\">\
         <AdaptationSet><SegmentTemplate media=\"$RepresentationID$/$Number%05d$.m4s\" timescale=\"1000\" duration=\"2000\" \
         startNumber=\"3\"/><Representation id=\"a\" bandwidth=\"9\"/></AdaptationSet></Period></MPD>",
        "<?xml version=\"1.0\"?><MPD mediaPresentationDuration=\"PT1H\"><BaseURL>x/</BaseURL><Period><AdaptationSet>\
         <Representation id=\"b\"><SegmentTemplate media=\"$Time$.m4s\"><SegmentTimeline><S t=\"0\" d=\"5\" r=\"-1\"/>\
         <S t=\"90\" d=\"1\"/></SegmentTimeline></SegmentTemplate></Representation></AdaptationSet></Period></MPD>",
    ];
    let tokens = [
        &NUMBERS[..],
        &["<S/>", "<Period>", "$", "%", "&amp;", "&#0;", "\"", "r=\"-1\"", "]]>", "<!--"],
    ]
    .concat();
    let mut tracks = 0;
    mutants(&seeds, &tokens, |bytes| {
        fuzzed::mpd::run(bytes);
        let Ok(mpd) = mpd::read(bytes) else { return };
        for track in &mpd.tracks {
            for (live, now_ms) in [(true, 60_000), (false, 0), (true, u64::MAX)] {
                assert!(track.references(live, now_ms, 7).len() <= 7);
            }
            tracks += 1;
        }
    });
    assert!(tracks > MUTANTS / 20, "{tracks} of them had segments");
}

#[test]
fn what_players_tell_stays_within_its_bounds() {
    let seeds = [
        "CMCD=br%3D3200%2Cbl%3D21300%2Csid%3D%226e2fb550%22%2Cnor%3D%22s5.m4s%22%2Csu",
        "a=b&CMCD=v%3D2%2Cbl%3D(2300)%2Cmsd%3D450%2Cbs%2Ccid%3D%22film%22",
    ];
    let tokens = [&NUMBERS[..], &["%22", "%2C", "%", "%00", "(", ";", "CMCD=", "&"]].concat();
    let mut told = 0;
    mutants(&seeds, &tokens, |bytes| {
        fuzzed::cmcd::run(bytes);
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Some(Ok(report)) = cmcd::read(Some(text), &HeaderMap::new()) {
            for id in [&report.content, &report.session].into_iter().flatten() {
                assert!(id.len() <= cmcd::BYTES_MAX);
            }
            told += 1;
        }
    });
    assert!(told > MUTANTS / 20, "{told} of them told something");
}
