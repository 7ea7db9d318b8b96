//! What the kit's programs have in common on their command lines.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::peer::Peer;
use crate::running::Bench;

/// Where this project's own programs are.
#[derive(Debug, Args)]
pub struct Programs {
    /// Where Forebay's programs are, when they are not beside this one.
    #[arg(long = "programs", value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// 0 when all is well, and 1 with why it is not.
pub fn ended(program: &str, done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Forebay, and those of the others that are there and wanted by name; without a name, all that are there.
pub fn chosen(bench: &Bench, mut all: Vec<Peer>, names: &[String]) -> Result<Vec<Peer>> {
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|peer| peer.name != **name)) {
        bail!("there is no peer {unknown}");
    }
    let wanted = |name: &String| names.is_empty() || names.contains(name);
    all.retain(|peer| {
        peer.name == "Forebay" || (wanted(&peer.name) && bench.version(peer).is_some())
    });
    Ok(all)
}
