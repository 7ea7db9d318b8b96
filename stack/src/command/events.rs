//! `forebay events`: what happened to an environment's stacks, as lines or as a chart.

use clap::Args;

use super::estate::{OnAws, failed};
use super::{EnvironmentFile, Failure, runtime, say};
use crate::cloud::Event;
use crate::deploy::told;

#[derive(Debug, Args)]
pub(super) struct Events {
    #[command(flatten)]
    file: EnvironmentFile,
    /// As bars over time
    #[arg(long)]
    chart: bool,
    /// Everything CloudFormation remembers, not the last operation of each stack alone
    #[arg(long)]
    all: bool,
}

pub(super) fn run(asked: &Events) -> Result<(), Failure> {
    runtime()?.block_on(events(asked))
}

async fn events(asked: &Events) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.file).await?;
    let mut events = Vec::new();
    for state in estate.states().await? {
        let found = estate.cloud.events(&state.name, 0).await.map_err(failed)?;
        events.extend(if asked.all { found } else { last_operation(found) });
    }
    events.sort_by_key(|event| event.at);
    if asked.chart {
        say(told::chart(&events).trim_end());
    } else {
        let start = events.first().map(|event| event.at).unwrap_or_default();
        events.iter().for_each(|event| say(&told::line(event, start)));
    }
    Ok(())
}

/// From the last time something was asked of the stack.
fn last_operation(events: Vec<Event>) -> Vec<Event> {
    let asked = |event: &Event| event.is_of_the_stack() && event.reason == "User Initiated";
    let from = events.iter().rposition(asked).unwrap_or_default();
    events.into_iter().skip(from).collect()
}
