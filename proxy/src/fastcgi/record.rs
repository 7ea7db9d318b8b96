//! The records of FastCGI (its specification, version 1.0, section 3.3 and following). Pure: bytes in,
//! records out, whatever the pieces they come in.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

const VERSION: u8 = 1;
/// The one request of a connection: servers do not multiplex, so nobody does.
const REQUEST_ID: u16 = 1;
const HEADER_BYTES: usize = 8;
const RESPONDER: u8 = 1;
const KEEP_CONNECTION: u8 = 1;
/// Bytes of a stream put into one record: less than a length can say, and a multiple of 8.
const CONTENT_MAX: usize = 32 * 1024;
/// Bytes of the body of an end-of-request record.
const END_BYTES: usize = 8;

/// The streams a request is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Params = 4,
    Stdin = 5,
}

/// What a server sends. A part is as long as the bytes at hand: records are not put together again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The request is done; 0 when the server took it (section 5.5).
    End {
        protocol_status: u8,
    },
}

/// Why what a server sends is no FastCGI.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordFault {
    #[error("a record is of version {0}, not 1")]
    Version(u8),
    #[error("a record belongs to request {0}, which nobody made")]
    Request(u16),
    #[error("a record is of kind {0}, which no server sends")]
    Kind(u8),
    #[error("a record that ends a request has {0} bytes, not 8")]
    End(usize),
}

fn header(kind: u8, content: u16, padding: u8) -> [u8; HEADER_BYTES] {
    let ([id_high, id_low], [high, low]) = (REQUEST_ID.to_be_bytes(), content.to_be_bytes());
    [VERSION, kind, id_high, id_low, high, low, padding, 0]
}

/// Begins a request; with `keep`, the server leaves the connection open after it.
pub fn begin(keep: bool, into: &mut BytesMut) {
    into.extend_from_slice(&header(1, 8, 0));
    let flags = if keep { KEEP_CONNECTION } else { 0 };
    into.extend_from_slice(&[0, RESPONDER, flags, 0, 0, 0, 0, 0]);
}

/// Appends bytes of a stream. No bytes are no record: an empty one would end the stream.
pub fn write(stream: Stream, content: &[u8], into: &mut BytesMut) {
    for part in content.chunks(CONTENT_MAX) {
        let padding = (8 - part.len() % 8) % 8;
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        into.extend_from_slice(&header(stream as u8, length, u8::try_from(padding).unwrap_or(0)));
        into.extend_from_slice(part);
        into.extend_from_slice(&[0; 8][..padding]);
    }
}

/// Ends a stream.
pub fn finish(stream: Stream, into: &mut BytesMut) {
    into.extend_from_slice(&header(stream as u8, 0, 0));
}

/// One name and its value (section 3.4).
pub fn pair(name: &[u8], value: &[u8], into: &mut BytesMut) {
    for length in [name.len(), value.len()] {
        match u8::try_from(length) {
            Ok(short) if short < 128 => into.extend_from_slice(&[short]),
            _ => {
                let long = u32::try_from(length).unwrap_or(u32::MAX) | 1 << 31;
                into.extend_from_slice(&long.to_be_bytes());
            }
        }
    }
    into.extend_from_slice(name);
    into.extend_from_slice(value);
}

/// Reads records off what has come.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The record being read: its kind, and the bytes of content and of padding to come.
    open: Option<(u8, usize, usize)>,
}

impl Decoder {
    /// The next part, if there is one; what it was made of is taken off `from`.
    pub fn next(&mut self, from: &mut BytesMut) -> Result<Option<Heard>, RecordFault> {
        loop {
            let Some((kind, content, padding)) = self.open else {
                let Some(head) = from.first_chunk::<HEADER_BYTES>().copied() else {
                    return Ok(None);
                };
                self.open = Some(opened(head)?);
                from.advance(HEADER_BYTES);
                continue;
            };
            if content > 0 {
                let whole = kind == 3;
                if from.is_empty() || (whole && from.len() < content) {
                    return Ok(None);
                }
                let part = from.split_to(content.min(from.len())).freeze();
                self.open = Some((kind, content - part.len(), padding));
                match kind {
                    6 => return Ok(Some(Heard::Stdout(part))),
                    7 => return Ok(Some(Heard::Stderr(part))),
                    3 => return Ok(Some(Heard::End { protocol_status: part[4] })),
                    // Answers to questions nobody asked.
                    _ => continue,
                }
            }
            let skipped = padding.min(from.len());
            from.advance(skipped);
            if skipped < padding {
                self.open = Some((kind, 0, padding - skipped));
                return Ok(None);
            }
            self.open = None;
        }
    }
}

fn opened(head: [u8; HEADER_BYTES]) -> Result<(u8, usize, usize), RecordFault> {
    let [version, kind, id_high, id_low, high, low, padding, _] = head;
    let (id, content) = (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([high, low]));
    let content = usize::from(content);
    match (version, kind, id) {
        (VERSION, 3, REQUEST_ID) if content != END_BYTES => Err(RecordFault::End(content)),
        (VERSION, 3 | 6 | 7, REQUEST_ID) | (VERSION, 10 | 11, 0) => {
            Ok((kind, content, usize::from(padding)))
        }
        (VERSION, 3 | 6 | 7, id) => Err(RecordFault::Request(id)),
        (VERSION, kind, _) => Err(RecordFault::Kind(kind)),
        (version, ..) => Err(RecordFault::Version(version)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(kind: u8, content: &[u8], padding: u8, into: &mut Vec<u8>) {
        let length = u16::try_from(content.len()).unwrap();
        into.extend_from_slice(&header(kind, length, padding));
        into.extend_from_slice(content);
        into.extend(vec![0xaa; usize::from(padding)]);
    }

    proptest! {
        #[test]
        fn what_is_heard_is_what_was_sent_whatever_the_pieces(
            parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300), any::<u8>()), 0..12),
            piece in 1usize..64,
        ) {
            let (mut bytes, mut out, mut err) = (Vec::new(), Vec::new(), Vec::new());
            for (is_out, content, padding) in &parts {
                sent(if *is_out { 6 } else { 7 }, content, *padding, &mut bytes);
                if *is_out { out.extend(content) } else { err.extend(content) }
            }
            sent(3, &[0; 8], 3, &mut bytes);
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
            let (mut heard_out, mut heard_err, mut ends) = (Vec::new(), Vec::new(), 0);
            for piece in bytes.chunks(piece) {
                buffer.extend_from_slice(piece);
                while let Some(heard) = decoder.next(&mut buffer).unwrap() {
                    match heard {
                        Heard::Stdout(part) => heard_out.extend(part),
                        Heard::Stderr(part) => heard_err.extend(part),
                        Heard::End { protocol_status } => {
                            prop_assert_eq!(protocol_status, 0);
                            ends += 1;
                        }
                    }
                }
            }
            prop_assert_eq!((heard_out, heard_err, ends), (out, err, 1));
            prop_assert!(buffer.is_empty());
        }

        /// Whatever comes, the decoder neither panics nor goes round without taking something.
        #[test]
        fn nonsense_ends(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::from(&bytes[..]));
            let mut steps = 0;
            while let Ok(Some(_)) = decoder.next(&mut buffer) {
                steps += 1;
                prop_assert!(steps <= bytes.len());
            }
        }

        #[test]
        fn streams_are_cut_and_padded(content in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut wire = BytesMut::new();
            write(Stream::Stdin, &content, &mut wire);
            finish(Stream::Stdin, &mut wire);
            let mut seen = Vec::new();
            loop {
                prop_assert_eq!(wire[..4].to_vec(), vec![1, 5, 0, 1]);
                let length = usize::from(u16::from_be_bytes([wire[4], wire[5]]));
                let padding = usize::from(wire[6]);
                prop_assert_eq!((length + padding) % 8, 0);
                wire.advance(HEADER_BYTES);
                seen.extend(wire.split_to(length));
                wire.advance(padding);
                if length == 0 { break }
            }
            prop_assert_eq!(seen, content);
            prop_assert!(wire.is_empty());
        }
    }

    #[test]
    fn long_names_and_values_have_long_lengths() {
        let mut wire = BytesMut::new();
        pair(b"A", &[b'x'; 127], &mut wire);
        assert_eq!(wire[..3], [1, 127, b'A']);
        wire.clear();
        pair(b"AB", &[b'x'; 300], &mut wire);
        assert_eq!(wire[..7], [2, 0x80, 0, 1, 44, b'A', b'B']);
    }

    #[test]
    fn records_that_no_server_sends_are_refused() {
        for (head, fault) in [
            ([2, 6, 0, 1, 0, 1, 0, 0], RecordFault::Version(2)),
            ([1, 6, 0, 2, 0, 1, 0, 0], RecordFault::Request(2)),
            ([1, 5, 0, 1, 0, 1, 0, 0], RecordFault::Kind(5)),
            ([1, 3, 0, 1, 0, 7, 0, 0], RecordFault::End(7)),
        ] {
            let mut buffer = BytesMut::from(&head[..]);
            assert_eq!(Decoder::default().next(&mut buffer), Err(fault));
        }
    }
}
