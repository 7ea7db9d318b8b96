//! `forebay-soak --minutes 30`: the proxy at its memory budget for long; fails when what it holds grows.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use forebay_bench::program::{Programs, ended};
use forebay_bench::running::Bench;
use forebay_bench::soak::soak;

/// Forebay at its memory budget, and whether what it holds stays the same.
#[derive(Debug, Parser)]
#[command(name = "forebay-soak", version)]
struct Options {
    /// How long.
    #[arg(long, value_name = "MINUTES", default_value = "30")]
    minutes: f64,
    #[command(flatten)]
    programs: Programs,
}

fn main() -> ExitCode {
    ended("forebay-soak", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let length = Duration::try_from_secs_f64(options.minutes * 60.0).context("--minutes")?;
    let bench = Bench::new(options.programs.folder.as_deref(), length)?;
    let verdict = soak(&bench, length, |at, bytes| {
        println!("{:8.1} s  {:7.1} MB", at.as_secs_f64(), bytes as f64 / 1e6);
    })?;
    println!("{verdict}");
    ensure!(verdict.is_flat() && verdict.is_within_budget(), "it does not hold what it promises");
    Ok(())
}
