//! Two runtimes in one process. Heads, transactions and everything a person waits for run on the
//! latency runtime; large bodies of lanes of low priority run on the bulk runtime, whose threads the
//! kernel runs when nothing else is ready ([decision 0019](../../docs/decisions/0019-two-runtimes.md)).
//!
//! Every thread of the bulk runtime lowers its own priority, which needs no capability. Where it
//! cannot be lowered, that is said once, and the quantum of [`crate::prompt`] alone bounds a turn. Threads of
//! the latency runtime ask for short turns: the kernel lets who does run as soon as it wakes up.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntGauge;
use proxy_config::lane::LanePriority;
use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::metrics::Metrics;
use crate::raw;

/// How far below the process the bulk threads run, in steps of nice: a tenth of its weight.
const STEPS_BELOW: i32 = 10;
/// The lowest priority there is.
const NICE_MAX: i32 = 19;
/// What a thread of the latency runtime asks the kernel for: the shortest turn there is. Each takes less.
const LATENCY_TURN: Duration = Duration::from_micros(100);
/// Tasks a thread polls before it looks at sockets again. Tokio's default of 61 would let 61 quanta
/// of bodies pass before a request that has arrived is noticed.
const TASKS_PER_LOOK: u32 = 8;
/// How long the threads of the bulk runtime may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// Where work runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Latency,
    Bulk,
}

impl Place {
    /// Where a lane of this priority moves its bodies.
    pub fn of(priority: LanePriority) -> Place {
        match priority {
            LanePriority::Normal => Place::Latency,
            LanePriority::Low => Place::Bulk,
        }
    }
}

thread_local! {
    static HERE: Cell<Place> = const { Cell::new(Place::Latency) };
}

/// Where the calling thread belongs; threads of neither runtime count as latency.
pub fn here() -> Place {
    HERE.get()
}

/// Both runtimes; dropping them would wait for their tasks, so they are stopped by hand.
pub struct Runtimes {
    pub latency: Runtime,
    bulk: Runtime,
}

/// Ways to start work on either runtime.
#[derive(Clone, Debug)]
pub struct Handles {
    latency: Handle,
    bulk: Handle,
}

impl Handles {
    pub fn of(&self, place: Place) -> &Handle {
        match place {
            Place::Latency => &self.latency,
            Place::Bulk => &self.bulk,
        }
    }
}

impl Runtimes {
    /// Starts both, each with a thread per processor the process may use.
    pub fn start(metrics: &Metrics) -> io::Result<Runtimes> {
        let latency = Builder::new_multi_thread()
            .thread_name("latency")
            .event_interval(TASKS_PER_LOOK)
            .on_thread_start(ask_for_short_turns)
            .enable_all()
            .build()?;
        let nice = metrics.bulk_nice.with_label_values::<&str>(&[]);
        let told = Arc::new(AtomicBool::new(false));
        let bulk = Builder::new_multi_thread()
            .thread_name("bulk")
            .event_interval(TASKS_PER_LOOK)
            .on_thread_start(move || enter_bulk(&nice, &told))
            .enable_all()
            .build()?;
        let runtimes = Runtimes { latency, bulk };
        // A thread that has run a task has started: what is said about priorities is said by now.
        runtimes.latency.block_on(async {
            let started = runtimes.bulk.spawn(async {});
            let _ = tokio::time::timeout(START_MAX, started).await;
        });
        Ok(runtimes)
    }

    pub fn handles(&self) -> Handles {
        Handles { latency: self.latency.handle().clone(), bulk: self.bulk.handle().clone() }
    }

    /// Ends both without waiting for what still runs.
    pub fn stop(self) {
        self.latency.shutdown_background();
        self.bulk.shutdown_background();
    }
}

/// So that one that wakes up does not wait for the end of a bulk thread's turn, which may be milliseconds.
fn ask_for_short_turns() {
    if let Err(why) = raw::ask_for_turns_of(LATENCY_TURN) {
        tracing::debug!(%why, "threads of the latency runtime have turns as long as all others");
    }
}

fn enter_bulk(nice: &IntGauge, told: &AtomicBool) {
    HERE.set(Place::Bulk);
    let lowered = lower_priority();
    nice.set(i64::from(*lowered.as_ref().unwrap_or(&0)));
    if let Err(why) = lowered
        && !told.swap(true, Ordering::AcqRel)
    {
        tracing::warn!(
            "bulk bodies run at the priority of everything else, because {why}; \
             a turn is still bounded by its quantum"
        );
    }
}

/// Lowers the calling thread below the process; on Linux a nice value belongs to a thread.
/// Returns the steps it went down.
fn lower_priority() -> Result<i32, String> {
    let unreadable = |error| format!("the priority cannot be read: {error}");
    let own = getpriority_process(None).map_err(unreadable)?;
    let target = lowered_from(own).ok_or_else(|| {
        format!("the process already has the lowest priority there is (nice {own})")
    })?;
    setpriority_process(None, target)
        .map_err(|error| format!("the system refused nice {target}: {error}"))?;
    Ok(target - own)
}

/// The nice value of bulk threads in a process of this one; `None` when there is none below.
fn lowered_from(own: i32) -> Option<i32> {
    let target = (own + STEPS_BELOW).min(NICE_MAX);
    (target > own).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_runs_below_the_process_while_there_is_a_below() {
        assert_eq!(lowered_from(0), Some(STEPS_BELOW));
        assert_eq!(lowered_from(-5), Some(STEPS_BELOW - 5));
        assert_eq!(lowered_from(NICE_MAX - 1), Some(NICE_MAX));
        assert_eq!(lowered_from(NICE_MAX), None);
    }

    #[test]
    fn threads_know_where_they_belong_and_only_those_of_bulk_are_lowered() {
        let metrics = Metrics::new();
        let runtimes = Runtimes::start(&metrics).unwrap();
        let own = getpriority_process(None).unwrap();
        let seen = |place: Place| {
            let spawned = runtimes
                .handles()
                .of(place)
                .spawn(async { (here(), getpriority_process(None).unwrap()) });
            runtimes.latency.block_on(spawned).unwrap()
        };
        assert_eq!(seen(Place::Latency), (Place::Latency, own));
        assert_eq!(seen(Place::Bulk), (Place::Bulk, lowered_from(own).unwrap_or(own)));
        let steps = metrics.bulk_nice.with_label_values::<&str>(&[]).get();
        assert_eq!(steps, i64::from(lowered_from(own).map_or(0, |target| target - own)));
        runtimes.stop();
    }
}
