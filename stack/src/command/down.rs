//! `forebay down`: asks a run to drain, and waits until it is gone.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Down, Failure, say, status};
use crate::leftover;
use crate::state::StateFolder;

/// Three stages of ten seconds, and some.
const GONE_MAX: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(asked: &Down) -> Result<(), Failure> {
    let environment = asked.place.file.path()?;
    let state = asked.place.state(&environment)?;
    let run = status::observe(&state, &environment)?;
    match run.pid {
        Some(pid) => {
            say(&format!("stopping {} (pid {pid})", run.name));
            stop(&state, pid)?;
            say(&format!("{} has stopped", run.name));
        }
        None => say(&format!("{} is not running", run.name)),
    }
    if !state.path.exists() {
        return Ok(());
    }
    // Taken as a run would: one that was started meanwhile keeps its files.
    let claim = state.claim(&environment).map_err(anyhow::Error::from)?;
    let left = leftover::end(&state.path);
    if !left.is_empty() {
        say(&format!("ended what a killed run had left: {}", left.join(", ")));
    }
    if asked.delete_data {
        state.delete()?;
        say(&format!("deleted {}", state.path.display()));
    } else {
        state.clear_run()?;
        let (data, logs) = (state.ledger_data(), state.logs());
        if data.exists() {
            say(&format!(
                "kept: the ledger's data ({}) and the logs ({}); --delete-data deletes them",
                data.display(),
                logs.display()
            ));
        }
    }
    drop(claim);
    Ok(())
}

fn stop(state: &StateFolder, pid: u32) -> Result<(), Failure> {
    let target = Pid::from_raw(pid.cast_signed())
        .ok_or_else(|| anyhow::anyhow!("{pid} is not the id of a process"))?;
    // Seen from another container the lock is held, and the id is somebody else's.
    if !state.is_held_by(pid) {
        let told = format!("the run's process {pid} is not one that can be stopped from here");
        return Err(Failure::Failed(anyhow::anyhow!(told)));
    }
    kill_process(target, Signal::TERM)
        .map_err(|error| anyhow::anyhow!("process {pid} cannot be asked to stop: {error}"))?;
    // One that was put to sleep with Ctrl-Z would never hear it.
    let _ = kill_process(target, Signal::CONT);
    let deadline = Instant::now() + GONE_MAX;
    while state.holder()? == Some(pid) {
        if Instant::now() > deadline {
            let told = format!("process {pid} has not stopped within {} s", GONE_MAX.as_secs());
            return Err(Failure::Failed(anyhow::anyhow!(told)));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
