//! A connection that opens with a PROXY protocol header, from a peer that is trusted to say for whom it
//! connects: from there on it is that client's.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest, SocketDigest};
use proxy_config::listener::{Listener, ProxyProtocolIn};
use thiserror::Error;
use tokio::io::AsyncReadExt;

use crate::client_address::is_trusted;
use crate::proxy_protocol::{Ends, HEADER_BYTES_MAX, Header, HeaderFault, Progress, read};

/// Bytes asked for at once; most headers are shorter.
const READ_BYTES: usize = 256;

/// Why a connection is closed before its first request.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error("the peer is not one of `trusted_proxies`")]
    NotTrusted,
    #[error("it does not begin with a PROXY protocol header")]
    Missing,
    #[error(transparent)]
    Malformed(#[from] HeaderFault),
    #[error("it ended within the PROXY protocol header: {0}")]
    Ended(#[from] io::Error),
}

/// Reads the header where the listener expects one, and says whom it names. Peers over a Unix socket are trusted: who may connect is
/// what the permissions of its file say.
pub async fn introduce(stream: &mut Stream, listener: &Listener) -> Result<Option<Ends>, Refusal> {
    let Some(expected) = listener.proxy_protocol else { return Ok(None) };
    let peer = peer(stream);
    if expected == ProxyProtocolIn::Read {
        return match header(stream).await? {
            Some(Header::For(ends)) => Ok(Some(ends)),
            Some(Header::Local) => Ok(None),
            None => Err(Refusal::Missing),
        };
    }
    if peer.is_some_and(|peer| !is_trusted(peer, &listener.trusted_proxies)) {
        return match expected {
            ProxyProtocolIn::Required => Err(Refusal::NotTrusted),
            ProxyProtocolIn::Optional | ProxyProtocolIn::Read => Ok(None),
        };
    }
    match header(stream).await? {
        Some(Header::For(ends)) => {
            become_client(stream, ends);
            Ok(Some(ends))
        }
        Some(Header::Local) => Ok(None),
        None if expected == ProxyProtocolIn::Required => Err(Refusal::Missing),
        None => Ok(None),
    }
}

fn peer(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip())
}

/// Takes the header off the stream; nothing is taken when there is none.
async fn header(stream: &mut Stream) -> Result<Option<Header>, Refusal> {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        let mut part = [0; READ_BYTES];
        let count = stream.read(&mut part).await?;
        bytes.extend_from_slice(&part[..count]);
        match read(&bytes)? {
            Progress::Whole(header, length) => {
                stream.rewind(&bytes[length..]);
                return Ok(Some(header));
            }
            Progress::Absent => {
                stream.rewind(&bytes);
                return Ok(None);
            }
            Progress::More if count == 0 || bytes.len() > HEADER_BYTES_MAX => {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            Progress::More => {}
        }
    }
}

fn become_client(stream: &mut Stream, ends: Ends) {
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    // A new digest holds neither address yet.
    let _ = digest.peer_addr.set(Some(SocketAddr::Inet(ends.source)));
    let _ = digest.local_addr.set(Some(SocketAddr::Inet(ends.destination)));
    stream.set_socket_digest(digest);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What becomes of a connection that begins so: who its client is, and what is left to read.
    async fn outcome(
        expected: ProxyProtocolIn,
        trusted: &str,
        sent: &[u8],
    ) -> Option<(String, Vec<u8>)> {
        let mut listener = Listener::at("127.0.0.1:80".parse().unwrap());
        listener.proxy_protocol = Some(expected);
        listener.trusted_proxies = vec![trusted.parse().unwrap()];
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        drop(client);
        let mut stream = Stream::from(socket.accept().await.unwrap().0);
        stream.set_socket_digest(SocketDigest::from_raw_fd(stream.as_raw_fd()));
        introduce(&mut stream, &listener).await.ok()?;
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.unwrap();
        Some((peer(&stream).unwrap().to_string(), left))
    }

    #[tokio::test]
    async fn headers_are_believed_from_those_that_are_trusted() {
        use ProxyProtocolIn::{Optional, Required};
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 1000 443\r\nGET /";
        let (all, none) = ("127.0.0.0/8", "10.0.0.0/8");
        let (client, proxy) = ("192.0.2.1".to_owned(), "127.0.0.1".to_owned());
        for (expected, trusted, sent, outcome_is) in [
            (Required, all, &header[..], Some((client.clone(), b"GET /".to_vec()))),
            (Optional, all, header, Some((client, b"GET /".to_vec()))),
            (Required, none, header, None),
            (Optional, none, header, Some((proxy.clone(), header.to_vec()))),
            (Required, all, b"GET / HTTP/1.1\r\n", None),
            (
                Optional,
                all,
                b"GET / HTTP/1.1\r\n",
                Some((proxy.clone(), b"GET / HTTP/1.1\r\n".to_vec())),
            ),
            (Required, all, b"PROXY UNKNOWN\r\nGET", Some((proxy, b"GET".to_vec()))),
            (Optional, all, b"PROXY TCP4 nonsense\r\nGET", None),
            (Optional, all, b"PROXY TCP4 192.0.2.1", None),
        ] {
            assert_eq!(
                outcome(expected, trusted, sent).await,
                outcome_is,
                "{expected:?} {trusted}"
            );
        }
    }
}
