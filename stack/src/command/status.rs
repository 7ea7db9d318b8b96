//! `forebay status`: what runs, where, and how it fares.

use std::path::Path;

use jiff::Timestamp;

use super::{Failure, Output, Status, say};
use crate::state::{Run, StateFolder};
use crate::{document, report};

pub(super) fn run(asked: &Status) -> Result<(), Failure> {
    let environment = asked.place.file.path()?;
    let state = asked.place.state(&environment)?;
    let run = observe(&state, &environment)?;
    say(&match asked.output {
        Output::Text => report::status(&run, Timestamp::now()).trim_end().to_owned(),
        Output::Json => serde_json::to_string(&run).map_err(std::io::Error::other)?,
    });
    if !run.running {
        return Err(Failure::ToldUnavailable);
    }
    if run.children.is_empty() || run.children.iter().any(|child| !child.healthy) {
        return Err(Failure::Told);
    }
    Ok(())
}

/// The run of `environment` as it tells itself; one that is not alive tells nothing.
pub(super) fn observe(state: &StateFolder, environment: &Path) -> Result<Run, Failure> {
    if !environment.exists() {
        // Says it the way every command does.
        document::load(environment)?;
    }
    let holder = state.holder()?;
    if let (Some(pid), Some(told)) = (holder, state.last_told())
        && told.pid == Some(pid)
    {
        return Ok(told);
    }
    Ok(Run {
        name: name(environment),
        // Between taking its lock and telling about itself a run is there and starting.
        running: holder.is_some(),
        stage: if holder.is_some() { crate::state::Stage::Starting } else { Default::default() },
        pid: holder,
        environment: environment.to_owned(),
        state_dir: state.path.clone(),
        logs: state.logs(),
        ..Run::default()
    })
}

/// The name in the file, or the file's own while it cannot be read.
fn name(environment: &Path) -> String {
    let written = document::load(environment).ok().and_then(|loaded| {
        loaded.tree.get("name").and_then(|node| node.as_text()).map(str::to_owned)
    });
    written.unwrap_or_else(|| {
        environment.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    })
}
