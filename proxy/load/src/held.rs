//! Connections that are held: idle between requests, or with an answer that nobody reads.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::reading::{Check, Pattern, Progress, Reading};

/// How long an answer may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a client that does not read has read: enough to know that the answer has begun.
const FIRST_BYTES: usize = 1024;
/// Receive buffer of a client that does not read.
const RECEIVE_BYTES: usize = 16 * 1024;

/// Open for as long as it lives.
pub struct Held(Vec<TcpStream>);

impl Held {
    /// So many connections, each of which asked once and got a whole answer.
    pub fn idle(address: SocketAddr, count: usize, request: &str) -> io::Result<Held> {
        let pattern = Pattern::default();
        Held::open(count, || {
            let mut stream = ask(TcpStream::connect(address)?, request)?;
            let (mut reading, mut buffer) = (Reading::new(Check::Every), [0; 4096]);
            loop {
                let read = stream.read(&mut buffer)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let taken = reading.take(&pattern, &buffer[..read]);
                match taken.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))? {
                    Progress::Whole(_) => return Ok(stream),
                    Progress::Body(_) => {}
                }
            }
        })
    }

    /// So many connections, each of which asked and reads no more than the beginning.
    pub fn unread(address: SocketAddr, count: usize, request: &str) -> io::Result<Held> {
        Held::open(count, || {
            let mut stream = ask(narrow(address)?, request)?;
            let mut first = [0; FIRST_BYTES];
            stream.read_exact(&mut first)?;
            if first.starts_with(b"HTTP/1.1 200 ") {
                return Ok(stream);
            }
            let line = String::from_utf8_lossy(&first[..40]).into_owned();
            Err(io::Error::new(io::ErrorKind::InvalidData, line))
        })
    }

    fn open(count: usize, one: impl Fn() -> io::Result<TcpStream>) -> io::Result<Held> {
        (0..count).map(|_| one()).collect::<io::Result<_>>().map(Held)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// A connection whose own kernel takes little: what is not read lies at the proxy.
fn narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

fn ask(mut stream: TcpStream, request: &str) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn held_connections_have_asked() {
        let address = Origin::start().unwrap().address;
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(Held::idle(address, 3, &request("/film/1024/x")).unwrap().count(), 3);
        assert_eq!(Held::unread(address, 3, &request("/film/9000000/x")).unwrap().count(), 3);
        assert!(Held::idle(address, 1, &request("/small")).is_err(), "not the pattern");
    }
}
