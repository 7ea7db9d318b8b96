//! Small writes leave together: a head and a short body are one packet. What they wait in is there while they wait, so
//! that an idle connection has none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use pingora::protocols::Stream;
use tokio::io::AsyncWrite as _;

/// Writes that wait for each other have no more than this: what fits into a packet.
pub const TOGETHER_BYTES: usize = 1460;

/// What was written and is not sent yet.
#[derive(Debug, Default)]
pub struct Together(BytesMut);

impl Together {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.0.capacity()
    }

    /// Writes, or keeps what is small for a flush.
    pub fn poll_put(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
        if self.0.len() + length > TOGETHER_BYTES {
            ready!(self.poll_send(stream, context))?;
        }
        if length > TOGETHER_BYTES {
            return match slices {
                [whole] => Pin::new(stream).poll_write(context, whole),
                _ => Pin::new(stream).poll_write_vectored(context, slices),
            };
        }
        self.0.reserve(length);
        slices.iter().for_each(|slice| self.0.extend_from_slice(slice));
        Poll::Ready(Ok(length))
    }

    /// Sends what was kept.
    pub fn poll_send(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.0.is_empty() {
            match ready!(Pin::new(&mut *stream).poll_write(context, &self.0))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.0.advance(count),
            }
        }
        self.0 = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    pub fn poll_send_and_flush(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_send(stream, context))?;
        Pin::new(stream).poll_flush(context)
    }
}
