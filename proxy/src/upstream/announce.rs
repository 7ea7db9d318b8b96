//! Connections that begin with a PROXY protocol header.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::connectors::L4Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};

/// What pingora would do to a socket before it connects.
type Tweak = Arc<dyn Fn(&TcpSocket) -> Result<()> + Send + Sync>;

/// Connects and writes the header first. How long that may take is the peer's total timeout.
pub struct Announce {
    header: Vec<u8>,
    tweak: Option<Tweak>,
}

impl Announce {
    pub fn new(header: Vec<u8>, tweak: Option<Tweak>) -> Self {
        Self { header, tweak }
    }

    async fn over<S: AsyncWrite + Unpin + Into<Stream>>(
        &self,
        mut stream: S,
    ) -> io::Result<Stream> {
        stream.write_all(&self.header).await?;
        Ok(stream.into())
    }
}

impl std::fmt::Debug for Announce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announce").field("header", &self.header).finish_non_exhaustive()
    }
}

#[async_trait]
impl L4Connect for Announce {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let connected = match address {
            SocketAddr::Inet(address) => {
                let fault = |error| Error::because(ErrorType::SocketError, "no socket", error);
                let socket = match address.is_ipv4() {
                    true => TcpSocket::new_v4(),
                    false => TcpSocket::new_v6(),
                };
                let socket = socket.map_err(fault)?;
                if let Some(tweak) = &self.tweak {
                    tweak(&socket)?;
                }
                match socket.connect(*address).await {
                    Ok(stream) => self.over(stream).await,
                    Err(error) => Err(error),
                }
            }
            SocketAddr::Unix(address) => match address.as_pathname() {
                Some(path) => match UnixStream::connect(path).await {
                    Ok(stream) => self.over(stream).await,
                    Err(error) => Err(error),
                },
                None => Err(io::Error::from(io::ErrorKind::InvalidInput)),
            },
        };
        connected.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                io::ErrorKind::TimedOut => ErrorType::ConnectTimedout,
                _ => ErrorType::ConnectError,
            };
            Error::because(kind, "connecting with a PROXY protocol header", error)
        })
    }
}
