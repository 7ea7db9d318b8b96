//! What happens when much happens at once: a cold segment, video beside transactions, reloads, restarts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use proxy_load::latency::percentile;
use proxy_load::transactions::transactions;
use proxy_load::viewers::{Viewers, Watching};

use crate::cost::request;
use crate::running::Running;

const SEGMENT: &str = "/live/2000000/2000/segment";
const SEGMENT_CLIENTS: usize = 500;
/// How long clients may wait for a first byte, or for a first answer.
const PATIENCE: Duration = Duration::from_secs(30);
const VIEWERS: usize = 200;
const TRANSACTIONS_PER_SECOND: u32 = 500;
const WARM_UP: Duration = Duration::from_millis(500);
const RELOADS: u32 = 3;
const RELOAD_CLIENTS: usize = 16;
/// Asked for before a restart and after it.
const KEPT: &str = "/live/1024/1/kept";
/// How long an answer may take to be on disk.
const WRITTEN_AFTER: Duration = Duration::from_secs(2);

/// Requests to the origin, and milliseconds to the first byte (p50), when all ask at once for what
/// is not there yet.
pub fn cold_segment(running: &mut Running<'_>) -> Result<Vec<f64>> {
    let viewers = Viewers::start(Watching {
        address: running.address,
        clients: SEGMENT_CLIENTS,
        requests: vec![format!("GET {SEGMENT} HTTP/1.1\r\nHost: bench\r\n\r\n")],
        gives_way: false,
    })?;
    let begun = Instant::now();
    while viewers.first_bytes_us().len() < SEGMENT_CLIENTS && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(20));
    }
    let mut first = viewers.first_bytes_us();
    let fetches = running.bench.origin.take_fetches(SEGMENT);
    let failures = viewers.counts().failures;
    let last = viewers.stop().unwrap_or_default();
    ensure!(failures == 0 && first.len() == SEGMENT_CLIENTS, "{} had a byte: {last}", first.len());
    first.sort_unstable();
    Ok(vec![fetches as f64, percentile(&first, 5000) as f64 / 1000.0])
}

/// The 99th percentile of transactions beside viewers in milliseconds, in multiples of the one alone,
/// and gigabytes of video a second.
pub fn isolation(running: &mut Running<'_>) -> Result<Vec<f64>> {
    let (address, duration) = (running.address, running.bench.duration);
    let ask = |duration| transactions(address, TRANSACTIONS_PER_SECOND, duration);
    ask(WARM_UP)?;
    let alone = ask(duration)?;
    let video = request("kept", 2 << 20, "");
    running.get(video.split(' ').nth(1).context("a request has a path")?)?;
    let viewers = Viewers::start(Watching {
        address,
        clients: VIEWERS,
        requests: vec![video],
        gives_way: true,
    })?;
    if !viewers.have_answers(1, PATIENCE) {
        bail!("no video: {}", viewers.stop().unwrap_or_default());
    }
    sleep(WARM_UP);
    let (counts, begun) = (viewers.counts(), Instant::now());
    let beside = ask(duration)?;
    let (got, seconds) = (viewers.counts().since(counts), begun.elapsed().as_secs_f64());
    viewers.stop();
    ensure!(beside.failures == 0, "{} transactions failed", beside.failures);
    let millis = |micros: u64| micros as f64 / 1000.0;
    let ratio = beside.p99_us as f64 / alone.p99_us.max(1) as f64;
    Ok(vec![millis(beside.p99_us), ratio, got.bytes as f64 / 1e9 / seconds])
}

/// Requests that failed while the configuration was taken over three times.
pub fn reloads(running: &mut Running<'_>) -> Result<Vec<f64>> {
    let viewers = Viewers::start(Watching {
        address: running.address,
        clients: RELOAD_CLIENTS,
        requests: vec![request("film", 1024, "")],
        gives_way: false,
    })?;
    let pause = running.bench.duration / RELOADS;
    sleep(pause);
    for _ in 0..RELOADS {
        ensure!(running.reload()?, "it cannot reload");
        sleep(pause);
    }
    let counts = viewers.counts();
    viewers.stop();
    ensure!(counts.responses > 0, "no answer at all");
    Ok(vec![(counts.failures + counts.refused) as f64])
}

/// Whether what was stored is fetched again after a restart: 1 or 0.
pub fn restart(running: &mut Running<'_>) -> Result<Vec<f64>> {
    running.get(KEPT)?;
    running.get(KEPT)?;
    let fetches = running.bench.origin.take_fetches(KEPT);
    ensure!(fetches == 1, "it was fetched {fetches} times before the restart");
    sleep(WRITTEN_AFTER);
    running.restart()?;
    running.get(KEPT)?;
    Ok(vec![running.bench.origin.take_fetches(KEPT) as f64])
}
