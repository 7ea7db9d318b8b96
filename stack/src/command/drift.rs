//! `forebay drift`: what somebody changed beside the templates.

use std::time::{Duration, Instant};

use clap::Args;

use super::estate::{OnAws, failed};
use super::look::Look;
use super::{EnvironmentFile, Failure, Output, runtime, say};
use crate::cloud::Drift as Found;

/// After this a detection that does not end is given up.
const LOOKED_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
pub(super) struct Drift {
    #[command(flatten)]
    file: EnvironmentFile,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    look: Look,
}

/// Fails when something drifted, so that a pipeline notices.
pub(super) fn run(asked: &Drift) -> Result<(), Failure> {
    runtime()?.block_on(drift(asked))
}

async fn drift(asked: &Drift) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let drifts = found(&estate, asked.look.every).await?;
    if asked.output == Output::Json {
        say(&serde_json::json!({ "drifted": !drifts.is_empty(), "resources": drifts }).to_string());
    } else if drifts.is_empty() {
        say("everything is as the templates say");
    }
    if asked.output == Output::Text {
        for drift in &drifts {
            say(&format!(
                "{}/{} {}: {}",
                drift.stack,
                drift.id,
                drift.kind,
                drift.status.to_lowercase()
            ));
            for (path, expected, actual) in &drift.properties {
                say(&format!("    {path}: {expected} → {actual}"));
            }
        }
    }
    if drifts.is_empty() { Ok(()) } else { Err(Failure::Told) }
}

/// Has CloudFormation look at every stack, `every` so often whether it is done, and says what it found.
pub(super) async fn found(estate: &OnAws, every: Duration) -> Result<Vec<Found>, Failure> {
    let mut looking = Vec::new();
    for state in estate.states().await?.into_iter().filter(|state| !state.is_empty_shell()) {
        let id = estate.cloud.look_for_drift(&state.name).await.map_err(failed)?;
        looking.push((state.name, id));
    }
    let mut drifts = Vec::new();
    for (name, id) in &looking {
        let begun = Instant::now();
        loop {
            let (status, reason) = estate.cloud.looked(name, id).await.map_err(failed)?;
            match status.as_str() {
                "DETECTION_COMPLETE" => break,
                // What could be looked at was: some types CloudFormation cannot read.
                "DETECTION_FAILED" => {
                    say(&format!("{name}: not everything could be looked at: {reason}"));
                    break;
                }
                _ if begun.elapsed() < LOOKED_MAX => tokio::time::sleep(every).await,
                _ => return Err(Failure::Failed(anyhow::anyhow!("{name}: looking did not end"))),
            }
        }
        drifts.extend(estate.cloud.drifted(name).await.map_err(failed)?);
    }
    Ok(drifts)
}
