//! `forebay deploy`: an environment's stacks, as the file says.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use super::estate::{OnAws, failed};
use super::look::Look;
use super::{EnvironmentFile, Failure, runtime, say};
use crate::cloud::Put;
use crate::deploy::order;
use crate::deploy::run::Deployment;
use crate::deploy::show::Show;
use crate::difference::{self, guard, told};
use crate::estate::EstatePlan;
use crate::release::Release;
use crate::signals::StopSignals;

#[derive(Debug, Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    file: EnvironmentFile,
    /// The release that instances fetch; without it they keep theirs
    #[arg(long, value_name = "VERSION", requires = "binaries")]
    release: Option<String>,
    /// The folder with that release's forebay-proxy and forebay-ledger. They are put into the bucket of
    /// releases, and instances check their sums; with `nat: none` it has rds-authorities.pem too
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
    runtime()?.block_on(deploy(asked))
}

async fn deploy(asked: &Deploy) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let release = release(asked, &estate.plan)?;
    let held = estate.held().await?;
    let difference = difference::between(&held, &estate.templates);
    let refused = guard::refusals(&difference, &held, &asked.allow_replacement);
    say(&told::text(&difference));
    refused.iter().for_each(|why| say(&format!("refused: {why}")));
    if !refused.is_empty() {
        return Err(Failure::Told);
    }
    archives(&estate).await?;
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
    if let Some(release) = &release {
        upload(&estate, release).await?;
    }
    let deployment = Deployment {
        cloud: &estate.cloud,
        templates: &estate.templates,
        tags: &estate.plan.aws().tags,
        bucket: &estate.plan.aws().releases,
        parameters: &release.map(|it| it.parameters()).unwrap_or_default(),
        allowed: &asked.allow_replacement,
        look: asked.look.every,
    };
    let mut signals = StopSignals::listen()?;
    let show = Show::of(&estate.plan.name, &waves.concat(), say);
    let done = deployment.run(&waves, &mut signals, &show).await;
    // Its last picture before anything that comes under it.
    drop(show);
    done.map_err(failed)?;
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

/// The release that is asked for, read and held against what runs it.
fn release(asked: &Deploy, plan: &EstatePlan) -> Result<Option<Release>, Failure> {
    let (Some(version), Some(folder)) = (&asked.release, &asked.binaries) else { return Ok(None) };
    Release::read(plan, version, folder).map(Some).map_err(failed)
}

/// Archives of functions that are to be in the bucket of releases and are not: CloudFormation would find
/// out in the middle.
async fn archives(estate: &OnAws) -> Result<(), Failure> {
    let bucket = &estate.plan.aws().releases;
    let mut missing = Vec::new();
    for (name, function) in &estate.plan.estate.functions {
        if !estate.cloud.is_there(bucket, &function.code).await.map_err(failed)? {
            missing.push(format!(
                "functions.{name}.code: s3://{bucket}/{} is not there",
                function.code
            ));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(missing.join("\n")).into()) }
}

/// Puts the files of a release where instances fetch them. A version means the same bytes for good.
async fn upload(estate: &OnAws, release: &Release) -> Result<(), Failure> {
    let bucket = &estate.plan.aws().releases;
    for file in &release.files {
        let key = release.key(file);
        let put = estate.cloud.put_once(bucket, &key, &file.bytes).await.map_err(failed)?;
        let told = match put {
            Put::New => "is there now",
            Put::Same => "was there",
            Put::Unknown => "was there; whether it is the same, instances find out by its sum",
            Put::Another => {
                let message = format!(
                    "s3://{bucket}/{key} is another file, and a release never changes: give this one \
                     a version of its own"
                );
                return Err(Failure::Failed(anyhow::anyhow!(message)));
            }
        };
        say(&format!("s3://{bucket}/{key} {told} (SHA-256 {})", file.sum));
    }
    Ok(())
}
