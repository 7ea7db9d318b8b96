//! Whether the client has it already (RFC 9110 section 13), and what the origin is asked.

use http::header::{
    CACHE_CONTROL, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, PRAGMA, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::cache::date::date_ms;
use crate::cache::directives::split_unquoted;

/// Fields of a client's request that a fill leaves out: it wants the whole.
pub const LEFT_OUT: [HeaderName; 4] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE];

/// Whether a field of a request says on which condition, how much of an answer or how fresh a one is asked for.
pub fn is_particular(name: &HeaderName) -> bool {
    name.as_str().starts_with("if-") || matches!(*name, RANGE | CACHE_CONTROL | PRAGMA)
}

/// Preconditions that only the origin can judge: such a request is passed through.
pub fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a 304 answers the request. `If-None-Match` compares weakly and wins over
/// `If-Modified-Since` (RFC 9110 section 13.2.2).
pub fn is_not_modified(request: &HeaderMap, response: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let tag = response.get(ETAG).map(HeaderValue::as_bytes);
        let mut members = request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|value| split_unquoted(value.as_bytes()).map(<[u8]>::trim_ascii));
        return members
            .any(|member| member == b"*" || tag.is_some_and(|tag| opaque(member) == opaque(tag)));
    }
    let Some(since) = request.get(IF_MODIFIED_SINCE).and_then(text).and_then(date_ms) else {
        return false;
    };
    let changed = [LAST_MODIFIED, DATE].iter().find_map(|name| response.get(name));
    let changed = changed.and_then(text).and_then(date_ms);
    changed.is_some_and(|changed| changed <= since)
}

/// Whether a `Range` counts: there is no `If-Range`, or it names exactly what is stored. Tags
/// compare strongly, dates must be the very same (RFC 9110 section 13.1.5).
pub fn range_counts(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(wanted) = request.get(IF_RANGE).map(HeaderValue::as_bytes) else { return true };
    if wanted.ends_with(b"\"") {
        return strong_tag(response).is_some_and(|tag| tag.as_bytes() == wanted);
    }
    response.get(LAST_MODIFIED).is_some_and(|changed| changed.as_bytes() == wanted)
}

/// The validator that proves bytes to be the same bytes, if there is one.
pub fn strong_tag(response: &HeaderMap) -> Option<&HeaderValue> {
    let tag = response.get(ETAG)?;
    let bytes = tag.as_bytes();
    (bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"")).then_some(tag)
}

/// What asks the origin whether a stored answer still holds (RFC 9111 section 4.3.1). A date of the
/// very second in which the answer was made says nothing of the rest of that second (RFC 9110 section
/// 8.8.2.2): a playlist written twice in it would be taken for unchanged.
pub fn validators(response: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let tag = response.get(ETAG).map(|tag| (IF_NONE_MATCH, tag.clone()));
    let at = |name: &HeaderName| response.get(name).and_then(text).and_then(date_ms);
    let settled = match (at(&LAST_MODIFIED), at(&DATE)) {
        (Some(changed), Some(date)) => changed < date,
        _ => true,
    };
    let changed = response.get(LAST_MODIFIED).filter(|_| settled);
    let changed = changed.map(|date| (IF_MODIFIED_SINCE, date.clone()));
    tag.into_iter().chain(changed).collect()
}

/// Whether a 304 is about what is stored: it names no version, or the one that is stored (RFC 9111 section
/// 4.3.4). Compared weakly: where bodies are compressed on their way, tags are strong in a 304 alone.
pub fn is_about(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    let Some(tag) = not_modified.get(ETAG) else { return true };
    match stored.get(ETAG) {
        Some(known) => opaque(known.as_bytes()) == opaque(tag.as_bytes()),
        None => {
            let changed = stored.get(LAST_MODIFIED);
            changed.is_some() && changed == not_modified.get(LAST_MODIFIED)
        }
    }
}

/// A tag without its mark of weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn tags_compare_weakly_and_win_over_dates() {
        let stored = headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, EARLY)]);
        let cases: &[(&[(HeaderName, &str)], bool)] = &[
            (&[(IF_NONE_MATCH, "\"a\"")], true),
            (&[(IF_NONE_MATCH, "W/\"a\"")], true),
            (&[(IF_NONE_MATCH, "\"b\", \"a\"")], true),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_NONE_MATCH, "\"a\"")], true),
            (&[(IF_NONE_MATCH, "*")], true),
            (&[(IF_NONE_MATCH, "\"b\"")], false),
            (&[(IF_NONE_MATCH, "a")], false),
            (&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, LATE)], false),
            (&[(IF_MODIFIED_SINCE, EARLY)], true),
            (&[(IF_MODIFIED_SINCE, LATE)], true),
            (&[(IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT")], false),
            (&[(IF_MODIFIED_SINCE, "yesterday")], false),
            (&[], false),
        ];
        for (request, expected) in cases {
            assert_eq!(is_not_modified(&headers(request), &stored), *expected, "{request:?}");
        }
        assert!(is_not_modified(&headers(&[(IF_NONE_MATCH, "*")]), &HeaderMap::new()));
    }

    type Fields<'a> = &'a [(HeaderName, &'a str)];

    #[test]
    fn a_304_of_another_version_is_not_about_what_is_stored() {
        let cases: &[(Fields<'_>, Fields<'_>, bool)] = &[
            (&[(ETAG, "\"a\"")], &[], true),
            (&[(ETAG, "\"a\"")], &[(ETAG, "\"a\"")], true),
            (&[(ETAG, "W/\"a\"")], &[(ETAG, "\"a\"")], true),
            (&[(ETAG, "\"a\"")], &[(ETAG, "\"b\"")], false),
            (&[(ETAG, "\"a\"")], &[(ETAG, "W/\"b\"")], false),
            (
                &[(ETAG, "\"a\""), (LAST_MODIFIED, EARLY)],
                &[(ETAG, "\"b\""), (LAST_MODIFIED, EARLY)],
                false,
            ),
            (&[(LAST_MODIFIED, EARLY)], &[(ETAG, "\"b\""), (LAST_MODIFIED, EARLY)], true),
            (&[(LAST_MODIFIED, EARLY)], &[(ETAG, "\"b\""), (LAST_MODIFIED, LATE)], false),
            (&[(LAST_MODIFIED, EARLY)], &[(ETAG, "\"b\"")], false),
            (&[(LAST_MODIFIED, EARLY)], &[(LAST_MODIFIED, EARLY)], true),
        ];
        for (stored, said, expected) in cases {
            let (stored, said) = (headers(stored), headers(said));
            assert_eq!(is_about(&stored, &said), *expected, "{stored:?} {said:?}");
        }
    }

    #[test]
    fn a_date_of_the_same_second_asks_nothing() {
        let asked = |fields: &[(HeaderName, &str)]| validators(&headers(fields)).len();
        assert_eq!(asked(&[(LAST_MODIFIED, EARLY), (DATE, LATE)]), 1);
        assert_eq!(asked(&[(LAST_MODIFIED, EARLY), (DATE, EARLY)]), 0);
        assert_eq!(asked(&[(LAST_MODIFIED, EARLY), (ETAG, "\"a\"")]), 2);
    }

    #[test]
    fn if_range_compares_strongly() {
        let strong = headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, EARLY)]);
        let weak = headers(&[(ETAG, "W/\"a\"")]);
        let asks = |value: &str| headers(&[(IF_RANGE, value)]);
        assert!(range_counts(&HeaderMap::new(), &strong));
        assert!(range_counts(&asks("\"a\""), &strong));
        assert!(range_counts(&asks(EARLY), &strong));
        for value in ["\"b\"", "W/\"a\"", LATE, ""] {
            assert!(!range_counts(&asks(value), &strong), "{value}");
        }
        for value in ["\"a\"", "W/\"a\""] {
            assert!(!range_counts(&asks(value), &weak), "{value}");
        }
        assert!(strong_tag(&weak).is_none() && strong_tag(&strong).is_some());
    }
}
