//! The head that goes on in place of one that is refused: what can be told of that one, in a form that pingora takes, so
//! that logs and metrics have it as they have all others.

use bytes::BytesMut;
use http::HeaderName;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};

use crate::path::percent_encode;

/// What stands for a method or a target that there is none of.
const NONE: &[u8] = b"-";
/// Longest method that is told.
const METHOD_BYTES_MAX: usize = 32;
/// Bytes of a target that are told.
const TARGET_BYTES_MAX: usize = 2048;
/// Fields that are told, and bytes of each.
const FIELDS_MAX: usize = 64;
const FIELD_BYTES_MAX: usize = 4096;

/// The stand-in of a head that may be anything.
pub fn of(head: &[u8]) -> BytesMut {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default().trim_ascii();
    let (method, target, version) = parts(line);
    let mut out = BytesMut::with_capacity(256);
    for part in [method, b" ", &told(target), b" ", version, b"\r\n"] {
        out.extend_from_slice(part);
    }
    let mut has_host = false;
    for (name, value) in lines.filter_map(field).take(FIELDS_MAX) {
        if name == HOST && std::mem::replace(&mut has_host, true) {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    out
}

/// Method, target and version, as far as there is something of them.
fn parts(line: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (first, rest) = match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], line[at..].trim_ascii()),
        None => (line, &b""[..]),
    };
    let is_method = (1..=METHOD_BYTES_MAX).contains(&first.len())
        && first.iter().all(u8::is_ascii_alphabetic)
        && first != b"CONNECT";
    let method = if is_method { first } else { NONE };
    let last = rest.iter().rposition(|byte| *byte == b' ').map_or(&b""[..], |at| &rest[at + 1..]);
    let target = match last.starts_with(b"HTTP/") {
        true => rest[..rest.len() - last.len()].trim_ascii(),
        false => rest,
    };
    let version = if last == b"HTTP/1.0" { &b"HTTP/1.0"[..] } else { b"HTTP/1.1" };
    (method, target, version)
}

/// A target that is a path whatever it was: nothing in it is taken for a host.
fn told(target: &[u8]) -> Vec<u8> {
    let is_path = target.starts_with(b"/");
    let mut told = Vec::with_capacity(target.len());
    for byte in &target[..target.len().min(TARGET_BYTES_MAX)] {
        match byte {
            b'"' | b'<' | b'>' | b'`' | b'#' | b'\\' | 0..=0x20 | 0x7f.. => {
                percent_encode(*byte, &mut told);
            }
            b':' | b'@' if !is_path => percent_encode(*byte, &mut told),
            _ => told.push(*byte),
        }
    }
    if told.is_empty() { NONE.to_vec() } else { told }
}

/// A field that is one, and frames nothing.
fn field(line: &[u8]) -> Option<(HeaderName, &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let frames = [CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE].contains(&name);
    let value = line[colon + 1..].trim_ascii();
    let is_text = value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t');
    let is_host = name != HOST || value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'@');
    (!frames && is_text && is_host && value.len() <= FIELD_BYTES_MAX).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_told_is_told() {
        let end = "Connection: close\r\n\r\n";
        for (head, expected) in [
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a%20b HTTP/1.1\r\nhost: a\r\n"),
            (
                "GET /\u{1} HTTP/1.0\nHost: u@a\nX : y\nUser-Agent: t\n\n",
                "GET /%01 HTTP/1.0\r\nuser-agent: t\r\n",
            ),
            (
                "GET http://u@a/ HTTP/2.0\r\nHost: b\r\nHost: c",
                "GET http%3A//u%40a/ HTTP/1.1\r\nhost: b\r\n",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nA: \0\r\nB: c",
                "POST / HTTP/1.1\r\nb: c\r\n",
            ),
            ("GET /", "GET / HTTP/1.1\r\n"),
            ("\u{16}\u{3}\u{1}", "- - HTTP/1.1\r\n"),
            ("", "- - HTTP/1.1\r\n"),
        ] {
            let told = of(head.as_bytes());
            assert_eq!(String::from_utf8_lossy(&told), format!("{expected}{end}"), "{head:?}");
        }
    }
}
