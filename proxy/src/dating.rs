//! The date of an answer says when its origin made it (RFC 9110 section 6.6.1), and pingora writes its own over it.
//! On HTTP/1 heads pass by in [`crate::prompt`], and the date is put back. HTTP/2 has no such place: there an answer
//! that is fresh by `Expires` alone is told its lifetime, which would change with its date.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, DATE, EXPIRES};
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::cache::date::date_ms;
use crate::cache::freshness::single;
use crate::prompt;

/// Length of every date that is written today (RFC 9110 section 5.6.7); one that differs stays out.
const DATE_BYTES: usize = 29;

/// The date the next head is to go out with.
#[derive(Debug, Default)]
pub struct Dating(Mutex<Option<HeaderValue>>);

impl Dating {
    /// The head with its date put back; `None` when there is nothing to do. Interim responses have no
    /// date, and leave it to the head that follows them.
    pub fn of(&mut self, head: &[u8]) -> Option<Bytes> {
        if head.starts_with(b"HTTP/1.1 1") {
            return None;
        }
        self.0.get_mut().take().map(|date| dated(head, &date))
    }
}

/// Lets this head, the next but for interim responses, go out with its own date, or with what that meant.
pub fn keep_date(session: &Session, head: &mut ResponseHeader) {
    if head.status.is_informational() {
        return;
    }
    if session.is_http2() {
        if let Some(seconds) = seconds_by_dates(&head.headers) {
            // Text of this form is always taken.
            let _ = head.append_header(CACHE_CONTROL, format!("max-age={seconds}"));
        }
        return;
    }
    let date = head.headers.get(DATE).filter(|date| date.len() == DATE_BYTES);
    if let (Some(prompt), Some(date)) = (prompt::of(session), date) {
        *prompt.dating().0.lock() = Some(date.clone());
    }
}

/// How long an answer is fresh by `Expires` and `Date` (RFC 9111 section 4.2.1), where nothing goes before them.
fn seconds_by_dates(headers: &HeaderMap) -> Option<u64> {
    let says_age = |value: &HeaderValue| {
        value.as_bytes().to_ascii_lowercase().windows(7).any(|bytes| bytes == b"max-age")
    };
    if headers.get_all(CACHE_CONTROL).iter().any(says_age) {
        return None;
    }
    let expires_ms = single(headers, &EXPIRES).and_then(date_ms)?;
    let date_ms = single(headers, &DATE).and_then(date_ms)?;
    Some(expires_ms.checked_sub(date_ms)? / 1000)
}

/// The head with this date, no byte longer or shorter; as it was when it has none.
fn dated(head: &[u8], date: &HeaderValue) -> Bytes {
    const NAME: &[u8] = b"\r\ndate: ";
    let mut dated = head.to_vec();
    let at = head.windows(NAME.len()).position(|bytes| bytes.eq_ignore_ascii_case(NAME));
    if let Some(value) = at.map(|at| at + NAME.len()..at + NAME.len() + DATE_BYTES)
        && head.get(value.end..).is_some_and(|rest| rest.starts_with(b"\r\n"))
    {
        dated[value].copy_from_slice(date.as_bytes());
    }
    Bytes::from(dated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_replaced_and_nothing_else() {
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let head = b"HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 00:00:00 GMT\r\nA: b\r\n\r\nbody";
        let got = dated(head, &date);
        assert_eq!(
            &got[..],
            b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nA: b\r\n\r\nbody"
        );
        for other in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n", b""]
        {
            assert_eq!(&dated(other, &date)[..], other);
        }
    }

    #[test]
    fn interim_heads_leave_the_date_to_the_next() {
        let mut dating = Dating::default();
        *dating.0.lock() = Some(HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(dating.of(b"HTTP/1.1 103 Early Hints\r\n\r\n").is_none());
        assert!(dating.of(b"HTTP/1.1 200 OK\r\n\r\n").is_some());
        assert!(dating.of(b"HTTP/1.1 200 OK\r\n\r\n").is_none());
    }

    #[test]
    fn a_lifetime_is_told_where_it_hangs_on_the_date() {
        const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATE: &str = "Sun, 06 Nov 1994 08:50:37 GMT";
        type Fields = [(&'static str, &'static str)];
        let cases: &[(&Fields, Option<u64>)] = &[
            (&[("date", EARLY), ("expires", LATE)], Some(60)),
            (&[("date", EARLY), ("expires", EARLY)], Some(0)),
            (&[("date", EARLY), ("expires", LATE), ("cache-control", "s-maxage=5")], Some(60)),
            (&[("date", EARLY), ("expires", LATE), ("cache-control", "public, Max-Age=5")], None),
            (&[("date", LATE), ("expires", EARLY)], None),
            (&[("date", EARLY), ("expires", "0")], None),
            (&[("date", EARLY), ("expires", LATE), ("expires", LATE)], None),
            (&[("expires", LATE)], None),
            (&[("date", EARLY)], None),
        ];
        for (fields, expected) in cases {
            let fields = fields.iter().map(|(name, value)| {
                (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value))
            });
            let headers = fields.collect::<HeaderMap>();
            assert_eq!(seconds_by_dates(&headers), *expected, "{headers:?}");
        }
    }
}
