//! A client stream that does not sit on bytes. Pingora writes a body of known length into a buffer
//! and flushes it when the body is complete, so a client would wait for the end of a slow response
//! to see its beginning. Here, waiting for the client means sending what it is owed first.
//!
//! Nor does it wait for ever: a head has a time to arrive as a whole, however it drips, and a write
//! has a time to get on. And what is read is held against [`Framing`] before pingora sees it.
//!
//! Small writes leave [`together`].
//!
//! Nor does it end before its client: one that is still sending when it has its answer is [lingered](lingering) for.
//!
//! Nor does it keep a thread for itself: after a [`quantum`] of bytes it lets the other tasks go first.

pub mod ahead;
mod lingering;
mod patience;
pub mod quantum;
mod together;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use pingora::protocols::Stream;
use pingora::proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

use crate::absolute::Intake;
use crate::dating::Dating;
use crate::framing::{Framing, FramingFault};
use crate::hop::{self, Company};
use crate::layer::{Layer, Layered};
use crate::lent::socket::Lent;
use crate::lent::{self, nobody};
use crate::prompt::ahead::Ahead;
pub use crate::prompt::patience::Patience;
use crate::prompt::patience::unread;
use crate::prompt::quantum::{QUANTUM_BYTES, one_turn};
use crate::prompt::together::Together;

/// Bytes read at once where heads are settled.
const READ_BYTES: usize = 4096;

/// Takes the socket out of a client's stream, as [`lent::take_out`] does; not while something waits to be written.
pub fn lend(stream: &mut Stream) -> Option<Lent> {
    let prompt = within(stream)?;
    if !prompt.together.is_empty() || !prompt.head.is_empty() {
        return None;
    }
    let mut lent = None;
    change(stream, |prompt| lent = lent::take_out(&mut prompt.stream));
    lent
}

/// Puts it back, for the runtime `home`.
///
/// Errors: as of [`lent::put_back`].
pub fn give_back(stream: &mut Stream, lent: Lent, home: &Handle) -> io::Result<()> {
    let mut put_back = Ok(());
    change(stream, |prompt| put_back = lent::put_back(&mut prompt.stream, lent, home));
    put_back
}

/// Does something with the client's stream that this is.
fn change(stream: &mut Stream, how: impl FnOnce(&mut Prompt)) {
    if within(stream).is_none() {
        return;
    }
    if let Ok(mut prompt) = std::mem::replace(stream, nobody()).into_any().downcast::<Prompt>() {
        how(&mut prompt);
        *stream = prompt;
    }
}

/// A client's stream; pingora polls it for reading whenever it has nothing to write.
pub type Prompt = Layered<Prompting>;

#[derive(Debug)]
pub struct Prompting {
    stream: Stream,
    together: Together,
    /// Bytes were written since the last flush.
    owed: bool,
    /// The date of the next head.
    dating: Dating,
    /// What is left to write of a head whose date was put back.
    head: Bytes,
    patience: Patience,
    /// Follows the requests of an HTTP/1 connection.
    framing: Option<Framing>,
    /// Of an HTTP/2 connection: decides on which runtime it is served.
    company: Option<Arc<Company>>,
    /// Bytes moved since others had their turn.
    turn_bytes: usize,
    /// What came behind the request that pingora serves.
    ahead: Mutex<Ahead>,
    /// Where the host of an absolute target counts: what is not handed on yet.
    intake: Option<Intake>,
    /// The client's body is malformed from here on.
    fault: Option<FramingFault>,
    /// Runs while a head has begun and not ended.
    head_due: Option<Pin<Box<Sleep>>>,
    /// Runs while a write waits for the client.
    write_due: Option<Pin<Box<Sleep>>>,
    /// The client has been told something since its last request began.
    is_answered: bool,
    /// It sends nothing more, or took too long.
    is_over: bool,
}

/// The client's stream of an HTTP/1 session.
pub fn of(session: &Session) -> Option<&Prompt> {
    within(session.downstream_session.stream()?)
}

/// The same for a stream without a session.
pub fn within(stream: &Stream) -> Option<&Prompt> {
    (**stream).as_any().downcast_ref::<Prompt>()
}

impl Prompt {
    /// `of_target`: the host of an absolute target takes the place of another.
    pub fn http1(stream: Stream, patience: Patience, of_target: bool) -> Self {
        let mut prompt = Self::new(stream, patience, Some(Framing::default()), None);
        prompt.intake = of_target.then(Intake::default);
        prompt
    }

    pub fn http2(stream: Stream, patience: Patience, company: Arc<Company>) -> Self {
        Self::new(stream, patience, None, Some(company))
    }

    fn new(
        stream: Stream,
        patience: Patience,
        framing: Option<Framing>,
        company: Option<Arc<Company>>,
    ) -> Self {
        Layered(Prompting {
            stream,
            together: Together::default(),
            owed: false,
            dating: Dating::default(),
            head: Bytes::new(),
            patience,
            framing,
            company,
            turn_bytes: 0,
            ahead: Mutex::default(),
            intake: None,
            fault: None,
            head_due: None,
            write_due: None,
            is_answered: false,
            is_over: false,
        })
    }

    /// The stream itself, for who reads no more requests from it; none where what was read was malformed, or what was
    /// written is not sent.
    pub fn release(mut self) -> Option<Stream> {
        let is_fit = self.fault.is_none() && self.together.is_empty();
        // What is dropped here has a stream to nobody instead.
        let stream = std::mem::replace(&mut self.stream, nobody());
        self.is_over = true;
        is_fit.then_some(stream)
    }
}

impl Prompting {
    pub fn dating(&self) -> &Dating {
        &self.dating
    }

    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    fn poll_put(
        &mut self,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.together.poll_put(&mut self.stream, context, slices)
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.together.poll_send(&mut self.stream, context)
    }

    fn poll_send_and_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.together.poll_send_and_flush(&mut self.stream, context)
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.owed |= written.is_ready();
        match &written {
            Poll::Ready(Ok(count)) => {
                self.turn_bytes += count;
                self.is_answered = true;
            }
            _ => self.turn_bytes = 0,
        }
        self.in_time(context, written)
    }

    /// Pending when the quantum is used up: the task is polled again after those that are ready.
    fn take_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let moves = self.company.as_ref().is_some_and(|company| hop::wish(company.place()));
        if self.turn_bytes < QUANTUM_BYTES && !moves {
            return Poll::Ready(());
        }
        self.turn_bytes = 0;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// What a write came to, or that it waited for too long.
    fn in_time<T>(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = &done {
            self.write_due = None;
            self.is_over |= result.is_err();
            return done;
        }
        let write = self.patience.write;
        let due = self.write_due.get_or_insert_with(|| Box::pin(sleep(write)));
        if due.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.patience.writes_late.inc();
        self.is_over = true;
        Poll::Ready(Err(unread()))
    }

    /// Reads what is settled of the heads that come, and all else as it comes.
    fn poll_settled(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(intake) = &mut self.intake else { return Poll::Ready(Ok(())) };
        let starts = self.framing.as_ref().is_some_and(Framing::is_between);
        let mut ended = false;
        loop {
            if let Some(part) = intake.take(starts, ended, into.remaining()) {
                into.put_slice(&part);
                return Poll::Ready(Ok(()));
            }
            if ended {
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) => {
                    ended = read.filled().is_empty();
                    intake.put(read.filled());
                }
                Poll::Pending if !intake.is_empty() && self.head_due.is_none() => {
                    // A head has begun, though nobody else has seen it yet.
                    let mut due = Box::pin(sleep(self.patience.head));
                    let _ = due.as_mut().poll(context);
                    self.head_due = Some(due);
                    return Poll::Pending;
                }
                other => return other,
            }
        }
    }

    /// Whether the client of an HTTP/1 connection has not said all that it has begun to say.
    fn is_still_sending(&mut self, context: &mut Context<'_>) -> bool {
        let Some(framing) = &self.framing else { return false };
        let mut byte = [0; 1];
        let mut more = ReadBuf::new(&mut byte);
        // What it sends behind its last request is unread, too.
        !framing.is_between()
            || matches!(Pin::new(&mut self.stream).poll_read(context, &mut more), Poll::Ready(Ok(())) if !more.filled().is_empty())
    }

    /// Follows what was read; from a fault on, nothing is handed on.
    fn follow(&mut self, into: &mut ReadBuf<'_>, before: usize) {
        let Some(framing) = &mut self.framing else { return };
        let was_between = framing.is_between();
        self.is_answered &= !was_between;
        if let Err((fault, right)) = framing.read(&into.filled()[before..]) {
            self.fault = Some(fault);
            into.set_filled(before + right);
        }
        let from = was_between.then_some(0).or(framing.ended_at());
        self.ahead.get_mut().see(&into.filled()[before..], from);
        if !framing.in_head() {
            self.head_due = None;
        } else if self.head_due.is_none() {
            self.head_due = Some(Box::pin(sleep(self.patience.head)));
        }
    }
}

/// What a client is owed goes out before its connection ends, as far as the kernel takes it at once.
impl Drop for Prompting {
    fn drop(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let is_sent = matches!(self.poll_send_and_flush(&mut context), Poll::Ready(Ok(())));
        if is_sent && self.is_answered && !self.is_over && self.is_still_sending(&mut context) {
            self.patience.lingering.begin(std::mem::replace(&mut self.stream, nobody()));
        }
    }
}

impl Layer for Prompting {
    fn beneath(&self) -> &Stream {
        &self.stream
    }

    fn beneath_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Who cannot be told the rest is not told it.
    fn poll_last(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let sent = self.poll_send(context);
        self.in_time(context, sent).map(drop)
    }
}

impl AsyncRead for Prompting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.owed {
            // A flush that has to wait goes on with the next poll; reading need not wait for it. A
            // flush that fails is met again by the next write.
            self.owed = self.poll_send_and_flush(context).is_pending();
        }
        if let Some(due) = &mut self.head_due
            && due.as_mut().poll(context).is_ready()
        {
            (self.head_due, self.is_over) = (None, true);
            self.patience.heads_late.inc();
            let late = "the head of the request took too long";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)));
        }
        if self.take_turn(context).is_pending() {
            return Poll::Pending;
        }
        let before = into.filled().len();
        if self.fault.is_none() {
            let read = match self.intake {
                Some(_) => self.poll_settled(context, into),
                None => Pin::new(&mut self.stream).poll_read(context, into),
            };
            if !matches!(read, Poll::Ready(Ok(()))) || into.filled().len() == before {
                self.is_over |= read.is_ready() && into.remaining() > 0;
                return read;
            }
            self.turn_bytes += into.filled().len() - before;
            self.follow(into, before);
        }
        match self.fault {
            Some(fault) if into.filled().len() == before => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Prompting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.take_turn(context).is_pending() {
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(QUANTUM_BYTES)];
        if let Some(head) = self.dating.of(bytes) {
            self.head = head;
        }
        if self.head.is_empty() {
            let written = self.poll_put(context, &[io::IoSlice::new(bytes)]);
            return self.wrote(context, written);
        }
        // As many bytes as were given, the date among them in place of another.
        let head = self.head.slice(..self.head.len().min(bytes.len()));
        let written = self.poll_put(context, &[io::IoSlice::new(&head)]);
        if let Poll::Ready(Ok(count)) = written {
            self.head.advance(count);
        }
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.take_turn(context).is_pending() {
            return Poll::Pending;
        }
        let (first, count) = one_turn(bytes);
        let written = self.poll_put(context, &first[..count]);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.poll_send_and_flush(context);
        self.owed &= flushed.is_pending();
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = match self.poll_send(context) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_shutdown(context),
            other => other,
        };
        self.in_time(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt};

    use proxy_config::listener::ListenerTimeouts;
    use tokio::io::duplex;

    use crate::metrics::Metrics;
    use crate::prompt::together::TOGETHER_BYTES;

    use super::*;

    #[tokio::test]
    async fn small_writes_leave_together_in_their_order_and_leave_nothing_behind() {
        let (ours, mut theirs) = duplex(1 << 20);
        let patience = Patience::new("l", &ListenerTimeouts::default(), &Metrics::new());
        let mut prompt = Prompt::http1(Box::new(ours), patience, false);
        let large = vec![b'x'; 2 * TOGETHER_BYTES];
        prompt.write_all(b"head, ").await.unwrap();
        prompt.write_all(b"body").await.unwrap();
        let mut seen = [0; 64];
        let early = tokio::time::timeout(Duration::from_millis(10), theirs.read(&mut seen)).await;
        assert!(early.is_err(), "{early:?}");
        prompt.flush().await.unwrap();
        let count = theirs.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..count], b"head, body");
        assert_eq!(prompt.together.room(), 0);
        prompt.write_all(b"first").await.unwrap();
        prompt.write_all(&large).await.unwrap();
        let last = [IoSlice::new(b"la"), IoSlice::new(b"st")];
        assert_eq!(prompt.write_vectored(&last).await.unwrap(), 4);
        AsyncWriteExt::shutdown(&mut prompt).await.unwrap();
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [b"first", &large[..], b"last"].concat());
    }

    #[tokio::test]
    async fn what_was_written_goes_out_with_the_connection() {
        let (ours, mut theirs) = duplex(1 << 10);
        let patience = Patience::new("l", &ListenerTimeouts::default(), &Metrics::new());
        let mut prompt = Prompt::http1(Box::new(ours), patience, false);
        prompt.write_all(b"head").await.unwrap();
        drop(prompt);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"head");
    }
}
