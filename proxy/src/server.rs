//! Assembly: sockets, state, runtimes and the services on them, signals, the end.
//!
//! Pingora's `Server` is not used: its graceful stop sleeps a fixed time, a QUIT means upgrade to
//! it, and its listeners panic when a port is taken. Its services run just as well here.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::listeners::L4BufferSettings;
use proxy_config::Config;
use rustix::process::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::compress::Encoding;
use crate::drain::{Deadlines, Drain};
use crate::front;
use crate::in_force::Candidate;
use crate::kept_folder;
use crate::line_writer::{self, Writer};
use crate::listen::{Addresses, Socket, Sockets, bind};
use crate::listening::{self, Change, Listening, TOLD};
use crate::metrics::Metrics;
use crate::notify;
use crate::operator_log::Moderation;
use crate::reload::{ReloadFault, reload};
use crate::runtimes::{Handles, Runtimes};
use crate::signals::{Signals, Wish};
use crate::slowest::Slowest;
use crate::standing::Standing;
use crate::state::State;
use crate::telemetry::Spans;
use crate::tls::kept::Kept;
use crate::tuning::history::{Author, Cause, History};
use crate::unfit::Unfit;
use crate::upgrade::{Arrival, Succession, UpgradeFault};
use crate::upstream::connector::Connector;
use crate::upstream::probe::Probes;
use crate::upstream::resolve::Renewals;

/// How long the access log's last lines may take to be written at the end.
const LOG_FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long the last spans may take to be sent at the end of a graceful stop.
const SPANS_FLUSH_MAX: Duration = Duration::from_secs(2);

/// Reads the configuration again, for a reload. It may block.
pub type Read = Arc<dyn Fn() -> Result<Config, ReloadFault> + Send + Sync>;

/// Closes and opens the logs again that are not the access log.
pub type Reopen = Arc<dyn Fn() + Send + Sync>;

/// Called when every socket is bound, requests are served and signals are heard; an error ends it.
pub type Ready = Box<dyn FnOnce(&Addresses) -> Result<(), StartFault>>;

/// Called when a reload has changed where is listened.
pub type Moved = Arc<dyn Fn(&Addresses) + Send + Sync>;

/// What the ways of running the proxy do differently.
pub struct Manner {
    pub ready: Ready,
    pub orders: Orders,
}

/// What signals ask for.
pub struct Orders {
    pub read: Read,
    pub reopen: Reopen,
    pub moved: Moved,
}

/// Why the proxy did not start.
#[derive(Debug, Error)]
pub enum StartFault {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(
        "the sockets of the process before this one, or of the service manager, cannot be taken: {0}"
    )]
    TakeOver(io::Error),
    #[error("{0}")]
    Switch(String),
    #[error("{path} cannot be written: {error}", path = path.display())]
    Told { path: PathBuf, error: io::Error },
    #[error("the system refused a thread, a runtime or a signal handler: {0}")]
    System(#[from] io::Error),
}

/// Runs the proxy until a signal ends it.
pub fn run(config: Config, manner: Manner) -> Result<(), StartFault> {
    let Manner { ready, orders } = manner;
    front::switched().map_err(StartFault::Switch)?;
    raise_descriptor_limit();
    let mut arrival = Arrival::now().map_err(StartFault::TakeOver)?;
    let Sockets { listeners, admin } =
        bind(&config, &mut arrival.inherited).map_err(Unfit::from)?;
    let metrics = Metrics::new();
    let runtimes = Runtimes::start(&metrics)?;
    let prepared = prepare(config, listeners, metrics, runtimes.handles())?;
    let Prepared { state, first, opening, log_writers } = prepared;
    let draining = Arc::new(AtomicBool::new(false));
    let at = admin.address.to_string();
    serve(&runtimes, (first, opening), admin, &state, &draining)?;
    let succession = Arc::new(Succession::now()?);

    let mut files = Vec::new();
    let end = runtimes.latency.block_on(async {
        let mut signals = Signals::listen()?;
        let addresses = Addresses::of(state.listening.addresses(), at);
        ready(&addresses)?;
        tracing::info!(listeners = ?addresses.listeners, admin = addresses.admin, "serving");
        arrival.serves();
        notify::ready();
        notify::keep_telling(&state.runtimes);
        let end = obey(&mut signals, &state, &orders, &addresses.admin, &succession).await;
        if end != End::Stopped {
            state.drain.begin();
        }
        files = state.listening.stop();
        if end == End::Replaced {
            // Nobody else is let in; who is there and goes on asking is told that his connection ends.
            tokio::time::sleep(TOLD).await;
            files.clear();
        } else {
            notify::stopping();
        }
        if end != End::Stopped {
            draining.store(true, Ordering::Release);
            state.metrics.draining.with_label_values::<&str>(&[]).set(1);
            state.listening.close();
            drain(&mut signals, &state).await;
            state.spans.flush(SPANS_FLUSH_MAX).await;
        }
        Ok(())
    });
    runtimes.stop();
    log_writers.into_iter().for_each(|writer| writer.stop(LOG_FLUSH_MAX));
    for path in files {
        // Gone already is gone enough.
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("stopped");
    end
}

/// Takes as many descriptors as the system allows: the usual soft limit of 1024 is below what the
/// lanes may hold, and running out would look like servers that cannot be reached.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// All that is made before the first connection.
struct Prepared {
    state: Arc<State>,
    first: Candidate,
    opening: Change,
    log_writers: [Writer; 2],
}

/// Everything that can fail before the first connection, apart from sockets.
fn prepare(
    config: Config,
    sockets: BTreeMap<String, Socket>,
    metrics: Metrics,
    runtimes: Handles,
) -> Result<Prepared, StartFault> {
    let (standing, tls) = (Standing::default(), Kept::default());
    let opening = listening::first(&config, sockets, &tls)?;
    let author = Author::document(Cause::Start);
    let first = Candidate::new(config, author, None, (&standing, &metrics))?;
    let (access_log, of_requests) = line_writer::of_requests(&metrics)?;
    let (error_log, of_failures) = line_writer::of_failures(&metrics)?;
    let connector = Arc::new(Connector::new(metrics.upstream_idle.clone()));
    let spans = Arc::new(Spans::start(&runtimes, &connector, &metrics));
    let state = State {
        encoding: Encoding::new(&metrics),
        connector,
        spans,
        metrics,
        standing,
        runtimes,
        probes: Probes::default(),
        renewals: Renewals::default(),
        access_log,
        error_log,
        drain: Drain::default(),
        kept_folders: kept_folder::Folders::default(),
        moderation: Moderation::default(),
        slowest: Slowest::default(),
        listening: Listening::default(),
        tls,
        generation: ArcSwap::new(Arc::clone(&first.generation)),
        history: Mutex::new(History::default()),
    };
    let log_writers = [of_requests, of_failures];
    Ok(Prepared { state: Arc::new(state), first, opening, log_writers })
}

/// Puts the first configuration into force, and opens the admin service, which goes on while others drain.
fn serve(
    runtimes: &Runtimes,
    (first, opening): (Candidate, Change),
    socket: Socket,
    state: &Arc<State>,
    draining: &Arc<AtomicBool>,
) -> io::Result<()> {
    let _on_runtime = runtimes.latency.enter();
    state.listening.keep_admin(&socket)?;
    first.enter(state, opening.ready(state), &mut state.history.lock());
    let admin = Admin { state: Arc::clone(state), draining: Arc::clone(draining) };
    let (never, until_the_end) = watch::channel(false);
    let buffers = L4BufferSettings::default().read(0);
    listening::start("admin".to_owned(), socket, admin, buffers, until_the_end);
    runtimes.latency.spawn(async move { never.closed().await });
    Ok(())
}

/// Why serving ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Gracefully,
    /// Another process serves.
    Replaced,
}

/// Does what signals ask for until one of them asks to stop.
async fn obey(
    signals: &mut Signals,
    state: &Arc<State>,
    orders: &Orders,
    admin: &str,
    succession: &Arc<Succession>,
) -> End {
    loop {
        match signals.next().await {
            Wish::Reload => reload_and_tell(state, orders, admin).await,
            Wish::ReopenLogs => reopen_logs(state, &orders.reopen).await,
            Wish::Upgrade => {
                if is_replaced(state, succession).await {
                    return End::Replaced;
                }
            }
            Wish::StopGracefully => return End::Gracefully,
            Wish::StopFast => return End::Stopped,
        }
    }
}

/// Starts the program again. Signals that come meanwhile are obeyed afterwards.
async fn is_replaced(state: &Arc<State>, succession: &Arc<Succession>) -> bool {
    let (of, state) = (Arc::clone(succession), Arc::clone(state));
    let begin = move || {
        let sockets = state.listening.duplicates().map_err(UpgradeFault::HandOver)?;
        of.begin(&sockets)
    };
    let begun = tokio::task::spawn_blocking(begin).await;
    match begun {
        Ok(Ok(process)) => {
            tracing::info!(process, "another process serves");
            notify::succeeded_by(process);
            true
        }
        Ok(Err(fault)) => {
            tracing::error!("not replaced, nothing changed: {fault}");
            false
        }
        Err(panic) => {
            tracing::error!(%panic, "not replaced");
            false
        }
    }
}

async fn reload_and_tell(state: &Arc<State>, orders: &Orders, admin: &str) {
    notify::reloading();
    let before = state.listening.addresses();
    let (on, read) = (Arc::clone(state), Arc::clone(&orders.read));
    let done = tokio::task::spawn_blocking(move || reload(&on, read()?)).await;
    let result = match done {
        Ok(Ok(generation)) => {
            tracing::info!(generation, "reloaded");
            let now = state.listening.addresses();
            if now != before {
                tracing::info!(listeners = ?now, "listening elsewhere than before");
                (orders.moved)(&Addresses::of(now, admin.to_owned()));
            }
            "ok"
        }
        Ok(Err(fault)) => {
            tracing::error!("reload refused, nothing changed: {fault}");
            "refused"
        }
        Err(panic) => {
            tracing::error!(%panic, "reload failed");
            "refused"
        }
    };
    state.metrics.config_reloads.with_label_values(&[result]).inc();
    notify::ready();
}

async fn reopen_logs(state: &Arc<State>, reopen: &Reopen) {
    let (on, reopen) = (Arc::clone(state), Arc::clone(reopen));
    let reopened = tokio::task::spawn_blocking(move || {
        let logs = &on.current().logs;
        on.access_log.reopen(logs.sinks());
        on.error_log.reopen(logs.errors.sinks());
        reopen();
    });
    if reopened.await.is_ok() {
        tracing::info!("log files reopened");
    }
}

/// Waits for requests under way, or for the drain time, or for someone who has no patience.
async fn drain(signals: &mut Signals, state: &State) {
    let shutdown = state.current().config.shutdown.clone();
    let drain = &state.drain;
    tracing::info!(requests = drain.requests(), tunnels = drain.tunnels(), "stopping gracefully");
    let now = Instant::now();
    let finished = drain.finished(Deadlines {
        requests: now + shutdown.drain.as_std(),
        tunnels: now + shutdown.tunnels.as_std(),
    });
    tokio::pin!(finished);
    loop {
        tokio::select! {
            whole = &mut finished => {
                if !whole {
                    let (requests, tunnels) = (drain.requests(), drain.tunnels());
                    tracing::warn!(requests, tunnels, "cut off: shutdown.drain or shutdown.tunnels is over");
                }
                break;
            }
            wish = signals.next() => {
                if wish == Wish::StopFast {
                    break;
                }
            }
        }
    }
    drain.cut_tunnels().await;
}
