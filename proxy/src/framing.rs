//! Where the requests of an HTTP/1 connection begin and end, followed byte by byte beside pingora,
//! which reads chunks leniently: it takes a bare LF in an extension, an empty line for a last chunk
//! and anything for a trailer. What is not chunked as RFC 9112 section 7.1 has it, two parsers could
//! end in different places, so it is refused here. Pure: bytes in, faults out.

use std::error;
use std::io;

use memchr::memchr;
use thiserror::Error;

use crate::failure::Failure;

/// Bytes kept of a line; longer lines of a head are pingora's to judge, of chunks they are refused.
const LINE_BYTES_MAX: usize = 4096;
/// Lines after the last chunk.
const TRAILERS_MAX: u32 = 64;

/// Why a body cannot be read in one way only.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FramingFault {
    #[error("a chunk's size line is malformed")]
    Size,
    #[error("a chunk is not followed by CR LF")]
    End,
    #[error("a trailer field is malformed")]
    Trailer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing of the next head is there yet.
    Between,
    Head,
    /// In a body, or in the data of a chunk, with this many bytes to come.
    Body(u64),
    Chunk(u64),
    Size,
    ChunkEnd,
    Trailer(u32),
}

/// Follows one connection.
#[derive(Debug)]
pub struct Framing {
    at: At,
    /// The line being read, without its LF, cut at `LINE_BYTES_MAX`.
    line: Vec<u8>,
    length: u64,
    chunked: bool,
    /// Where, in the bytes read last, the first request ended that ended there.
    ended_at: Option<usize>,
}

impl Default for Framing {
    fn default() -> Self {
        Self { at: At::Between, line: Vec::new(), length: 0, chunked: false, ended_at: None }
    }
}

impl Framing {
    /// Whether the next byte is the first of a head.
    pub fn is_between(&self) -> bool {
        self.at == At::Between
    }

    /// Whether a head has begun and not ended.
    pub fn in_head(&self) -> bool {
        self.at == At::Head
    }

    /// Where in the bytes read last a request ended, the first one where there are several. An empty line is one.
    pub fn ended_at(&self) -> Option<usize> {
        self.ended_at
    }

    /// Where the request ends that these bytes begin with; none where it is not there whole.
    pub fn end_of_first(bytes: &[u8]) -> Option<usize> {
        let mut framing = Framing::default();
        // What is wrong behind it is found when it is read.
        let _ = framing.read(bytes);
        framing.ended_at
    }

    /// Follows these bytes. A fault comes with how many of them were right.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), (FramingFault, usize)> {
        self.ended_at = None;
        let followed = self.follow(bytes);
        if self.at == At::Between && !bytes.is_empty() {
            self.ended_at.get_or_insert(bytes.len());
        }
        followed
    }

    fn follow(&mut self, bytes: &[u8]) -> Result<(), (FramingFault, usize)> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let At::Body(left) | At::Chunk(left) = self.at {
                let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                rest = &rest[taken..];
                self.at = match (self.at, left - taken as u64) {
                    (At::Body(_), 0) => At::Between,
                    (At::Body(_), left) => At::Body(left),
                    (_, 0) => At::ChunkEnd,
                    (_, left) => At::Chunk(left),
                };
                continue;
            }
            if self.at == At::Between {
                if rest.len() < bytes.len() {
                    self.ended_at.get_or_insert(bytes.len() - rest.len());
                }
                self.at = At::Head;
            }
            let end = memchr(b'\n', rest);
            if let (Some(end), true) = (end, self.line.is_empty())
                && end <= LINE_BYTES_MAX
            {
                // All of it is here: most lines are not kept.
                self.whole_line(&rest[..end]).map_err(|fault| (fault, bytes.len() - rest.len()))?;
                rest = &rest[end + 1..];
                continue;
            }
            let part = &rest[..end.unwrap_or(rest.len())];
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if end.is_some() || self.line.len() == LINE_BYTES_MAX {
                self.line_or_limit(end.is_some())
                    .map_err(|fault| (fault, bytes.len() - rest.len()))?;
            }
            rest = &rest[end.map_or(rest.len(), |end| end + 1)..];
        }
        Ok(())
    }

    fn line_or_limit(&mut self, ended: bool) -> Result<(), FramingFault> {
        if !ended {
            return match self.at {
                At::Head => Ok(()),
                At::Trailer(_) => Err(FramingFault::Trailer),
                _ => Err(FramingFault::Size),
            };
        }
        let line = std::mem::take(&mut self.line);
        let done = self.whole_line(&line);
        self.line = line;
        self.line.clear();
        done
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), FramingFault> {
        match self.at {
            At::Head => self.head_line(line.strip_suffix(b"\r").unwrap_or(line)),
            At::Size => {
                let size =
                    line.strip_suffix(b"\r").and_then(chunk_size).ok_or(FramingFault::Size)?;
                self.at = if size == 0 { At::Trailer(0) } else { At::Chunk(size) };
            }
            At::ChunkEnd if line == b"\r" => self.at = At::Size,
            At::ChunkEnd => return Err(FramingFault::End),
            At::Trailer(_) if line == b"\r" => self.at = At::Between,
            At::Trailer(lines) => {
                let field = line.strip_suffix(b"\r").is_some_and(is_field);
                if !field || lines == TRAILERS_MAX {
                    return Err(FramingFault::Trailer);
                }
                self.at = At::Trailer(lines + 1);
            }
            At::Between | At::Body(_) | At::Chunk(_) => {}
        }
        Ok(())
    }

    /// Only what frames the body is looked at; `request` judges the rest, and closes the
    /// connection when it is not right.
    fn head_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            self.at = match (std::mem::take(&mut self.chunked), std::mem::take(&mut self.length)) {
                (true, _) => At::Size,
                (false, 0) => At::Between,
                (false, length) => At::Body(length),
            };
            return;
        }
        let Some(colon) = memchr(b':', line) else { return };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let text = std::str::from_utf8(value).unwrap_or_default();
            self.length = text.parse().unwrap_or_default();
        }
    }
}

/// `chunk-size [ chunk-ext ]`: at most 15 hex digits, then nothing or an extension without control
/// characters.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(end);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let extension = rest.iter().position(|byte| !blank(byte)).map_or(rest, |at| &rest[at..]);
    let legal = rest.is_empty()
        || extension.strip_prefix(b";").is_some_and(|name| {
            name.iter().find(|byte| !blank(byte)).is_some_and(|byte| is_token(*byte))
        });
    if digits.is_empty() || digits.len() > 15 || !legal || !is_text(rest) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// `field-name ":" field-value` (RFC 9112 section 5).
fn is_field(line: &[u8]) -> bool {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
    colon > 0 && line[..colon].iter().all(|byte| is_token(*byte)) && is_text(&line[colon..])
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t')
}

/// RFC 9110 section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What is wrong with a body whose reading ended in a [`FramingFault`]; `cause` is a root cause.
pub fn malformed(cause: &(dyn error::Error + Send + Sync + 'static)) -> Option<Failure> {
    let cause = cause.downcast_ref::<io::Error>()?;
    let fault = cause.get_ref()?.downcast_ref::<FramingFault>()?;
    Some(Failure::BadRequest(match fault {
        FramingFault::Size => "the size line of a chunk is malformed",
        FramingFault::End => "a chunk is not followed by CR LF",
        FramingFault::Trailer => "a trailer field is malformed",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    /// The same for every way the bytes may arrive.
    fn follow(text: &str) -> Result<At, FramingFault> {
        let mut outcomes = [1, 2, 7, 100_000].map(|size| {
            let mut framing = Framing::default();
            let read = text.as_bytes().chunks(size).try_for_each(|part| framing.read(part));
            read.map(|()| framing.at).map_err(|(fault, _)| fault)
        });
        outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
        assert_eq!(outcomes[0], outcomes[3], "{text:?}");
        outcomes[0]
    }

    #[test]
    fn right_bodies_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00005;name=\"value\"\r\nhello\r\n00 ; x\r\nX: y\r\nZ:\r\n\r\n",
            "A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(follow(&format!("{HEAD}{body}")), Ok(At::Between), "{body:?}");
            assert_eq!(follow(&format!("{HEAD}{body}GET")), Ok(At::Head), "{body:?}");
        }
        let sized = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(follow(&format!("{sized}hel")), Ok(At::Body(2)));
        assert_eq!(follow(&format!("{sized}hello\r\n{sized}hello")), Ok(At::Between));
        assert_eq!(follow(&format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(9000))), Ok(At::Head));
    }

    #[test]
    fn wrong_chunks_are_refused() {
        use FramingFault as F;
        let long = format!("5;{}\r\n", "a".repeat(9000));
        let many = format!("0\r\n{}", "X: y\r\n".repeat(65));
        for (body, fault) in [
            ("\r\n", F::Size),
            ("5\n", F::Size),
            ("5;a\nGET\r\n", F::Size),
            ("5;\r\n", F::Size),
            ("5;\0\r\n", F::Size),
            ("5;a\rb\r\n", F::Size),
            ("5 \r\n", F::Size),
            (" 5\r\n", F::Size),
            ("+5\r\n", F::Size),
            ("-5\r\n", F::Size),
            ("0x5\r\n", F::Size),
            ("g\r\n", F::Size),
            ("1000000000000005\r\n", F::Size),
            (long.as_str(), F::Size),
            ("5\r\nhello\n0\r\n\r\n", F::End),
            ("5\r\nhelloXX0\r\n\r\n", F::End),
            ("5\r\nhello\r\n\r\n", F::Size),
            ("0\r\n bad\r\n\r\n", F::Trailer),
            ("0\r\nX\0: y\r\n\r\n", F::Trailer),
            ("0\r\nX: y\n\r\n", F::Trailer),
            ("0\r\n\n", F::Trailer),
            (many.as_str(), F::Trailer),
        ] {
            assert_eq!(follow(&format!("{HEAD}{body}")), Err(fault), "{body:?}");
        }
    }

    #[test]
    fn the_first_request_of_some_bytes_ends_where_the_next_begins() {
        let chunked = format!("{HEAD}5\r\nhello\r\n0\r\n\r\n");
        let sized = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for first in [&chunked, sized, plain] {
            for next in
                ["", "G", plain, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
            {
                let end = Framing::end_of_first(format!("{first}{next}").as_bytes());
                assert_eq!(end, Some(first.len()), "{first:?} {next:?}");
            }
            assert_eq!(Framing::end_of_first(&first.as_bytes()[..first.len() - 1]), None);
        }
        assert_eq!(Framing::end_of_first(b""), None);
    }

    #[test]
    fn what_came_before_the_fault_is_told() {
        let good = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{HEAD}");
        let read = Framing::default().read(format!("{good}zz\r\n").as_bytes());
        assert_eq!(read, Err((FramingFault::Size, good.len())));
    }
}
