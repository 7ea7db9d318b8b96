//! The upstream of a replay: one address for each pool, which answers with what it was asked and
//! keeps it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::replay::{script, wire};

const PATIENCE: Duration = Duration::from_secs(15);
/// After so long without another request, none is taken to be under way.
const SETTLED: Duration = Duration::from_millis(100);
/// How long those that are expected may take.
const EXPECTED: Duration = Duration::from_secs(5);
/// Longest request that is taken.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Pools of one configuration.
const POOLS_MAX: usize = 256;

/// A request as an upstream sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub pool: String,
    pub method: String,
    pub target: String,
    /// Names in lower case, sorted.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

type Requests = Arc<Mutex<Vec<Seen>>>;

/// Its threads end with the process: a replay is a command of its own.
pub struct Echo {
    seen: Requests,
    pools: Mutex<BTreeMap<String, SocketAddr>>,
    /// Answers for pools beyond the limit.
    rest: SocketAddr,
    /// Takes connections and closes them.
    nobody: SocketAddr,
}

impl Echo {
    pub fn start() -> io::Result<Echo> {
        let seen = Requests::default();
        let rest = listen("(more pools than are told apart)", &seen)?;
        Ok(Echo { seen, pools: Mutex::default(), rest, nobody: refuse()? })
    }

    /// Where nobody answers.
    pub fn nobody(&self) -> SocketAddr {
        self.nobody
    }

    /// All of them where a pool answers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().copied().chain([self.rest]).collect()
    }

    /// Where the pool answers.
    pub fn address(&self, pool: &str) -> SocketAddr {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = pools.get(pool) {
            return *address;
        }
        if pools.len() >= POOLS_MAX {
            return self.rest;
        }
        let address = listen(pool, &self.seen).unwrap_or(self.rest);
        pools.insert(pool.to_owned(), address);
        address
    }

    /// The pool that answers at an address.
    pub fn pool_at(&self, authority: &str) -> Option<String> {
        let address: SocketAddr = authority.parse().ok()?;
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().find(|(_, at)| **at == address).map(|(pool, _)| pool.clone())
    }

    /// The same, once nothing more has come for a while and as many as are expected: copies are sent beside answers. In
    /// an order of their own.
    pub fn take_settled(&self, expected: usize) -> Vec<Seen> {
        let count = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).len();
        let (begun, mut known) = (Instant::now(), usize::MAX);
        while count() != known || known < expected && begun.elapsed() < EXPECTED {
            known = count();
            std::thread::sleep(SETTLED);
        }
        let mut seen = self.take();
        seen.sort_by(|a, b| (&a.pool, &a.target).cmp(&(&b.pool, &b.target)));
        seen
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn refuse() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}

fn listen(pool: &str, seen: &Requests) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (pool, seen) = (pool.to_owned(), Arc::clone(seen));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (pool, seen) = (pool.clone(), Arc::clone(&seen));
            // A client that goes away in the middle is no concern of the upstream's.
            std::thread::spawn(move || drop(serve(stream, &pool, &seen)));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream, pool: &str, seen: &Requests) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut first = [0];
    // A record of FastCGI begins with its version.
    if stream.peek(&mut first)? == 1 && first == [1] {
        return run(stream, pool, seen);
    }
    let Some(request) = read(&mut stream, pool)? else { return Ok(()) };
    // Who calls by gRPC begins with HTTP/2 (RFC 9113 section 3.4), which is not spoken here: the call fails.
    if request.method == "PRI" {
        return Ok(());
    }
    let Seen { method, target, body, .. } = &request;
    let said = format!("{pool}: {method} {}, {} bytes\n", normal(target), body.len());
    let shown = if method == "HEAD" { "" } else { said.as_str() };
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Pool: {pool}\r\n\
         Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n\r\n{shown}",
        said.len()
    );
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    stream.write_all(answer.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // Closing with bytes unread would reset the connection under the answer.
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// The same for one who asks for scripts.
fn run(mut stream: TcpStream, pool: &str, seen: &Requests) -> io::Result<()> {
    let Some((request, id)) = script::read(&mut stream, pool)? else { return Ok(()) };
    let Seen { method, target, body, .. } = &request;
    let said = format!("{pool}: {method} {}, {} bytes\n", normal(target), body.len());
    let answer = format!(
        "Content-Type: text/plain\r\nX-Pool: {pool}\r\nX-Powered-By: a script\r\n\r\n{said}"
    );
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    script::answer(&mut stream, id, &answer)?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// A target in the form in which the proxy passes it on; one that it refuses stays as it is.
pub fn normal(target: &str) -> String {
    match proxy_config::target::normalize_target(target.as_bytes()) {
        Ok(normal) => String::from_utf8_lossy(&normal).into_owned(),
        Err(_) => target.to_owned(),
    }
}

fn read(stream: &mut TcpStream, pool: &str) -> io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(request) = request(&bytes, pool) {
            return Ok(Some(request));
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend(&buffer[..count]);
    }
}

/// The request, when all of it is there.
fn request(bytes: &[u8], pool: &str) -> Option<Seen> {
    let (head, rest) = wire::split(bytes)?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    headers.sort();
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v);
    let body = match (header("transfer-encoding"), header("content-length")) {
        (Some(_), _) => wire::dechunked(rest)?,
        (None, Some(length)) => rest.get(..length.parse().ok()?)?.to_vec(),
        (None, None) => Vec::new(),
    };
    Some(Seen { pool: pool.to_owned(), method, target, headers, body })
}
