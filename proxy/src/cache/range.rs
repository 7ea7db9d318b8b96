//! Which bytes a request wants (`Range`, RFC 9110 section 14).

use http::HeaderMap;
use http::header::RANGE;

/// Ranges looked at in one request; a request with more gets the whole.
const RANGES_MAX: usize = 16;

/// What to send of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// From `first` up to and without `end`; never empty.
    Part {
        first: u64,
        end: u64,
    },
    /// Nothing of it exists: 416.
    Nothing,
}

/// Reads `Range` for a body of `length` bytes. A header that is not understood is as good as absent,
/// as is one whose ranges are apart: one 200 is simpler for everyone than parts in an envelope.
pub fn wanted(headers: &HeaderMap, length: u64) -> Wanted {
    match ranges(headers, length, RANGES_MAX) {
        None => Wanted::Whole,
        Some(ranges) if ranges.is_empty() => Wanted::Nothing,
        Some(ranges) => joined(ranges),
    }
}

/// The ranges that lie in a body of `length` bytes, first byte and the one behind the last, as they were asked for; `None`
/// when the request asks for no bytes, says so in no known way, or for more than `most`, those included that lie behind
/// the end.
pub fn ranges(headers: &HeaderMap, length: u64, most: usize) -> Option<Vec<(u64, u64)>> {
    let mut values = headers.get_all(RANGE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (unit, set) = value.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut found = Vec::new();
    let mut seen = 0;
    for range in set.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        seen += 1;
        if seen > most {
            return None;
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.trim_end(), last.trim_start());
        let range = if first.is_empty() {
            let suffix = number(last)?;
            (length.saturating_sub(suffix), length)
        } else {
            let first = number(first)?;
            let last = if last.is_empty() { u64::MAX } else { number(last)? };
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        };
        if range.0 < range.1 {
            found.push(range);
        }
    }
    (seen > 0).then_some(found)
}

/// A number beyond 64 bits is beyond every body.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// One part when the ranges touch or overlap.
fn joined(mut ranges: Vec<(u64, u64)>) -> Wanted {
    ranges.sort_unstable();
    let (first, mut end) = ranges[0];
    for (next, next_end) in ranges.into_iter().skip(1) {
        if next > end {
            return Wanted::Whole;
        }
        end = end.max(next_end);
    }
    Wanted::Part { first, end }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(text: &str, length: u64) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
        wanted(&headers, length)
    }

    #[test]
    fn ranges_behind_the_end_count_as_asked_for() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static("bytes=2-3, 200-, 0-1"));
        assert_eq!(ranges(&headers, 100, 3), Some(vec![(2, 4), (0, 2)]));
        assert_eq!(ranges(&headers, 100, 2), None);
        headers.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(ranges(&headers, 100, 9), None, "two fields");
    }

    #[test]
    fn every_shape() {
        let part = |first, end| Wanted::Part { first, end };
        let cases = [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 100)),
            ("bytes=10-19", part(10, 20)),
            ("Bytes= 10-19 ", part(10, 20)),
            ("bytes=90-1000", part(90, 100)),
            ("bytes=90-99999999999999999999999", part(90, 100)),
            ("bytes=-1", part(99, 100)),
            ("bytes=-500", part(0, 100)),
            ("bytes=0-9,10-19", part(0, 20)),
            ("bytes=10-19,0-12", part(0, 20)),
            ("bytes=0-9,500-600", part(0, 10)),
            ("bytes=0-9,20-29", Wanted::Whole),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=", Wanted::Whole),
            ("bytes=,", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=0x1-2", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("0-1", Wanted::Whole),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text, 100), expected, "{text}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Nothing);
        let many = format!("bytes={}", vec!["0-1"; RANGES_MAX + 1].join(","));
        assert_eq!(of(&many, 100), Wanted::Whole);
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        headers.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(wanted(&headers, 10), Wanted::Whole);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_stay_inside(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), length: u64,
        ) {
            let text = [b"bytes=".as_slice(), &bytes].concat();
            if let Ok(value) = HeaderValue::from_bytes(&text) {
                let mut headers = HeaderMap::new();
                headers.insert(RANGE, value);
                if let Wanted::Part { first, end } = wanted(&headers, length) {
                    prop_assert!(first < end && end <= length);
                }
            }
        }

        #[test]
        fn a_range_inside_is_answered_as_asked(first in 0u64..1000, count in 1u64..1000) {
            let got = of(&format!("bytes={first}-{}", first + count - 1), 2000);
            prop_assert_eq!(got, Wanted::Part { first, end: first + count });
        }
    }
}
