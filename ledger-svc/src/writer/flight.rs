//! Batches that are decided, on their way to the database: each inserts its own rows on a lane of its own, and changes
//! what is everybody's, commits and answers only once the one before it has. One that fails leaves those behind it
//! without their turn, and so uncommitted.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use super::gathered::{Gathered, Outcome};
use super::prepare::Prepared;
use super::{Published, run};
use crate::act::Acted;
use crate::metrics::{Metrics, seconds};
use crate::store::{Lane, StoreError};

/// Where it is told what a batch came to.
#[derive(Clone)]
pub struct Telling {
    pub balances: Published,
    pub metrics: Metrics,
}

/// Batches in the air, in the order in which they were decided.
#[derive(Default)]
pub struct Air {
    flights: VecDeque<JoinHandle<Landed>>,
    /// Of the one that took off last: gives the next its turn.
    turn: Option<oneshot::Receiver<()>>,
}

/// A batch that has come down.
pub struct Landed {
    pub lane: Lane,
    /// Nothing if it was committed and everybody is answered.
    pub lost: Option<Lost>,
}

/// A batch nobody of which is answered.
pub struct Lost {
    pub gathered: Gathered,
    pub error: StoreError,
    /// Whether its keys were not looked up.
    pub unchecked: bool,
}

impl Air {
    pub fn take_off(
        &mut self,
        lane: Lane,
        (gathered, prepared): (Gathered, Prepared),
        telling: &Telling,
    ) {
        let (after, turn) = oneshot::channel();
        let before = self.turn.replace(turn).filter(|_| !self.flights.is_empty());
        let flight = fly(lane, gathered, prepared, (before, after), telling.clone());
        self.flights.push_back(tokio::spawn(flight));
    }

    /// The first of them, when it is down. Whoever stops waiting for it misses nothing.
    pub async fn landed(&mut self) -> Option<Result<Landed, JoinError>> {
        let landed = self.flights.front_mut()?.await;
        self.flights.pop_front();
        Some(landed)
    }
}

/// On a task of its own, so that it goes on whatever the loop does meanwhile.
async fn fly(
    mut lane: Lane,
    gathered: Gathered,
    mut prepared: Prepared,
    (before, after): (Option<oneshot::Receiver<()>>, oneshot::Sender<()>),
    telling: Telling,
) -> Landed {
    let began = Instant::now();
    match write(&mut lane, &mut prepared, before).await {
        Ok(commit) => {
            telling.committed(gathered, prepared.outcome(commit), began);
            // Nobody follows, maybe.
            let _ = after.send(());
            Landed { lane, lost: None }
        }
        Err(error) => {
            telling.balances.in_doubt();
            drop(after);
            lane.reset().await;
            let unchecked = prepared.unchecked;
            Landed { lane, lost: Some(Lost { gathered, error, unchecked }) }
        }
    }
}

/// Writes and commits what was decided. Says how long the commit took.
async fn write(
    lane: &mut Lane,
    prepared: &mut Prepared,
    mut before: Option<oneshot::Receiver<()>>,
) -> Result<Duration, StoreError> {
    if !lane.flies_beside() {
        turn(before.take()).await?;
    }
    let mut batch = run::in_time(lane.begin()).await?;
    run::in_time(prepared.write_own(&mut batch)).await?;
    turn(before).await?;
    run::in_time(prepared.write_shared(&mut batch)).await?;
    let began = Instant::now();
    run::in_time(batch.commit()).await?;
    Ok(began.elapsed())
}

/// Returns once the batch before is committed, and an error if it never will be, as far as that is known.
async fn turn(before: Option<oneshot::Receiver<()>>) -> Result<(), StoreError> {
    match before {
        None => Ok(()),
        Some(turn) => {
            turn.await.map_err(|_| StoreError::Engine("the batch before it failed".into()))
        }
    }
}

impl Telling {
    /// First the balances are told, then everybody is answered, then the next batch may commit: the database is never
    /// more than one batch ahead of what is told.
    pub fn committed(&self, gathered: Gathered, outcome: Outcome, began: Instant) {
        let metrics = &self.metrics;
        if gathered.writes() > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52")]
            metrics.batch_writes.observe(gathered.writes() as f64);
        }
        metrics.batch_seconds.observe(seconds(began.elapsed()));
        metrics.commit_seconds.observe(seconds(outcome.commit));
        metrics.entries.inc_by(outcome.entries);
        metrics.expired.inc_by(outcome.expired);
        metrics.audit_entries.inc_by(outcome.audited);
        let verdicts = outcome.verdicts.iter().flatten();
        for verdict in verdicts {
            run::count(verdict, metrics);
        }
        let acted: &[Acted] = &outcome.acted;
        self.balances.committed(&outcome.balances, &gathered.limits(acted), began);
        gathered.answer(outcome);
    }
}
