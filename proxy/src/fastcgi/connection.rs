//! Connections to FastCGI servers, over TCP or a unix socket, and those that are kept.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use pingora::protocols::l4::socket::SocketAddr;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

/// A connection to a server.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub async fn connect(address: &SocketAddr) -> io::Result<Socket> {
        match address {
            SocketAddr::Inet(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().ok_or(io::ErrorKind::InvalidInput)?;
                UnixStream::connect(path).await.map(Socket::Unix)
            }
        }
    }

    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Socket::Tcp(stream) => stream.ready(interest).await,
            Socket::Unix(stream) => stream.ready(interest).await,
        }
    }

    pub fn try_read(&self, into: &mut BytesMut) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_read_buf(into),
            Socket::Unix(stream) => stream.try_read_buf(into),
        }
    }

    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.try_write(bytes),
            Socket::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Whether the server has neither closed it nor said anything unasked.
    fn is_quiet(&self) -> bool {
        let mut nothing = BytesMut::with_capacity(1);
        let read = self.try_read(&mut nothing);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Unused connections, by server.
pub struct Idle {
    /// Kept per server; each holds a process of the server.
    pub max: usize,
    time: Duration,
    kept: Arc<Mutex<Kept>>,
    /// Somebody looks after those that grow old.
    watched: Arc<AtomicBool>,
}

type Kept = BTreeMap<String, Vec<(Socket, Instant)>>;

impl Idle {
    pub fn new(max: u32, time: Duration) -> Idle {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Idle { max, time, kept: Arc::default(), watched: Arc::default() }
    }

    /// The one used last, if it can be used.
    pub fn take(&self, address: &SocketAddr) -> Option<Socket> {
        if self.max == 0 {
            return None;
        }
        let mut kept = self.kept.lock();
        let of_server = kept.get_mut(&address.to_string())?;
        while let Some((socket, since)) = of_server.pop() {
            if since.elapsed() < self.time && socket.is_quiet() {
                return Some(socket);
            }
        }
        None
    }

    /// Keeps a connection whose request is done, unless there are enough.
    pub fn keep(&self, address: &SocketAddr, socket: Socket) {
        let mut kept = self.kept.lock();
        let of_server = kept.entry(address.to_string()).or_default();
        if of_server.len() < self.max {
            of_server.push((socket, Instant::now()));
        }
        drop(kept);
        if !self.watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(close_old(Arc::clone(&self.kept), Arc::clone(&self.watched), self.time));
        }
    }
}

/// Closes what nobody has used for this long, until nothing is left.
async fn close_old(kept: Arc<Mutex<Kept>>, watched: Arc<AtomicBool>, time: Duration) {
    loop {
        tokio::time::sleep(time.max(Duration::from_millis(10))).await;
        let mut kept = kept.lock();
        // A server that nobody asks any more leaves nothing: its address may have been one of many of a name.
        kept.retain(|_, of_server| {
            of_server.retain(|(_, since)| since.elapsed() < time);
            !of_server.is_empty()
        });
        if kept.is_empty() {
            watched.store(false, Ordering::Release);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_asked_no_more_are_forgotten() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inet = listener.local_addr().unwrap();
        let idle = Idle::new(4, Duration::from_millis(50));
        let address = SocketAddr::Inet(inet);
        let socket = Socket::connect(&address).await.unwrap();
        idle.keep(&address, socket);
        let taken = idle.take(&address).unwrap();
        assert!(idle.take(&address).is_none());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(idle.kept.lock().is_empty() && !idle.watched.load(Ordering::Acquire));
        idle.keep(&address, taken);
        assert_eq!(idle.kept.lock().len(), 1, "it is asked again");
    }
}
