//! The origin: what is asked says how large the answer is, whether it may be stored, and how slowly
//! it comes.
//!
//! - `/kept/BYTES/NAME`: may be stored.
//! - `/film/BYTES/NAME`: may not.
//! - `/live/BYTES/MILLISECONDS/NAME`: may be stored, and takes that long to come.
//! - anything else: a small answer, as to a transaction.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use crate::reading::Pattern;

/// The answer to a transaction.
const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"posted\":true}";
/// Pieces that a slow answer comes in.
const PIECES: u64 = 20;
/// Bodies up to here leave with their head, in one write.
const ONE_WRITE: u64 = 64 * 1024;
/// Live paths that are counted; more are answered and not counted.
const COUNTED_MAX: usize = 1000;

/// It runs on a thread of its own until the process ends.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pattern: Pattern,
    /// How often each live path was asked for.
    fetches: Mutex<BTreeMap<String, u64>>,
}

impl Shared {
    fn count(&self, path: String) {
        let mut fetches = self.fetches.lock();
        if fetches.len() < COUNTED_MAX || fetches.contains_key(&path) {
            *fetches.entry(path).or_default() += 1;
        }
    }
}

impl Origin {
    pub fn start() -> io::Result<Origin> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let on = Arc::clone(&shared);
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&on);
                // Its end is the end of a connection, whoever ended it.
                tokio::spawn(async move { drop(converse(stream, &shared).await) });
            }
        };
        let run = move || runtime.block_on(accept);
        thread::Builder::new().name("origin".to_owned()).spawn(run)?;
        Ok(Origin { address, shared })
    }

    /// How often a live path was asked for since this was asked last.
    pub fn take_fetches(&self, path: &str) -> u64 {
        self.shared.fetches.lock().remove(path).unwrap_or(0)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Small,
    Body { bytes: u64, may_be_stored: bool, takes: Duration },
}

impl Wanted {
    fn of(path: &str) -> Wanted {
        let mut steps = path.split('/').skip(1);
        let kind = steps.next().unwrap_or_default();
        let mut number = || steps.next().and_then(|step| step.parse().ok());
        let body = |bytes: Option<u64>, may_be_stored, millis| match bytes {
            Some(bytes) => {
                Wanted::Body { bytes, may_be_stored, takes: Duration::from_millis(millis) }
            }
            None => Wanted::Small,
        };
        match kind {
            "kept" => body(number(), true, 0),
            "film" => body(number(), false, 0),
            "live" => {
                let bytes = number();
                body(bytes, true, number().unwrap_or(0))
            }
            _ => Wanted::Small,
        }
    }
}

async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(path) = request(&mut stream).await? {
        match Wanted::of(&path) {
            Wanted::Small => stream.get_mut().write_all(SMALL).await?,
            Wanted::Body { bytes, may_be_stored, takes } => {
                if !takes.is_zero() {
                    shared.count(path);
                }
                let control = if may_be_stored { "max-age=86400" } else { "no-store" };
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nCache-Control: {control}\r\n\
                     ETag: \"{bytes}\"\r\nContent-Length: {bytes}\r\n\r\n"
                );
                send(stream.get_mut(), head.into_bytes(), bytes, takes, &shared.pattern).await?;
            }
        }
    }
    Ok(())
}

/// Reads one request to the end of its body; its path, or none at the end of the connection.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let (mut path, mut length, mut line) = (None, 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if path.is_none() {
            path = line.split(' ').nth(1).map(str::to_owned);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    Ok(path)
}

async fn send(
    stream: &mut TcpStream,
    mut head: Vec<u8>,
    bytes: u64,
    takes: Duration,
    pattern: &Pattern,
) -> io::Result<()> {
    let piece = |at: u64, most: u64| {
        let all = pattern.at(at);
        &all[..usize::try_from(most).unwrap_or(usize::MAX).min(all.len())]
    };
    if bytes <= ONE_WRITE && takes.is_zero() {
        head.extend_from_slice(piece(0, bytes));
        return stream.write_all(&head).await;
    }
    stream.write_all(&head).await?;
    let (begun, mut at) = (Instant::now(), 0);
    while at < bytes {
        let part = if takes.is_zero() {
            piece(at, bytes - at)
        } else {
            let number = at * PIECES / bytes.max(1) + 1;
            let due = takes.mul_f64(f64::from(u32::try_from(number).unwrap_or(0)) / PIECES as f64);
            sleep_until(begun + due).await;
            piece(at, (bytes * number / PIECES).saturating_sub(at).max(1))
        };
        stream.write_all(part).await?;
        at += part.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::{ONE_WRITE, Origin, Wanted};
    use crate::reading::{Check, Pattern, Progress, Reading};

    fn get(origin: &Origin, path: &str) -> (Vec<u8>, u64) {
        let mut stream = TcpStream::connect(origin.address).unwrap();
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        stream.write_all(request.as_bytes()).unwrap();
        let (mut reading, mut total, mut all) = (Reading::new(Check::Every), 0, Vec::new());
        let (mut buffer, pattern) = ([0; 4096], Pattern::default());
        loop {
            let read = stream.read(&mut buffer).unwrap();
            all.extend_from_slice(&buffer[..read]);
            match reading.take(&pattern, &buffer[..read]) {
                Ok(Progress::Whole(count)) => return (all, total + count),
                Ok(Progress::Body(count)) => total += count,
                Err(what) => panic!("{path}: {what}"),
            }
        }
    }

    #[test]
    fn paths_say_what_is_answered() {
        let origin = Origin::start().unwrap();
        for bytes in [1, 1024, ONE_WRITE, ONE_WRITE + 1, 1_000_000] {
            let (answer, length) = get(&origin, &format!("/film/{bytes}/x"));
            assert_eq!(length, bytes);
            assert!(String::from_utf8_lossy(&answer).contains("no-store"));
        }
        let live = "/live/100000/40/x";
        assert_eq!(get(&origin, live).1, 100_000);
        assert_eq!((origin.take_fetches(live), origin.take_fetches("/kept/1/x")), (1, 0));
        assert_eq!(Wanted::of("/pay"), Wanted::Small);
        assert_eq!(Wanted::of("/kept/x"), Wanted::Small);
    }
}
