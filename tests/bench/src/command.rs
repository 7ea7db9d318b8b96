//! The command line: runs the workloads in rounds, peers in turn, and writes the page.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::page::{self, Run};
use crate::peer::{Peer, shipped};
use crate::program::{Programs, ended};
use crate::results::Results;
use crate::running::{Bench, Running};
use crate::workload::{ALL, Workload, named};

/// Forebay's edge proxy and its peers side by side.
#[derive(Debug, Parser)]
#[command(name = "forebay-bench", version)]
pub struct Options {
    /// Only these peers, by name.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Only these workloads: W1,W2,...
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    workloads: Vec<String>,
    /// How often each is measured.
    #[arg(long, value_name = "COUNT", default_value = "3")]
    rounds: u32,
    /// Length of each measurement.
    #[arg(long, value_name = "SECONDS", default_value = "4")]
    seconds: f64,
    /// A further peer, as a file.
    #[arg(long, value_name = "FILE")]
    peer: Vec<PathBuf>,
    #[command(flatten)]
    programs: Programs,
    /// Write the page to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Exit codes: 0 measured, 1 not; a peer that cannot be measured is told on the page.
pub fn main() -> ExitCode {
    ended("forebay-bench", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let duration = Duration::try_from_secs_f64(options.seconds).context("--seconds")?;
    let bench = Bench::new(options.programs.folder.as_deref(), duration)?;
    let workloads = workloads(&options.workloads)?;
    let peers = peers(options)?;
    let mut present = Vec::new();
    for peer in &peers {
        match bench.version(peer) {
            Some(version) => present.push((peer, version)),
            None => eprintln!("{} is not installed: left out", peer.name),
        }
    }
    let before = page::load();
    let mut results = Results::default();
    for round in 1..=options.rounds {
        for workload in &workloads {
            for (peer, _) in &present {
                measure(&bench, peer, workload, round, &mut results);
            }
        }
    }
    let run = Run {
        date: jiff::Zoned::now().date().to_string(),
        machine: page::machine(),
        loads: (before, page::load()),
        seconds: options.seconds,
        rounds: options.rounds,
        workloads,
        peers: present,
    };
    let text = page::of(&run, &results);
    match &options.write {
        Some(path) => std::fs::write(path, text).with_context(|| path.display().to_string()),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn measure(bench: &Bench, peer: &Peer, workload: &Workload, round: u32, results: &mut Results) {
    if peer.cannot.iter().any(|id| id == workload.id) {
        return;
    }
    let started = Running::start(bench, peer, workload.id);
    match started.and_then(|mut running| (workload.measure)(&mut running)) {
        Ok(figures) => {
            eprintln!("round {round}, {}, {}: {figures:.2?}", workload.id, peer.name);
            results.add(&peer.name, workload, figures);
        }
        Err(error) => {
            eprintln!("round {round}, {}, {}: {error:#}", workload.id, peer.name);
            results.fail(&peer.name, workload, format!("{error:#}"));
        }
    }
}

fn workloads(wanted: &[String]) -> Result<Vec<&'static Workload>> {
    if wanted.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |id: &String| named(id).with_context(|| format!("there is no workload {id}"));
    wanted.iter().map(find).collect()
}

fn peers(options: &Options) -> Result<Vec<Peer>> {
    let mut peers = shipped()?;
    for path in &options.peer {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        peers.push(Peer::parse(&text).with_context(|| path.display().to_string())?);
    }
    if let Some(unknown) =
        options.peers.iter().find(|name| peers.iter().all(|peer| peer.name != **name))
    {
        let names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        bail!("there is no peer {unknown}; there are {}", names.join(", "));
    }
    peers.retain(|peer| options.peers.is_empty() || options.peers.contains(&peer.name));
    Ok(peers)
}
