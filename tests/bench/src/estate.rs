//! Money and video on one estate, end to end: transfers to a real ledger on MariaDB through the proxy, alone and
//! then beside viewers that take all the video they can; and the same load through one nginx in front of both.
//!
//! [`books`] is the ledger with its database. Peers are the files `peers/estate-*.peer`.

pub mod books;

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use proxy_load::account::device_written;
use proxy_load::latency::Latency;
use proxy_load::transactions::transactions_of;
use proxy_load::viewers::{Viewers, Watching};

use crate::cost::request;
use crate::estate::books::Books;
use crate::peer::{Peer, Places};
use crate::running::{Bench, Running};

const WARM_UP: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(30);
/// What one transfer moves.
const CENTS: u64 = 320;

/// The load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub transfers_per_second: u32,
    pub viewers: usize,
}

/// What transfers beside viewers may come to at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub p99_ms_max: f64,
    /// In multiples of the 99th percentile alone.
    pub ratio_max: f64,
}

/// What one peer came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub alone: Latency,
    pub beside: Latency,
    pub video_bytes_per_second: f64,
    /// Written by the peer, and to the device of the books, while there were viewers.
    pub written_bytes: Option<u64>,
    pub device_bytes: Option<u64>,
}

impl Outcome {
    pub fn ratio(&self) -> f64 {
        self.beside.p99_us as f64 / self.alone.p99_us.max(1) as f64
    }

    /// What does not hold, in words.
    pub fn breaches(&self, bounds: &Bounds) -> Vec<String> {
        let mut breaches = Vec::new();
        let (p99_ms, ratio) = (self.beside.p99_us as f64 / 1000.0, self.ratio());
        let failures = self.alone.failures + self.beside.failures;
        if failures > 0 {
            breaches.push(format!("{failures} transfers failed"));
        }
        if p99_ms >= bounds.p99_ms_max {
            breaches.push(format!("p99 {p99_ms:.1} ms, must be below {} ms", bounds.p99_ms_max));
        }
        if ratio > bounds.ratio_max {
            breaches
                .push(format!("p99 {ratio:.2} × that alone, must be {} at most", bounds.ratio_max));
        }
        breaches
    }
}

/// Forebay, and what it is compared with.
pub fn peers() -> Result<Vec<Peer>> {
    [include_str!("../peers/estate-forebay.peer"), include_str!("../peers/estate-nginx.peer")]
        .into_iter()
        .map(Peer::parse)
        .collect()
}

/// Measures a peer before books of its own, and has the books checked against what was answered.
pub fn measure(bench: &Bench, peer: &Peer, load: Load) -> Result<Outcome> {
    let books = Books::start(bench)?;
    let places = Places::from([("@LEDGER@", books.address.to_string())]);
    let running = Running::start_with(bench, peer, "estate", bench.origin.address, places)?;
    let transfers = books.transfers();
    let ask = |time| transactions_of(&transfers, running.address, load.transfers_per_second, time);
    ask(WARM_UP)?;
    let alone = ask(bench.duration)?;
    let video = request("kept", 2 << 20, "");
    running.get(video.split(' ').nth(1).context("a request has a path")?)?;
    let viewers = Viewers::start(Watching {
        address: running.address,
        clients: load.viewers,
        requests: vec![video],
        gives_way: true,
    })?;
    if !viewers.have_answers(1, PATIENCE) {
        bail!("no video: {}", viewers.stop().unwrap_or_default());
    }
    sleep(WARM_UP);
    let written = || (running.account(), device_written(books.folder()));
    let (counts, begun, before) = (viewers.counts(), Instant::now(), written());
    let beside = ask(bench.duration)?;
    let (got, seconds, after) = (viewers.counts().since(counts), begun.elapsed(), written());
    viewers.stop();
    let outcome = Outcome {
        alone,
        beside,
        video_bytes_per_second: got.bytes as f64 / seconds.as_secs_f64(),
        written_bytes: after.0.since(&before.0).written_bytes,
        device_bytes: after.1.zip(before.1).map(|(is, was)| is.saturating_sub(was)),
    };
    agree(&books, &outcome)?;
    books.verify(bench)?;
    Ok(outcome)
}

/// Each transfer that was answered is in the books once.
fn agree(books: &Books, outcome: &Outcome) -> Result<()> {
    let booked = books.purse_cents()?;
    ensure!(booked.is_multiple_of(CENTS), "{booked} cents are no whole number of transfers");
    let (booked, sent) = (booked / CENTS, books.sent());
    let unknown = outcome.alone.failures + outcome.beside.failures;
    // Without an answer a transfer may be in the books or not; with one it is.
    ensure!(
        booked <= sent && booked + unknown >= sent,
        "{sent} transfers were sent, {unknown} had no answer, {booked} are in the books"
    );
    Ok(())
}

/// The table of all peers.
pub fn table(outcomes: &[(&str, Result<Outcome, String>)]) -> String {
    let mut text = String::from(
        "| | transfers | failed | p50 ms alone | p99 | p99.9 | p50 beside video | p99 | p99.9 | × p99 alone | video GB/s | MB written by it | MB written where the books are |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, outcome) in outcomes {
        match outcome {
            Err(why) => text.push_str(&format!("| {name} | {why} |\n")),
            Ok(of) => {
                let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
                let megabytes = |bytes: Option<u64>| {
                    bytes.map_or("–".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e6))
                };
                let (alone, beside) = (&of.alone, &of.beside);
                let cells = [
                    (alone.requests + beside.requests).to_string(),
                    (alone.failures + beside.failures).to_string(),
                    ms(alone.p50_us),
                    ms(alone.p99_us),
                    ms(alone.p999_us),
                    ms(beside.p50_us),
                    ms(beside.p99_us),
                    ms(beside.p999_us),
                    format!("{:.2}", of.ratio()),
                    format!("{:.2}", of.video_bytes_per_second / 1e9),
                    megabytes(of.written_bytes),
                    megabytes(of.device_bytes),
                ];
                text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(alone_us: u64, beside_us: u64, failures: u64) -> Outcome {
        let latency = |p99_us, failures| Latency { p99_us, failures, ..Latency::default() };
        Outcome {
            alone: latency(alone_us, 0),
            beside: latency(beside_us, failures),
            video_bytes_per_second: 0.0,
            written_bytes: Some(0),
            device_bytes: None,
        }
    }

    #[test]
    fn what_does_not_hold_is_said() {
        let bounds = Bounds { p99_ms_max: 100.0, ratio_max: 1.25 };
        let breaches = |alone, beside, failures| outcome(alone, beside, failures).breaches(&bounds);
        assert!(breaches(8_000, 10_000, 0).is_empty());
        assert_eq!(breaches(8_000, 10_001, 0), ["p99 1.25 × that alone, must be 1.25 at most"]);
        assert_eq!(breaches(90_000, 100_000, 0), ["p99 100.0 ms, must be below 100 ms"]);
        assert_eq!(breaches(8_000, 8_000, 2), ["2 transfers failed"]);
    }

    #[test]
    fn the_peers_can_be_read_and_a_fault_is_in_the_table() {
        let names: Vec<String> = peers().unwrap().into_iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["Forebay", "nginx"]);
        let text =
            table(&[("Forebay", Ok(outcome(4_000, 5_000, 0))), ("nginx", Err("why".to_owned()))]);
        assert!(
            text.contains("| Forebay | 0 | 0 | 0.00 | 4.00 | 0.00 | 0.00 | 5.00 | 0.00 | 1.25 |"),
            "{text}"
        );
        assert!(text.ends_with("| nginx | why |\n"), "{text}");
    }
}
