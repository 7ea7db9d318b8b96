//! An origin whose every byte a test decides. A thread per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{PATIENCE, eventually};

/// One request head as it arrived, and the connection it came on.
pub struct Exchange<'a> {
    pub head: String,
    stream: &'a mut BufReader<TcpStream>,
}

impl Exchange<'_> {
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (is, value) = line.split_once(':')?;
            is.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The proxy's end of the connection: names it among the connections of a test.
    pub fn peer(&self) -> SocketAddr {
        self.stream.get_ref().peer_addr().unwrap()
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    pub fn read(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// The body: by its Content-Length, or its raw chunks up to the last.
    pub fn body(&mut self) -> Option<Vec<u8>> {
        if self.header("transfer-encoding").is_some() {
            let mut chunks = Vec::new();
            while !chunks.ends_with(b"0\r\n\r\n") {
                chunks.extend(self.read(1)?);
            }
            return Some(chunks);
        }
        let length = self.header("content-length").map_or(0, |length| length.parse().unwrap());
        self.read(length)
    }

    /// Whether the proxy has closed the connection, having sent nothing more.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    /// 200 with this body, on a connection that stays open.
    pub fn answer(&mut self, body: &str) -> bool {
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}

#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// `serve` answers one request and says whether the connection stays open.
    pub fn start(serve: impl Fn(&mut Exchange<'_>) -> bool + Send + Sync + 'static) -> Origin {
        Origin::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    /// The same on a socket of the test's.
    pub fn on(
        listener: TcpListener,
        serve: impl Fn(&mut Exchange<'_>) -> bool + Send + Sync + 'static,
    ) -> Origin {
        let origin = Origin {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            connections: Arc::default(),
        };
        let (running, serve) = (origin.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                running.connections.fetch_add(1, Ordering::SeqCst);
                let (running, serve) = (running.clone(), Arc::clone(&serve));
                std::thread::spawn(move || running.converse(stream, &*serve));
            }
        });
        origin
    }

    /// Answers every request with this body.
    pub fn saying(body: &'static str) -> Origin {
        Origin::start(move |exchange| exchange.body().is_some() && exchange.answer(body))
    }

    fn converse(&self, stream: TcpStream, serve: &dyn Fn(&mut Exchange<'_>) -> bool) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match stream.read_line(&mut head) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
            self.heads.lock().unwrap().push(head.clone());
            if !serve(&mut Exchange { head, stream: &mut stream }) {
                return;
            }
        }
    }

    /// Request heads so far, in the order of their arrival.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn wait_for_requests(&self, count: usize) {
        eventually("requests at the origin", || (self.requests() >= count).then_some(()));
    }
}
