//! What connections cost in memory of the peer while they are open.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use proxy_load::account::tcp_buffers;
use proxy_load::held::Held;

use crate::cost::request;
use crate::running::Running;

const UNREAD_BYTES: u64 = 2 << 20;
/// Clients that hold an answer, for each second of a measurement, and at most.
const UNREAD_PER_SECOND: f64 = 250.0;
const UNREAD_MAX: f64 = 1000.0;
const IDLE_PER_SECOND: f64 = 500.0;
const IDLE_MAX: f64 = 2000.0;
/// Until what is sent has been sent and what is to be freed has been freed.
const SETTLE: Duration = Duration::from_millis(1500);

/// Of the clients, one in so many comes before anything is counted.
const FIRST_PART: usize = 50;

/// KiB of the peer's memory, and of TCP buffers at both ends, for each client that asked for a large
/// body and does not read it.
pub fn unread(running: &Running<'_>, kind: &str) -> Result<Vec<f64>> {
    let count = clients(running, UNREAD_PER_SECOND, UNREAD_MAX);
    let request = request(kind, UNREAD_BYTES, "");
    running.get(request.split(' ').nth(1).context("a request has a path")?)?;
    held(running, count, |count| Held::unread(running.address, count, &request))
}

/// KiB of the peer's memory for each connection that has been used and is idle.
pub fn idle(running: &mut Running<'_>) -> Result<Vec<f64>> {
    let count = clients(running, IDLE_PER_SECOND, IDLE_MAX);
    let request = request("kept", 1024, "");
    let figures = held(running, count, |count| Held::idle(running.address, count, &request))?;
    Ok(figures[..1].to_vec())
}

fn clients(running: &Running<'_>, per_second: f64, max: f64) -> usize {
    let wanted = running.bench.duration.as_secs_f64() * per_second;
    (0..).take_while(|count| f64::from(*count) < wanted.min(max)).count()
}

fn held(
    running: &Running<'_>,
    count: usize,
    open: impl Fn(usize) -> std::io::Result<Held>,
) -> Result<Vec<f64>> {
    // What the first of them cost is not each one's; what all of them cost is, though it may be kept for the next.
    drop(open(count.div_ceil(FIRST_PART)).context("connections that are held")?);
    sleep(SETTLE);
    let before = (running.account().memory_bytes, tcp_buffers().unwrap_or(0));
    let held = open(count).context("connections that are held")?;
    sleep(SETTLE);
    let after = (running.account().memory_bytes, tcp_buffers().unwrap_or(0));
    drop(held);
    let each =
        |before: u64, after: u64| (after as f64 - before as f64).max(0.0) / 1024.0 / count as f64;
    Ok(vec![each(before.0, after.0), each(before.1, after.1)])
}
