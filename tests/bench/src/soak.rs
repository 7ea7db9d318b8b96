//! A proxy at its memory budget for long, and whether what it holds stays the same.
//!
//! The load never lets up: viewers of far more than the cache holds, films through a policy that spills, clients that
//! read nothing and are replaced, transactions. Memory is sampled all the while; [`judge`] looks at the samples.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use proxy_load::held::Held;
use proxy_load::viewers::{Viewers, Watching};

use crate::cost::request;
use crate::peer::Peer;
use crate::running::{Bench, Running};

/// The budgets of `peers/soak.peer`: the cache's and the lane's.
pub const BUDGET_BYTES: u64 = 128 << 20;
/// What the process has beside its budgets: code, threads, connections, the allocator's slack.
const BESIDE_BYTES: u64 = 96 << 20;
/// Samples taken in all: so many, and no more often than this.
const SAMPLES: u32 = 120;
const OFTENEST: Duration = Duration::from_millis(500);
/// Fewer say nothing: it goes on until there are so many, however slow the machine is.
const SAMPLES_MIN: usize = 4;
/// The first part of the samples, in which caches fill up.
const WARM_UP: f64 = 0.25;
/// How much the second half of what is left may be above the first, as a part of it.
const GROWTH_MAX: f64 = 0.05;
/// Growth that is no growth: the allocator's pages.
const GROWTH_BYTES: f64 = 4e6;
const VIEWERS: usize = 24;
const SLOW: usize = 40;
const PATIENCE: Duration = Duration::from_secs(30);

/// What samples of memory come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    pub samples: usize,
    pub peak_bytes: u64,
    /// Medians of both halves behind the warm-up.
    pub first_bytes: f64,
    pub second_bytes: f64,
}

impl Verdict {
    pub fn is_flat(&self) -> bool {
        let grown = self.second_bytes - self.first_bytes;
        grown <= (self.first_bytes * GROWTH_MAX).max(GROWTH_BYTES)
    }

    pub fn is_within_budget(&self) -> bool {
        self.peak_bytes <= BUDGET_BYTES + BESIDE_BYTES
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: f64| bytes / 1e6;
        let said = |good| if good { "pass" } else { "FAIL" };
        writeln!(
            f,
            "memory: {} samples, median {:.1} MB then {:.1} MB: {}",
            self.samples,
            mb(self.first_bytes),
            mb(self.second_bytes),
            said(self.is_flat())
        )?;
        write!(
            f,
            "peak {:.1} MB of {:.1} MB: {}",
            mb(self.peak_bytes as f64),
            mb((BUDGET_BYTES + BESIDE_BYTES) as f64),
            said(self.is_within_budget())
        )
    }
}

/// Whether memory grew. `None`: there are too few samples to say.
pub fn judge(samples: &[u64]) -> Option<Verdict> {
    let skipped =
        (0..samples.len()).take_while(|at| (*at as f64) < samples.len() as f64 * WARM_UP).count();
    let (first, second) = samples[skipped..].split_at((samples.len() - skipped) / 2);
    Some(Verdict {
        samples: samples.len(),
        peak_bytes: samples.iter().copied().max()?,
        first_bytes: median(first)?,
        second_bytes: median(second)?,
    })
}

fn median(samples: &[u64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map(|middle| *middle as f64)
}

/// Runs it for so long; `told` hears every sample.
pub fn soak(
    bench: &Bench,
    length: Duration,
    mut told: impl FnMut(Duration, u64),
) -> Result<Verdict> {
    let peer = Peer::parse(include_str!("../peers/soak.peer"))?;
    let running = Running::start(bench, &peer, "soak")?;
    let viewers = Viewers::start(Watching {
        address: running.address,
        clients: VIEWERS,
        requests: asked(),
        gives_way: false,
    })?;
    let pays = Viewers::start(Watching {
        address: running.address,
        clients: 2,
        requests: vec![request("film", 1024, "")],
        gives_way: false,
    })?;
    ensure!(
        viewers.have_answers(1, PATIENCE) && pays.have_answers(1, PATIENCE),
        "no answer at all"
    );
    let (begun, every) = (Instant::now(), (length / SAMPLES).max(OFTENEST));
    let film = request("film", 30_000_000, "");
    let mut slow = None;
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        if begun.elapsed() >= length && samples.len() >= SAMPLES_MIN {
            break;
        }
        if number % 4 == 1 {
            drop(slow.take());
            slow = Some(Held::unread(running.address, SLOW, &film).context("slow clients")?);
        }
        sleep((every * number).saturating_sub(begun.elapsed()));
        let bytes = running.account().memory_bytes;
        told(begun.elapsed(), bytes);
        samples.push(bytes);
    }
    let (watched, paid) = (viewers.counts(), pays.counts());
    let (last, of) = (viewers.stop(), pays.stop());
    ensure!(watched.failures == 0, "{} viewers' answers were wrong: {last:?}", watched.failures);
    ensure!(paid.failures == 0, "{} small answers were wrong: {of:?}", paid.failures);
    judge(&samples).context("too short for a sample")
}

/// Objects of all sizes, ten times what the cache holds, and films that no cache holds.
fn asked() -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..600_u64 {
        let bytes = [20_000, 200_000, 1_500_000][usize::try_from(number % 3).unwrap_or(0)] + number;
        all.push(request("kept", bytes, ""));
        if number % 10 == 0 {
            all.push(request("film", 2_000_000 + number, ""));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_noise() {
        let flat: Vec<u64> = (0..100).map(|at| 100_000_000 + at % 7 * 300_000).collect();
        assert!(judge(&flat).unwrap().is_flat());
        let warming: Vec<u64> = (0..100).map(|at| 1_000_000 * at.min(20)).collect();
        assert!(judge(&warming).unwrap().is_flat());
        let leaking: Vec<u64> = (0..100).map(|at| 50_000_000 + at * 500_000).collect();
        let verdict = judge(&leaking).unwrap();
        assert!(!verdict.is_flat() && verdict.is_within_budget(), "{verdict}");
        assert_eq!(judge(&[]), None);
    }
}
