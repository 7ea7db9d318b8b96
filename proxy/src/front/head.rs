//! Messages of HTTP/1.1 as bytes: requests that are there whole are read, responses are written.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use httparse::{EMPTY_HEADER, Request, Status};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::date::get_cached_date;

use crate::cache::conditional::is_particular;

/// Fields of a request that is read here; one with more goes on.
const FIELDS_MAX: usize = 64;
/// What may be asked here. A GET with a body, however short, goes on.
const WITHOUT_BODY: [&str; 2] = ["GET", "HEAD"];
const WITH_BODY: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// A request at the beginning of some bytes.
pub struct Whole {
    pub head: Arc<RequestHeader>,
    /// Bytes of the head, and of the body after it.
    pub head_length: usize,
    pub body_length: usize,
    /// It has no body and no [`is_particular`] field.
    pub is_plain: bool,
}

/// What some bytes are for the door.
pub enum Begins {
    Request(Whole),
    /// More of it has to come.
    Partial,
    /// For somebody else: it is not HTTP/1.1, or asks for more than an answer, as for leave to send a body, an
    /// upgrade or the end of the connection.
    Other,
}

/// What these bytes begin with.
pub fn read(bytes: &[u8]) -> Begins {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let head_length = match request.parse(bytes) {
        Ok(Status::Complete(head_length)) => head_length,
        Ok(Status::Partial) => return Begins::Partial,
        Err(_) => return Begins::Other,
    };
    let whole = whole(&request, head_length, bytes);
    whole.map_or(Begins::Other, Begins::Request)
}

fn whole(request: &Request<'_, '_>, head_length: usize, bytes: &[u8]) -> Option<Whole> {
    if request.version != Some(1) || bytes.first()?.is_ascii_whitespace() {
        return None;
    }
    let (method, target) = (request.method?, request.path?);
    let may_have_body = WITH_BODY.contains(&method);
    if !(may_have_body || WITHOUT_BODY.contains(&method)) || !target.starts_with('/') {
        return None;
    }
    // One piece of memory for all values; what is read ahead is none of it.
    let lines = Bytes::copy_from_slice(&bytes[..head_length]);
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    let (mut body_length, mut is_plain) = (0, !may_have_body);
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        match name {
            CONNECTION if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
            CONTENT_LENGTH if may_have_body => {
                let digits = field.value.iter().all(u8::is_ascii_digit).then_some(field.value)?;
                body_length = std::str::from_utf8(digits).ok()?.parse().ok()?;
            }
            CONNECTION | CONTENT_LENGTH | EXPECT | TRANSFER_ENCODING | UPGRADE => return None,
            _ => is_plain &= !is_particular(&name),
        }
        let from = field.value.as_ptr() as usize - bytes.as_ptr() as usize;
        let value = lines.slice(from..from + field.value.len());
        headers.try_append(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
    }
    let is_there = bytes.len() - head_length >= body_length;
    let from = target.as_ptr() as usize - bytes.as_ptr() as usize;
    let target = lines.slice(from..from + target.len());
    let head = Arc::new(head(method, target, headers)?);
    is_there.then(|| Whole { head, head_length, body_length, is_plain })
}

/// As pingora makes it field by field; it would read each name a second time, and copy the target.
fn head(method: &str, target: Bytes, headers: HeaderMap) -> Option<RequestHeader> {
    let mut parts = http::Request::new(()).into_parts().0;
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(PathAndQuery::from_maybe_shared(target).ok()?);
    parts.uri = Uri::from_parts(uri).ok()?;
    parts.method = method.parse().ok()?;
    parts.version = Version::HTTP_11;
    parts.headers = headers;
    Some(RequestHeader::from(parts))
}

/// Appends the head of a response; `stays` says whether the connection takes another request after it.
pub fn write(head: &ResponseHeader, stays: bool, into: &mut BytesMut) {
    write_lines(head, into);
    match head.status.is_informational() {
        true => into.put_slice(b"\r\n"),
        false => end(head.headers.contains_key(DATE), stays, into),
    }
}

/// Appends what this proxy says behind the fields of an answer, and the line that ends its head.
pub fn end(has_date: bool, stays: bool, into: &mut BytesMut) {
    if !has_date {
        into.put_slice(b"Date: ");
        into.put_slice(get_cached_date().as_bytes());
        into.put_slice(b"\r\n");
    }
    into.put_slice(match stays {
        true => b"Connection: keep-alive\r\n\r\n",
        false => b"Connection: close\r\n\r\n",
    });
}

/// Appends the status line and the fields there are.
pub fn write_lines(head: &ResponseHeader, into: &mut BytesMut) {
    into.put_slice(b"HTTP/1.1 ");
    into.put_slice(head.status.as_str().as_bytes());
    into.put_u8(b' ');
    into.put_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    into.put_slice(b"\r\n");
    head.header_to_h1_wire(into);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_and_plain_is_read() {
        for (text, head, body) in [
            ("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\nGET", 30, 0),
            ("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", 52, 0),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcd", 47, 3),
            ("DELETE / HTTP/1.1\r\n\r\n", 21, 0),
        ] {
            let Begins::Request(whole) = read(text.as_bytes()) else { panic!("{text:?}") };
            assert_eq!((whole.head_length, whole.body_length), (head, body), "{text:?}");
        }
    }

    #[test]
    fn what_is_asked_for_in_particular_is_told() {
        for (field, is_plain) in [
            ("Accept: */*", true),
            ("Cookie: if-range=1", true),
            ("If-Range: \"a\"", false),
            ("IF-MATCH: *", false),
            ("Range: bytes=0-1", false),
            ("Cache-Control: no-cache", false),
            ("Pragma: no-cache", false),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            let Begins::Request(whole) = read(text.as_bytes()) else { panic!("{text:?}") };
            assert_eq!(whole.is_plain, is_plain, "{field}");
        }
    }

    #[test]
    fn all_else_goes_on() {
        for text in ["", "GET / HTTP/1.1\r\nHost: a\r\n", "GET"] {
            assert!(matches!(read(text.as_bytes()), Begins::Partial), "{text:?}");
        }
        for text in [
            "GET / HTTP/1.0\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: keep-alive, te\r\n\r\n",
            "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nab ",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        ] {
            assert!(matches!(read(text.as_bytes()), Begins::Other), "{text:?}");
        }
    }
}
