//! The proof that bulk does not hurt transactions: a proxy of its own, an origin, clients, figures.
//!
//! The way: [`subject`] runs this very program under a document made for the proof, on one half of the
//! processors → transactions alone, then beside viewers that take all they can (both from `proxy-load`,
//! on the other half) → the same with all routes in one lane → [`report`] holds what was [`measured`] to the
//! bounds of the [`plan`], [`files`] writes it down ([`markdown`]), [`plot`] draws it.

pub mod fault;
pub mod files;
pub mod markdown;
pub mod measured;
pub mod plan;
pub mod plot;
pub mod report;
pub mod subject;

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use proxy_load::account::{device_written, tcp_buffers};
use proxy_load::origin::Origin;
use proxy_load::processors::Split;
use proxy_load::transactions::transactions;
use proxy_load::viewers::{Viewers, Watching};

use crate::prove::fault::{ProveFault, system};
use crate::prove::measured::{Measured, Pair};
use crate::prove::plan::Plan;
use crate::prove::report::Report;
use crate::prove::subject::{Setup, Subject};

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
