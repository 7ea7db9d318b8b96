//! Moves bytes both ways between two connections until both have said all they have to say.
//!
//! Each way reads only what it has written: whoever does not read is not read for. A side that has ended
//! ends the other's hearing, not its speaking. A tunnel that is silent holds no buffer.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use pingora::protocols::Stream;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::pace::Pace;
use crate::prompt::quantum::QUANTUM_BYTES;

/// Bytes read at once, and held while they cannot be written.
const BLOCK_BYTES: usize = 16 * 1024;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// It was the first to end, or broke off.
    Client,
    Upstream,
    /// Nothing was carried for `timeouts.tunnel`.
    Idle,
    /// The proxy stopped.
    Stop,
}

impl EndedBy {
    pub const ALL: [EndedBy; 4] =
        [EndedBy::Client, EndedBy::Upstream, EndedBy::Idle, EndedBy::Stop];

    pub fn name(self) -> &'static str {
        match self {
            EndedBy::Client => "client",
            EndedBy::Upstream => "upstream",
            EndedBy::Idle => "idle",
            EndedBy::Stop => "stop",
        }
    }
}

/// What a tunnel has carried, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    pub from_client: u64,
    pub to_client: u64,
    pub ended_by: EndedBy,
}

/// What bounds a tunnel.
pub struct Limits<'a> {
    pub idle: Duration,
    /// Of what goes to the client.
    pub pace: &'a Pace,
    /// True from when on tunnels are closed.
    pub stop: watch::Receiver<bool>,
}

/// Where a tunnel is counted while it is open.
pub struct Counts {
    pub open: IntGauge,
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
    /// By [`EndedBy::name`].
    pub ended: IntCounterVec,
    pub labels: [String; 2],
}

/// One end and what it has said already.
type End = (Stream, Bytes);

/// Carries until both sides have ended, or one breaks off, or a limit says so. The client is sent `head` first,
/// which is not counted.
pub async fn carry(
    client: End,
    head: Bytes,
    server: End,
    limits: Limits<'_>,
    counts: &Counts,
) -> Carried {
    counts.open.inc();
    let Limits { idle, pace, mut stop } = limits;
    let (mut client, mut server) = (client, server);
    let mut up = Way::new(std::mem::take(&mut client.1), counts.bytes_in.clone());
    let said = std::mem::take(&mut server.1);
    let mut down = Way::new([head.as_ref(), &said].concat().into(), counts.bytes_out.clone());
    down.uncounted = head.len();
    let ended_by = {
        let (client, server) = (&mut client.0, &mut server.0);
        let mut moved = Instant::now();
        let mut due = pin!(sleep_until(moved + idle));
        let mut first = None;
        let both = poll_fn(|context| {
            let before = up.moved + down.moved;
            let ups = up.poll(context, client, server, None);
            let downs = down.poll(context, server, client, Some(pace));
            for (polled, reads, writes) in [
                (&ups, EndedBy::Client, EndedBy::Upstream),
                (&downs, EndedBy::Upstream, EndedBy::Client),
            ] {
                match polled {
                    Poll::Ready(Err(Fault::Read)) => return Poll::Ready(reads),
                    Poll::Ready(Err(Fault::Write)) => return Poll::Ready(writes),
                    _ => {}
                }
            }
            let by_client = up.ended.then_some(EndedBy::Client);
            first = first.or(by_client).or(down.ended.then_some(EndedBy::Upstream));
            if let (true, true, Some(first)) = (ups.is_ready(), downs.is_ready(), first) {
                return Poll::Ready(first);
            }
            if up.moved + down.moved != before {
                moved = Instant::now();
            }
            while due.as_mut().poll(context).is_ready() {
                if moved.elapsed() >= idle {
                    return Poll::Ready(EndedBy::Idle);
                }
                due.as_mut().reset(moved + idle);
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            ended_by = both => ended_by,
            _ = stop.wait_for(|stop| *stop) => EndedBy::Stop,
        }
    };
    counts.open.dec();
    let [route, lane] = &counts.labels;
    counts.ended.with_label_values(&[route.as_str(), lane, ended_by.name()]).inc();
    Carried { from_client: up.moved, to_client: down.moved, ended_by }
}

#[derive(Debug)]
enum Fault {
    Read,
    Write,
}

/// One direction.
struct Way {
    /// Read and not yet written.
    pending: Bytes,
    /// Bytes of the tunnel that have been written.
    moved: u64,
    /// Bytes to come that are none of it.
    uncounted: usize,
    count: IntCounter,
    /// Runs while what is pending waits for its turn.
    turn: Option<Pin<Box<Sleep>>>,
    /// Something was written since the last flush.
    owed: bool,
    /// Whoever is read from has ended.
    ended: bool,
    /// Whoever is written to knows it.
    shut: bool,
}

impl Way {
    fn new(pending: Bytes, count: IntCounter) -> Way {
        let (moved, uncounted) = (0, 0);
        Way { pending, moved, uncounted, count, turn: None, owed: false, ended: false, shut: false }
    }

    /// Ready once it has ended and the other side knows.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        pace: Option<&Pace>,
    ) -> Poll<Result<(), Fault>> {
        let mut turn_bytes = 0;
        while !self.shut {
            while !self.pending.is_empty() {
                if let Some(turn) = &mut self.turn {
                    ready!(turn.as_mut().poll(context));
                    self.turn = None;
                }
                let written = ready!(self.write(context, to, None)).map_err(|_| Fault::Write)?;
                self.pending.advance(written);
            }
            if self.owed {
                ready!(Pin::new(&mut *to).poll_flush(context)).map_err(|_| Fault::Write)?;
                self.owed = false;
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(context)).map_err(|_| Fault::Write)?;
                self.shut = true;
                break;
            }
            if turn_bytes >= QUANTUM_BYTES {
                // Others first.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            turn_bytes += ready!(self.read(context, from, to, pace))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a block and writes what can be written at once.
    fn read(
        &mut self,
        context: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        pace: Option<&Pace>,
    ) -> Poll<Result<usize, Fault>> {
        let mut block = [const { MaybeUninit::uninit() }; BLOCK_BYTES];
        let mut block = ReadBuf::uninit(&mut block);
        ready!(Pin::new(from).poll_read(context, &mut block)).map_err(|_| Fault::Read)?;
        let mut rest = block.filled();
        let read = rest.len();
        self.ended = read == 0;
        let delay = pace.and_then(|pace| pace.reserve(read));
        self.turn = delay.map(|delay| Box::pin(sleep(delay)));
        while self.turn.is_none() && !rest.is_empty() {
            match self.write(context, to, Some(rest)) {
                Poll::Ready(Ok(written)) => rest = &rest[written..],
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Write)),
                Poll::Pending => break,
            }
        }
        self.pending = Bytes::copy_from_slice(rest);
        Poll::Ready(Ok(read))
    }

    /// Writes these bytes, or what is pending.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        to: &mut Stream,
        bytes: Option<&[u8]>,
    ) -> Poll<io::Result<usize>> {
        let bytes = bytes.unwrap_or(&self.pending);
        let written = ready!(Pin::new(to).poll_write(context, bytes))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.owed = true;
        let uncounted = self.uncounted.min(written);
        self.uncounted -= uncounted;
        let counted = (written - uncounted) as u64;
        self.moved += counted;
        self.count.inc_by(counted);
        Poll::Ready(Ok(written))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::metrics::Metrics;

    struct Open {
        client: DuplexStream,
        server: DuplexStream,
        stop: watch::Sender<bool>,
        carried: JoinHandle<Carried>,
        metrics: Metrics,
    }

    /// Ends whose connections hold so many bytes.
    fn open(bytes: usize, idle: Duration, said: &'static [u8]) -> Open {
        let ((client, near), (far, server)) = (duplex(bytes), duplex(bytes));
        let (stop, stopping) = watch::channel(false);
        let metrics = Metrics::new();
        let counts = metrics.traffic.tunnel("chat", "interactive");
        let carried = tokio::spawn(async move {
            let pace = Pace::new(IntCounter::new("paced", "bytes").unwrap());
            let limits = Limits { idle, pace: &pace, stop: stopping };
            let (near, far) = (Box::new(near) as Stream, Box::new(far) as Stream);
            let said = Bytes::from_static(said);
            carry((near, Bytes::new()), Bytes::from_static(b"HEAD"), (far, said), limits, &counts)
                .await
        });
        Open { client, server, stop, carried, metrics }
    }

    #[tokio::test]
    async fn a_side_that_has_ended_still_hears() {
        let mut open = open(64, Duration::from_secs(60), b"said");
        open.client.write_all(b"hello").await.unwrap();
        open.client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        open.server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"hello");
        let mut server = open.server;
        tokio::spawn(async move { server.write_all(&[7; 1000]).await.map(|()| drop(server)) });
        let mut answer = Vec::new();
        open.client.read_to_end(&mut answer).await.unwrap();
        assert_eq!((&answer[..8], answer.len()), (&b"HEADsaid"[..], 1008));
        let carried = open.carried.await.unwrap();
        assert_eq!((carried.from_client, carried.to_client), (5, 1004));
        assert_eq!(carried.ended_by, EndedBy::Client);
        let series = ["chat", "interactive"];
        assert_eq!(open.metrics.traffic.tunnels.with_label_values(&series).get(), 0);
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_not_read_for() {
        let mut open = open(1024, Duration::from_secs(60), b"");
        let sent = tokio::time::timeout(Duration::from_millis(50), async {
            let mut sent = 0;
            while open.client.write_all(&[1; 1024]).await.is_ok() {
                sent += 1024;
                assert!(sent <= 64 * 1024, "bytes pile up");
            }
        });
        assert!(sent.await.is_err(), "nobody reads, so writing stops");
        // The other way is free.
        open.server.write_all(b"pong").await.unwrap();
        let mut pong = [0; 8];
        open.client.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"HEADpong");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_a_byte_is_none() {
        let mut open = open(64, Duration::from_secs(10), b"");
        open.client.read_exact(&mut [0; 4]).await.unwrap();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            open.server.write_all(b"x").await.unwrap();
            open.client.read_exact(&mut [0]).await.unwrap();
        }
        let last = Instant::now();
        let carried = open.carried.await.unwrap();
        assert_eq!((carried.ended_by, carried.to_client), (EndedBy::Idle, 5));
        assert!(last.elapsed() >= Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_stop_closes_it() {
        let mut open = open(64, Duration::from_secs(10), b"");
        open.stop.send(true).unwrap();
        assert_eq!(open.carried.await.unwrap().ended_by, EndedBy::Stop);
        let mut rest = Vec::new();
        assert!(
            open.client.read_to_end(&mut rest).await.is_ok()
                && (rest.is_empty() || rest == b"HEAD")
        );
    }
}
