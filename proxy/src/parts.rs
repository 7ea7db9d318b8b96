//! Parts of a response that is at hand whole: several ranges as `multipart/byteranges` (RFC 9110 section 14.6), and single
//! ones of what an upstream sent whole, where the route says so. As a module of pingora's it stands behind all others,
//! so that it counts the bytes that are sent.
//!
//! What comes with `Content-Range` already is left alone; so is what has no length.

use std::any::Any;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, TRANSFER_ENCODING,
};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora::modules::http::{HttpModule, HttpModuleBuilder, Module};
use pingora::proxy::Session;

use crate::cache::conditional::range_counts;
use crate::cache::range::ranges;
use crate::route::Route;

/// Ranges of one request that are looked at.
const RANGES_MAX: usize = 100;

/// Makes the cutter of each request.
pub struct Cutters;

impl HttpModuleBuilder for Cutters {
    fn order(&self) -> i16 {
        // Lower comes later.
        -1
    }

    fn init(&self) -> Module {
        Box::new(Cutter::default())
    }
}

/// What cuts the response of one request.
#[derive(Default)]
pub struct Cutter {
    asked: Option<Asked>,
    cutting: Option<Cutting>,
    /// The length is not told.
    chunked: bool,
}

struct Asked {
    headers: HeaderMap,
    force: bool,
    ranges_max: usize,
}

/// A response that is sent in parts.
struct Cutting {
    /// First byte, and the one behind the last, in the order they were asked for, each with what is sent before it.
    parts: Vec<(u64, u64, Bytes)>,
    end: Bytes,
    at: u64,
}

/// Says how the route has its responses sent: in parts, although nobody says that they have any, or in chunks.
pub fn offer(session: &mut Session, route: &Route, ranges_max: Option<u32>) {
    let head = session.req_header();
    let has_chunks = route.chunked
        && matches!(head.version, Version::HTTP_11 | Version::HTTP_2)
        && head.method != Method::HEAD;
    let asks = head.method == Method::GET && head.headers.contains_key(RANGE);
    let asked = asks.then(|| Asked {
        headers: head.headers.clone(),
        force: route.force_ranges,
        ranges_max: ranges_max.map_or(RANGES_MAX, |max| usize::try_from(max).unwrap_or(RANGES_MAX)),
    });
    if let Some(cutter) = session.downstream_modules_ctx.get_mut::<Cutter>() {
        (cutter.asked, cutter.chunked) = (asked, has_chunks);
    }
}

impl Cutter {
    fn begin(&mut self, head: &mut ResponseHeader) -> pingora::Result<()> {
        self.cutting = None;
        let Some(asked) = &self.asked else { return Ok(()) };
        if asked.force && head.status == StatusCode::OK && asked.ranges_max > 0 {
            head.insert_header(ACCEPT_RANGES, "bytes")?;
        }
        let has_ranges = head.headers.get(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
        let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length: Option<u64> = length.and_then(|length| length.parse().ok());
        let (Some(length), true) = (length, head.status == StatusCode::OK && has_ranges) else {
            return Ok(());
        };
        if head.headers.contains_key(CONTENT_RANGE) || !range_counts(&asked.headers, &head.headers)
        {
            return Ok(());
        }
        let Some(ranges) = ranges(&asked.headers, length, RANGES_MAX) else { return Ok(()) };
        // Who asks for more than there is gets it as it is.
        let sum: u64 = ranges.iter().map(|(first, end)| end - first).sum();
        if ranges.len() > asked.ranges_max || sum > length {
            return Ok(());
        }
        self.cutting = Some(match ranges.as_slice() {
            [] => {
                head.set_status(StatusCode::RANGE_NOT_SATISFIABLE)?;
                head.insert_header(CONTENT_RANGE, format!("bytes */{length}"))?;
                head.insert_header(CONTENT_LENGTH, 0)?;
                Cutting { parts: Vec::new(), end: Bytes::new(), at: 0 }
            }
            [(first, end)] => {
                head.set_status(StatusCode::PARTIAL_CONTENT)?;
                head.insert_header(CONTENT_RANGE, format!("bytes {first}-{}/{length}", end - 1))?;
                head.insert_header(CONTENT_LENGTH, end - first)?;
                Cutting { parts: vec![(*first, *end, Bytes::new())], end: Bytes::new(), at: 0 }
            }
            several => multipart(head, several, length)?,
        });
        head.set_reason_phrase(None)?;
        head.remove_header(&TRANSFER_ENCODING);
        Ok(())
    }

    fn cut(&mut self, body: &mut Option<Bytes>, ends: bool) {
        let Some(cutting) = &mut self.cutting else { return };
        let part = body.take().unwrap_or_default();
        let mut out = Vec::new();
        let (from, to) = (cutting.at, cutting.at + part.len() as u64);
        cutting.at = to;
        // Several ranges are sent in their order on the wire: what lies before is waited for by none.
        for (first, end, before) in &mut cutting.parts {
            let (start, stop) = (from.max(*first), to.min(*end));
            if start >= stop {
                continue;
            }
            out.extend_from_slice(&std::mem::take(before));
            let at = |position: u64| usize::try_from(position - from).unwrap_or(usize::MAX);
            out.extend_from_slice(part.get(at(start)..at(stop)).unwrap_or_default());
        }
        if ends {
            out.extend_from_slice(&std::mem::take(&mut cutting.end));
            self.cutting = None;
        }
        *body = (!out.is_empty()).then(|| Bytes::from(out));
    }
}

/// Parts of a kind of message of its own, each with a head that says where it is from.
fn multipart(
    head: &mut ResponseHeader,
    ranges: &[(u64, u64)],
    length: u64,
) -> pingora::Result<Cutting> {
    let boundary = format!("{:020}", fastrand::u64(..));
    let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_vec());
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    // A body that passes by once can be cut only in its own order, and each byte of it but once.
    let apart = sorted.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    let mut parts = Vec::new();
    let mut total = 0;
    let list = if apart { sorted } else { merged(&sorted) };
    for (first, end) in list {
        let mut before = format!("\r\n--{boundary}\r\n").into_bytes();
        if let Some(kind) = &kind {
            before.extend_from_slice(b"Content-Type: ");
            before.extend_from_slice(kind);
            before.extend_from_slice(b"\r\n");
        }
        let place = format!("Content-Range: bytes {first}-{}/{length}\r\n\r\n", end - 1);
        before.extend_from_slice(place.as_bytes());
        total += before.len() as u64 + (end - first);
        parts.push((first, end, Bytes::from(before)));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    total += end.len() as u64;
    head.set_status(StatusCode::PARTIAL_CONTENT)?;
    head.insert_header(CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"))?;
    head.insert_header(CONTENT_LENGTH, total)?;
    Ok(Cutting { parts, end: Bytes::from(end), at: 0 })
}

/// Ranges that overlap, as one (RFC 9110 section 15.3.7.2 lets servers do so).
fn merged(sorted: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, end) in sorted {
        match merged.last_mut() {
            Some((_, last)) if *first <= *last => *last = (*last).max(*end),
            _ => merged.push((*first, *end)),
        }
    }
    merged
}

#[async_trait]
impl HttpModule for Cutter {
    async fn response_header_filter(
        &mut self,
        head: &mut ResponseHeader,
        _end_of_stream: bool,
    ) -> pingora::Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        self.begin(head)?;
        if self.chunked && !matches!(head.status.as_u16(), 204 | 304) {
            head.remove_header(&CONTENT_LENGTH);
            head.insert_header(TRANSFER_ENCODING, "chunked")?;
        }
        Ok(())
    }

    fn response_body_filter(
        &mut self,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
    ) -> pingora::Result<()> {
        self.cut(body, end_of_stream);
        Ok(())
    }

    fn response_done_filter(&mut self) -> pingora::Result<Option<Bytes>> {
        let mut rest = None;
        self.cut(&mut rest, true);
        Ok(rest)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, `Content-Range` or type, and body of what is cut from ten bytes.
    fn cut(range: &str, step: usize) -> (u16, String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        let asked = Some(Asked { headers, force: true, ranges_max: RANGES_MAX });
        let mut cutter = Cutter { asked, ..Cutter::default() };
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.insert_header(CONTENT_LENGTH, 10).unwrap();
        cutter.begin(&mut head).unwrap();
        let body = b"0123456789";
        let (mut out, mut parts) = (Vec::new(), body.chunks(step).peekable());
        while let Some(part) = parts.next() {
            let mut part = Some(Bytes::from(part.to_vec()));
            cutter.cut(&mut part, parts.peek().is_none());
            out.extend(part.unwrap_or_default());
        }
        let length = head.headers[CONTENT_LENGTH].to_str().unwrap().parse::<usize>().unwrap();
        assert_eq!(length, out.len(), "{range}");
        let place = head.headers.get(CONTENT_RANGE).map(|place| place.to_str().unwrap().to_owned());
        (head.status.as_u16(), place.unwrap_or_default(), String::from_utf8(out).unwrap())
    }

    #[test]
    fn ranges_are_cut_wherever_parts_of_the_body_end() {
        for step in [1, 3, 10] {
            let text = |range: &str| cut(range, step);
            assert_eq!(text("bytes=4-"), (206, "bytes 4-9/10".to_owned(), "456789".to_owned()));
            assert_eq!(text("bytes=-2"), (206, "bytes 8-9/10".to_owned(), "89".to_owned()));
            assert_eq!(text("bytes=20-").0, 416);
            for whole in ["bytes=0-9,0-9", "lines=1-2", "bytes=5-2", "bytes=x", "bytes=", "bytes=,"]
            {
                assert_eq!(text(whole), (200, String::new(), "0123456789".to_owned()), "{whole}");
            }
            let (status, _, body) = text("bytes=8-, 0-2");
            assert_eq!(status, 206);
            let first = body.find("bytes 0-2/10\r\n\r\n012\r\n--").unwrap();
            assert!(first < body.find("bytes 8-9/10\r\n\r\n89\r\n--").unwrap());
            assert!(body.starts_with("\r\n--") && body.ends_with("--\r\n"), "{body:?}");
            assert!(text("bytes=1-3,2-4").2.contains("bytes 1-4/10\r\n\r\n1234\r\n"));
        }
    }
}
