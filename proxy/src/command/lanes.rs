//! `forebay-proxy lanes prove`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use proxy_config::lane::Lanes;
use proxy_config::units::{ByteRate, ByteSize};

use super::document::load;
use super::fault::Fault;
use super::output::{Output, OutputOption, print};
use crate::prove::plan::{Bounds, Plan};
use crate::prove::{files, markdown, prove};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prove on this machine that video does not hold up transactions: starts a proxy, an origin and
    /// clients of its own on loopback, measures, and says whether the promise held (exit code 1 when
    /// it did not).
    Prove(Options),
}

#[derive(Debug, Args)]
pub struct Options {
    /// Put the lanes of this document to the proof instead of the defaults, and watch the file
    /// systems of its `protected_paths`.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Folder for lanes.json, lanes.md and lanes.svg.
    #[arg(long, value_name = "FOLDER", default_value = "lanes-proof")]
    report: PathBuf,
    /// Length of each of the four measurements.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: proxy_config::units::Duration,
    /// Transactions a second, sent on time whatever happens.
    #[arg(long, value_name = "COUNT", default_value = "500", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    transactions: u32,
    /// Clients that take all the video they can get.
    #[arg(long, value_name = "COUNT", default_value = "200")]
    viewers: usize,
    /// Size of the video.
    #[arg(long, value_name = "SIZE", default_value = "2MiB")]
    video: ByteSize,
    /// Video passes through instead of coming from the cache.
    #[arg(long)]
    uncached: bool,
    /// The 99th percentile beside video, in multiples of the one alone.
    #[arg(long, value_name = "TIMES", default_value = "1.25")]
    ratio_max: f64,
    /// The 99th percentile beside video, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value = "0.5")]
    p99_max: f64,
    /// Video beside transactions; depends on the machine, so there is no default.
    #[arg(long, value_name = "RATE")]
    video_min: Option<ByteRate>,
    #[command(flatten)]
    output: OutputOption,
}

pub fn run(command: &Command) -> Result<(), Fault> {
    let Command::Prove(options) = command;
    let plan = plan(options)?;
    let report = prove(&plan).map_err(anyhow::Error::new)?;
    let folder = &options.report;
    files::write(&report, folder).map_err(|error| {
        anyhow::anyhow!("the report cannot be written to {}: {error}", folder.display())
    })?;
    match options.output.output {
        Output::Json => {
            let json = serde_json::to_string_pretty(&report).map_err(anyhow::Error::new)?;
            print(&(json + "\n"))?;
        }
        Output::Text => print(&markdown::of(&report))?,
    }
    if report.held { Ok(()) } else { Err(Fault::ToldPromiseBroken) }
}

fn plan(options: &Options) -> Result<Plan, Fault> {
    let (lanes, ledger_data) = match &options.against {
        Some(path) => {
            let config = load(path)?;
            (config.lanes, config.protected_paths)
        }
        None => (Lanes::default(), Vec::new()),
    };
    if options.viewers == 0 || options.video.as_bytes() == 0 {
        return Err(Fault::Usage("without viewers and video there is nothing to prove".to_owned()));
    }
    let p99_max = Duration::try_from_secs_f64(options.p99_max / 1000.0)
        .map_err(|error| Fault::Usage(format!("--p99-max {}: {error}", options.p99_max)))?;
    Ok(Plan {
        duration: options.duration.as_std(),
        transactions_per_second: options.transactions,
        viewers: options.viewers,
        video_bytes: options.video.as_bytes(),
        uncached: options.uncached,
        lanes,
        ledger_data,
        bounds: Bounds {
            ratio_max: options.ratio_max,
            p99_max_us: u64::try_from(p99_max.as_micros()).unwrap_or(u64::MAX),
            video_rate_min: options.video_min.map(|rate| rate.0.as_bytes()),
        },
    })
}
