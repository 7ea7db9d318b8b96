//! Bytes from one socket to another through a pipe of the kernel's: it hands on the pages they came in, and none is copied
//! into this process (splice(2)).

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};
use tokio::io::unix::AsyncFd;

use crate::lent::socket::Lent;
use crate::raw::awaited;
use tokio::io::{Interest, Ready};

/// Neither end waits within the kernel.
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// Two sockets and what lies between them.
pub struct Splice {
    from: AsyncFd<Lent>,
    outlet: PipeOutlet,
}

/// What lies between, and the socket behind it.
pub struct PipeOutlet {
    pipe: Pipe,
    to: AsyncFd<Lent>,
}

struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Splice {
    /// Their readiness is told to the runtime this is called on.
    ///
    /// Errors: descriptors have run out, or a pipe of this user's may hold less than `bytes`; the sockets come back.
    pub fn between(from: Lent, to: Lent, bytes: usize) -> Result<Splice, (Lent, Lent)> {
        let Ok(pipe) = Pipe::of(bytes) else { return Err((from, to)) };
        let from = match awaited(from, Interest::READABLE) {
            Ok(from) => from,
            Err((from, _)) => return Err((from, to)),
        };
        match awaited(to, Interest::READABLE | Interest::WRITABLE) {
            Ok(to) => Ok(Splice { from, outlet: PipeOutlet { pipe, to } }),
            Err((to, _)) => Err((from.into_inner(), to)),
        }
    }

    /// Takes in what is there, at most so many bytes, when there is something; 0 at the end. All that was taken in before
    /// must have been sent.
    pub async fn take_in(&self, bytes_max: usize) -> io::Result<usize> {
        let taken = self.from.async_io(Interest::READABLE, |from| {
            let into = &self.outlet.pipe.into;
            splice(from, None, into, None, bytes_max, FLAGS).map_err(io::Error::from)
        });
        taken.await
    }

    pub fn outlet(&self) -> &PipeOutlet {
        &self.outlet
    }

    /// Nothing more is taken in.
    pub fn end(self) -> (Lent, PipeOutlet) {
        (self.from.into_inner(), self.outlet)
    }
}

impl PipeOutlet {
    /// Sends of what was taken in, `bytes` at most, as much as the socket takes at once; says how much.
    pub async fn send(&self, bytes: usize) -> io::Result<usize> {
        let sent = self.to.async_io(Interest::WRITABLE, |to| {
            splice(&self.pipe.out, None, to, None, bytes, FLAGS).map_err(io::Error::from)
        });
        match sent.await? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            sent => Ok(sent),
        }
    }

    /// Waits until who is sent to has closed.
    pub async fn gone(&self) {
        while let Ok(mut ready) = self.to.ready(Interest::READABLE).await {
            if ready.ready().is_read_closed() {
                return;
            }
            // What it asks meanwhile is read when this is over.
            ready.clear_ready_matching(Ready::READABLE);
        }
    }

    /// The socket again; what was taken in and not sent is lost.
    pub fn into_socket(self) -> Lent {
        self.to.into_inner()
    }
}

impl Pipe {
    fn of(bytes: usize) -> io::Result<Pipe> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if fcntl_getpipe_size(&into)? < bytes {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(Pipe { out, into })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use pingora::protocols::{GetSocketDigest as _, SocketDigest, Stream, l4};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use crate::lent;

    use super::*;

    /// A socket as it is lent, and the other end.
    async fn pair() -> (Lent, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        let ours = accepted.unwrap().0;
        let digest = SocketDigest::from_raw_fd(ours.as_raw_fd());
        let mut ours = l4::stream::Stream::from(ours);
        ours.set_socket_digest(digest);
        let mut ours: Stream = Box::new(ours);
        (lent::take_out(&mut ours).unwrap(), connected.unwrap())
    }

    #[tokio::test]
    async fn bytes_arrive_as_they_were_sent_though_the_other_end_is_slow() {
        const BYTES: usize = 3_000_000;
        let (from, mut server) = pair().await;
        let (to, mut client) = pair().await;
        let splice = Splice::between(from, to, 65_536).ok().unwrap();
        let sent: Vec<u8> = (0..BYTES).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
        let body = sent.clone();
        let serving = async move {
            server.write_all(&body).await.unwrap();
            server
        };
        let moving = async {
            let mut moved = 0;
            while moved < BYTES {
                let mut taken = splice.take_in(65_536).await.unwrap();
                moved += taken;
                while taken > 0 {
                    taken -= splice.outlet().send(taken).await.unwrap();
                }
            }
        };
        let mut read = vec![0; BYTES];
        let reading = async {
            // The kernel's buffers fill up before anything is read.
            tokio::task::yield_now().await;
            client.read_exact(&mut read).await.unwrap();
        };
        let (server, (), ()) = tokio::join!(serving, moving, reading);
        assert!(read == sent);
        drop(server);
        assert_eq!(splice.take_in(1).await.unwrap(), 0, "the end is told");
        drop(client);
    }

    #[tokio::test]
    async fn who_left_is_found_out_by_waiting_and_by_sending() {
        let (from, mut server) = pair().await;
        let (to, mut client) = pair().await;
        let splice = Splice::between(from, to, 65_536).ok().unwrap();
        client.write_all(b"GET / HTTP/1.1").await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(50), splice.outlet().gone()).await;
        assert!(waiting.is_err(), "who asks on has not left");
        drop(client);
        splice.outlet().gone().await;
        let broke = async {
            loop {
                server.write_all(b"more").await.unwrap();
                let taken = splice.take_in(65_536).await.unwrap();
                if let Err(error) = splice.outlet().send(taken).await {
                    return error.kind();
                }
            }
        };
        let kind = broke.await;
        assert!(
            matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{kind}"
        );
    }

    #[tokio::test]
    async fn a_pipe_that_is_too_small_is_none() {
        let ((from, _one), (to, _other)) = (pair().await, pair().await);
        assert!(Splice::between(from, to, 1 << 30).is_err());
    }
}
