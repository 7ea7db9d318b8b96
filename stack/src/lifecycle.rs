//! What one supervised child goes through: events in, decisions out, no clock and no IO.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backoff::Pace;

/// Where a child stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Started, not healthy yet.
    #[default]
    Starting,
    /// Its last probe passed.
    Healthy,
    /// It was healthy; its last probe failed.
    Failing,
    /// It died and waits for its restart.
    Waiting,
    /// It was stopped for good.
    Stopped,
}

impl Phase {
    /// The word people and `status -o json` see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A process was started for it.
    Started,
    /// A probe passed.
    ProbePassed,
    /// A probe failed.
    ProbeFailed,
    /// The process ended, or could not be started.
    Exited,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// Tell that the child is healthy now.
    TellHealthy,
    /// End the process; its exit is then treated like any other.
    Replace,
    /// Start it again after this wait.
    RestartAfter(Duration),
}

/// The state one child is judged by.
#[derive(Clone, Debug, Default)]
pub struct Life {
    phase: Phase,
    restarts: u32,
    /// Exits since the last long stretch of health: the exponent of the back-off.
    exits_in_a_row: u32,
    probe_failures: u32,
    started: Option<Instant>,
    healthy_since: Option<Instant>,
    replaced: bool,
}

impl Life {
    /// Where the child stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Restarts since `up`.
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Takes what happened at `now` and says what to do.
    pub fn after(&mut self, happened: Happened, now: Instant, pace: &Pace) -> Decision {
        match happened {
            Happened::Started => self.started(now),
            Happened::ProbePassed => self.probe_passed(now),
            Happened::ProbeFailed => self.probe_failed(now, pace),
            Happened::Exited => self.exited(now, pace),
        }
    }

    /// Marks the child as stopped on purpose: nothing restarts it any more.
    pub fn stop(&mut self) {
        self.phase = Phase::Stopped;
    }

    fn started(&mut self, now: Instant) -> Decision {
        if self.started.is_some() {
            self.restarts += 1;
        }
        self.started = Some(now);
        self.phase = Phase::Starting;
        self.probe_failures = 0;
        self.healthy_since = None;
        self.replaced = false;
        Decision::Nothing
    }

    fn probe_passed(&mut self, now: Instant) -> Decision {
        self.probe_failures = 0;
        match self.phase {
            Phase::Starting => {
                self.phase = Phase::Healthy;
                self.healthy_since = Some(now);
                Decision::TellHealthy
            }
            // A single bad probe is not worth a line; the stretch of health starts anew though.
            Phase::Failing => {
                self.phase = Phase::Healthy;
                self.healthy_since = Some(now);
                Decision::Nothing
            }
            Phase::Healthy | Phase::Waiting | Phase::Stopped => Decision::Nothing,
        }
    }

    fn probe_failed(&mut self, now: Instant, pace: &Pace) -> Decision {
        let give_up = match self.phase {
            Phase::Starting => self.started.is_some_and(|at| now - at >= pace.start_max),
            Phase::Healthy | Phase::Failing => {
                self.phase = Phase::Failing;
                self.probe_failures += 1;
                self.probe_failures >= pace.probe_failures_max
            }
            Phase::Waiting | Phase::Stopped => false,
        };
        if give_up && !self.replaced {
            self.replaced = true;
            return Decision::Replace;
        }
        Decision::Nothing
    }

    fn exited(&mut self, now: Instant, pace: &Pace) -> Decision {
        if self.phase == Phase::Stopped {
            return Decision::Nothing;
        }
        let forgiven = self.phase == Phase::Healthy
            && self.healthy_since.is_some_and(|at| now - at >= pace.restart_forgiven_after);
        if forgiven {
            self.exits_in_a_row = 0;
        }
        let wait = pace.restart_wait(self.exits_in_a_row);
        self.exits_in_a_row += 1;
        self.phase = Phase::Waiting;
        self.healthy_since = None;
        Decision::RestartAfter(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn healthy(pace: &Pace, at: Instant) -> Life {
        let mut life = Life::default();
        life.after(Happened::Started, at, pace);
        assert_eq!(life.after(Happened::ProbePassed, at, pace), Decision::TellHealthy);
        life
    }

    #[test]
    fn a_child_that_keeps_dying_waits_longer_each_time() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let mut life = Life::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            life.after(Happened::Started, t0, &pace);
            if let Decision::RestartAfter(wait) = life.after(Happened::Exited, t0, &pace) {
                waits.push(wait.as_millis());
            }
        }
        assert_eq!(waits, [250, 500, 1000, 2000]);
        assert_eq!(life.restarts(), 3);
        assert_eq!(life.phase(), Phase::Waiting);
    }

    #[test]
    fn long_health_is_forgiveness_and_short_health_is_not() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let mut life = healthy(&pace, t0);
        life.after(Happened::Exited, t0 + seconds(1), &pace);
        life.after(Happened::Started, t0 + seconds(2), &pace);
        life.after(Happened::ProbePassed, t0 + seconds(2), &pace);
        let short = life.after(Happened::Exited, t0 + seconds(10), &pace);
        assert_eq!(short, Decision::RestartAfter(Duration::from_millis(500)));
        life.after(Happened::Started, t0 + seconds(11), &pace);
        life.after(Happened::ProbePassed, t0 + seconds(11), &pace);
        let long = life.after(Happened::Exited, t0 + seconds(41), &pace);
        assert_eq!(long, Decision::RestartAfter(Duration::from_millis(250)));
    }

    #[test]
    fn three_failed_probes_in_a_row_replace_a_healthy_child_once() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let mut life = healthy(&pace, t0);
        assert_eq!(life.after(Happened::ProbeFailed, t0, &pace), Decision::Nothing);
        assert_eq!(life.phase(), Phase::Failing);
        assert_eq!(life.after(Happened::ProbeFailed, t0, &pace), Decision::Nothing);
        assert_eq!(life.after(Happened::ProbePassed, t0, &pace), Decision::Nothing);
        assert_eq!(life.phase(), Phase::Healthy);
        let decisions: Vec<Decision> =
            (0..4).map(|_| life.after(Happened::ProbeFailed, t0, &pace)).collect();
        let nothing = Decision::Nothing;
        assert_eq!(decisions, [nothing, nothing, Decision::Replace, nothing]);
    }

    #[test]
    fn a_child_may_take_its_time_to_start_but_not_forever() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let mut life = Life::default();
        life.after(Happened::Started, t0, &pace);
        for n in 0..20 {
            let decision = life.after(Happened::ProbeFailed, t0 + seconds(n), &pace);
            assert_eq!(decision, Decision::Nothing);
        }
        let late = life.after(Happened::ProbeFailed, t0 + seconds(20), &pace);
        assert_eq!(late, Decision::Replace);
    }

    #[test]
    fn a_stopped_child_stays_stopped() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let mut life = healthy(&pace, t0);
        life.stop();
        assert_eq!(life.after(Happened::ProbeFailed, t0, &pace), Decision::Nothing);
        assert_eq!(life.after(Happened::Exited, t0, &pace), Decision::Nothing);
        assert_eq!(life.phase(), Phase::Stopped);
    }
}
