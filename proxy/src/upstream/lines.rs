//! The head of an answer in HTTP/1.1 whose body is delimited by its length, as places in the bytes it came in. It is made
//! into a head of fields for who looks at them, and goes on line by line where nobody does. What belongs to the connection is
//! none of it.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use httparse::{EMPTY_HEADER, Response, Status};
use pingora::http::ResponseHeader;

use crate::headers::HOP_BY_HOP;

/// Fields of a head that is read here.
const FIELDS_MAX: usize = 64;

/// A head as it came.
pub struct Lines {
    bytes: Bytes,
    status: StatusCode,
    /// Empty where none is said.
    reason: Place,
    fields: Vec<Field>,
    body_length: u64,
    has_date: bool,
}

type Place = (usize, usize);

struct Field {
    name: Place,
    value: Place,
}

impl Lines {
    /// What these bytes begin with. `None`: not all of a head, or not that of an answer of known length whose bytes could
    /// not be read in two ways.
    pub fn read(bytes: &[u8]) -> Option<Lines> {
        let mut parsed = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = Response::new(&mut parsed);
        let Ok(Status::Complete(head_length)) = response.parse(bytes) else { return None };
        let status = response.code.filter(|code| !matches!(code, 0..200 | 204 | 304 | 600..))?;
        if response.version != Some(1) {
            return None;
        }
        let place = |part: &[u8]| {
            let from = part.as_ptr() as usize - bytes.as_ptr() as usize;
            (from, from + part.len())
        };
        let (mut length, mut has_date) = (None, false);
        let mut fields = Vec::with_capacity(response.headers.len());
        for field in response.headers.iter() {
            let name = field.name.as_bytes();
            match kind(name) {
                Kind::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => continue,
                Kind::Connection | Kind::HopByHop => return None,
                Kind::KeepAlive => continue,
                Kind::Length if length.is_none() => length = Some(digits(field.value)?),
                Kind::Length => return None,
                Kind::Date => has_date = true,
                Kind::Other => {}
            }
            fields.push(Field { name: place(name), value: place(field.value) });
        }
        let body_length = length?;
        // More than was promised is no answer to anything.
        if (bytes.len() - head_length) as u64 > body_length {
            return None;
        }
        Some(Lines {
            // Heads and bodies may be kept for long: none of them keeps what was made room for beside it.
            bytes: Bytes::copy_from_slice(&bytes[..head_length]),
            status: StatusCode::from_u16(status).ok()?,
            // One that is empty lies nowhere in what was read.
            reason: response
                .reason
                .filter(|reason| !reason.is_empty())
                .map_or((0, 0), |reason| place(reason.as_bytes())),
            fields,
            body_length,
            has_date,
        })
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Bytes it came in.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the body behind it.
    pub fn body_length(&self) -> u64 {
        self.body_length
    }

    pub fn has_date(&self) -> bool {
        self.has_date
    }

    /// As fields. `None`: one of them cannot be one.
    pub fn head(&self) -> Option<ResponseHeader> {
        let mut head = ResponseHeader::build(self.status, Some(self.fields.len())).ok()?;
        head.set_version(Version::HTTP_11);
        let reason = self.at(self.reason);
        if Some(reason) != self.status.canonical_reason().map(str::as_bytes) {
            head.set_reason_phrase(Some(std::str::from_utf8(reason).ok()?)).ok()?;
        }
        for Field { name, value } in &self.fields {
            let value = HeaderValue::from_maybe_shared(self.bytes.slice(value.0..value.1)).ok()?;
            head.append_header(self.bytes.slice(name.0..name.1), value).ok()?;
        }
        Some(head)
    }

    fn at(&self, place: Place) -> &[u8] {
        &self.bytes[place.0..place.1]
    }

    /// The values of a field, in their order.
    pub fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let is_it =
            |field: &&Field| self.at(field.name).eq_ignore_ascii_case(name.as_str().as_bytes());
        self.fields.iter().filter(is_it).map(|field| self.at(field.value))
    }

    /// Appends the status line and the fields.
    pub fn write(&self, into: &mut BytesMut) {
        into.reserve(self.bytes.len());
        into.put_slice(b"HTTP/1.1 ");
        into.put_slice(self.status.as_str().as_bytes());
        into.put_u8(b' ');
        into.put_slice(self.at(self.reason));
        into.put_slice(b"\r\n");
        for Field { name, value } in &self.fields {
            into.put_slice(self.at(*name));
            into.put_slice(b": ");
            into.put_slice(self.at(*value));
            into.put_slice(b"\r\n");
        }
    }
}

enum Kind {
    Connection,
    KeepAlive,
    HopByHop,
    Length,
    Date,
    Other,
}

fn kind(name: &[u8]) -> Kind {
    let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
    match name.len() {
        4 if is(&DATE) => Kind::Date,
        10 if is(&CONNECTION) => Kind::Connection,
        10 if name.eq_ignore_ascii_case(b"keep-alive") => Kind::KeepAlive,
        14 if is(&CONTENT_LENGTH) => Kind::Length,
        _ if is(&TRANSFER_ENCODING) || HOP_BY_HOP.iter().any(is) => Kind::HopByHop,
        _ => Kind::Other,
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok())?
}
