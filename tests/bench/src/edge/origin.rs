//! An origin of video: what is asked says how it behaves.
//!
//! - `/herd/…`: 2 MB that take 2 s. `/live/…`: 100 kB. `/big/…`: 40 MB. All may be stored.
//! - `/dying/…`: 2 MB with a strong validator; the first answer dies in the middle, the rest is to be had by range.
//! - `/fatal/…`: the same without a validator, and every answer dies.
//! - `/slow/…`: 30 MB that may not be stored. `/large/…`: 200 MB, by ranges too.
//! - `/playlist/…`: takes 150 ms, is fresh for a second, and says when it was made.
//! - `/blocking/…`: a playlist that is held for 500 ms.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

pub const SEGMENT_BYTES: u64 = 2_000_000;
const BIG_BYTES: u64 = 40_000_000;
pub const LARGE_BYTES: u64 = 200_000_000;
const PLAYLIST_TAKES: Duration = Duration::from_millis(150);
const HELD: Duration = Duration::from_millis(500);
const SLOW_BYTES: u64 = 30_000_000;
const LIVE_BYTES: u64 = 100_000;
/// Pieces of a segment that takes its time.
const PIECES: u32 = 20;
const PART: usize = 64 * 1024;

#[derive(Default)]
struct Shared {
    /// Requests and body bytes by path, without the query.
    counts: Mutex<BTreeMap<String, (u64, u64)>>,
    /// When an answer died last, and when a held playlist was let go.
    died: Mutex<Option<Instant>>,
    let_go: Mutex<Option<Instant>>,
    begun: Mutex<Option<Instant>>,
}

/// It runs on threads of its own until the process ends.
pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Origin {
    pub fn start() -> io::Result<Origin> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        *lock(&shared.begun) = Some(Instant::now());
        let on = Arc::clone(&shared);
        thread::Builder::new().name("origin".to_owned()).spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&on);
                thread::spawn(move || drop(converse(stream, &shared)));
            }
        })?;
        Ok(Origin { address, shared })
    }

    /// Requests for a path so far, and bytes of bodies sent for it.
    pub fn counted(&self, path: &str) -> (u64, u64) {
        lock(&self.shared.counts).get(path).copied().unwrap_or_default()
    }

    pub fn died(&self) -> Option<Instant> {
        *lock(&self.shared.died)
    }

    pub fn let_go(&self) -> Option<Instant> {
        *lock(&self.shared.let_go)
    }

    /// Milliseconds since it began, as its playlists say.
    pub fn clock_ms(&self) -> f64 {
        lock(&self.shared.begun).map_or(0.0, |begun| begun.elapsed().as_secs_f64() * 1000.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Asked {
    path: String,
    /// First byte, and last where it is said.
    range: Option<(u64, Option<u64>)>,
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let (mut path, mut range, mut line) = (None, None, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if path.is_none() {
            let target = line.split(' ').nth(1).unwrap_or("/");
            path = Some(target.split('?').next().unwrap_or(target).to_owned());
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
            && let Some((first, last)) = value.trim().trim_start_matches("bytes=").split_once('-')
        {
            range = first.parse().ok().map(|first| (first, last.parse().ok()));
            if first.is_empty() {
                let back: u64 = last.parse().unwrap_or(0);
                range = Some((LARGE_BYTES.saturating_sub(back), None));
            }
        }
    }
    Ok(path.map(|path| Asked { path, range }))
}

fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream)? {
        let number = {
            let mut counts = lock(&shared.counts);
            let count = counts.entry(asked.path.clone()).or_default();
            count.0 += 1;
            count.0
        };
        if !answer(stream.get_mut(), &asked, number, shared)? {
            return Ok(());
        }
    }
    Ok(())
}

/// `false`: the connection dies here.
fn answer(stream: &mut TcpStream, asked: &Asked, number: u64, shared: &Shared) -> io::Result<bool> {
    let kind = asked.path.split('/').nth(1).unwrap_or_default();
    let body = Body { path: &asked.path, shared, until: u64::MAX, takes: Duration::ZERO };
    match kind {
        "herd" => {
            Body { takes: Duration::from_secs(2), ..body }.send(stream, KEPT, SEGMENT_BYTES, None)
        }
        "live" => body.send(stream, KEPT, LIVE_BYTES, None),
        "big" => body.send(stream, KEPT, BIG_BYTES, None),
        "slow" => body.send(stream, "no-store", SLOW_BYTES, None),
        "large" => body.send(stream, KEPT, LARGE_BYTES, asked.range),
        "dying" => {
            let until = if number == 1 { SEGMENT_BYTES / 2 } else { u64::MAX };
            Body { until, ..body }.send(stream, KEPT, SEGMENT_BYTES, asked.range)
        }
        "fatal" => {
            let body = Body { until: SEGMENT_BYTES / 2, ..body };
            body.send(stream, "max-age=600\r\nX-No: validator", SEGMENT_BYTES, None)
        }
        "playlist" => {
            sleep(PLAYLIST_TAKES);
            let made = lock(&shared.begun).map_or(0, |begun| begun.elapsed().as_millis());
            small(stream, "max-age=1", &made.to_string())
        }
        "blocking" => {
            sleep(HELD);
            *lock(&shared.let_go) = Some(Instant::now());
            let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
                        #EXT-X-PART-INF:PART-TARGET=1.0\n#EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:4,\ns1.m4s\n";
            small(stream, "max-age=1", text)
        }
        _ => small(stream, "max-age=600", "0123456789"),
    }
}

/// May be stored, and has a strong validator.
const KEPT: &str = "max-age=600\r\nETag: \"v1\"\r\nAccept-Ranges: bytes";

fn small(stream: &mut TcpStream, control: &str, text: &str) -> io::Result<bool> {
    let length = text.len();
    let kind = "Content-Type: application/vnd.apple.mpegurl";
    let head = format!(
        "HTTP/1.1 200 OK\r\n{kind}\r\nCache-Control: {control}\r\nContent-Length: {length}\r\n\r\n{text}"
    );
    stream.write_all(head.as_bytes()).map(|()| true)
}

struct Body<'a> {
    path: &'a str,
    shared: &'a Shared,
    /// Where it dies.
    until: u64,
    takes: Duration,
}

impl Body<'_> {
    fn send(
        &self,
        stream: &mut TcpStream,
        control: &str,
        length: u64,
        range: Option<(u64, Option<u64>)>,
    ) -> io::Result<bool> {
        let (first, end) = match range {
            Some((first, last)) => {
                (first.min(length), last.map_or(length, |last| (last + 1).min(length)))
            }
            None => (0, length),
        };
        let status = match range {
            Some(_) => {
                format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{length}", end - 1)
            }
            None => "200 OK".to_owned(),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: video/mp4\r\nCache-Control: {control}\r\nContent-Length: {}\r\n\r\n",
            end - first
        );
        stream.write_all(head.as_bytes())?;
        let (begun, mut at) = (Instant::now(), first);
        while at < end {
            if at >= self.until {
                *lock(&self.shared.died) = Some(Instant::now());
                return Ok(false);
            }
            if !self.takes.is_zero() {
                let piece = length / u64::from(PIECES);
                let due = self.takes.mul_f64((at / piece + 1) as f64 / f64::from(PIECES));
                sleep(due.saturating_sub(begun.elapsed()));
            }
            let most = if self.takes.is_zero() { PART as u64 } else { length / u64::from(PIECES) };
            let part = pattern(at, most.min(end - at).min(self.until - at));
            stream.write_all(&part)?;
            at += part.len() as u64;
            lock(&self.shared.counts).entry(self.path.to_owned()).or_default().1 +=
                part.len() as u64;
        }
        Ok(true)
    }
}

/// Bytes of every body: each tells its place.
pub fn pattern(at: u64, count: u64) -> Vec<u8> {
    (at..at + count).map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[4]).collect()
}
