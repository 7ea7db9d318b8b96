//! The date of an answer. Pingora writes its own `Date` over that of an answer from the cache, which
//! says when the origin made it (RFC 9110 section 6.6.1). On HTTP/1 the head passes by in
//! [`crate::prompt`], and the date is put back; HTTP/2 has no such place.

use bytes::Bytes;
use http::HeaderValue;
use http::header::DATE;
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::prompt;

/// Length of every date that is written today (RFC 9110 section 5.6.7); one that differs stays out.
const DATE_BYTES: usize = 29;

/// The date the next head is to go out with.
#[derive(Debug, Default)]
pub struct Dating(Mutex<Option<HeaderValue>>);

impl Dating {
    pub fn take(&mut self) -> Option<HeaderValue> {
        self.0.get_mut().take()
    }
}

/// Lets this head go out with its own date.
pub fn keep_date(session: &Session, head: &ResponseHeader) {
    let date = head.headers.get(DATE).filter(|date| date.len() == DATE_BYTES);
    if let (Some(prompt), Some(date)) = (prompt::of(session), date) {
        *prompt.dating().0.lock() = Some(date.clone());
    }
}

/// The head with this date, no byte longer or shorter; as it was when it has none.
pub fn dated(head: &[u8], date: &HeaderValue) -> Bytes {
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
}
