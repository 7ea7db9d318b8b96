//! Runs the children of a plan: starts them, asks for their health, restarts and drains them.
//!
//! All state is in [`Supervisor`] and changes only in [`Supervisor::next`] and
//! [`Supervisor::drain`]; tasks report to it over one bounded channel. What to do about a report is
//! decided in [`crate::lifecycle`].

pub mod child;
pub mod log;
pub mod probe;

use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::backoff::Pace;
use crate::lifecycle::{Decision, Happened, Life, Phase};
use child::{ChildSpec, Launcher, Process};

/// Reports that may wait; each child has at most two tasks that report, so this never fills.
const REPORTS_MAX: usize = 256;
/// Enough for one problem of a document with its snippet, and what was said before it.
const TAIL_LINES: usize = 16;
/// What all of Forebay's programs exit with when a document or the data they were given is wrong.
const BAD_DOCUMENT: i32 = 65;
const FILE_TIME_LAG: Duration = Duration::from_millis(15);

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A child is healthy, for the first time or again.
    Healthy { name: String, took: Duration, restarts: u32 },
    /// A child's health changed without more to tell.
    Changed,
    /// A child failed its probes and is being replaced.
    Replaced { name: String, reason: String },
    /// A child ended, and is started again after `wait`; `restart` counts from 1. `refused`: by its
    /// exit status it cannot work with what it was given, which a restart does not change.
    Died {
        name: String,
        how: String,
        tail: Vec<String>,
        restart: u32,
        wait: Duration,
        refused: bool,
    },
}

/// One child as `status` tells it. `since` is when the state began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStatus {
    pub name: String,
    pub pid: Option<u32>,
    pub state: Phase,
    pub healthy: bool,
    pub restarts: u32,
    pub since: Timestamp,
    /// What the last failed probe or exit said; absent while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

enum What {
    Probed(Result<(), String>),
    Exited(Result<ExitStatus, String>),
    RestartDue,
}

struct Report {
    child: usize,
    /// Which start of the child this is about: late reports about an earlier one are dropped.
    start: u32,
    what: What,
}

struct Child {
    spec: ChildSpec,
    life: Life,
    process: Option<Process>,
    tasks: Vec<JoinHandle<()>>,
    start: u32,
    started: Instant,
    since: Timestamp,
    problem: Option<String>,
}

/// The owner of all children.
pub struct Supervisor {
    children: Vec<Child>,
    launcher: Launcher,
    pace: Pace,
    reports: mpsc::Receiver<Report>,
    reporter: mpsc::Sender<Report>,
}

impl Supervisor {
    /// A supervisor with nothing started yet.
    pub fn new(specs: Vec<ChildSpec>, launcher: Launcher, pace: Pace) -> Self {
        let (reporter, reports) = mpsc::channel(REPORTS_MAX);
        let children = specs
            .into_iter()
            .map(|spec| Child {
                spec,
                life: Life::default(),
                process: None,
                tasks: Vec::new(),
                start: 0,
                started: Instant::now(),
                since: Timestamp::now(),
                problem: None,
            })
            .collect();
        Self { children, launcher, pace, reports, reporter }
    }

    /// Starts every child at once; none waits for another.
    pub fn start(&mut self) {
        for index in 0..self.children.len() {
            self.start_child(index);
        }
    }

    /// Waits for the next thing worth telling. Cancel-safe.
    pub async fn next(&mut self) -> Notice {
        loop {
            // `self.reporter` lives as long as `self`, so the channel never closes.
            if let Some(report) = self.reports.recv().await
                && let Some(notice) = self.take(report)
            {
                return notice;
            }
        }
    }

    /// Every child's state, in the order of the plan.
    pub fn statuses(&self) -> Vec<ChildStatus> {
        self.children.iter().map(Child::status).collect()
    }

    /// Whether every child is healthy.
    pub fn all_healthy(&self) -> bool {
        self.children.iter().all(|child| child.life.phase() == Phase::Healthy)
    }

    /// Stops every child for good, stage by stage; each stage gets `drain_max`, then KILL.
    /// `hurry` ending means: kill everything now. `tell` gets a line per stage and per kill.
    pub async fn drain(&mut self, hurry: impl Future<Output = ()>, mut tell: impl FnMut(String)) {
        for child in &mut self.children {
            child.life.stop();
            child.since = Timestamp::now();
            // Probes and due restarts end here; the task that watches for the exit goes on.
            child.drop_helpers();
        }
        let mut hurry = std::pin::pin!(hurry);
        let mut hurried = false;
        let drain_max = self.pace.drain_max;
        let mut stages: Vec<u8> = self.children.iter().map(|c| c.spec.stop_stage).collect();
        stages.sort_unstable();
        stages.dedup();
        for stage in stages {
            let names = self.running_in(stage);
            if names.is_empty() {
                continue;
            }
            if hurried {
                let _ = tokio::time::timeout(drain_max, self.gone(stage)).await;
                continue;
            }
            tell(format!("stopping {}", names.join(", ")));
            for child in self.children.iter().filter(|c| c.spec.stop_stage == stage) {
                if let Some(process) = &child.process {
                    process.ask_to_stop(child.spec.stop);
                }
            }
            tokio::select! {
                () = self.gone(stage) => {}
                () = tokio::time::sleep(drain_max) => {
                    let late = self.running_in(stage).join(", ");
                    let waited_s = drain_max.as_secs_f32();
                    tell(format!("{late} did not finish within {waited_s} s: killed"));
                }
                () = &mut hurry => {
                    hurried = true;
                    tell("asked again: killing everything at once".to_owned());
                }
            }
            // Only this stage is late; after a second request nothing is waited for.
            let late = |child: &&Child| hurried || child.spec.stop_stage == stage;
            for process in self.children.iter().filter(late).filter_map(|c| c.process.as_ref()) {
                process.kill();
            }
            // Even KILL waits for a process that hangs in the kernel, on a dead disk for one.
            if tokio::time::timeout(drain_max, self.gone(stage)).await.is_err() {
                tell(format!("{} cannot be killed", self.running_in(stage).join(", ")));
            }
        }
    }

    fn running_in(&self, stage: u8) -> Vec<String> {
        self.children
            .iter()
            .filter(|child| child.spec.stop_stage == stage && child.process.is_some())
            .map(|child| child.spec.name.clone())
            .collect()
    }

    async fn gone(&mut self, stage: u8) {
        while !self.running_in(stage).is_empty() {
            if let Some(report) = self.reports.recv().await {
                self.take(report);
            }
        }
    }

    fn start_child(&mut self, index: usize) {
        let reporter = self.reporter.clone();
        let child = &mut self.children[index];
        let again = child.start > 0;
        child.start += 1;
        child.started = Instant::now();
        child.since = Timestamp::now();
        child.drop_helpers();
        child.life.after(Happened::Started, child.started, &self.pace);
        let start = child.start;
        // File times come from a clock that is a few milliseconds behind this one.
        let started = SystemTime::now() - FILE_TIME_LAG;
        let exit = match self.launcher.start(&child.spec, again) {
            Ok((process, watcher)) => {
                child.process = Some(process);
                child.tasks.push(tokio::spawn(probe_on(
                    child.spec.probe.clone(),
                    started,
                    self.pace,
                    Sender { reporter: reporter.clone(), child: index, start },
                )));
                watcher
            }
            Err(error) => tokio::spawn(async { Err(error) }),
        };
        tokio::spawn(async move {
            let status = match exit.await {
                Ok(Ok(status)) => Ok(status),
                Ok(Err(error)) => Err(error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let sender = Sender { reporter, child: index, start };
            sender.send(What::Exited(status)).await;
        });
    }

    fn take(&mut self, report: Report) -> Option<Notice> {
        if self.children[report.child].start != report.start {
            return None;
        }
        match report.what {
            What::Probed(result) => self.probed(report.child, result),
            What::Exited(status) => self.exited(report.child, &status),
            // One that came due as the drain began stays down.
            What::RestartDue if self.children[report.child].life.phase() == Phase::Stopped => None,
            What::RestartDue => {
                self.start_child(report.child);
                Some(Notice::Changed)
            }
        }
    }

    fn probed(&mut self, index: usize, result: Result<(), String>) -> Option<Notice> {
        let child = &mut self.children[index];
        // A probe that was under way when the process ended says nothing about the next one.
        child.process.as_ref()?;
        let before = child.life.phase();
        let happened = if result.is_ok() { Happened::ProbePassed } else { Happened::ProbeFailed };
        let decision = child.life.after(happened, Instant::now(), &self.pace);
        let reason = result.err();
        child.problem.clone_from(&reason);
        if child.life.phase() != before {
            child.since = Timestamp::now();
        }
        match decision {
            Decision::TellHealthy => Some(Notice::Healthy {
                name: child.spec.name.clone(),
                took: child.started.elapsed(),
                restarts: child.life.restarts(),
            }),
            Decision::Replace => {
                if let Some(process) = &child.process {
                    process.kill();
                }
                let reason = reason.unwrap_or_default();
                Some(Notice::Replaced { name: child.spec.name.clone(), reason })
            }
            Decision::Nothing | Decision::RestartAfter(_) => {
                (child.life.phase() != before).then_some(Notice::Changed)
            }
        }
    }

    fn exited(&mut self, index: usize, status: &Result<ExitStatus, String>) -> Option<Notice> {
        let child = &mut self.children[index];
        if let Some(process) = child.process.take() {
            // What it started and left behind would hold its port or its files.
            process.kill();
        }
        child.drop_helpers();
        let decision = child.life.after(Happened::Exited, Instant::now(), &self.pace);
        child.since = Timestamp::now();
        let Decision::RestartAfter(wait) = decision else {
            return None;
        };
        let how = how_it_ended(status);
        child.problem = Some(how.clone());
        let sender = Sender { reporter: self.reporter.clone(), child: index, start: child.start };
        child.tasks.push(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            sender.send(What::RestartDue).await;
        }));
        Some(Notice::Died {
            name: child.spec.name.clone(),
            how,
            tail: last_words(status, &self.launcher.logs.join(child.spec.log_name())),
            restart: child.life.restarts() + 1,
            wait,
            refused: matches!(status, Ok(status) if status.code() == Some(BAD_DOCUMENT)),
        })
    }
}

impl Child {
    fn status(&self) -> ChildStatus {
        let state = self.life.phase();
        ChildStatus {
            name: self.spec.name.clone(),
            pid: self.process.as_ref().map(Process::id),
            state,
            healthy: state == Phase::Healthy,
            restarts: self.life.restarts(),
            since: self.since,
            problem: self.problem.clone().filter(|_| state != Phase::Healthy),
        }
    }

    fn drop_helpers(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

struct Sender {
    reporter: mpsc::Sender<Report>,
    child: usize,
    start: u32,
}

impl Sender {
    async fn send(&self, what: What) {
        // The supervisor being gone means that nobody needs to know.
        let _ = self.reporter.send(Report { child: self.child, start: self.start, what }).await;
    }
}

async fn probe_on(probe: probe::Probe, started: SystemTime, pace: Pace, sender: Sender) {
    let mut wait = pace.probe_starting;
    loop {
        tokio::time::sleep(wait).await;
        let asked = probe.clone();
        let result = tokio::task::spawn_blocking(move || asked.ask(started)).await;
        let Ok(result) = result else { return };
        if result.is_ok() {
            wait = pace.probe_healthy;
        }
        sender.send(What::Probed(result)).await;
    }
}

/// The last lines of a process, where they may say why it ended: one that was killed does not know.
fn last_words(status: &Result<ExitStatus, String>, log: &Path) -> Vec<String> {
    use std::os::unix::process::ExitStatusExt;
    let killed = matches!(status, Ok(status) if status.signal() == Some(Signal::KILL.as_raw()));
    if killed { Vec::new() } else { log::tail(log, TAIL_LINES) }
}

/// How a process ended, in words.
fn how_it_ended(status: &Result<ExitStatus, String>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Err(error) => format!("could not be run: {error}"),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
    }
}
