//! A stored answer as bytes in a file: a fixed start with lengths and checksums, the head as JSON,
//! the body. Whatever was cut off or changed is seen, and is as good as not there.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use serde::{Deserialize, Serialize};

use crate::cache::freshness::Times;
use crate::cache::key::Key;
use crate::cache::object::{Head, Stored};
use crate::cache::slices::Layout;
use crate::cache::tags::Tags;
use crate::cache::vary::Selection;

/// Bytes of the start: magic, lengths, checksums, and when the answer was made stale.
pub const START_BYTES: usize = 40;
/// Where the time stands from which a purge made the answer stale: it may change, so no checksum has it.
pub const STALE_SINCE_AT: u64 = 32;
/// `u64::MAX`: no purge did.
pub const NEVER: u64 = u64::MAX;
/// Longest head that is read.
const HEAD_BYTES_MAX: u32 = 4 << 20;
const MAGIC: [u8; 8] = *b"FOREBAY1";

/// The start of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub head_bytes: u32,
    head_sum: u32,
    pub body_bytes: u64,
    body_sum: u32,
    pub stale_since_ms: u64,
}

impl Start {
    /// `None` when this is not the start of a record.
    pub fn read(bytes: &[u8; START_BYTES]) -> Option<Start> {
        let start = Start {
            head_bytes: u32::from_le_bytes(part(bytes, 8)),
            head_sum: u32::from_le_bytes(part(bytes, 12)),
            body_bytes: u64::from_le_bytes(part(bytes, 16)),
            body_sum: u32::from_le_bytes(part(bytes, 24)),
            stale_since_ms: u64::from_le_bytes(part(bytes, 32)),
        };
        let own_sum = u32::from_le_bytes(part(bytes, 28));
        let whole = bytes[..8] == MAGIC && own_sum == crc32fast::hash(&bytes[..28]);
        (whole && start.head_bytes <= HEAD_BYTES_MAX).then_some(start)
    }

    /// Length of the whole record.
    pub fn record_bytes(&self) -> u64 {
        START_BYTES as u64 + u64::from(self.head_bytes) + self.body_bytes
    }

    /// The head, if these are its bytes.
    pub fn head(&self, bytes: &[u8]) -> Option<Written> {
        let same = crc32fast::hash(bytes) == self.head_sum;
        same.then(|| serde_json::from_slice::<Written>(bytes).ok()).flatten()
    }

    pub fn is_body(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.body_bytes && crc32fast::hash(bytes) == self.body_sum
    }
}

fn part<const N: usize>(bytes: &[u8; START_BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

/// A head as it is written. Bytes that may be no UTF-8 are written as the characters of their values.
#[derive(Debug, Serialize, Deserialize)]
pub struct Written {
    pub uri: String,
    extras: String,
    status: u16,
    fields: Vec<(String, String)>,
    selection: Vec<(String, String)>,
    pub tags: Vec<String>,
    pub times: Times,
    length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<Layout>,
}

/// An answer's record without its body; `None` when its head is longer than what is read back.
pub fn write(stored: &Stored) -> Option<Vec<u8>> {
    let head = &stored.head;
    let fields = head.response.headers.iter();
    let written = Written {
        uri: stored.key.uri.to_string(),
        extras: characters(&stored.key.extras),
        status: head.response.status.as_u16(),
        fields: fields
            .map(|(name, value)| (name.as_str().to_owned(), characters(value.as_bytes())))
            .collect(),
        selection: head
            .selection
            .pairs()
            .map(|(name, value)| (name.as_str().to_owned(), characters(value)))
            .collect(),
        tags: head.tags.iter().map(ToString::to_string).collect(),
        times: stored.times(),
        length: head.length,
        layout: head.layout,
    };
    let text = serde_json::to_vec(&written).ok()?;
    let head_bytes = u32::try_from(text.len()).ok().filter(|bytes| *bytes <= HEAD_BYTES_MAX)?;
    let mut sum = crc32fast::Hasher::new();
    stored.body.blocks.iter().for_each(|block| sum.update(block));
    let mut record = Vec::with_capacity(START_BYTES + text.len());
    record.extend_from_slice(&MAGIC);
    record.extend_from_slice(&head_bytes.to_le_bytes());
    record.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
    record.extend_from_slice(&stored.length().to_le_bytes());
    record.extend_from_slice(&sum.finalize().to_le_bytes());
    let own_sum = crc32fast::hash(&record);
    record.extend_from_slice(&own_sum.to_le_bytes());
    record.extend_from_slice(&NEVER.to_le_bytes());
    record.extend_from_slice(&text);
    Some(record)
}

impl Written {
    pub fn key(&self) -> Option<Key> {
        Some(Key { uri: self.uri.as_str().into(), extras: octets(&self.extras)?.into() })
    }

    pub fn selection(&self) -> Option<Selection> {
        let pairs = self.selection.iter().map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, octets(value)?))
        });
        Some(Selection::from_pairs(pairs.collect::<Option<_>>()?))
    }

    pub fn tags(&self) -> Tags {
        self.tags.iter().map(|tag| Arc::from(tag.as_str())).collect()
    }

    /// `None` when it is no head of a response.
    pub fn into_head(self) -> Option<(Key, Head)> {
        let status = StatusCode::from_u16(self.status).ok()?;
        let mut response = ResponseHeader::build(status, Some(self.fields.len())).ok()?;
        for (name, value) in &self.fields {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            let value = HeaderValue::from_bytes(&octets(value)?).ok()?;
            response.append_header(name, value).ok()?;
        }
        let (key, selection, tags) = (self.key()?, self.selection()?, self.tags());
        let (times, length, layout) = (Some(self.times), self.length, self.layout);
        Some((key, Head { response, selection, times, length, tags, layout }))
    }
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn octets(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(character).ok()).collect()
}

/// The parts of a whole record; `None` when anything about it is wrong.
pub fn read(bytes: &Bytes) -> Option<(Start, Written, Bytes)> {
    let start = Start::read(bytes.first_chunk()?)?;
    if start.record_bytes() != bytes.len() as u64 {
        return None;
    }
    let body_at = START_BYTES + usize::try_from(start.head_bytes).ok()?;
    let head = start.head(&bytes[START_BYTES..body_at])?;
    let body = bytes.slice(body_at..);
    start.is_body(&body).then_some((start, head, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::budget::Class;
    use crate::cache::object::{Blocks, Body};
    use crate::cache::store::{Limits, Store};
    use http::HeaderMap;
    use proptest::prelude::*;

    fn record(body: &[u8], value: &[u8]) -> Vec<u8> {
        let limits =
            Limits { memory_max: 1 << 30, object_max: 1 << 30, large_max: 1 << 30, large_min: 1 };
        let mut store = Store::new(limits);
        let mut response = ResponseHeader::build(200, None).unwrap();
        response.append_header("x", HeaderValue::from_bytes(value).unwrap()).unwrap();
        let mut request = HeaderMap::new();
        request.insert("foo", HeaderValue::from_bytes(value).unwrap());
        let mut varying = HeaderMap::new();
        varying.insert("vary", HeaderValue::from_static("foo"));
        let selection = Selection::of(&varying, &request).unwrap();
        let tags = [Arc::from("a"), Arc::from("b")].into_iter().collect();
        let times = Times::spent(7);
        let head =
            Head { response, selection, times: Some(times), length: None, tags, layout: None };
        let mut blocks = Blocks::default();
        blocks.push(Bytes::copy_from_slice(body));
        let lease = store.reserve(Class::Small, 0).unwrap();
        let body = Arc::new(Body { blocks: blocks.clone(), pages: None, lease });
        let key = Key { uri: "http://a/é".into(), extras: value.into() };
        let lease = store.reserve(Class::Small, 0).unwrap();
        let mut bytes = write(&Stored::new(key, Arc::new(head), times, body, lease)).unwrap();
        blocks.iter().for_each(|block| bytes.extend_from_slice(block));
        bytes
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = Bytes::from(record(b"body", b"caf\xe9"));
        let (start, written, body) = read(&bytes).unwrap();
        assert_eq!((start.stale_since_ms, &body[..]), (NEVER, &b"body"[..]));
        assert_eq!(written.times, Times::spent(7));
        let (key, head) = written.into_head().unwrap();
        assert_eq!((&*key.uri, &key.extras[..]), ("http://a/é", &b"caf\xe9"[..]));
        assert_eq!(head.response.headers["x"].as_bytes(), b"caf\xe9");
        assert!(head.tags.contains("b"));
        let mut request = HeaderMap::new();
        assert!(!head.selection.fits(&request));
        request.insert("foo", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        assert!(head.selection.fits(&request));
    }

    proptest! {
        /// One bit anywhere, or an end anywhere, and it is not taken for a record. The time of a
        /// purge alone may be any.
        #[test]
        fn what_was_changed_is_seen(body in proptest::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0u8..8) {
            let whole = record(&body, b"v");
            let at = at.index(whole.len());
            prop_assert!(read(&Bytes::copy_from_slice(&whole[..at])).is_none());
            let mut changed = whole;
            changed[at] ^= 1 << bit;
            let may_change = (32..40).contains(&at);
            prop_assert_eq!(read(&Bytes::from(changed)).is_some(), may_change);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&Bytes::from(bytes)).is_none());
        }
    }
}
