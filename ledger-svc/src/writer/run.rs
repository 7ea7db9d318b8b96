//! The writer's loop: gathers, decides, writes, commits, answers.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::flight::{Air, Landed, Telling};
use super::gathered::{Gathered, Outcome, Waiting};
use super::ids::Ids;
use super::memory::Memory;
use super::prepare::{Prepared, prepare};
use super::{Limits, WriteError, acts, adjusting};
use crate::account::Created;
use crate::act;
use crate::batch::{self, Group, Verdict, Wanted};
use crate::chain::Record;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::store::{self, Ahead, StoreError};
use crate::transfer::TransferKind;

/// A batch, or a part of one that flies, that takes longer is given up as failed: a server that answers nothing must not
/// hold up the queue for as long as TCP is patient.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// A database that is away fails every batch; the log says so this often.
const FAILURE_LOG_EVERY: Duration = Duration::from_secs(1);
/// The clock of the calendar may be set while the writer sleeps.
const EXPIRY_SLEEP_MAX: Duration = Duration::from_secs(10);
/// How long after a failure what is due is tried again.
const EXPIRY_RETRY: Duration = Duration::from_secs(1);

/// How long keys are looked up beforehand once one was met that is known. Who asks again seldom does so once.
const WARY_FOR: Duration = Duration::from_secs(10);

/// Where a lane is free, this part of a batch is enough to go.
pub const PART: usize = 4;

/// How long nothing is asked for before balances are written that are behind.
const AT_REST_AFTER: Duration = Duration::from_millis(50);

const TOO_LONG: &str = "the batch took longer than 30 s";

pub async fn run(
    store: store::Writer,
    ahead: Ahead,
    waiting: Waiting,
    limits: Limits,
    telling: Telling,
) -> Result<(), StoreError> {
    let mut running = Running {
        ahead,
        waiting,
        memory: Memory::default(),
        ids: Ids::new(),
        telling,
        batch_max: limits.batch_max,
        accounts_known_max: limits.accounts_known_max,
        behind_max: limits.balances_behind_max,
        failure_logged: None,
        wary_until: None,
        // Whatever fell due while no service ran is released first.
        expiry: Some(Instant::now()),
    };
    let mut store = store;
    let mut next = Gathered::default();
    loop {
        if next.writes() > 0 {
            running.waiting.top_up(&mut next);
        } else {
            let (at, balances) = (running.wakes_at(), &running.telling.balances);
            let next_asked = running.waiting.next(at, balances).await;
            let Some(gathered) = next_asked else { break };
            next = gathered;
        }
        running.memory.trim(running.accounts_known_max);
        let gathered = std::mem::take(&mut next);
        match running.decide(&gathered).await {
            Some(prepared) => running.fly(&mut store, (gathered, prepared), &mut next).await?,
            None => running.under_the_lock(&mut store, gathered).await?,
        }
    }
    while running.is_behind() {
        running.under_the_lock(&mut store, Gathered::default()).await?;
    }
    running.ahead.close().await;
    store.close().await
}

/// The loop's state.
struct Running {
    ahead: Ahead,
    waiting: Waiting,
    memory: Memory,
    ids: Ids,
    telling: Telling,
    batch_max: usize,
    accounts_known_max: usize,
    behind_max: i64,
    failure_logged: Option<Instant>,
    /// Until when keys are looked up before a batch is written.
    wary_until: Option<Instant>,
    expiry: Option<Instant>,
}

impl Running {
    /// Reads, decides, writes and commits a batch of any sort, while none is in the air.
    async fn under_the_lock(
        &mut self,
        store: &mut store::Writer,
        gathered: Gathered,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        let means = (&mut self.ids, self.behind_max);
        match in_time(commit(store, &gathered, &mut self.memory, means)).await {
            Ok(outcome) => {
                self.remembered();
                self.telling.committed(gathered, outcome, began);
                Ok(())
            }
            Err(error) => {
                store.reset().await;
                self.failed(gathered, error)
            }
        }
    }

    /// Decides a batch beforehand; nothing when it has to be decided under the lock.
    async fn decide(&mut self, gathered: &Gathered) -> Option<Prepared> {
        let how = (self.is_wary(), self.behind_max);
        prepare(&self.ahead, gathered, &mut self.memory, &mut self.ids, how).await
    }

    /// Writes a batch that is decided. As long as more waits it is decided meanwhile, and written on as many lanes as there
    /// are. Returns when nothing is in the air; what is gathered by then and not written is left in `next`.
    async fn fly(
        &mut self,
        store: &mut store::Writer,
        first: (Gathered, Prepared),
        next: &mut Gathered,
    ) -> Result<(), StoreError> {
        let (mut air, mut decided) = (Air::default(), Some(first));
        // What has to wait until nothing is in the air.
        let mut held = false;
        loop {
            if let Some(ready) = decided.take() {
                match store.take() {
                    Some(lane) => air.take_off(lane, ready, &self.telling),
                    None => decided = Some(ready),
                }
            }
            // To fill a lane that is free, a part of a batch will do.
            let enough =
                if store.has_lane() { self.batch_max.div_ceil(PART) } else { self.batch_max };
            tokio::select! {
                biased;
                landed = air.landed() => match landed {
                    None => return Ok(()),
                    Some(landed) => {
                        let landed = landed.map_err(|error| StoreError::Engine(error.to_string()))?;
                        if !self.landed(store, &mut air, landed, &mut decided, next).await? {
                            return Ok(());
                        }
                    }
                },
                () = self.waiting.enough(enough), if decided.is_none() && !held => {
                    self.waiting.top_up(next);
                    held = true;
                    if self.memory.accounts() <= self.accounts_known_max
                        && let Some(prepared) = self.decide(next).await
                    {
                        (held, decided) = (false, Some((std::mem::take(next), prepared)));
                    }
                }
            }
        }
    }

    /// Says whether it goes on. If it does not, nothing is in the air any more.
    async fn landed(
        &mut self,
        store: &mut store::Writer,
        air: &mut Air,
        landed: Landed,
        decided: &mut Option<(Gathered, Prepared)>,
        next: &mut Gathered,
    ) -> Result<bool, StoreError> {
        store.give_back(landed.lane);
        let Some(lost) = landed.lost else {
            self.remembered();
            return Ok(true);
        };
        // What follows was decided on books that never came to be, and is not committed: it is decided again.
        let mut again = Vec::new();
        while let Some(landed) = air.landed().await {
            let landed = landed.map_err(|error| StoreError::Engine(error.to_string()))?;
            store.give_back(landed.lane);
            again.extend(landed.lost.map(|lost| lost.gathered));
        }
        if let Some((gathered, _)) = decided.take() {
            *next = gathered;
        }
        match lost.error {
            StoreError::Duplicate(_) if lost.unchecked => {
                self.wary_until = Some(Instant::now() + WARY_FOR);
                self.forget();
                self.under_the_lock(store, lost.gathered).await?;
            }
            error => self.failed(lost.gathered, error)?,
        }
        for gathered in again {
            self.under_the_lock(store, gathered).await?;
        }
        Ok(false)
    }

    /// What memory says of itself, after a batch.
    fn remembered(&mut self) {
        let (metrics, snapshot) = (&self.telling.metrics, &self.memory.snapshot);
        metrics.accounts_known.set(i64::try_from(self.memory.accounts()).unwrap_or(i64::MAX));
        metrics.balances_behind.set(snapshot.behind.entries(snapshot.last.entry_id));
        self.expiry = self.memory.next_expiry_us().map(instant_of);
    }

    /// Whether there are balances to write.
    fn is_behind(&self) -> bool {
        !self.memory.snapshot.behind.is_empty()
    }

    /// When there is something to do that nobody asks for.
    fn wakes_at(&self) -> Option<Instant> {
        let at_rest = self.is_behind().then(|| Instant::now() + AT_REST_AFTER);
        self.expiry.into_iter().chain(at_rest).min()
    }

    /// Everything that was taken to be so.
    fn forget(&mut self) {
        self.memory = Memory::default();
        self.telling.balances.in_doubt();
    }

    fn is_wary(&mut self) -> bool {
        if std::mem::take(&mut self.memory.wary) {
            self.wary_until = Some(Instant::now() + WARY_FOR);
        }
        self.wary_until.is_some_and(|until| Instant::now() < until)
    }

    /// Ends in an error when there is no going on.
    fn failed(&mut self, gathered: Gathered, error: StoreError) -> Result<(), StoreError> {
        self.telling.metrics.batch_failures.inc();
        if self.failure_logged.is_none_or(|at| at.elapsed() >= FAILURE_LOG_EVERY) {
            self.failure_logged = Some(Instant::now());
            tracing::error!(%error, writes = gathered.writes(), "batch failed, nothing of it is acknowledged");
        }
        self.forget();
        gathered.fail(&WriteError::Failed);
        self.expiry = Some(Instant::now() + EXPIRY_RETRY);
        if matches!(error, StoreError::Replaced { .. }) { Err(error) } else { Ok(()) }
    }
}

/// What is done with the database, as long as it may take.
pub async fn in_time<T>(
    doing: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let done = tokio::time::timeout(BATCH_TIMEOUT, doing).await;
    done.unwrap_or_else(|_| Err(StoreError::Engine(TOO_LONG.into())))
}

async fn commit(
    store: &mut store::Writer,
    gathered: &Gathered,
    memory: &mut Memory,
    (ids, behind_max): (&mut Ids, i64),
) -> Result<Outcome, StoreError> {
    let now = Timestamp::now();
    let mut batch = store.begin().await?;
    let mut outcome = Outcome::default();
    let booked;
    (outcome.acted, booked) = acts::perform(&mut batch, &gathered.deeds, memory, now).await?;
    for body in &gathered.accounts {
        outcome.accounts.push(batch.create_account(body, now).await?);
    }
    if gathered.probes > 0 {
        batch.probe(now).await?;
    }
    let is_audit = |row: &&act::Booked| matches!(row, act::Booked::Audit(_));
    let audited = booked.iter().filter(is_audit).count() as u64;
    let created: Vec<Record<'_>> = (booked.iter().filter_map(act::Booked::record))
        .chain(outcome.accounts.iter().filter_map(Created::created).map(Record::Account))
        .collect();
    let (groups, open) = adjusting::groups(&mut batch, gathered).await?;
    let posted = post(&mut batch, &created, &groups, memory, (now, ids, behind_max)).await?;
    let verdicts = &posted.verdicts[gathered.groups.len()..];
    let head = &mut memory.snapshot.head;
    let joined = adjusting::join(&mut batch, gathered, (&open, verdicts), head, now).await?;
    let (adjusted, audited) = (joined.adjusted, audited + joined.audited);
    let began = Instant::now();
    batch.commit().await?;
    Ok(Outcome {
        acted: outcome.acted,
        audited,
        accounts: outcome.accounts,
        adjusted,
        commit: began.elapsed(),
        ..posted
    })
}

/// The transfers of a batch: read, judge, write; and the links of the chain for all the batch books.
async fn post(
    batch: &mut store::Batch<'_>,
    created: &[Record<'_>],
    groups: &[Group],
    memory: &mut Memory,
    (now, ids, behind_max): (Timestamp, &mut Ids, i64),
) -> Result<Outcome, StoreError> {
    let mut wanted = wanted(groups);
    memory.complete(&mut wanted, now);
    batch.lock_and_read(&wanted, &mut memory.snapshot).await?;
    let (verdicts, mut changes) = batch::decide(groups, &mut memory.snapshot, now, || ids.next());
    changes.thread(&mut memory.snapshot.trails)?;
    let head = &mut memory.snapshot.head;
    let links: Vec<Link> = created.iter().map(|record| head.extend(*record)).collect();
    changes.chain(head);
    changes.settle(&mut memory.snapshot.behind, memory.snapshot.last.entry_id, behind_max);
    batch.write(&changes, &links).await?;
    memory.follow(batch, &changes).await?;
    let requests = groups.iter().flat_map(|group| &group.requests);
    memory.send(requests.map(|request| request.key.clone()).collect());
    let expired = changes.transfers.iter().filter(|new| new.kind == TransferKind::Expire).count();
    Ok(Outcome {
        verdicts,
        entries: changes.moved().count() as u64,
        expired: expired as u64,
        balances: changes.balances,
        ..Outcome::default()
    })
}

fn wanted(groups: &[Group]) -> Wanted<'_> {
    let requests = || groups.iter().flat_map(|group| &group.requests);
    let keys: BTreeSet<&str> = requests().map(|request| request.key.as_str()).collect();
    let accounts: BTreeSet<&str> =
        requests().flat_map(|request| request.action.accounts()).collect();
    let targets: BTreeSet<Uuid> = requests().filter_map(|request| request.action.of()).collect();
    Wanted {
        keys: keys.into_iter().collect(),
        accounts: accounts.into_iter().collect(),
        targets: targets.into_iter().collect(),
        ..Wanted::default()
    }
}

/// A time of the calendar on the clock that timers go by; one that is past is now.
fn instant_of(at_us: i64) -> Instant {
    let now = Timestamp::now().as_microsecond();
    let ahead = u64::try_from(at_us.saturating_sub(now)).unwrap_or(0);
    Instant::now() + Duration::from_micros(ahead).min(EXPIRY_SLEEP_MAX)
}

pub fn count(verdict: &Verdict, metrics: &Metrics) {
    match verdict {
        Verdict::Posted(_) => metrics.transfers.inc(),
        Verdict::Replayed(_) => metrics.replays.inc(),
        // Counted by its reason where the problem is answered.
        Verdict::KeyReused | Verdict::Rejected(_) | Verdict::Withheld => {}
    }
}
