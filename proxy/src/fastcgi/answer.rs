//! The head a script begins its output with (RFC 3875 section 6): fields, an empty line, and
//! `Status` in place of a status line. Pure.

use http::header::{CONTENT_LENGTH, HeaderName, LOCATION, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use thiserror::Error;

/// Longest head of a script.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a head.
const FIELDS_MAX: usize = 256;

/// Why a script's output is no answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum HeadFault {
    #[error("the script's head is longer than 64 KiB or has more than 256 fields")]
    TooLarge,
    #[error("a line of the script's head is no field")]
    Field,
    #[error("the script's status is none")]
    Status,
}

/// Where the head ends in the output so far, the empty line included.
pub fn end(output: &[u8]) -> Result<Option<usize>, HeadFault> {
    let mut from = 0;
    while let Some(at) = output[from..].iter().position(|byte| *byte == b'\n') {
        let line = &output[from..from + at];
        from += at + 1;
        if line.is_empty() || line == b"\r" {
            return Ok(Some(from));
        }
    }
    if output.len() > HEAD_BYTES_MAX { Err(HeadFault::TooLarge) } else { Ok(None) }
}

/// Reads a head. Without `Status` it is 200, or 302 where it names another location. What frames a
/// message is not the script's to say, but for a length.
pub fn read(head: &[u8]) -> Result<ResponseHeader, HeadFault> {
    let mut answer =
        ResponseHeader::build(StatusCode::OK, Some(8)).map_err(|_| HeadFault::Status)?;
    let (mut status, mut fields) = (None, 0);
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(HeadFault::TooLarge);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(HeadFault::Field)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"status") {
            status = Some(status_of(value)?);
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| HeadFault::Field)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| HeadFault::Field)?;
        if name == CONTENT_LENGTH && !value.as_bytes().iter().all(u8::is_ascii_digit) {
            return Err(HeadFault::Field);
        }
        if name != TRANSFER_ENCODING {
            answer.append_header(name, value).map_err(|_| HeadFault::Field)?;
        }
    }
    let moved = answer.headers.contains_key(LOCATION);
    let status = status.unwrap_or(if moved { StatusCode::FOUND } else { StatusCode::OK });
    answer.set_status(status).map_err(|_| HeadFault::Status)?;
    Ok(answer)
}

/// `404 Not Found`, of which the number counts.
fn status_of(value: &[u8]) -> Result<StatusCode, HeadFault> {
    let digits = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    let status = StatusCode::from_bytes(digits).map_err(|_| HeadFault::Status)?;
    if (200..600).contains(&status.as_u16()) { Ok(status) } else { Err(HeadFault::Status) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_end_at_an_empty_line_however_lines_end() {
        for (output, expected) in [
            (&b"A: b\r\n\r\nbody"[..], Some(8)),
            (b"A: b\n\nbody", Some(6)),
            (b"\r\nbody", Some(2)),
            (b"A: b\r\n", None),
            (b"A: b", None),
            (b"", None),
        ] {
            assert_eq!(end(output), Ok(expected), "{output:?}");
        }
        assert_eq!(end(&[b'x'; HEAD_BYTES_MAX + 1]), Err(HeadFault::TooLarge));
    }

    #[test]
    fn statuses() {
        for (head, status) in [
            ("Content-Type: text/html\r\n\r\n", Ok(200)),
            ("Status: 404 Not Found\r\nX: y\r\n\r\n", Ok(404)),
            ("status:503\n\n", Ok(503)),
            ("Location: /x\r\n\r\n", Ok(302)),
            ("Status: 201 Created\r\nLocation: /x\r\n\r\n", Ok(201)),
            ("Status: 100 Continue\r\n\r\n", Err(HeadFault::Status)),
            ("Status: abc\r\n\r\n", Err(HeadFault::Status)),
            ("no field\r\n\r\n", Err(HeadFault::Field)),
            (" folded: x\r\n\r\n", Err(HeadFault::Field)),
            ("Content-Length: +1\r\n\r\n", Err(HeadFault::Field)),
        ] {
            let read = read(head.as_bytes()).map(|answer| answer.status.as_u16());
            assert_eq!(read, status, "{head}");
        }
        let answer =
            read(b"Set-Cookie: a\r\nSet-Cookie: b\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
        assert!(!answer.headers.contains_key(TRANSFER_ENCODING));
    }

    proptest! {
        #[test]
        fn whatever_a_script_says_is_an_answer_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(end)) = end(&bytes) {
                prop_assert!(end <= bytes.len());
                let _ = read(&bytes[..end]);
            }
        }
    }
}
