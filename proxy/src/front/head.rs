//! Heads of HTTP/1.1 as bytes: requests without a body are read, responses are written.

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Version};
use httparse::{EMPTY_HEADER, Request, Status};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::date::get_cached_date;

/// Fields of a request that is read here; one with more goes on.
const FIELDS_MAX: usize = 64;

/// The head these bytes begin with, and of how many bytes it is made. `None` for what is not whole, not
/// HTTP/1.1, or asks for more than an answer: a body, an upgrade, the end of the connection.
pub fn read(bytes: &[u8]) -> Option<(RequestHeader, usize)> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let Ok(Status::Complete(length)) = request.parse(bytes) else { return None };
    if request.version != Some(1) || bytes.first()?.is_ascii_whitespace() {
        return None;
    }
    let (method, target) = (request.method?, request.path?);
    if !matches!(method, "GET" | "HEAD") || !target.starts_with('/') {
        return None;
    }
    let mut head =
        RequestHeader::build_no_case(method, target.as_bytes(), Some(request.headers.len()))
            .ok()?;
    head.set_version(Version::HTTP_11);
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let keeps = name == CONNECTION && field.value.eq_ignore_ascii_case(b"keep-alive");
        if !keeps
            && matches!(name, CONNECTION | CONTENT_LENGTH | EXPECT | TRANSFER_ENCODING | UPGRADE)
        {
            return None;
        }
        head.append_header(name, HeaderValue::from_bytes(field.value).ok()?).ok()?;
    }
    Some((head, length))
}

/// Appends the head of a response after which the connection stays open.
pub fn write(head: &ResponseHeader, into: &mut BytesMut) {
    into.put_slice(b"HTTP/1.1 ");
    into.put_slice(head.status.as_str().as_bytes());
    into.put_u8(b' ');
    into.put_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    into.put_slice(b"\r\n");
    head.header_to_h1_wire(into);
    if !head.headers.contains_key(DATE) {
        into.put_slice(b"Date: ");
        into.put_slice(get_cached_date().as_bytes());
        into.put_slice(b"\r\n");
    }
    into.put_slice(b"Connection: keep-alive\r\n\r\n");
}
