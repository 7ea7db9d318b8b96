//! `forebay resume`: goes on with a rollback that failed.

use clap::Args;

use super::estate::{OnAws, failed};
use super::look::Look;
use super::{EnvironmentFile, Failure, runtime, say};
use crate::deploy::run::Follow;
use crate::deploy::show::Show;
use crate::deploy::told;
use crate::signals::StopSignals;

#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    file: EnvironmentFile,
    /// A resource to leave as it is; may be given several times. Make it right by hand afterwards
    #[arg(long, value_name = "ID")]
    skip: Vec<String>,
    #[command(flatten)]
    look: Look,
}

pub(super) fn run(asked: &Resume) -> Result<(), Failure> {
    runtime()?.block_on(resume(asked))
}

async fn resume(asked: &Resume) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let states = estate.states().await?;
    let stuck = states.iter().filter(|state| state.status == "UPDATE_ROLLBACK_FAILED");
    let mut begun = Vec::new();
    for state in stuck {
        let events = estate.cloud.events(&state.name, 0).await.map_err(failed)?;
        if let Some(event) =
            events.iter().rfind(|event| event.is_failure() && !event.is_of_the_stack())
        {
            say(&format!("{} is stuck at {}: {}", state.name, event.resource, event.reason));
        }
        let since = jiff::Timestamp::now().as_millisecond() - 1_000;
        estate.cloud.resume(&state.name, &asked.skip).await.map_err(failed)?;
        begun.push((state.name.clone(), since));
    }
    if begun.is_empty() {
        say("no stack is stuck in a rollback");
        return Ok(());
    }
    let mut signals = StopSignals::listen()?;
    let follow = Follow { cloud: &estate.cloud, look: asked.look.every };
    let mut failures = Vec::new();
    let names: Vec<String> = begun.iter().map(|(name, _)| name.clone()).collect();
    let show = Show::of(&estate.plan.name, &names, say);
    names.iter().for_each(|name| show.begin(name, "the rollback goes on"));
    let done = follow.until_still(&begun, &mut signals, &show, &mut failures).await;
    // Taken back is what was asked for here.
    let taken_back =
        failures.iter().filter(|(_, state)| state.status == "UPDATE_ROLLBACK_COMPLETE");
    taken_back.for_each(|(name, _)| show.end(name, true, "update rollback complete"));
    drop(show);
    done.map_err(failed)?;
    for (name, state) in &failures {
        if state.status == "UPDATE_ROLLBACK_COMPLETE" {
            continue;
        }
        say(&told::where_it_stands(name, state));
        return Err(Failure::Told);
    }
    say("every stack is as it was before its update");
    Ok(())
}
