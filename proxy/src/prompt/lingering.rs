//! The end of a connection whose client is still sending when it has its answer, as with a body that nobody wanted. Closed at
//! once, it would be reset by what comes, and the client would lose the answer (RFC 9112 section 9.6). So the client is told that
//! nothing more comes, and what it sends is read and dropped, within limits. Such a connection is nobody's any more: it counts
//! in no lane and among no open ones, and holds no stop up
//! ([decision 0132](../../../docs/decisions/0132-who-is-still-sending-is-heard-out.md)).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora::protocols::Stream;
use prometheus::{IntCounter, IntGauge};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::prompt::quantum::QUANTUM_BYTES;

/// In all, and between two reads: as nginx has it.
const ALL_MAX: Duration = Duration::from_secs(30);
const SILENT_MAX: Duration = Duration::from_secs(5);
/// What is read of one connection.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Connections of a listener at once.
const LINGERING_MAX: i64 = 1000;
/// Bytes read at once, on the stack.
const READ_BYTES: usize = 16 * 1024;

/// Those of one listener.
#[derive(Clone, Debug)]
pub struct Lingering {
    count: IntGauge,
    closed: IntCounter,
    silent: IntCounter,
    late: IntCounter,
    too_much: IntCounter,
    refused: IntCounter,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Silent,
    TooMuch,
}

impl Lingering {
    pub fn new(listener: &str, metrics: &Metrics) -> Lingering {
        let end = |end| metrics.lingered.with_label_values(&[listener, end]);
        Lingering {
            count: metrics.lingering.with_label_values(&[listener]),
            closed: end("closed"),
            silent: end("silent"),
            late: end("late"),
            too_much: end("too_much"),
            refused: end("refused"),
        }
    }

    /// Hears this client out in a task of its own.
    pub fn begin(&self, stream: Stream) {
        let Ok(runtime) = Handle::try_current() else { return };
        let place = Place::of(&self.count);
        if self.count.get() > LINGERING_MAX {
            self.refused.inc();
            return;
        }
        let lingering = self.clone();
        runtime.spawn(async move {
            let _place = place;
            let ended = match timeout(ALL_MAX, hear_out(stream)).await {
                Ok(End::Closed) => lingering.closed,
                Ok(End::Silent) => lingering.silent,
                Ok(End::TooMuch) => lingering.too_much,
                Err(_) => lingering.late,
            };
            ended.inc();
        });
    }
}

async fn hear_out(mut stream: Stream) -> End {
    // It may have been done already, or the client be gone.
    let _ = timeout(SILENT_MAX, AsyncWriteExt::shutdown(&mut stream)).await;
    let (mut heard, mut turn) = (0, 0);
    loop {
        let reading = poll_fn(|context| poll_drop(&mut stream, context));
        match timeout(SILENT_MAX, reading).await {
            Err(_) => return End::Silent,
            Ok(Ok(0) | Err(_)) => return End::Closed,
            Ok(Ok(bytes)) => (heard, turn) = (heard + bytes, turn + bytes),
        }
        if heard >= BYTES_MAX {
            return End::TooMuch;
        }
        if turn >= QUANTUM_BYTES {
            turn = 0;
            yield_now().await;
        }
    }
}

fn poll_drop(stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut space = [0; READ_BYTES];
    let mut read = ReadBuf::new(&mut space);
    let polled = Pin::new(stream).poll_read(context, &mut read);
    polled.map_ok(|()| read.filled().len())
}

/// Counted as long as it lives.
struct Place(IntGauge);

impl Place {
    fn of(count: &IntGauge) -> Place {
        count.inc();
        Place(count.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_heard_out_within_limits() {
        let (ours, mut theirs) = duplex(1 << 16);
        let heard = tokio::spawn(hear_out(Box::new(ours)));
        theirs.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0, "it is told that nothing comes");
        drop(theirs);
        assert_eq!(heard.await.unwrap(), End::Closed);

        let (ours, _silent) = duplex(1 << 16);
        assert_eq!(hear_out(Box::new(ours)).await, End::Silent);

        let (ours, mut theirs) = duplex(1 << 20);
        let heard = tokio::spawn(hear_out(Box::new(ours)));
        while theirs.write_all(&vec![b'x'; 1 << 20]).await.is_ok() {}
        assert_eq!(heard.await.unwrap(), End::TooMuch);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_may_be_and_none_drips_for_ever() {
        let metrics = Metrics::new();
        let lingering = Lingering::new("l", &metrics);
        let mut clients = Vec::new();
        for _ in 0..=LINGERING_MAX {
            let (ours, theirs) = duplex(64);
            lingering.begin(Box::new(ours));
            clients.push(theirs);
        }
        assert_eq!((lingering.count.get(), lingering.refused.get()), (LINGERING_MAX, 1));
        clients.truncate(1);
        for _ in 0..40 {
            let _ = clients[0].write_all(b"x").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!((lingering.count.get(), lingering.late.get()), (0, 1));
    }
}
