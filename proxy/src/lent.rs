//! Sockets out of their streams, lent to who moves bytes past them. Meanwhile nobody else waits for them: their readiness
//! is told to the runtime of who has them, and wakes no other thread.

pub mod socket;

use std::io;
use std::net;
use std::os::fd::AsRawFd;

use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{GetSocketDigest as _, SocketDigest, Stream};
use tokio::io::duplex;
use tokio::runtime::Handle;

use crate::lent::socket::{Counted, Lent};
use crate::raw;

/// A stream to nobody, where one has to be.
pub fn nobody() -> Stream {
    Box::new(duplex(1).0)
}

/// Takes the socket out of a stream, which leads to nobody until it is [put back](put_back). None where bytes are encrypted
/// on their way, or where there is no socket of TCP; nothing changes then. What was read from the stream or written to it
/// must not lie in a buffer.
pub fn take_out(stream: &mut Stream) -> Option<Lent> {
    let tcp = (**stream).as_any().downcast_ref::<TcpStream>()?;
    tcp.get_socket_digest()?.peer_addr()?.as_inet()?;
    let socket = raw::second(tcp).ok()?;
    let mut tcp = std::mem::replace(stream, nobody()).into_any().downcast::<TcpStream>().ok()?;
    Some(Lent { socket, counted: Counted { tracer: tcp.tracer.take() } })
}

/// Puts a socket back; its readiness is told to the runtime `home`.
///
/// Errors: that runtime cannot wait for it, and the connection is closed.
pub fn put_back(stream: &mut Stream, lent: Lent, home: &Handle) -> io::Result<()> {
    let _at_home = home.enter();
    let Lent { socket, mut counted } = lent;
    let socket = tokio::net::TcpStream::from_std(net::TcpStream::from(socket))?;
    let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
    let mut tcp = TcpStream::from(socket);
    tcp.set_socket_digest(digest);
    tcp.tracer = counted.tracer.take();
    *stream = Box::new(tcp);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI32, Ordering};

    use pingora::upstreams::peer::{Tracer, Tracing};
    use rustix::io::write;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Clone, Debug)]
    struct Open(Arc<AtomicI32>);

    impl Tracing for Open {
        fn on_connected(&self) {}

        fn on_disconnected(&self) {
            self.0.fetch_sub(1, Ordering::AcqRel);
        }

        fn boxed_clone(&self) -> Box<dyn Tracing> {
            Box::new(self.clone())
        }
    }

    async fn pair(open: &Open) -> (Stream, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        let (theirs, ours) = (connected.unwrap(), accepted.unwrap().0);
        let digest = SocketDigest::from_raw_fd(ours.as_raw_fd());
        let mut ours = TcpStream::from(ours);
        ours.set_socket_digest(digest);
        ours.tracer = Some(Tracer(Box::new(open.clone())));
        (Box::new(ours), theirs)
    }

    #[tokio::test]
    async fn a_socket_that_was_lent_goes_on_where_it_was_and_is_counted_once() {
        let open = Open(Arc::new(AtomicI32::new(1)));
        let (mut stream, mut theirs) = pair(&open).await;
        let lent = take_out(&mut stream).unwrap();
        assert!(take_out(&mut stream).is_none(), "there is but one");
        theirs.write_all(b"asked meanwhile").await.unwrap();
        assert_eq!(write(&lent, b"there ").unwrap(), 6);
        put_back(&mut stream, lent, &Handle::current()).unwrap();
        stream.write_all(b"here").await.unwrap();
        let mut asked = [0; 15];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"asked meanwhile");
        let peer = stream.get_socket_digest().unwrap().peer_addr().unwrap().to_string();
        assert_eq!(peer, theirs.local_addr().unwrap().to_string());
        assert_eq!(open.0.load(Ordering::Acquire), 1);
        drop(stream);
        assert_eq!(open.0.load(Ordering::Acquire), 0);
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "there here");
    }

    #[tokio::test]
    async fn who_drops_a_socket_closes_the_connection() {
        let open = Open(Arc::new(AtomicI32::new(1)));
        let (mut stream, mut theirs) = pair(&open).await;
        let lent = take_out(&mut stream).unwrap();
        drop(stream);
        assert_eq!(open.0.load(Ordering::Acquire), 1);
        drop(lent);
        assert_eq!(open.0.load(Ordering::Acquire), 0);
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_has_no_socket_lends_none() {
        assert!(take_out(&mut nobody()).is_none());
    }
}
