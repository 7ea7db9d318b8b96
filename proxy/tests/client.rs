//! An HTTP/1.1 client that sends what it is told, byte for byte.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::harness::PATIENCE;

pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A response; `whole` is false when the connection ended before its framing said so.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub whole: bool,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Client {
    pub fn to(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn local(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// `None` when nobody accepts.
    pub fn try_to(address: SocketAddr) -> Option<Client> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Client { stream: BufReader::new(stream) })
    }

    /// `None` when the connection has ended.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.get_mut().write_all(bytes.as_ref()).ok()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn ask(&mut self, request: &str) -> Response {
        self.send(request);
        let head = request.starts_with("HEAD ");
        self.response(head).expect("a response")
    }

    /// `None` when the connection ends without one.
    pub fn response(&mut self, to_head: bool) -> Option<Response> {
        loop {
            let (status, headers) = self.head()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let mut response = Response { status, headers, body: Vec::new(), whole: true };
            if !to_head && !matches!(status, 204 | 304) {
                response.whole = self.body(&response.headers, &mut response.body);
            }
            return Some(response);
        }
    }

    /// Status and headers of the next response.
    pub fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Some((status, headers))
    }

    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Reads a body by its framing; says whether it was whole.
    fn body(&mut self, headers: &[(String, String)], body: &mut Vec<u8>) -> bool {
        let value = |name: &str| {
            headers.iter().find(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
        };
        if value("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk() {
                if chunk.is_empty() {
                    return true;
                }
                body.extend(chunk);
            }
            false
        } else if let Some(length) = value("content-length") {
            body.resize(length.parse().unwrap(), 0);
            let mut filled = 0;
            while filled < body.len() {
                match self.stream.read(&mut body[filled..]) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => filled += read,
                }
            }
            let whole = filled == body.len();
            body.truncate(filled);
            whole
        } else {
            self.stream.read_to_end(body).is_ok()
        }
    }

    /// One chunk of a chunked body; empty for the last; `None` when the connection ends first.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(self.line()?.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).ok()?;
        chunk.truncate(size);
        Some(chunk)
    }

    /// Reads exactly this many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the other side has closed, having sent nothing more.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            // A connection that only stays silent is open.
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Sends nothing more, and goes on reading.
    pub fn end(&self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    pub fn leave(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}
