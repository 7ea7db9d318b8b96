//! Streams with a layer of this proxy's own: it reads and writes in its way, and is the stream beneath in all else that
//! pingora asks of a stream.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What reads and writes in its own way.
pub trait Layer: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send + Sync + 'static {
    fn beneath(&self) -> &Stream;

    fn beneath_mut(&mut self) -> &mut Stream;

    /// Polled before the stream beneath is shut down, for what is to go out first.
    fn poll_last(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A layer, as a stream of pingora's.
#[derive(Debug)]
pub struct Layered<L>(pub L);

impl<L> Deref for Layered<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.0
    }
}

impl<L> DerefMut for Layered<L> {
    fn deref_mut(&mut self) -> &mut L {
        &mut self.0
    }
}

impl<L: Layer> AsyncRead for Layered<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl<L: Layer> AsyncWrite for Layered<L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[async_trait]
impl<L: Layer> Shutdown for Layered<L> {
    async fn shutdown(&mut self) {
        poll_fn(|context| self.0.poll_last(context)).await;
        self.0.beneath_mut().shutdown().await;
    }
}

impl<L: Layer> UniqueID for Layered<L> {
    fn id(&self) -> UniqueIDType {
        self.0.beneath().id()
    }
}

impl<L: Layer> Ssl for Layered<L> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.0.beneath().get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.0.beneath().get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.0.beneath().selected_alpn_proto()
    }
}

impl<L: Layer> GetTimingDigest for Layered<L> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.beneath().get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.0.beneath().get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.0.beneath().get_write_pending_time()
    }
}

impl<L: Layer> GetProxyDigest for Layered<L> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.beneath().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.0.beneath_mut().set_proxy_digest(digest);
    }
}

impl<L: Layer> GetSocketDigest for Layered<L> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.beneath().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.0.beneath_mut().set_socket_digest(digest);
    }
}

#[async_trait]
impl<L: Layer> Peek for Layered<L> {
    async fn try_peek(&mut self, into: &mut [u8]) -> io::Result<bool> {
        self.0.beneath_mut().try_peek(into).await
    }
}
