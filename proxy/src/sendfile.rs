//! Bytes of a file to a socket: the kernel hands on the pages they lie in (sendfile(2)).

use std::io;
use std::os::fd::AsFd;

use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::lent::socket::Lent;
use crate::raw::awaited;

/// A socket that files are sent to.
pub struct FileOutlet(AsyncFd<Lent>);

impl FileOutlet {
    /// Its readiness is told to the runtime this is called on.
    ///
    /// Errors: the runtime cannot wait for it; the socket comes back.
    pub fn to(socket: Lent) -> Result<FileOutlet, Lent> {
        awaited(socket, Interest::WRITABLE).map(FileOutlet).map_err(|(socket, _)| socket)
    }

    pub fn into_socket(self) -> Lent {
        self.0.into_inner()
    }

    /// Sends what more follows behind at once, in one packet where it can.
    pub async fn begin(&self, mut bytes: &[u8]) -> io::Result<()> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        while !bytes.is_empty() {
            let sent = self.0.async_io(Interest::WRITABLE, |socket| {
                send(socket, bytes, flags).map_err(io::Error::from)
            });
            bytes = &bytes[sent.await?..];
        }
        Ok(())
    }

    /// Sends bytes from `at` on, as many as the socket takes at once, at most so many; says how many.
    ///
    /// Errors: the socket's, and `UnexpectedEof` where the file ends.
    pub async fn send(&self, file: impl AsFd, at: u64, bytes_max: usize) -> io::Result<usize> {
        let sent = self.0.async_io(Interest::WRITABLE, |socket| {
            let mut at = at;
            sendfile(socket, &file, Some(&mut at), bytes_max).map_err(io::Error::from)
        });
        match sent.await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => Ok(sent),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use pingora::protocols::{GetSocketDigest as _, SocketDigest, Stream, l4};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use crate::lent;

    use super::*;

    #[tokio::test]
    async fn a_file_follows_what_was_said_before_it_however_slowly_it_is_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        let (mut client, ours) = (connected.unwrap(), accepted.unwrap().0);
        let digest = SocketDigest::from_raw_fd(ours.as_raw_fd());
        let mut ours = l4::stream::Stream::from(ours);
        ours.set_socket_digest(digest);
        let mut ours: Stream = Box::new(ours);
        let outlet = FileOutlet::to(lent::take_out(&mut ours).unwrap()).unwrap();
        let body: Vec<u8> = (0..3_000_000_u32).map(|at| u8::try_from(at % 253).unwrap()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&body).unwrap();
        let sending = async {
            outlet.begin(b"head").await.unwrap();
            let mut at = 5;
            while at < body.len() {
                at += outlet.send(&file, at as u64, 65_536).await.unwrap();
            }
            assert!(outlet.send(&file, at as u64, 1).await.is_err(), "there is no more");
            drop(outlet);
        };
        let mut read = Vec::new();
        let reading = async {
            tokio::task::yield_now().await;
            client.read_to_end(&mut read).await.unwrap();
        };
        tokio::join!(sending, reading);
        assert!(read[..4] == *b"head" && read[4..] == body[5..]);
    }
}
