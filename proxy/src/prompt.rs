//! A client stream that does not sit on bytes. Pingora writes a body of known length into a buffer
//! and flushes it when the body is complete, so a client would wait for the end of a slow response
//! to see its beginning. Here, waiting for the client means sending what it is owed first.
//!
//! Pingora also writes its own `Date` over that of an answer from the cache, which says when the
//! origin made it (RFC 9110 section 6.6.1). The head passes by here, so the date is put back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::dating::{Dating, dated};

/// An HTTP/1 client stream; pingora polls it for reading whenever it has nothing to write.
#[derive(Debug)]
pub struct Prompt {
    stream: Stream,
    /// Bytes were written since the last flush.
    owed: bool,
    /// The date of the next head.
    dating: Dating,
    /// What is left to write of a head whose date was put back.
    head: Bytes,
}

/// The client's stream of an HTTP/1 session.
pub fn of(session: &Session) -> Option<&Prompt> {
    let stream = session.downstream_session.stream()?;
    (**stream).as_any().downcast_ref::<Prompt>()
}

impl Prompt {
    pub fn new(stream: Stream) -> Self {
        Self { stream, owed: false, dating: Dating::default(), head: Bytes::new() }
    }

    pub fn dating(&self) -> &Dating {
        &self.dating
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.owed |= written.is_ready();
        written
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.owed {
            // A flush that has to wait goes on with the next poll; reading need not wait for it. A
            // flush that fails is met again by the next write.
            self.owed = Pin::new(&mut self.stream).poll_flush(context).is_pending();
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(date) = self.dating.take() {
            self.head = dated(bytes, &date);
        }
        if self.head.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, bytes);
            return self.wrote(written);
        }
        // As many bytes as were given, the date among them in place of another.
        let head = self.head.slice(..self.head.len().min(bytes.len()));
        let written = Pin::new(&mut self.stream).poll_write(context, &head);
        if let Poll::Ready(Ok(count)) = written {
            self.head.advance(count);
        }
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.owed &= flushed.is_pending();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Prompt {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Prompt {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Prompt {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Prompt {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Prompt {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Prompt {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

#[async_trait]
impl Peek for Prompt {
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(into).await
    }
}
