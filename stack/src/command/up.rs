//! `forebay up`: from an environment file to a running environment, until it is asked to stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;

use super::{Failure, PortChoice, Up, runtime, say};
use crate::console::Console;
use crate::environment::Environment;
use crate::plan::{self, LocalPlan, Machine};
use crate::ports::Ports;
use crate::session::{Ended, Session};
use crate::signals::StopSignals;
use crate::state::{Claim, Run, Stage, StateError, StateFolder};
use crate::stream::{Ffmpeg, FfmpegMissing};
use crate::{leftover, page, programs, report, validate};

pub(super) fn run(asked: &Up) -> Result<(), Failure> {
    let begun = Instant::now();
    let path = asked.place.file.path()?;
    let environment = validate::environment(&path)?;
    let state = asked.place.state(&path)?;
    let runtime = runtime()?;
    // Before the first file is written: a stop that comes early leaves nothing behind either.
    let signals = runtime.block_on(async { StopSignals::listen() })?;
    let claim = claim(&state, &path, &environment.name)?;
    let console = Console::on(std::io::stdout());
    let ended =
        prepare(asked, &environment, &state, &console).and_then(|(plan, machine, mut ports)| {
            let run = first_told(&environment.name, &path, &state, &plan);
            state.tell(&run)?;
            runtime.block_on(async {
                ports.release();
                let session = Session::start(plan, run, &machine, begun);
                told(session.run(signals, &console).await, &environment, &state, &console)
            })
        });
    // Whatever happened: with the children gone, only data and logs may stay.
    let cleared = state.clear_run();
    drop(claim);
    ended?;
    Ok(cleared?)
}

/// Everything up to the start of the children. The ports are held until then.
fn prepare(
    asked: &Up,
    environment: &Environment,
    state: &StateFolder,
    console: &Console,
) -> Result<(LocalPlan, Machine, Ports), Failure> {
    let left = leftover::end(&state.path);
    if !left.is_empty() {
        console.say(&format!("ended what an earlier run had left: {}", left.join(", ")));
    }
    let machine = machine(asked, environment, state)?;
    let wishes = plan::wishes(environment, asked.ports == PortChoice::Auto);
    let ports = Ports::take(&wishes).map_err(|error| Failure::Unavailable(error.to_string()))?;
    let plan = plan::resolve(environment, &machine, &ports.addresses, ports.moved.clone());
    write_files(&plan)?;
    plan.ports_moved.iter().for_each(|moved| console.say(&report::moved(moved)));
    Ok((plan, machine, ports))
}

fn told(
    ended: Ended,
    environment: &Environment,
    state: &StateFolder,
    console: &Console,
) -> Result<(), Failure> {
    match ended {
        Ended::Asked => {
            let (data, logs) = (state.ledger_data(), state.logs());
            let data = data.exists().then(|| format!("ledger data {}, ", data.display()));
            let (name, data, logs) = (&environment.name, data.unwrap_or_default(), logs.display());
            console.say(&format!("{name} has stopped; kept: {data}logs {logs}"));
            Ok(())
        }
        Ended::NeverReady(why) => Err(Failure::Failed(anyhow::anyhow!(why))),
    }
}

fn claim(state: &StateFolder, path: &Path, name: &str) -> Result<Claim, Failure> {
    match state.claim(path) {
        Ok(claim) => Ok(claim),
        Err(StateError::Running) => {
            let told = state.last_told().unwrap_or_default();
            let pid = told.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
            let since = told
                .started_at
                .map_or_else(|| "just now".to_owned(), |at| at.strftime("%FT%TZ").to_string());
            say(&format!("{name} is already running: pid {pid}, since {since}\n"));
            say(&format!("{}\nIt stops with `forebay down`.", report::urls(&told)));
            Err(Failure::Told)
        }
        Err(error) => Err(Failure::Failed(error.into())),
    }
}

fn machine(asked: &Up, environment: &Environment, state: &StateFolder) -> Result<Machine, Failure> {
    let program = |name: &str| {
        programs::beside_or_on_path(name).ok_or_else(|| {
            Failure::Unavailable(format!(
                "{name} is neither beside the forebay program nor on PATH; build it with \
                 `cargo build --release`, or put it there"
            ))
        })
    };
    let forebay = std::env::current_exe()?;
    let ledger = match environment.ledger {
        Some(_) => program("forebay-ledger")?,
        None => PathBuf::new(),
    };
    let ffmpeg = if environment.streams.is_empty() {
        Err(FfmpegMissing::NotNeeded)
    } else {
        Ffmpeg::find(asked.ffmpeg.as_deref())
    };
    Ok(Machine {
        forebay,
        proxy: program("forebay-proxy")?,
        ledger,
        ffmpeg,
        setpriv: programs::on_path("setpriv"),
        has_player: page::has_player(),
        state: state.clone(),
    })
}

fn write_files(plan: &LocalPlan) -> Result<(), Failure> {
    for folder in &plan.fresh_folders {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
    }
    for (path, text) in &plan.files {
        fs::write(path, text)?;
    }
    Ok(())
}

fn first_told(name: &str, path: &Path, state: &StateFolder, plan: &LocalPlan) -> Run {
    Run {
        name: name.to_owned(),
        running: true,
        stage: Stage::Starting,
        pid: Some(std::process::id()),
        started_at: Some(Timestamp::now()),
        environment: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        state_dir: state.path.clone(),
        logs: state.logs(),
        urls: plan.urls.clone(),
        children: Vec::new(),
        ports_moved: plan.ports_moved.clone(),
        notes: plan.notes.clone(),
    }
}
