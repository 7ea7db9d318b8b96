//! The proof that bulk does not hurt transactions: a proxy of its own, an origin, clients, figures.
//!
//! The way: [`subject`] runs this very program under a document made for the proof, on one half of the
//! processors → transactions alone, then beside viewers that take all they can (both from `proxy-load`,
//! on the other half) → the same with all routes in one lane → [`report`] holds the figures to the
//! [`Bounds`] and writes them down, [`plot`] draws them.

pub mod markdown;
pub mod plot;
pub mod report;
pub mod subject;

use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use proxy_config::lane::Lanes;
use proxy_load::account::{device_written, tcp_buffers};
use proxy_load::latency::Latency;
use proxy_load::origin::Origin;
use proxy_load::processors::Split;
use proxy_load::transactions::transactions;
use proxy_load::viewers::{Viewers, Watching};
use serde::Serialize;
use thiserror::Error;

use crate::prove::report::{Bounds, Report};
use crate::prove::subject::{Setup, Subject, Used};

/// How long viewers run before anything is measured, once the first has got an answer, and how long that
/// may take.
const WARM_UP: Duration = Duration::from_millis(500);
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);
/// Transactions before those that are measured: connections are made, code is read from disk.
const REHEARSAL: Duration = Duration::from_millis(200);
/// How often memory is looked at while viewers are at work.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Fewer requests have no 99th percentile.
const TRANSACTIONS_MIN: f64 = 100.0;

/// Why there is no proof, neither for nor against.
#[derive(Debug, Error)]
pub enum ProveFault {
    #[error("{what}: {error}")]
    System { what: &'static str, error: io::Error },
    #[error("the proxy did not start: {0}")]
    Proxy(String),
    #[error("viewers got nothing: {0}")]
    NoVideo(String),
    #[error(
        "{0} transactions a second for {1:?} are too few to tell a 99th percentile; \
         make it longer, or more"
    )]
    TooFew(u32, Duration),
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ProveFault {
    move |error| ProveFault::System { what, error }
}

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Length of each of the four measurements.
    pub duration: Duration,
    pub transactions_per_second: u32,
    pub viewers: usize,
    pub video_bytes: u64,
    /// Video passes through instead of coming from the cache.
    pub uncached: bool,
    /// The budgets that are put to the proof.
    pub lanes: Lanes,
    /// Directories on file systems of a ledger's data, to be watched for writes.
    pub ledger_data: Vec<PathBuf>,
    pub bounds: Bounds,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub seconds: f64,
    pub transactions: Latency,
    pub video_bytes: u64,
    pub video_responses: u64,
    /// Answered, but not 2xx: the lane was full.
    pub video_refused: u64,
    pub video_failures: u64,
    pub proxy: Used,
    /// Of the kernel for TCP, both ends of every connection on this machine; the most seen.
    pub tcp_buffers_peak_bytes: Option<u64>,
    /// By anybody, on the block devices of the ledger's data; `None` when there are none to watch.
    pub ledger_mount_written_bytes: Option<u64>,
}

impl Measured {
    /// Bytes of video a second.
    pub fn video_rate(&self) -> f64 {
        self.video_bytes as f64 / self.seconds
    }
}

/// Transactions alone, then beside viewers, under one document.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    pub alone: Measured,
    pub overloaded: Measured,
}

impl Pair {
    /// How many times the quiet 99th percentile the loaded one is.
    pub fn ratio(&self) -> f64 {
        let micros = |measured: &Measured| measured.transactions.p99_us.max(1) as f64;
        micros(&self.overloaded) / micros(&self.alone)
    }
}

/// Runs the whole plan. Takes four times its duration and some.
pub fn prove(plan: &Plan) -> Result<Report, ProveFault> {
    let expected = plan.duration.as_secs_f64() * f64::from(plan.transactions_per_second);
    if expected < TRANSACTIONS_MIN {
        return Err(ProveFault::TooFew(plan.transactions_per_second, plan.duration));
    }
    let split = Split::in_halves();
    split.load_here();
    let origin = Origin::start().map_err(system("no origin"))?;
    let pair = |shared: bool| {
        let setup = Setup { origin: origin.address, lanes: &plan.lanes, shared };
        let subject = split.with_proxy(|| Subject::start(&setup))?;
        measure_pair(plan, &subject)
    };
    let with_lanes = pair(false)?;
    let without_lanes = pair(true)?;
    split.everywhere();
    Ok(Report::new(plan, split.describe(), with_lanes, without_lanes))
}

fn measure_pair(plan: &Plan, subject: &Subject) -> Result<Pair, ProveFault> {
    let rate = plan.transactions_per_second;
    transactions(subject.address, rate, REHEARSAL).map_err(system("no transactions"))?;
    let alone = measure(plan, subject, None)?;
    let kind = if plan.uncached { "film" } else { "kept" };
    let path = format!("/{kind}/{}/video.mp4", plan.video_bytes);
    let viewers = Viewers::start(Watching {
        address: subject.address,
        clients: plan.viewers,
        requests: vec![format!("GET {path} HTTP/1.1\r\nHost: proof\r\n\r\n")],
        gives_way: true,
    });
    let viewers = viewers.map_err(system("no viewers"))?;
    if !viewers.have_answers(1, FIRST_ANSWER_MAX) {
        let last = viewers.stop();
        return Err(ProveFault::NoVideo(last.unwrap_or_else(|| "nothing was said why".to_owned())));
    }
    sleep(WARM_UP);
    let overloaded = measure(plan, subject, Some(&viewers))?;
    viewers.stop();
    Ok(Pair { alone, overloaded })
}

fn measure(
    plan: &Plan,
    subject: &Subject,
    viewers: Option<&Viewers>,
) -> Result<Measured, ProveFault> {
    let written = || plan.ledger_data.iter().map(|path| device_written(path)).sum::<Option<u64>>();
    let counts = || viewers.map(Viewers::counts).unwrap_or_default();
    let (used, written_before) = (subject.used(), written());
    let (before, begun) = (counts(), Instant::now());
    let running = std::thread::spawn({
        let (address, rate, duration) =
            (subject.address, plan.transactions_per_second, plan.duration);
        move || transactions(address, rate, duration)
    });
    let mut tcp_buffers_peak_bytes = tcp_buffers();
    while !running.is_finished() {
        sleep(LOOK_EVERY);
        tcp_buffers_peak_bytes = tcp_buffers_peak_bytes.max(tcp_buffers());
    }
    let answered = running.join().map_err(|_| io::Error::other("the load panicked"));
    let transactions = answered.flatten().map_err(system("no transactions"))?;
    let (got, seconds) = (counts().since(before), begun.elapsed().as_secs_f64());
    let is_watched = !plan.ledger_data.is_empty();
    let written = written_before.zip(written()).filter(|_| is_watched);
    Ok(Measured {
        seconds,
        transactions,
        video_bytes: got.bytes,
        video_responses: got.responses,
        video_refused: got.refused,
        video_failures: got.failures,
        proxy: subject.used().since(&used),
        tcp_buffers_peak_bytes,
        ledger_mount_written_bytes: written.map(|(was, is)| is.saturating_sub(was)),
    })
}
