//! `video-edge`: the cases that matter at the edge of a video service, Forebay beside its peers; fails when Forebay
//! does not come to what it must.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use forebay_bench::edge::rows::{ALL, Case};
use forebay_bench::edge::{measure, peers, table};
use forebay_bench::program::{Programs, chosen, ended};
use forebay_bench::running::Bench;

/// Herds, dying origins, slow clients, playlists, large files: Forebay beside its peers.
#[derive(Debug, Parser)]
#[command(name = "video-edge", version)]
struct Options {
    /// Only these peers, by name; Forebay is always one of them.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Only these cases: herd,dying,...
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    cases: Vec<String>,
    #[command(flatten)]
    programs: Programs,
}

fn main() -> ExitCode {
    ended("video-edge", run(&Options::parse()))
}

fn run(options: &Options) -> Result<()> {
    let bench = Bench::new(options.programs.folder.as_deref(), Duration::from_secs(1))?;
    let all = chosen(&bench, peers()?, &options.peers)?;
    let names: Vec<String> = all.iter().map(|peer| peer.name.clone()).collect();
    let cases = cases(&options.cases)?;
    let measured = |case: &&Case| all.iter().map(|peer| measure(&bench, peer, case)).collect();
    let outcomes: Vec<_> = cases.iter().map(measured).collect();
    let (text, all_pass) = table(&names, &cases, &outcomes);
    print!("{text}");
    ensure!(all_pass, "Forebay does not come to all it must");
    Ok(())
}

fn cases(wanted: &[String]) -> Result<Vec<&'static Case>> {
    if wanted.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |id: &String| {
        ALL.iter().find(|case| case.id == id).with_context(|| format!("there is no case {id}"))
    };
    wanted.iter().map(find).collect()
}
