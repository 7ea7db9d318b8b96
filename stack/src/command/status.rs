//! `forebay status`: what runs, where, and how it fares.

use std::path::Path;

use jiff::Timestamp;

use super::estate::OnAws;
use super::{Failure, Output, Status, runtime, say};
use crate::state::{Run, StateFolder};
use crate::{document, report};

pub(super) fn run(asked: &Status) -> Result<(), Failure> {
    if asked.aws {
        return runtime()?.block_on(on_aws(asked));
    }

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

/// The stacks of an environment; not healthy unless each is there and did what was last asked of it.
async fn on_aws(asked: &Status) -> Result<(), Failure> {
    let estate = OnAws::of(&asked.place.file).await?;
    let states = estate.states().await?;
    let mut healthy = true;
    for template in &estate.templates {
        let Some(state) = states.iter().find(|state| state.name == template.name) else {
            say(&format!("{:<32} not deployed", template.name));
            healthy = false;
            continue;
        };
        let at = Timestamp::from_millisecond(state.changed_at).unwrap_or_default();
        let protected = if state.protected { "protected" } else { "not protected" };
        say(&format!("{:<32} {:<28} {at:.0} {protected}", state.name, state.status));
        healthy &= state.is_well() || state.status == "UPDATE_ROLLBACK_COMPLETE";
    }
    if healthy { Ok(()) } else { Err(Failure::Told) }
}
