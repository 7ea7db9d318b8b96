//! A stored answer: its head, parsed once, and its body in blocks that are handed out uncopied.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use pingora::http::ResponseHeader;

use crate::cache::budget::Lease;
use crate::cache::freshness::Times;
use crate::cache::key::Key;
use crate::cache::slices::Layout;
use crate::cache::tags::Tags;
use crate::cache::vary::Selection;
use crate::raw::Pages;

/// What an answer costs beyond its bytes: its places in maps and orders, its structs.
const OBJECT_OVERHEAD: u64 = 1024;
/// What a header field costs beyond its bytes.
const FIELD_OVERHEAD: u64 = 128;
/// What a block costs beyond its bytes.
pub const BLOCK_OVERHEAD: u64 = 96;
/// Blocks smaller than this on average are joined into one when a body is complete.
const BLOCK_BYTES_MIN: u64 = 8 * 1024;

/// A head as it came from the origin, without what belongs to the connection, and what was made of it.
#[derive(Clone, Debug)]
pub struct Head {
    pub response: ResponseHeader,
    pub selection: Selection,
    /// `None` when the answer may not be stored.
    pub times: Option<Times>,
    /// Length of the body, when the origin said it.
    pub length: Option<u64>,
    pub tags: Tags,
    /// Its body is in slices of their own, which are found by this.
    pub layout: Option<Layout>,
}

impl Head {
    /// Bytes it holds together with its key, and with its fields as lines.
    pub fn cost(&self, key: &Key) -> u64 {
        let fields = self.response.headers.iter();
        let bytes: u64 = fields
            .map(|(name, value)| 2 * (name.as_str().len() + value.len()) as u64 + FIELD_OVERHEAD)
            .sum();
        OBJECT_OVERHEAD + key.cost() + self.selection.cost() + self.tags.cost() + bytes
    }
}

/// A whole body.
#[derive(Debug)]
pub struct Body {
    pub blocks: Blocks,
    /// Where all of it lies, if it lies there.
    pub pages: Option<Arc<Pages>>,
    /// Given back when the last reader is done with it.
    pub lease: Lease,
}

/// Bytes in order, found by their place.
#[derive(Clone, Debug, Default)]
pub struct Blocks {
    /// Each block with the place of its first byte.
    blocks: std::collections::VecDeque<(u64, Bytes)>,
    end: u64,
}

impl Blocks {
    /// None yet, and the first is to begin here.
    pub fn beginning_at(at: u64) -> Blocks {
        Blocks { end: at, ..Blocks::default() }
    }

    /// Where those that are held begin.
    pub fn begin(&self) -> u64 {
        self.blocks.front().map_or(self.end, |(begins, _)| *begins)
    }

    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            let begins = self.end;
            self.end += bytes.len() as u64;
            self.blocks.push_back((begins, bytes));
        }
    }

    /// Lets go of what its blocks are parts of.
    pub fn copy(&mut self) {
        for (_, block) in &mut self.blocks {
            *block = Bytes::copy_from_slice(block);
        }
    }

    /// Bytes received so far, those forgotten included.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn count(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The blocks that are held.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.blocks.iter().map(|(_, block)| block)
    }

    /// Bytes from `at` to the end of their block; empty when there are none yet.
    pub fn from(&self, at: u64) -> Bytes {
        let index = self.blocks.partition_point(|(begins, _)| *begins <= at);
        let Some((begins, block)) = index.checked_sub(1).and_then(|i| self.blocks.get(i)) else {
            return Bytes::new();
        };
        let skip = usize::try_from(at - begins).unwrap_or(usize::MAX);
        if skip >= block.len() { Bytes::new() } else { block.slice(skip..) }
    }

    /// Forgets blocks that end at or before `at`.
    pub fn forget_before(&mut self, at: u64) {
        while self.blocks.front().is_some_and(|(begins, block)| begins + block.len() as u64 <= at) {
            self.blocks.pop_front();
        }
    }

    /// Bytes that are held.
    pub fn held(&self) -> u64 {
        self.end - self.begin()
    }

    /// One block in place of many small ones, so that an origin that drips costs no more than one
    /// that pours.
    pub fn joined(self) -> Blocks {
        if self.count() <= 1 || self.end / self.count() >= BLOCK_BYTES_MIN {
            return self;
        }
        let mut whole = BytesMut::with_capacity(usize::try_from(self.end).unwrap_or(0));
        for (_, block) in &self.blocks {
            whole.extend_from_slice(block);
        }
        let mut joined = Blocks::default();
        joined.push(whole.freeze());
        joined
    }

    /// What a body of these blocks costs.
    pub fn cost(&self) -> u64 {
        self.held() + self.count() * BLOCK_OVERHEAD
    }
}

impl FromIterator<Bytes> for Blocks {
    fn from_iter<T: IntoIterator<Item = Bytes>>(blocks: T) -> Blocks {
        let mut these = Blocks::default();
        blocks.into_iter().for_each(|block| these.push(block));
        these
    }
}

/// An answer in the store.
#[derive(Debug)]
pub struct Stored {
    pub key: Key,
    pub head: Arc<Head>,
    pub body: Arc<Body>,
    pub head_lease: Lease,
    times: Times,
    /// When a purge made it stale; `u64::MAX`: none did.
    stale_since_ms: AtomicU64,
    /// Its head as bytes of HTTP/1.1, made when it is first sent so.
    pub lines: OnceLock<Bytes>,
}

impl Stored {
    pub fn new(
        key: Key,
        head: Arc<Head>,
        times: Times,
        body: Arc<Body>,
        head_lease: Lease,
    ) -> Stored {
        let stale_since_ms = AtomicU64::new(u64::MAX);
        Stored { key, head, body, head_lease, times, stale_since_ms, lines: OnceLock::new() }
    }

    pub fn times(&self) -> Times {
        self.times.stale_from(self.stale_since_ms.load(Ordering::Acquire))
    }

    pub fn make_stale(&self, since_ms: u64) {
        self.stale_since_ms.fetch_min(since_ms, Ordering::AcqRel);
    }

    pub fn length(&self) -> u64 {
        self.body.blocks.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_by_their_place() {
        let mut blocks = Blocks::default();
        for part in ["abc", "", "de", "f"] {
            blocks.push(Bytes::from(part));
        }
        assert_eq!((blocks.end(), blocks.count(), blocks.held()), (6, 3, 6));
        assert_eq!(blocks.from(0), "abc");
        assert_eq!(blocks.from(2), "c");
        assert_eq!(blocks.from(3), "de");
        assert_eq!(blocks.from(6), "");
        blocks.forget_before(4);
        assert_eq!((blocks.held(), blocks.from(4)), (3, Bytes::from("e")));
        assert_eq!(blocks.from(1), "", "what is forgotten is not there");
    }

    #[test]
    fn small_blocks_are_joined_and_large_ones_kept() {
        let mut small = Blocks::default();
        (0..100).for_each(|_| small.push(Bytes::from_static(b"x")));
        let small = small.joined();
        assert_eq!((small.count(), small.end(), small.from(40).len()), (1, 100, 60));
        let mut large = Blocks::default();
        (0..4).for_each(|_| large.push(Bytes::from(vec![0; 64 * 1024])));
        assert_eq!(large.joined().count(), 4);
    }
}
