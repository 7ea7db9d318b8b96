//! The date of an answer says when its origin made it (RFC 9110 section 6.6.1). Towards HTTP/2 it goes on as it is; on HTTP/1 pingora
//! writes its own over it, and it is put back as the head passes by in [`crate::prompt`].

use bytes::Bytes;
use http::HeaderValue;
use http::header::DATE;
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::proxy::Session;

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

/// Lets this head, the next but for interim responses, go out with its own date.
pub fn keep_date(session: &Session, head: &ResponseHeader) {
    if head.status.is_informational() {
        return;
    }
    if let (Some(prompt), Some(date)) = (prompt::of(session), own(head)) {
        *prompt.dating().0.lock() = Some(date.clone());
    }
}

/// Lets this head go out with its own date, or with that of now where it has none.
///
/// Errors: none; a date is always a value.
pub fn settle(head: &mut ResponseHeader) -> pingora::Result<()> {
    match own(head) {
        Some(_) => Ok(()),
        None => head.insert_header(DATE, get_cached_date()),
    }
}

/// The date that a head has.
fn own(head: &ResponseHeader) -> Option<&HeaderValue> {
    head.headers.get(DATE).filter(|date| date.len() == DATE_BYTES)
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
    fn a_head_without_a_date_has_that_of_now() {
        const DATES: [(&str, bool); 2] = [("Sun, 06 Nov 1994 08:49:37 GMT", true), ("soon", false)];
        for (date, stays) in DATES {
            let mut head = ResponseHeader::build(200, None).unwrap();
            head.insert_header(DATE, date).unwrap();
            settle(&mut head).unwrap();
            assert_eq!(head.headers[DATE] == date, stays);
            assert_eq!(head.headers[DATE].len(), DATE_BYTES);
        }
        let mut head = ResponseHeader::build(200, None).unwrap();
        settle(&mut head).unwrap();
        assert_eq!(own(&head).map(HeaderValue::len), Some(DATE_BYTES));
    }
}
