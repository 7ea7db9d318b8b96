//! Requests with an absolute target whose `Host` is another (RFC 9112 section 3.2.2): the host of the target counts, where the
//! listener says so. Pingora refuses them, so it sees them in origin form, with the one host they have.

use bytes::{Bytes, BytesMut};
use httparse::{EMPTY_HEADER, Request, Status};

/// Fields of a head that is looked at; one with more is left as it is.
const FIELDS_MAX: usize = 128;

/// Bytes of a head that is waited for; a longer one is left as it is.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest method of such a request.
const METHOD_BYTES_MAX: usize = 32;

/// What a client has sent, held while it may be the beginning of a head that is to be settled.
#[derive(Debug, Default)]
pub struct Intake {
    held: BytesMut,
    /// Bytes at its beginning that may go on.
    free: usize,
}

impl Intake {
    pub fn put(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What may go on, at most so many bytes; nothing while more is waited for. `starts`: a head is to come next.
    /// `ended`: nothing more will.
    pub fn take(&mut self, starts: bool, ended: bool, most: usize) -> Option<Bytes> {
        if self.free == 0 && !self.held.is_empty() {
            self.free = match starts && !ended && self.held.len() < HEAD_BYTES_MAX {
                true => self.settle()?,
                false => self.held.len(),
            };
        }
        let count = self.free.min(most);
        self.free -= count;
        (count > 0).then(|| self.held.split_to(count).freeze())
    }

    /// How many bytes may go on, once the head they begin with is settled; none while it is not there whole.
    fn settle(&mut self) -> Option<usize> {
        if !may_be_absolute(&self.held) {
            return Some(self.held.len());
        }
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let whole = match Request::new(&mut fields).parse(&self.held) {
            Ok(Status::Partial) => return None,
            Ok(Status::Complete(length)) => length,
            Err(_) => return Some(self.held.len()),
        };
        let Some((head, length)) = settled(&self.held) else { return Some(whole) };
        let rest = self.held.split_off(length);
        self.held = BytesMut::from(head.as_slice());
        self.held.unsplit(rest);
        Some(head.len())
    }
}

/// Whether these bytes are, or may become, a request with an absolute target.
fn may_be_absolute(bytes: &[u8]) -> bool {
    let Some(space) = bytes.iter().position(|byte| *byte == b' ') else {
        return bytes.len() <= METHOD_BYTES_MAX && bytes.iter().all(u8::is_ascii_alphabetic);
    };
    let target = &bytes[space + 1..];
    [&b"http://"[..], b"https://"].iter().any(|scheme| {
        let count = scheme.len().min(target.len());
        target[..count].eq_ignore_ascii_case(&scheme[..count])
    })
}

/// The head as it is to be, and how long it was.
fn settled(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let Ok(Status::Complete(length)) = request.parse(bytes) else { return None };
    let target = request.path?;
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    })?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let host = hosts.next()?.value;
    if hosts.next().is_some() || authority.is_empty() || host == authority.as_bytes() {
        return None;
    }
    let at = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
    let (target_at, host_at) = (at(target.as_bytes()), at(host));
    let slash = if path.starts_with('/') { "" } else { "/" };
    let head = [
        &bytes[..target_at],
        slash.as_bytes(),
        path.as_bytes(),
        &bytes[target_at + target.len()..host_at],
        authority.as_bytes(),
        &bytes[host_at + host.len()..length],
    ]
    .concat();
    (head.len() <= length).then_some((head, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of a text that comes in pieces of this size.
    fn passed(text: &str, size: usize) -> String {
        let (mut intake, mut out) = (Intake::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            intake.put(piece);
            while let Some(part) = intake.take(out.is_empty(), false, 7) {
                out.extend_from_slice(&part);
            }
        }
        while let Some(part) = intake.take(false, true, 7) {
            out.extend_from_slice(&part);
        }
        assert!(intake.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_host_of_the_target_is_the_one_there_is() {
        for (text, expected) in [
            (
                "GET http://a.example:81/x?y HTTP/1.1\r\nHost: b\r\nX: 1\r\n\r\nbody",
                "GET /x?y HTTP/1.1\r\nHost: a.example:81\r\nX: 1\r\n\r\nbody",
            ),
            ("GET HTTP://a HTTP/1.0\nhost:b.example\n\n", "GET / HTTP/1.0\nhost:a\n\n"),
            ("GET http://a?q HTTP/1.1\r\nHost: \r\n\r\n", "GET /?q HTTP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            for size in [1, 5, 1000] {
                assert_eq!(passed(text, size), expected, "{size}");
            }
        }
        for same in [
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: b\r\n",
            "GET http:/// HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET htt",
            "",
        ] {
            for size in [1, 1000] {
                assert_eq!(passed(same, size), same);
            }
        }
        let mut intake = Intake::default();
        intake.put(b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\nGET http://a/ HTTP/1.1\r\n");
        let first = intake.take(true, false, 1000).unwrap();
        assert_eq!(&first[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(intake.take(true, false, 1000), None, "the second is not there whole");
    }
}
