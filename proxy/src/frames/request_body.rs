//! The body of a request: what has been read of it gives the client room to send more.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::time::timeout;

/// Bytes that are kept in case the request has to be sent again, as pingora keeps them of HTTP/1.
const KEPT_BYTES_MAX: usize = 64 * 1024;

pub struct RequestBody {
    stream: RecvStream,
    /// The request says that it has none.
    is_none: bool,
    /// The end of it has been read. Trailers may follow, which nobody hears of.
    is_over: bool,
    bytes: usize,
    kept: Option<Box<FixedBuffer>>,
    /// How long a client may be silent.
    pub patience: Option<Duration>,
    /// How long it may take to send what nobody wants.
    pub drain: Option<Duration>,
}

impl RequestBody {
    pub fn new(stream: RecvStream, is_none: bool) -> RequestBody {
        RequestBody {
            stream,
            is_none,
            is_over: false,
            bytes: 0,
            kept: None,
            patience: None,
            drain: None,
        }
    }

    /// The next part; none when there is no more. May be dropped while it waits.
    pub async fn read(&mut self) -> Result<Option<Bytes>> {
        if self.is_over {
            return Ok(None);
        }
        let part = match self.patience {
            Some(patience) => {
                timeout(patience, self.stream.data()).await.map_err(|_| late(patience))?
            }
            None => self.stream.data().await,
        };
        let part =
            part.transpose().or_err(ErrorType::ReadError, "while reading a request's body")?;
        if let Some(part) = &part {
            self.bytes += part.len();
            if let Some(kept) = &mut self.kept {
                kept.write_to_buffer(part);
            }
            // Fails where the stream is over, which the next read says.
            let _ = self.stream.flow_control().release_capacity(part.len());
        }
        self.is_over = part.is_none();
        Ok(part)
    }

    /// Reads the rest, and drops it.
    pub async fn read_out(&mut self) -> Result<()> {
        if self.is_done() {
            return Ok(());
        }
        let limit = self.drain;
        let reading = async {
            while self.read().await?.is_some() {}
            Ok(())
        };
        match limit {
            Some(limit) => timeout(limit, reading).await.map_err(|_| late(limit))?,
            None => reading.await,
        }
    }

    /// Whether there was nothing to read.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && (self.is_none || self.is_over || self.stream.is_end_stream())
    }

    /// Whether there is nothing more to read.
    pub fn is_done(&self) -> bool {
        self.is_over || self.is_empty() || self.stream.is_end_stream()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on what is read is kept.
    pub fn keep(&mut self) {
        self.kept.get_or_insert_with(|| Box::new(FixedBuffer::new(KEPT_BYTES_MAX)));
    }

    /// Whether it was too much to keep.
    pub fn is_too_much(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_truncated())
    }

    /// What was kept, where it is all there was.
    pub fn kept(&self) -> Option<Bytes> {
        self.kept.as_ref().filter(|kept| !kept.is_truncated())?.get_buffer()
    }
}

fn late(limit: Duration) -> Box<Error> {
    let what = format!("reading a request's body, timeout: {limit:?}");
    Error::explain(ErrorType::ReadTimedout, what)
}
