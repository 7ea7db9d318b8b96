//! One run of a plan: start, say what is waited for, tell the URLs, heal, drain.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::backoff::Pace;
use crate::console::Console;
use crate::environment::{LEDGER, Ledger};
use crate::plan::{LocalPlan, Machine, STREAM_PREFIX};
use crate::seed::{self, Seeded};
use crate::signals::StopSignals;
use crate::state::{Run, Stage, StateFolder};
use crate::supervisor::child::Launcher;
use crate::supervisor::{Notice, Supervisor};
use crate::{report, stream};

/// How often it is said what the start waits for.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// A stream that is not there by now is not waited for any longer.
const STREAMS_WAIT: Duration = Duration::from_secs(9);
/// A child everything else depends on that is not there by now ends the start.
const START_WAIT: Duration = Duration::from_secs(60);
/// Stop signals this close together are one request: `timeout` and many a launcher signal the
/// process and then its group.
const ONE_REQUEST: Duration = Duration::from_millis(500);
/// Deaths of such a child before it was healthy once, after which the start ends.
const DEATHS_MAX: u32 = 5;

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop, and drained.
    Asked,
    /// It never came up; why.
    NeverReady(String),
}

/// The owner of a run.
pub struct Session {
    supervisor: Supervisor,
    state: StateFolder,
    run: Run,
    tries: Vec<String>,
    seed: Option<(String, Ledger)>,
    seeding: Option<JoinHandle<Result<Seeded, String>>>,
    begun: Instant,
    shown: bool,
    /// The child that refuses what it was given, before the start was over.
    refusing: Option<String>,
    stale: bool,
}

enum Step {
    Signal(&'static str),
    Notice(Notice),
    Seeded(Result<Seeded, String>),
    Tick,
}

impl Session {
    /// Starts every child of the plan. `begun` is when the command was given.
    pub fn start(plan: LocalPlan, run: Run, machine: &Machine, begun: Instant) -> Self {
        let launcher = Launcher {
            setpriv: machine.setpriv.clone(),
            logs: machine.state.logs(),
            run: machine.state.path.clone(),
        };
        let mut supervisor = Supervisor::new(plan.children, launcher, Pace::default());
        supervisor.start();
        Self {
            supervisor,
            state: machine.state.clone(),
            run,
            tries: plan.tries,
            seed: plan.seed,
            seeding: None,
            begun,
            shown: false,
            refusing: None,
            stale: false,
        }
    }

    /// Runs until a stop signal, or until it is clear that the environment does not come up.
    /// `console` is where it tells what happens.
    pub async fn run(mut self, mut signals: StopSignals, console: &Console) -> Ended {
        let mut tick = tokio::time::interval(SAY_EVERY);
        tick.reset();
        let ended = loop {
            let step = tokio::select! {
                name = signals.next() => Step::Signal(name),
                notice = self.supervisor.next() => Step::Notice(notice),
                seeded = finished(&mut self.seeding) => Step::Seeded(seeded),
                _ = tick.tick(), if !self.shown => Step::Tick,
            };
            match step {
                Step::Signal(name) => {
                    console.say(&format!("{name}: draining; once more kills at once"));
                    break Ended::Asked;
                }
                Step::Notice(notice) => self.take(&notice, console),
                Step::Seeded(seeded) => self.seeded(seeded, console),
                Step::Tick => self.tell_waiting(console),
            }
            if let Some(why) = self.hopeless() {
                break Ended::NeverReady(why);
            }
            self.show_when_ready(console);
            self.tell(console);
        };
        self.run.stage = Stage::Stopping;
        self.tell(console);
        let one_request_until = Instant::now() + ONE_REQUEST;
        let hurry = async move {
            while Instant::now() < one_request_until {
                signals.next().await;
            }
        };
        self.supervisor.drain(hurry, |line| console.say(&line)).await;
        ended
    }

    fn take(&mut self, notice: &Notice, console: &Console) {
        if let Some(line) = report::notice(notice) {
            console.say(&line);
        }
        if let Notice::Died { name, .. } = notice
            && let Some(stream) = name.strip_prefix(STREAM_PREFIX)
            && let Err(error) = stream::sweep(&self.state.live().join(stream))
        {
            console.say(&format!("what {name} left could not be removed: {error}"));
        }
        if let Notice::Died { name, refused: true, .. } = notice
            && is_essential(name)
        {
            self.refusing = Some(name.clone());
        }
        let ledger_is_back = matches!(notice, Notice::Healthy { name, .. } if name == LEDGER);
        if ledger_is_back && self.seeding.is_none() {
            self.seeding = self.seed.clone().map(|(base, ledger)| {
                tokio::task::spawn_blocking(move || seed::seed(&base, &ledger))
            });
        }
    }

    fn seeded(&mut self, seeded: Result<Seeded, String>, console: &Console) {
        self.seeding = None;
        match seeded {
            Ok(seeded) => {
                self.seed = None;
                if seeded.created > 0 {
                    console.say(&format!("created {} accounts in the ledger", seeded.created));
                }
                seeded.differences.iter().for_each(|line| console.say(&format!("Note: {line}")));
                self.run.notes.extend(seeded.differences);
            }
            // A ledger that died meanwhile is seeded when it is back; one that lives, at once.
            Err(error) => {
                console.say(&format!("the accounts could not be created yet: {error}"));
                self.seeding = self.seed.clone().map(|(base, ledger)| {
                    tokio::task::spawn_blocking(move || {
                        std::thread::sleep(Duration::from_secs(1));
                        seed::seed(&base, &ledger)
                    })
                });
            }
        }
    }

    fn show_when_ready(&mut self, console: &Console) {
        if self.shown {
            return;
        }
        let late = self.begun.elapsed() >= STREAMS_WAIT;
        let unhealthy = self.supervisor.statuses().into_iter().filter(|child| !child.healthy);
        let waited_for: Vec<String> = unhealthy.map(|child| child.name).collect();
        let only_streams = waited_for.iter().all(|name| !is_essential(name));
        if self.seed.is_some() || !(waited_for.is_empty() || (late && only_streams)) {
            return;
        }
        for name in waited_for {
            console.say(&format!("{name} is not there yet; it is being started again and again"));
        }
        self.shown = true;
        self.run.stage = Stage::Running;
        console.say(&report::block(&self.run, &self.tries, self.begun.elapsed().as_secs_f32()));
    }

    fn tell_waiting(&self, console: &Console) {
        let mut waiting: Vec<String> = self
            .supervisor
            .statuses()
            .into_iter()
            .filter(|child| !child.healthy)
            .map(|child| match child.problem {
                Some(problem) => format!("{} ({problem})", child.name),
                None => child.name,
            })
            .collect();
        if waiting.is_empty() && self.seed.is_some() {
            waiting.push("the ledger's accounts".to_owned());
        }
        console.say(&format!("waiting for {}", waiting.join(", ")));
    }

    /// Why the environment will not come up, when that is clear.
    fn hopeless(&self) -> Option<String> {
        if self.shown {
            return None;
        }
        let too_late = self.begun.elapsed() >= START_WAIT;
        let statuses = self.supervisor.statuses();
        let culprit = statuses.iter().find(|child| {
            is_essential(&child.name)
                && !child.healthy
                && (too_late
                    || child.restarts >= DEATHS_MAX
                    || self.refusing.as_ref() == Some(&child.name))
        });
        let logs = self.run.logs.display();
        if let Some(child) = culprit {
            let problem = child.problem.as_deref().unwrap_or("is not healthy");
            return Some(format!(
                "{} does not come up: {problem}; its log is in {logs}",
                child.name
            ));
        }
        (too_late && self.seed.is_some())
            .then(|| format!("the ledger does not take its accounts; its log is in {logs}"))
    }

    /// A disk that is full makes `status` stale; it does not stop what runs.
    fn tell(&mut self, console: &Console) {
        self.run.children = self.supervisor.statuses();
        let told = self.state.tell(&self.run);
        if let Err(error) = &told
            && !self.stale
        {
            console.say(&format!("`forebay status` will be out of date: {error}"));
        }
        self.stale = told.is_err();
    }
}

/// Without a stream everything else still works.
fn is_essential(child: &str) -> bool {
    !child.starts_with(STREAM_PREFIX)
}

async fn finished(task: &mut Option<JoinHandle<Result<Seeded, String>>>) -> Result<Seeded, String> {
    match task {
        Some(task) => task.await.unwrap_or_else(|error| Err(error.to_string())),
        None => std::future::pending().await,
    }
}
