//! A load generator that costs little: prepared bytes over plain sockets, each connection waiting for its
//! answer before it sends the next request.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Transfers of one batch.
const BATCH: u64 = 500;
/// Enough that a batch waits while one is committed, and no more: what waits longer is only slower.
const BATCH_CONNECTIONS: u64 = 4;
const SINGLE_CONNECTIONS: u64 = 256;
const READ_CONNECTIONS: u64 = 16;

pub struct Measured {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    /// How much was done.
    pub count: f64,
}

pub struct Load {
    address: SocketAddr,
    accounts: u64,
    time: Duration,
    /// Keys are never used twice.
    next: Arc<AtomicU64>,
    /// Numbers of reads, which book nothing.
    reads: Arc<AtomicU64>,
}

/// A connection, and what it has read ahead.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request and reads its whole answer, which must be a success.
    async fn ask(&mut self, request: &[u8]) -> usize {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "closed");
            if let Some(head) = find(&self.buffer, b"\r\n\r\n") {
                assert!(
                    self.buffer.starts_with(b"HTTP/1.1 20"),
                    "{}",
                    String::from_utf8_lossy(&self.buffer)
                );
                let length = content_length(&self.buffer[..head]);
                while self.buffer.len() < head + 4 + length {
                    assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "closed");
                }
                return head + 4;
            }
        }
    }

    /// Reads on in the answer of a stream: how many more requests are answered.
    async fn answers(&mut self) -> usize {
        // What may be the beginning of a mark is kept; it is too short to be counted twice.
        let kept = self.buffer.len().min(MARK.len() - 1);
        self.buffer.drain(..self.buffer.len() - kept);
        assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "closed");
        self.buffer.windows(MARK.len()).filter(|window| *window == MARK).count()
    }
}

/// What every answer of a stream says once.
const MARK: &[u8] = b"\"replayed\":f";

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.unwrap().trim().parse().unwrap()
}

/// Body of a transfer between two accounts, one of which may be the same for all.
fn transfer(text: &mut String, number: u64, accounts: u64, hot: bool) {
    let (one, other) = (number * 7919 % accounts, number * 104_729 % accounts);
    let one = if hot { 0 } else { one };
    let other = if one == other { (other + 1) % accounts } else { other };
    let _ = write!(
        text,
        r#"{{"description":"transfer {number}","entries":[{{"account":"a:{one}","direction":"debit","amount":"1.00"}},{{"account":"a:{other}","direction":"credit","amount":"1.00"}}]}}"#
    );
}

fn item(text: &mut String, number: u64, accounts: u64, hot: bool) {
    let _ = write!(text, r#"{{"key":"01890a5d-ac96-774b-bcce-{number:012x}","transfer":"#);
    transfer(text, number, accounts, hot);
    text.push('}');
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn balance(account: u64) -> Vec<u8> {
    format!("GET /v1/accounts/a:{account}/balance HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes()
}

impl Load {
    pub fn new(address: SocketAddr, accounts: usize, time: Duration) -> Self {
        let accounts = u64::try_from(accounts).unwrap();
        Self { address, accounts, time, next: Arc::default(), reads: Arc::default() }
    }

    /// Closed loops on so many connections; each request stands for `each`. `request` makes bytes of a
    /// number that is used once.
    async fn run(
        &self,
        numbers: &Arc<AtomicU64>,
        connections: u64,
        each: u64,
        request: impl Fn(u64) -> Vec<u8> + Clone + Send + 'static,
        check: fn(&[u8]),
    ) -> Measured {
        let mut clients = JoinSet::new();
        let began = Instant::now();
        for _ in 0..connections {
            let (next, request) = (Arc::clone(numbers), request.clone());
            let (address, time) = (self.address, self.time);
            clients.spawn(async move {
                let mut connection = Connection::open(address).await;
                let mut times = Vec::new();
                while began.elapsed() < time {
                    let bytes = request(next.fetch_add(each, Ordering::Relaxed));
                    let asked = Instant::now();
                    let body = connection.ask(&bytes).await;
                    times.push(asked.elapsed());
                    check(&connection.buffer[body..]);
                }
                times
            });
        }
        let times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
        measured(times, each, began.elapsed())
    }

    pub async fn batches(&self, hot: bool) -> Measured {
        let accounts = self.accounts;
        let request = move |first| {
            let mut body = String::from(r#"{"transfers":["#);
            for number in first..first + BATCH {
                item(&mut body, number, accounts, hot);
                body.push(if number + 1 < first + BATCH { ',' } else { ']' });
            }
            body.push('}');
            post("/v1/batches", "prefer: return=minimal\r\n", &body)
        };
        self.run(&self.next, BATCH_CONNECTIONS, BATCH, request, |body| {
            assert!(find(&body[..100], br#""refused":0"#).is_some(), "refused");
        })
        .await
    }

    /// Opens the accounts.
    pub async fn accounts(&self) {
        let mut clients = JoinSet::new();
        for client in 0..SINGLE_CONNECTIONS {
            let (address, accounts) = (self.address, self.accounts);
            clients.spawn(async move {
                let mut connection = Connection::open(address).await;
                for number in (client..accounts).filter(|n| n % SINGLE_CONNECTIONS == client) {
                    let side = if number.is_multiple_of(2) { "debit" } else { "credit" };
                    let body = format!(
                        r#"{{"code":"a:{number}","name":"a","currency":"EUR","normal_balance":"{side}"}}"#
                    );
                    connection.ask(&post("/v1/accounts", "", &body)).await;
                }
            });
        }
        clients.join_all().await;
    }

    /// Batches until so many transfers are stored, those of other loads included.
    pub async fn grow(&self, transfers: u64) -> Measured {
        let began = Instant::now();
        let (mut count, mut seconds) = (0.0, 0.0);
        let mut last = Measured { rate: 0.0, p50: 0.0, p99: 0.0, count: 0.0 };
        while self.next.load(Ordering::Relaxed) < transfers {
            last = self.batches(false).await;
            count += last.count;
            seconds = began.elapsed().as_secs_f64();
        }
        Measured { rate: if seconds > 0.0 { count / seconds } else { 0.0 }, count, ..last }
    }

    /// Transfers sent so far, and so about as many as are stored.
    pub fn stored(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub async fn singles(&self) -> Measured {
        let accounts = self.accounts;
        let request = move |number: u64| {
            let mut body = String::new();
            transfer(&mut body, number, accounts, false);
            post("/v1/transfers", &format!("idempotency-key: s{number}\r\n"), &body)
        };
        self.run(&self.next, SINGLE_CONNECTIONS, 1, request, |_| {}).await
    }

    /// Reads each balance once: from then on they are told from memory.
    pub async fn warm(&self) {
        let mut connection = Connection::open(self.address).await;
        for account in 0..self.accounts {
            connection.ask(&balance(account)).await;
        }
    }

    pub async fn balances(&self) -> Measured {
        let accounts = self.accounts;
        let request = move |number: u64| balance(number * 7919 % accounts);
        self.run(&self.reads, READ_CONNECTIONS, 1, request, |_| {}).await
    }

    /// Two streams, each with so many lines under way.
    pub async fn stream(&self) -> Measured {
        const AHEAD: u64 = 1000;
        let mut clients = JoinSet::new();
        let began = Instant::now();
        for _ in 0..2 {
            let (address, accounts, time) = (self.address, self.accounts, self.time);
            let next = Arc::clone(&self.next);
            clients.spawn(async move {
                let mut connection = Connection::open(address).await;
                let head = "POST /v1/batches.ndjson HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\nprefer: return=minimal\r\ntransfer-encoding: chunked\r\n\r\n";
                connection.stream.write_all(head.as_bytes()).await.unwrap();
                let mut sent = std::collections::VecDeque::new();
                let (mut times, mut answered, mut ahead) = (Vec::new(), 0_u64, 0_u64);
                while began.elapsed() < time || ahead > 0 {
                    while ahead < AHEAD && began.elapsed() < time {
                        let first = next.fetch_add(100, Ordering::Relaxed);
                        let mut lines = String::new();
                        for number in first..first + 100 {
                            item(&mut lines, number, accounts, false);
                            lines.push('\n');
                        }
                        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
                        connection.stream.write_all(chunk.as_bytes()).await.unwrap();
                        sent.push_back(Instant::now());
                        ahead += 100;
                    }
                    for _ in 0..connection.answers().await {
                        answered += 1;
                        ahead -= 1;
                        if answered.is_multiple_of(100) {
                            times.push(sent.pop_front().unwrap().elapsed());
                        }
                    }
                }
                times
            });
        }
        let times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
        measured(times, 100, began.elapsed())
    }
}

fn measured(mut times: Vec<Duration>, each: u64, elapsed: Duration) -> Measured {
    times.sort();
    let at =
        |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    let count = u32::try_from(times.len() as u64 * each).unwrap();
    let count = f64::from(count);
    Measured { rate: count / elapsed.as_secs_f64(), p50: at(50), p99: at(99), count }
}
