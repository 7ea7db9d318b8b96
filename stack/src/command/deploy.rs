//! `forebay deploy`: an environment's stacks, as the file says.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use sha2::{Digest, Sha256};

use super::estate::{OnAws, failed};
use super::look::Look;
use super::{EnvironmentFile, Failure, runtime, say};
use crate::deploy::order;
use crate::deploy::run::Deployment;
use crate::difference::{self, guard, told};
use crate::signals::StopSignals;

#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    file: EnvironmentFile,
    /// The release that instances fetch; without it they keep theirs
    #[arg(long, value_name = "VERSION", requires = "binaries")]
    release: Option<String>,
    /// The folder with that release's forebay-proxy and forebay-ledger, whose sums instances check
    #[arg(long, value_name = "DIR", requires = "release")]
    binaries: Option<PathBuf>,
    /// A resource that holds data and may be replaced or deleted; may be given several times
    #[arg(long, value_name = "NAME")]
    allow_replacement: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    look: Look,
}

pub(super) fn run(asked: &Deploy) -> Result<(), Failure> {
    let parameters = parameters(asked)?;
    runtime()?.block_on(deploy(asked, &parameters))
}

async fn deploy(
    asked: &Deploy,
    parameters: &BTreeMap<String, BTreeMap<String, String>>,
) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let held = estate.held().await?;
    let difference = difference::between(&held, &estate.templates);
    let refused = guard::refusals(&difference, &held, &asked.allow_replacement);
    say(&told::text(&difference));
    refused.iter().for_each(|why| say(&format!("refused: {why}")));
    if !refused.is_empty() {
        return Err(Failure::Told);
    }
    let mut waves = order::waves(&difference, &held, &estate.templates)
        .map_err(|message| Failure::Failed(anyhow::anyhow!(message)))?;
    if asked.release.is_some() {
        // The templates are the same from release to release: their parameters are not.
        let named = |name: &String| waves.iter().flatten().any(|other| other == name);
        let others: Vec<String> = estate
            .templates
            .iter()
            .filter(|template| !template.parameters.is_empty())
            .map(|template| template.name.clone())
            .filter(|name| !named(name))
            .collect();
        // One after the other: first what keeps the books, then what is before it.
        waves.extend(others.into_iter().map(|name| vec![name]));
    }
    if waves.is_empty() {
        return Ok(());
    }
    if !asked.yes
        && !agreed(&format!("Deploy {} to {}?", estate.plan.name, estate.plan.aws().account))?
    {
        return Err(Failure::Failed(anyhow::anyhow!("nothing was done")));
    }
    let deployment = Deployment {
        cloud: &estate.cloud,
        templates: &estate.templates,
        tags: &estate.plan.aws().tags,
        parameters,
        allowed: &asked.allow_replacement,
        look: asked.look.every,
    };
    let mut signals = StopSignals::listen()?;
    deployment.run(&waves, &mut signals, &say).await.map_err(failed)?;
    say(&format!("{} is deployed", estate.plan.name));
    Ok(())
}

/// Asks on the terminal. Where there is none, nobody could have agreed.
pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let message = "there is nobody to ask; --yes says that it is meant";
        return Err(Failure::Failed(anyhow::anyhow!(message)));
    }
    say(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// The parameters of the stacks that run a program, by stack.
fn parameters(asked: &Deploy) -> Result<BTreeMap<String, BTreeMap<String, String>>, Failure> {
    let (Some(release), Some(folder)) = (&asked.release, &asked.binaries) else {
        return Ok(BTreeMap::new());
    };
    let mut parameters = BTreeMap::new();
    for (stack, binary) in [("edge", "forebay-proxy"), ("app", "forebay-ledger")] {
        let values = BTreeMap::from([
            ("ReleaseVersion".to_owned(), release.clone()),
            ("ReleaseSha256".to_owned(), sum(&folder.join(binary))?),
        ]);
        parameters.insert(stack.to_owned(), values);
    }
    Ok(parameters)
}

fn sum(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::Failed(anyhow::anyhow!("{} cannot be read: {error}", path.display()))
    })?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
