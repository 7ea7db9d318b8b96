//! TLS to servers whose certificates are not verified. Pingora would read them all the same and refuse those of X.509
//! version 1, which many a server behind a proxy shows; here the signature of the handshake is all that is held against
//! them. One configuration serves all connections of an upstream, so their sessions are resumed.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use proxy_config::listener::TlsVersion;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::asking::verify_tls13_signature_of_any;
use crate::upstream::bounds::RECEIVE_BYTES;

/// The TLS of one upstream.
pub fn config(
    minimum_version: TlsVersion,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> std::result::Result<Arc<ClientConfig>, rustls::Error> {
    pingora::tls::install_default_crypto_provider();
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.ok_or(rustls::Error::General("no cryptography".to_owned()))?;
    let versions: &[_] = match minimum_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Connects, with a handshake. How long that may take is the peer's total timeout.
pub struct Unverified {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Unverified {
    /// Nothing where the name is none.
    pub fn new(config: &Arc<ClientConfig>, name: &str) -> Option<Unverified> {
        let name = ServerName::try_from(name.to_owned()).ok()?;
        Some(Unverified { connector: TlsConnector::from(Arc::clone(config)), name })
    }

    async fn over<S>(&self, stream: S) -> io::Result<Stream>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + Sync + fmt::Debug + 'static,
    {
        let secured = self.connector.connect(self.name.clone(), stream).await?;
        Ok(VirtualSocketStream::new(Box::new(Secured(secured))).into())
    }
}

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl L4Connect for Unverified {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let refused = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting for TLS", error)
        };
        let failed = |error: io::Error| {
            Error::because(
                ErrorType::TLSHandshakeFailure,
                "a handshake that verifies nobody",
                error,
            )
        };
        match address {
            SocketAddr::Inet(address) => {
                let socket = match address.is_ipv4() {
                    true => TcpSocket::new_v4(),
                    false => TcpSocket::new_v6(),
                };
                let socket = socket.map_err(refused)?;
                let receives = u32::try_from(RECEIVE_BYTES).unwrap_or(u32::MAX);
                socket.set_recv_buffer_size(receives).map_err(refused)?;
                let stream = socket.connect(*address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                self.over(stream).await.map_err(failed)
            }
            SocketAddr::Unix(address) => {
                let path = address.as_pathname();
                let path = path.ok_or_else(|| refused(io::ErrorKind::InvalidInput.into()))?;
                let stream = UnixStream::connect(path).await.map_err(refused)?;
                self.over(stream).await.map_err(failed)
            }
        }
    }
}

/// A connection under TLS, as pingora takes one.
#[derive(Debug)]
struct Secured<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secured<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secured<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + fmt::Debug> VirtualSocket for Secured<S> {
    /// The socket has what it needs from before the handshake.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

/// Takes every certificate whose key has signed the handshake.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_of_any(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
