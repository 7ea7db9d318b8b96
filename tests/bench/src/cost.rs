//! What requests and bytes cost in processor time of the peer.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use proxy_load::viewers::{Counts, Viewers, Watching};

use crate::running::Running;

const CLIENTS: usize = 64;
/// Before anything is measured, in parts of the measurement.
const WARM_UP: f64 = 0.25;
/// How long the first answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Microseconds of processor time per request.
pub fn per_request(running: &Running<'_>, kind: &str, bytes: u64) -> Result<Vec<f64>> {
    let (cpu, got) = measure(running, &[request(kind, bytes, "")])?;
    Ok(vec![cpu * 1e6 / got.responses as f64])
}

/// Milliseconds of processor time per 10^9 bytes; `part` asks for ranges of that size in turn.
pub fn per_gigabyte(
    running: &Running<'_>,
    kind: &str,
    bytes: u64,
    part: Option<u64>,
) -> Result<Vec<f64>> {
    let range = |at: u64, part: u64| format!("Range: bytes={at}-{}\r\n", at + part - 1);
    let requests: Vec<String> = match part {
        None => vec![request(kind, bytes, "")],
        Some(part) => (0..bytes / part)
            .map(|number| request(kind, bytes, &range(number * part, part)))
            .collect(),
    };
    let (cpu, got) = measure(running, &requests)?;
    Ok(vec![cpu * 1e3 / (got.bytes as f64 / 1e9)])
}

/// A request for a body of this size; `more` is further header lines.
pub fn request(kind: &str, bytes: u64, more: &str) -> String {
    format!("GET /{kind}/{bytes}/bench HTTP/1.1\r\nHost: bench\r\n{more}\r\n")
}

/// Processor seconds, and what was got for them.
fn measure(running: &Running<'_>, requests: &[String]) -> Result<(f64, Counts)> {
    // In the cache, where it may be stored, before ranges of it are asked for.
    let path = requests.first().and_then(|request| request.split(' ').nth(1));
    running.get(path.context("no request")?)?;
    let viewers = Viewers::start(Watching {
        address: running.address,
        clients: CLIENTS,
        requests: requests.to_vec(),
        gives_way: false,
    })?;
    if !viewers.have_answers(1, PATIENCE) {
        bail!("no answer in time: {}", viewers.stop().unwrap_or_default());
    }
    sleep(running.bench.duration.mul_f64(WARM_UP));
    let (account, counts) = (running.account(), viewers.counts());
    sleep(running.bench.duration);
    let longest = Instant::now() + PATIENCE;
    // Without an answer there is no figure: a slow machine is measured for longer.
    while viewers.counts().since(counts).responses == 0 && Instant::now() < longest {
        sleep(running.bench.duration);
    }
    let (used, got) = (running.account().since(&account), viewers.counts().since(counts));
    let last = viewers.stop().unwrap_or_default();
    ensure!(got.failures + got.refused == 0, "{} failed: {last}", got.failures + got.refused);
    ensure!(got.responses > 0 && got.bytes > 0, "no answer while it was measured");
    Ok((used.cpu_seconds, got))
}
