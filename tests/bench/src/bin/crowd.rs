//! `crowd`: ordinary requests beside attackers that are slow on purpose and beside 20,000 idle connections, through
//! Forebay and through nginx; fails when Forebay's are held up or one fails.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use forebay_bench::crowd::{Load, breaches, measure, table};
use forebay_bench::peer::Peer;
use forebay_bench::program::{Programs, ended};
use forebay_bench::running::Bench;

/// Slow attackers and idle connections, and what ordinary requests notice of them.
#[derive(Debug, Parser)]
#[command(name = "crowd", version)]
struct Options {
    /// Ordinary requests a second, sent on time whatever happens.
    #[arg(long, value_name = "COUNT", default_value = "200")]
    requests: u32,
    /// Connections of each attack.
    #[arg(long, value_name = "COUNT", default_value = "2000")]
    attackers: usize,
    /// Idle connections.
    #[arg(long, value_name = "COUNT", default_value = "20000")]
    idle: usize,
    /// Length of each measurement.
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    seconds: f64,
    /// Without nginx.
    #[arg(long)]
    alone: bool,
    /// The 99th percentile of ordinary requests, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value = "100")]
    p99_max: f64,
    /// Memory for each idle connection, in KiB.
    #[arg(long, value_name = "KIB", default_value = "4")]
    idle_max: f64,
    #[command(flatten)]
    programs: Programs,
}

fn main() -> ExitCode {
    ended("crowd", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let duration = Duration::try_from_secs_f64(options.seconds).context("--seconds")?;
    let bench = Bench::new(options.programs.folder.as_deref(), duration)?;
    let load = Load {
        requests_per_second: options.requests,
        attackers: options.attackers,
        idle: options.idle,
    };
    let forebay = Peer::parse(include_str!("../../peers/crowd.peer"))?;
    let outcomes = measure(&bench, &forebay, load).context("Forebay")?;
    println!("{}", table(&forebay.name, &outcomes));
    if !options.alone {
        let nginx = Peer::parse(include_str!("../../peers/nginx.peer"))?;
        match bench.version(&nginx) {
            None => bail!("nginx is not there; --alone goes without"),
            Some(_) => match measure(&bench, &nginx, load) {
                Ok(outcomes) => println!("{}", table(&nginx.name, &outcomes)),
                Err(error) => println!("nginx: {error:#}\n"),
            },
        }
    }
    let breaches = breaches(&outcomes, options.p99_max, options.idle_max);
    ensure!(breaches.is_empty(), "{}", breaches.join("; "));
    println!("no ordinary request failed or was held up");
    Ok(())
}
