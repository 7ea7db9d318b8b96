//! A client that checks every byte and watches the clock.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::edge::origin::pattern;

const PATIENCE: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Clone, Debug)]
pub struct Got {
    pub status: u16,
    pub body: Vec<u8>,
    /// All that was announced came.
    pub whole: bool,
    pub asked: Instant,
    /// From asking to the first byte of the body.
    pub first: Duration,
    pub ended: Instant,
}

impl Got {
    /// Every byte is the one that belongs there.
    pub fn is_right(&self, first: u64) -> bool {
        self.body == pattern(first, self.body.len() as u64)
    }

    pub fn took(&self) -> Duration {
        self.ended - self.asked
    }
}

pub fn get(address: SocketAddr, target: &str, fields: &str) -> Result<Got> {
    let asked = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let head = format!("GET {target} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(head.as_bytes())?;
    let mut stream = BufReader::with_capacity(256 * 1024, stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no answer to {target}: {line:?}"))?;
    let (mut length, mut chunked) = (None, false);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse::<usize>().ok(),
            "transfer-encoding" => chunked = true,
            _ => {}
        }
    }
    let (mut body, mut first) = (Vec::new(), None);
    let whole = match (chunked, length) {
        (true, _) => chunks(&mut stream, &mut body, &mut first),
        (false, Some(length)) => take(&mut stream, length, &mut body, &mut first),
        (false, None) => bail!("an answer to {target} without a length"),
    };
    let first = first.map_or_else(|| asked.elapsed(), |at: Instant| at - asked);
    Ok(Got { status, body, whole, asked, first, ended: Instant::now() })
}

fn take(
    stream: &mut BufReader<TcpStream>,
    mut left: usize,
    body: &mut Vec<u8>,
    first: &mut Option<Instant>,
) -> bool {
    while left > 0 {
        let Ok(there) = stream.fill_buf() else { return false };
        if there.is_empty() {
            return false;
        }
        first.get_or_insert_with(Instant::now);
        let count = there.len().min(left);
        body.extend_from_slice(&there[..count]);
        stream.consume(count);
        left -= count;
    }
    true
}

fn chunks(
    stream: &mut BufReader<TcpStream>,
    body: &mut Vec<u8>,
    first: &mut Option<Instant>,
) -> bool {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).is_err() {
            return false;
        }
        let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return false };
        if !take(stream, size, body, first) || stream.read_exact(&mut [0; 2]).is_err() {
            return false;
        }
        if size == 0 {
            return true;
        }
    }
}

/// So many clients at once, each with a target of its own, after one another by this pause.
pub fn all(address: SocketAddr, targets: Vec<String>, pause: Duration) -> Result<Vec<Got>> {
    let threads: Vec<_> = targets
        .into_iter()
        .map(|target| {
            let thread = thread::spawn(move || get(address, &target, ""));
            thread::sleep(pause);
            thread
        })
        .collect();
    let joined = threads.into_iter().map(|thread| match thread.join() {
        Ok(got) => got,
        Err(_) => bail!("a client failed"),
    });
    joined.collect()
}

/// The median of times, in milliseconds.
pub fn median_ms(times: impl IntoIterator<Item = Duration>) -> f64 {
    let mut sorted: Vec<Duration> = times.into_iter().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or(f64::NAN, |middle| middle.as_secs_f64() * 1000.0)
}
