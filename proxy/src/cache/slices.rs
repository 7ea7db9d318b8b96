//! Large objects in slices: which bytes a slice has, what the origin is asked first when nothing is known of an
//! object, and whether a reply is the part that was asked for. Pure.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::cache::conditional::strong_tag;
use crate::cache::date::date_ms;
use crate::cache::key::Key;

/// A date proves bytes to be the same when they were this old when it was said: nothing is written twice
/// unseen within its second (RFC 9110 section 8.8.2.2).
const SETTLED_MS: u64 = 60_000;

/// What a policy says of slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub size: u64,
    /// Slices fetched beyond the one that is being read.
    pub read_ahead: u64,
    /// Objects below it are stored whole, as long as they may be.
    pub object_min: u64,
}

/// Bytes from `begin` up to and without `end`; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: u64,
    pub end: u64,
}

impl Span {
    pub fn length(self) -> u64 {
        self.end - self.begin
    }

    /// The `Range` that asks for it.
    pub fn field(self) -> (HeaderName, HeaderValue) {
        let last = self.end.saturating_sub(1);
        let value = HeaderValue::try_from(format!("bytes={}-{last}", self.begin));
        // Digits are always a valid value.
        (RANGE, value.unwrap_or_else(|_| HeaderValue::from_static("bytes=0-0")))
    }
}

/// How a stored object is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Names this version of the object: its slices are found by it, and by nothing else.
    pub id: u64,
    pub size: u64,
}

impl Layout {
    pub fn index(self, at: u64) -> u64 {
        at / self.size
    }

    /// The bytes of a slice of an object of this length.
    pub fn span(self, index: u64, length: u64) -> Span {
        let begin = index.saturating_mul(self.size);
        Span { begin, end: begin.saturating_add(self.size).min(length) }
    }

    /// What a slice is stored under. A fragment is in no URI that is asked for, so it meets no other key.
    pub fn key(self, of: &Key, index: u64) -> Key {
        let uri = format!("{}#{:016x}.{index}", of.uri, self.id);
        Key { uri: uri.into(), extras: of.extras.clone() }
    }
}

/// What the origin is asked when nothing is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    Slice(u64),
    /// As many bytes from the end as a slice has: they hold the last slice, whatever the length is.
    Last,
}

impl Probe {
    /// The part that holds the first byte the request wants, as far as that can be told.
    pub fn of(request: &HeaderMap, rules: &Rules) -> Probe {
        let mut values = request.get_all(RANGE).iter();
        let first = match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(text), None) => text.split(',').next().and_then(|text| text.split_once('=')),
            _ => None,
        };
        let range = first.filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
        let Some((first, last)) = range.and_then(|(_, range)| range.trim().split_once('-')) else {
            return Probe::Slice(0);
        };
        if first.trim().is_empty() {
            let some = last.trim().bytes().any(|byte| (b'1'..=b'9').contains(&byte));
            return if some { Probe::Last } else { Probe::Slice(0) };
        }
        // Numbers beyond what servers count with are not passed on.
        let at = first.trim().parse::<u64>().ok().filter(|at| *at <= u64::MAX >> 2);
        Probe::Slice(at.unwrap_or(0) / rules.size)
    }

    pub fn field(self, size: u64) -> (HeaderName, HeaderValue) {
        match self {
            Probe::Slice(index) => Layout { id: 0, size }.span(index, u64::MAX).field(),
            Probe::Last => {
                let value = HeaderValue::try_from(format!("bytes=-{size}"));
                (RANGE, value.unwrap_or_else(|_| HeaderValue::from_static("bytes=-1")))
            }
        }
    }
}

/// The part of an object that a 206 holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub span: Span,
    pub total: u64,
}

/// Reads a 206; `None` when it is not one part of an object of known length, or contradicts itself.
pub fn part(reply: &HeaderMap) -> Option<Part> {
    let (first, last, total) = content_range(reply.get(CONTENT_RANGE)?.to_str().ok()?)?;
    let (span, total) = (Span { begin: first, end: last + 1 }, total?);
    let said = reply.get(CONTENT_LENGTH).map(|length| length.to_str().ok()?.parse().ok());
    let fits = said.is_none_or(|length| length == Some(span.length()));
    (fits && span.end <= total).then_some(Part { span, total })
}

/// `bytes 10-19/100` or `bytes 10-19/*`, first and last included.
pub fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = text.split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
    (unit.eq_ignore_ascii_case("bytes") && first <= last && last < u64::MAX)
        .then_some((first, last, total))
}

/// What was learned of an object from the 206 that answers a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// All of it came; so many bytes.
    Whole(u64),
    /// It is to be kept in slices. `index` is the one whose bytes follow, after so many of the one before.
    Large { total: u64, index: u64, skip: u64 },
    /// It is to be kept whole, if at all; so many bytes.
    Middling(u64),
    /// It is too large for that, and nothing would prove two slices to be of the same bytes.
    Unproven,
    /// Another part came than was asked for.
    Unfit,
}

/// `whole_max` is the largest body that is stored whole.
pub fn learn(probe: Probe, rules: &Rules, whole_max: u64, reply: &HeaderMap) -> Learned {
    let Some(Part { span, total }) = part(reply) else { return Learned::Unfit };
    if span == (Span { begin: 0, end: total }) {
        return Learned::Whole(total);
    }
    let layout = Layout { id: 0, size: rules.size };
    let index = layout.index(span.end - 1);
    let slice = layout.span(index, total);
    let as_asked = match probe {
        Probe::Slice(asked) => asked == index && span == slice,
        Probe::Last => span.end == total && span.length() == rules.size,
    };
    let is_proven = validator(reply).is_some();
    match total > whole_max {
        _ if !as_asked => Learned::Unfit,
        false if total < rules.object_min || !is_proven => Learned::Middling(total),
        true if !is_proven => Learned::Unproven,
        _ => Learned::Large { total, index, skip: slice.begin - span.begin },
    }
}

/// The field that proves two parts to be of the same bytes, if there is one.
pub fn validator(head: &HeaderMap) -> Option<(HeaderName, &HeaderValue)> {
    if let Some(tag) = strong_tag(head) {
        return Some((ETAG, tag));
    }
    let at = |name: &HeaderName| head.get(name).and_then(|value| date_ms(value.to_str().ok()?));
    let settled = at(&LAST_MODIFIED)? + SETTLED_MS <= at(&DATE)?;
    let changed = head.get(LAST_MODIFIED).filter(|_| settled && !head.contains_key(ETAG))?;
    Some((LAST_MODIFIED, changed))
}

/// Whether a 206 is this part of this object, and of no other version of it.
pub fn is_part(object: &HeaderMap, wanted: Part, reply: &HeaderMap) -> bool {
    let same = validator(object).is_some_and(|(name, value)| reply.get(name) == Some(value));
    same && part(reply) == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { size: 100, read_ahead: 2, object_min: 500 };

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap()));
        pairs.collect()
    }

    fn probe(range: &str) -> Probe {
        Probe::of(&headers(&[(RANGE, range)]), &RULES)
    }

    #[test]
    fn the_first_byte_wanted_is_asked_for() {
        for (range, expected) in [
            ("bytes=0-", Probe::Slice(0)),
            ("bytes=99-500", Probe::Slice(0)),
            ("Bytes= 100-500", Probe::Slice(1)),
            ("bytes=250-260,0-1", Probe::Slice(2)),
            ("bytes=-1", Probe::Last),
            ("bytes=-65536", Probe::Last),
            ("bytes=-0", Probe::Slice(0)),
            ("bytes=-", Probe::Slice(0)),
            ("bytes=x-", Probe::Slice(0)),
            ("items=500-", Probe::Slice(0)),
            ("bytes=18446744073709551615-", Probe::Slice(0)),
            ("bytes=99999999999999999999999-", Probe::Slice(0)),
        ] {
            assert_eq!(probe(range), expected, "{range}");
        }
        assert_eq!(Probe::of(&HeaderMap::new(), &RULES), Probe::Slice(0));
        assert_eq!(Probe::Slice(2).field(100).1, "bytes=200-299");
        assert_eq!(Probe::Last.field(100).1, "bytes=-100");
    }

    fn learned(probe: Probe, range: &str, tag: &str) -> Learned {
        let reply = headers(&[(CONTENT_RANGE, range), (ETAG, tag)]);
        learn(probe, &RULES, 800, &reply)
    }

    #[test]
    fn only_what_was_asked_for_tells_of_an_object() {
        let large = |total, index, skip| Learned::Large { total, index, skip };
        let tag = "\"a\"";
        for (asked, range, expected) in [
            (Probe::Slice(0), "bytes 0-99/1000", large(1000, 0, 0)),
            (Probe::Slice(9), "bytes 900-949/950", large(950, 9, 0)),
            (Probe::Last, "bytes 850-949/950", large(950, 9, 50)),
            (Probe::Last, "bytes 900-999/1000", large(1000, 9, 0)),
            (Probe::Slice(0), "bytes 0-39/40", Learned::Whole(40)),
            (Probe::Last, "bytes 0-99/100", Learned::Whole(100)),
            (Probe::Slice(0), "bytes 0-99/499", Learned::Middling(499)),
            (Probe::Slice(0), "bytes 0-98/1000", Learned::Unfit),
            (Probe::Slice(1), "bytes 0-99/1000", Learned::Unfit),
            (Probe::Slice(0), "bytes 0-199/1000", Learned::Unfit),
            (Probe::Last, "bytes 849-948/950", Learned::Unfit),
            (Probe::Last, "bytes 949-949/950", Learned::Unfit),
            (Probe::Slice(0), "bytes 0-99/*", Learned::Unfit),
            (Probe::Slice(0), "bytes 0-99/50", Learned::Unfit),
            (Probe::Slice(0), "bytes */1000", Learned::Unfit),
        ] {
            assert_eq!(learned(asked, range, tag), expected, "{range}");
        }
        let unproven = |range| learned(Probe::Slice(0), range, "W/\"a\"");
        assert_eq!(unproven("bytes 0-99/1000"), Learned::Unproven);
        assert_eq!(unproven("bytes 0-99/800"), Learned::Middling(800), "it may be kept whole");
        let lying = headers(&[(CONTENT_RANGE, "bytes 0-99/1000"), (CONTENT_LENGTH, "99")]);
        assert_eq!(part(&lying), None);
        let reply = headers(&[(CONTENT_RANGE, "bytes 0-99/400"), (ETAG, tag)]);
        let unstorable_whole = learn(Probe::Slice(0), &RULES, 300, &reply);
        assert_eq!(unstorable_whole, large(400, 0, 0), "too large to be stored whole");
    }

    #[test]
    fn versions_are_never_mixed() {
        let wanted = Part { span: Span { begin: 100, end: 200 }, total: 1000 };
        let is = |object: &[(HeaderName, &str)], reply: &[(HeaderName, &str)]| {
            let mut reply = headers(reply);
            reply.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 100-199/1000"));
            is_part(&headers(object), wanted, &reply)
        };
        let (early, late) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:37 GMT");
        assert!(is(&[(ETAG, "\"a\"")], &[(ETAG, "\"a\"")]));
        assert!(!is(&[(ETAG, "\"a\"")], &[(ETAG, "\"b\"")]));
        assert!(!is(&[(ETAG, "\"a\"")], &[]));
        assert!(!is(&[(ETAG, "W/\"a\"")], &[(ETAG, "W/\"a\"")]));
        let dated = [(LAST_MODIFIED, early), (DATE, late)];
        assert!(is(&dated, &[(LAST_MODIFIED, early)]));
        assert!(!is(&dated, &[(LAST_MODIFIED, late)]));
        assert!(!is(&[(LAST_MODIFIED, early), (DATE, early)], &[(LAST_MODIFIED, early)]));
        let other = headers(&[(ETAG, "\"a\""), (CONTENT_RANGE, "bytes 100-198/1000")]);
        assert!(!is_part(&headers(&[(ETAG, "\"a\"")]), wanted, &other));
    }

    proptest! {
        /// The slices of an object are its bytes, each once.
        #[test]
        fn slices_cover_an_object(size in 1u64..5000, length in 1u64..100_000, at: u64) {
            let layout = Layout { id: 1, size };
            let mut next = 0;
            for index in 0..=layout.index(length - 1) {
                let span = layout.span(index, length);
                prop_assert_eq!(span.begin, next);
                prop_assert!(span.length() > 0 && span.length() <= size);
                next = span.end;
            }
            prop_assert_eq!(next, length);
            let at = at % length;
            let span = layout.span(layout.index(at), length);
            prop_assert!(span.begin <= at && at < span.end);
        }

        /// What a right origin says to a probe is understood, and holds the byte that was wanted.
        #[test]
        fn a_right_answer_is_learned_from(length in 500u64..100_000, first: u64, suffix in 1u64..200_000) {
            let first = first % length;
            for (range, byte) in [
                (format!("bytes={first}-"), Some(first)),
                (format!("bytes=-{suffix}"), (suffix <= RULES.size).then(|| length - suffix.min(length))),
            ] {
                let probe = probe(&range);
                let span = match probe {
                    Probe::Slice(index) => Layout { id: 0, size: RULES.size }.span(index, length),
                    Probe::Last => Span { begin: length.saturating_sub(RULES.size), end: length },
                };
                let reply = format!("bytes {}-{}/{length}", span.begin, span.end - 1);
                match learned(probe, &reply, "\"a\"") {
                    Learned::Large { total, index, skip } => {
                        let slice = Layout { id: 0, size: RULES.size }.span(index, total);
                        prop_assert_eq!((total, span.begin + skip, slice.end), (length, slice.begin, span.end));
                        // Of a suffix that begins a slice earlier, the rest is asked for next.
                        prop_assert!(byte.is_none_or(|b| b < slice.end && b + RULES.size >= slice.begin));
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }

        #[test]
        fn arbitrary_replies_never_panic(range in "[bytes 0-9/*-]{0,40}", length in "[0-9]{0,25}", asked: u64) {
            let reply = headers(&[(CONTENT_RANGE, range.as_str()), (CONTENT_LENGTH, &length), (ETAG, "\"a\"")]);
            if let Some(part) = part(&reply) {
                prop_assert!(part.span.begin < part.span.end && part.span.end <= part.total);
            }
            learn(Probe::Slice(asked), &RULES, 800, &reply);
            Probe::Slice(asked).field(RULES.size);
            Probe::of(&headers(&[(RANGE, &range)]), &RULES);
        }
    }
}
