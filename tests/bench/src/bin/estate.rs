//! `estate`: transfers to a real ledger on MariaDB beside viewers of video, through Forebay and through one nginx in
//! front of both; fails when Forebay's transfers do not stay within their bounds.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use forebay_bench::estate::{Bounds, Load, measure, peers, table};
use forebay_bench::program::{Programs, chosen, ended};
use forebay_bench::running::Bench;

/// Money and video on one estate: the ledger's latency alone and beside video.
#[derive(Debug, Parser)]
#[command(name = "estate", version)]
struct Options {
    /// Transfers a second, sent on time whatever happens.
    #[arg(long, value_name = "COUNT", default_value = "200")]
    transfers: u32,
    /// Clients that take all the video they can get.
    #[arg(long, value_name = "COUNT", default_value = "200")]
    viewers: usize,
    /// Length of each measurement.
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    seconds: f64,
    /// Only these peers, by name; Forebay is always one of them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// The 99th percentile beside video, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value = "100")]
    p99_max: f64,
    /// The same in multiples of the one alone.
    #[arg(long, value_name = "TIMES", default_value = "1.25")]
    ratio_max: f64,
    #[command(flatten)]
    programs: Programs,
}

fn main() -> ExitCode {
    ended("estate", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let duration = Duration::try_from_secs_f64(options.seconds).context("--seconds")?;
    let bench = Bench::new(options.programs.folder.as_deref(), duration)?;
    let all = chosen(&bench, peers()?, &options.peers)?;
    let load = Load { transfers_per_second: options.transfers, viewers: options.viewers };
    let outcomes: Vec<_> = all
        .iter()
        .map(|peer| {
            eprintln!("{}: {:.0} s", peer.name, 2.0 * options.seconds);
            (peer.name.as_str(), measure(&bench, peer, load).map_err(|error| format!("{error:#}")))
        })
        .collect();
    print!("{}", table(&outcomes));
    let bounds = Bounds { p99_ms_max: options.p99_max, ratio_max: options.ratio_max };
    let (_, own) = outcomes.first().context("Forebay is measured")?;
    let own = own.as_ref().map_err(|why| anyhow::anyhow!("Forebay: {why}"))?;
    let breaches = own.breaches(&bounds);
    ensure!(breaches.is_empty(), "{}", breaches.join("; "));
    println!(
        "no transfer failed, each that was answered is in the books once, and the books verify"
    );
    Ok(())
}
