//! Going on where a body broke off (RFC 9110 sections 13.1.5 and 14): only what is proven to be the
//! same bytes is put together.

use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::cache::conditional::strong_tag;
use crate::cache::slices::content_range;

/// How a reply to a resuming request is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It begins at the first missing byte.
    Follows,
    /// It is the same whole again: so many bytes are skipped.
    AfterSkipping(u64),
    /// It cannot be shown to be the rest of the same bytes.
    Unusable,
}

/// The fields that ask for the rest from `received` on; `None` without a strong validator.
pub fn fields(head: &HeaderMap, received: u64) -> Option<[(HeaderName, HeaderValue); 2]> {
    let tag = strong_tag(head)?;
    let range = HeaderValue::from_str(&format!("bytes={received}-")).ok()?;
    Some([(RANGE, range), (IF_RANGE, tag.clone())])
}

/// Judges a reply. `length` is the whole body's, where it is known.
pub fn judge(
    head: &HeaderMap,
    received: u64,
    length: Option<u64>,
    status: StatusCode,
    reply: &HeaderMap,
) -> Rest {
    // A part names its version as the whole would (RFC 9110 section 15.3.7); one that does not may be of any.
    let same_tag = strong_tag(head).is_some_and(|tag| reply.get(ETAG) == Some(tag));
    match status {
        StatusCode::PARTIAL_CONTENT if same_tag => {
            let place = reply.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            match place.and_then(content_range) {
                Some((first, last, total))
                    if first == received
                        && total.is_none_or(|total| last + 1 == total)
                        && (total.is_none() || length.is_none() || total == length)
                        && length.is_none_or(|length| last + 1 == length) =>
                {
                    Rest::Follows
                }
                _ => Rest::Unusable,
            }
        }
        StatusCode::OK if same_tag => Rest::AfterSkipping(received),
        _ => Rest::Unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap()));
        pairs.collect()
    }

    #[test]
    fn only_the_same_bytes_are_put_together() {
        let head = headers(&[(ETAG, "\"a\"")]);
        let partial = |tag: &str, range: &str| {
            let reply = headers(&[(ETAG, tag), (CONTENT_RANGE, range)]);
            judge(&head, 10, Some(100), StatusCode::PARTIAL_CONTENT, &reply)
        };
        assert_eq!(partial("\"a\"", "bytes 10-99/100"), Rest::Follows);
        assert_eq!(partial("\"a\"", "bytes 10-99/*"), Rest::Follows);
        for (tag, range) in [
            ("\"b\"", "bytes 10-99/100"),
            ("W/\"a\"", "bytes 10-99/100"),
            ("\"a\"", "bytes 9-99/100"),
            ("\"a\"", "bytes 10-98/100"),
            ("\"a\"", "bytes 10-99/101"),
            ("\"a\"", "bytes 10-100/101"),
            ("\"a\"", "bytes */100"),
            ("\"a\"", "bytes 10-18446744073709551615/*"),
            ("\"a\"", "nonsense"),
        ] {
            assert_eq!(partial(tag, range), Rest::Unusable, "{tag} {range}");
        }
        let untagged = headers(&[(CONTENT_RANGE, "bytes 10-99/100")]);
        let judged = judge(&head, 10, Some(100), StatusCode::PARTIAL_CONTENT, &untagged);
        assert_eq!(judged, Rest::Unusable, "a part without the tag may be of another version");
        let whole = |tag: &str, status| judge(&head, 10, None, status, &headers(&[(ETAG, tag)]));
        assert_eq!(whole("\"a\"", StatusCode::OK), Rest::AfterSkipping(10));
        assert_eq!(whole("\"b\"", StatusCode::OK), Rest::Unusable);
        assert_eq!(whole("\"a\"", StatusCode::BAD_GATEWAY), Rest::Unusable);
        assert_eq!(
            judge(&head, 10, None, StatusCode::OK, &HeaderMap::new()),
            Rest::Unusable,
            "a 200 without the tag may be anything"
        );
    }

    #[test]
    fn weak_validators_prove_nothing() {
        assert!(fields(&headers(&[(ETAG, "\"a\"")]), 5).is_some());
        assert!(fields(&headers(&[(ETAG, "W/\"a\"")]), 5).is_none());
        assert!(fields(&HeaderMap::new(), 5).is_none());
    }
}
