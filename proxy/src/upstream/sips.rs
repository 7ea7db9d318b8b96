//! The stream of a server that is asked by the proxy itself. Small bites come first: who does not read what
//! it asked for holds one of them, and not as much as one read can bring.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use crate::layer::{Layer, Layered};
use crate::lent;
use crate::lent::socket::Lent;

/// Bytes read at once at first.
const SIP_BYTES: usize = 16 * 1024;
/// From here on reads are as large as they come: more than what the kernel takes in for a client that does not read.
const PROVED_BYTES: usize = 128 * 1024;

/// A stream whose answers are read in small pieces until this many bytes of one have found a taker.
pub type Sips = Layered<Sipping>;

#[derive(Debug)]
pub struct Sipping {
    stream: Stream,
    /// Read already, and given back: it comes first.
    ahead: Bytes,
    /// Since the last write, that is, of this answer.
    read_bytes: usize,
    /// Requests it has carried.
    uses: u32,
}

impl Sips {
    pub fn of(stream: Stream) -> Sips {
        Layered(Sipping { stream, ahead: Bytes::new(), read_bytes: 0, uses: 0 })
    }

    /// The same stream where it is one already.
    pub fn again(stream: Stream) -> Box<Sips> {
        if !(*stream).as_any().is::<Sips>() {
            return Box::new(Sips::of(stream));
        }
        stream.into_any().downcast().expect("it was looked at")
    }
}

impl Sipping {
    /// Takes the socket out of it when nothing that was read waits here, as [`lent::take_out`] does.
    pub fn lend(&mut self) -> Option<Lent> {
        self.ahead.is_empty().then(|| lent::take_out(&mut self.stream))?
    }

    /// Puts it back, for the runtime `home`.
    ///
    /// Errors: as of [`lent::put_back`].
    pub fn give_back(&mut self, lent: Lent, home: &Handle) -> io::Result<()> {
        lent::put_back(&mut self.stream, lent, home)
    }

    /// Bytes of an answer that may be taken at once from the socket that was lent.
    pub fn bite(&self) -> usize {
        if self.read_bytes >= PROVED_BYTES { usize::MAX } else { SIP_BYTES }
    }

    /// So many bytes were taken from it.
    pub fn bitten(&mut self, bytes: usize) {
        self.read_bytes = self.read_bytes.saturating_add(bytes);
    }

    /// A request is sent on it; the first is number 1.
    pub fn use_again(&mut self) -> u32 {
        self.uses = self.uses.saturating_add(1);
        self.uses
    }

    /// Gives back what was read of it, for who reads it next.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }
}

impl AsyncRead for Sipping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if self.read_bytes >= PROVED_BYTES || into.remaining() <= SIP_BYTES {
            let before = into.filled().len();
            let read = Pin::new(&mut self.stream).poll_read(context, into);
            self.read_bytes = self.read_bytes.saturating_add(into.filled().len() - before);
            return read;
        }
        // The room beyond stays untouched: it is nobody's memory yet.
        let mut sip = ReadBuf::new(into.initialize_unfilled_to(SIP_BYTES));
        let read = Pin::new(&mut self.stream).poll_read(context, &mut sip);
        let count = sip.filled().len();
        into.advance(count);
        self.read_bytes += count;
        read
    }
}

impl AsyncWrite for Sipping {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.read_bytes = 0;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.read_bytes = 0;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Layer for Sipping {
    fn beneath(&self) -> &Stream {
        &self.stream
    }

    fn beneath_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    async fn reads(stream: &mut Stream, count: usize) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut space = vec![0; 64 * 1024];
        for _ in 0..count {
            lengths.push(stream.read(&mut space).await.unwrap());
        }
        lengths
    }

    #[tokio::test]
    async fn an_answer_is_read_in_small_pieces_until_it_has_found_a_taker_and_the_next_one_too() {
        let (ours, mut theirs) = duplex(1 << 20);
        let mut stream: Stream = Box::new(Sips::of(Box::new(ours)));
        for _ in 0..2 {
            stream.write_all(b"more").await.unwrap();
            theirs.write_all(&vec![0; 400_000]).await.unwrap();
            let first = reads(&mut stream, PROVED_BYTES / SIP_BYTES).await;
            assert!(first.iter().all(|length| *length == SIP_BYTES), "{first:?}");
            assert_eq!(reads(&mut stream, 2).await, [64 * 1024; 2]);
            let rest = 400_000 - PROVED_BYTES - 2 * 64 * 1024;
            stream.read_exact(&mut vec![0; rest]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_given_back_is_read_first() {
        let (ours, mut theirs) = duplex(64);
        let mut stream: Stream = Box::new(Sips::of(Box::new(ours)));
        theirs.write_all(b"there").await.unwrap();
        let mut sips = Sips::again(stream);
        sips.put_back(Bytes::from_static(b"given "));
        stream = sips;
        let mut read = [0; 11];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"given there");
        assert!((*Sips::again(stream).stream).as_any().is::<tokio::io::DuplexStream>());
    }
}
