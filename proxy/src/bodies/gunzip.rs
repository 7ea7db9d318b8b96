//! Bodies in gzip, plain again for clients that do not take it.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use http::Version;
use http::header::{CONTENT_ENCODING, VARY};
use pingora::http::{RequestHeader, ResponseHeader};
use proxy_config::route_action::Gunzip as Rules;

use crate::accept_encoding::takes;
use crate::bodies::change::Change;

/// Bytes that one part may come to: what is a thousand times as long as it looks is no page.
const EXPANSION_MAX: usize = 32 * 1024 * 1024;

/// What is done for one request.
pub struct Gunzip {
    vary: bool,
    takes: bool,
}

impl Gunzip {
    pub fn of(rules: &Rules, request: &RequestHeader) -> Gunzip {
        let is_new = request.version != Version::HTTP_10 || rules.http10;
        Gunzip { vary: rules.vary, takes: is_new && takes(&request.headers, "gzip") }
    }

    /// Whether any response is decoded.
    pub fn decodes(&self) -> bool {
        !self.takes
    }

    /// Whether this one is.
    pub fn takes_on(&self, head: &ResponseHeader) -> bool {
        !self.takes && is_gzip(head)
    }

    /// Whether this response is decoded; its head is changed accordingly.
    pub fn begins(&self, head: &mut ResponseHeader) -> pingora::Result<bool> {
        if !is_gzip(head) {
            return Ok(false);
        }
        if self.vary && !head.headers.contains_key(VARY) {
            head.append_header("Vary", "Accept-Encoding")?;
        }
        if self.takes {
            return Ok(false);
        }
        head.remove_header(&CONTENT_ENCODING);
        Ok(true)
    }
}

fn is_gzip(head: &ResponseHeader) -> bool {
    let coding = head.headers.get(CONTENT_ENCODING);
    coding.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// A decoder of one body, of any number of members one after the other.
pub struct Decoder(MultiGzDecoder<Vec<u8>>);

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder(MultiGzDecoder::new(Vec::new()))
    }
}

impl Change for Decoder {
    fn part(&mut self, part: &[u8]) -> io::Result<Vec<u8>> {
        // In small steps, so that what swells is noticed.
        for step in part.chunks(4096) {
            self.0.write_all(step)?;
            if self.0.get_ref().len() > EXPANSION_MAX {
                return Err(io::Error::other("a compressed body swells beyond measure"));
            }
        }
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()))
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        self.0.try_finish()?;
        Ok(std::mem::take(self.0.get_mut()))
    }
}

#[cfg(test)]
mod tests {
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_are_one_body_and_a_cut_one_is_a_fault() {
        let two = [packed(b"one "), packed(b"two")].concat();
        for step in [1, 7, 1000] {
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            for part in two.chunks(step) {
                out.extend(decoder.part(part).unwrap());
            }
            out.extend(decoder.end().unwrap());
            assert_eq!(out, b"one two", "{step}");
        }
        let mut cut = Decoder::default();
        let whole = packed(b"text");
        cut.part(&whole[..whole.len() - 3]).unwrap();
        assert!(cut.end().is_err());
    }
}
