//! Encoders that take bytes as they come and hand out what is ready.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use proxy_config::route_action::Coding;
use zstd::stream::raw::CParameter;

/// Bytes of the window an encoder looks back on, as a power of two: what an encoder may hold is a few
/// times that.
const WINDOW_LOG: u32 = 17;
/// Room for what an encoder has written between two parts.
const BUFFER_BYTES: usize = 4096;

/// An encoder of one body.
pub enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    /// Finished.
    Done,
}

impl Encoder {
    pub fn new(coding: Coding, level: u8) -> io::Result<Encoder> {
        Ok(match coding {
            Coding::Gzip => {
                Encoder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level.into())))
            }
            Coding::Brotli => Encoder::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BUFFER_BYTES,
                level.into(),
                WINDOW_LOG,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level.into())?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
                Encoder::Zstd(Box::new(encoder))
            }
        })
    }

    /// Takes a part of the body; with `flush`, all of it can be decoded from what has been handed out.
    pub fn write(&mut self, part: &[u8], flush: bool) -> io::Result<Vec<u8>> {
        let sink: &mut dyn Write = match self {
            Encoder::Gzip(encoder) => encoder,
            Encoder::Brotli(encoder) => encoder,
            Encoder::Zstd(encoder) => encoder,
            Encoder::Done => return Ok(Vec::new()),
        };
        sink.write_all(part)?;
        if flush && !part.is_empty() {
            sink.flush()?;
        }
        Ok(match self {
            Encoder::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Encoder::Brotli(encoder) => std::mem::take(encoder.get_mut()),
            Encoder::Zstd(encoder) => std::mem::take(encoder.get_mut()),
            Encoder::Done => Vec::new(),
        })
    }

    /// What is left of the body, and its end.
    pub fn finish(&mut self) -> io::Result<Vec<u8>> {
        match std::mem::replace(self, Encoder::Done) {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
            Encoder::Zstd(encoder) => encoder.finish(),
            Encoder::Done => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
            Coding::Zstd => {
                zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out).unwrap()
            }
        };
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_decoded_is_what_was_encoded(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2000), 0..8),
            flush in any::<bool>(),
        ) {
            for (coding, level) in [(Coding::Gzip, 6), (Coding::Brotli, 4), (Coding::Zstd, 3)] {
                let mut encoder = Encoder::new(coding, level).unwrap();
                let mut out = Vec::new();
                for part in &parts {
                    out.extend(encoder.write(part, flush).unwrap());
                }
                out.extend(encoder.finish().unwrap());
                prop_assert!(encoder.finish().unwrap().is_empty());
                prop_assert_eq!(decoded(coding, &out), parts.concat());
            }
        }
    }

    #[test]
    fn what_is_flushed_can_be_decoded_at_once() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let mut encoder = Encoder::new(coding, 3).unwrap();
            let out = encoder.write(b"data: 1\n\n", true).unwrap();
            let mut first = [0; 9];
            let read = match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&out[..]).read_exact(&mut first),
                Coding::Brotli => brotli::Decompressor::new(&out[..], 64).read_exact(&mut first),
                Coding::Zstd => {
                    zstd::stream::read::Decoder::new(&out[..]).unwrap().read_exact(&mut first)
                }
            };
            read.unwrap();
            assert_eq!(&first, b"data: 1\n\n", "{coding:?}");
        }
    }
}
