//! Assembly: sockets, state, runtimes and the services on them, signals, the end.
//!
//! Pingora's `Server` is not used: its graceful stop sleeps a fixed time, a QUIT means upgrade to
//! it, and its listeners panic when a port is taken. Its services run just as well here.

use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::apps::HttpServerOptions;
use pingora::listeners::L4BufferSettings;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use proxy_config::Config;
use proxy_config::listener::Listener;
use rustix::process::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::admin::tokens::{TokenFault, Tokens};
use crate::buffer::Policies;
use crate::cache::Caches;
use crate::compress::Encoding;
use crate::connection::{Connections, Requests};
use crate::drain::{Deadlines, Drain};
use crate::edge::Edge;
use crate::front::{self, Door};
use crate::generation::{Generation, State};
use crate::lane::Lanes;
use crate::line_writer::{self, Writer};
use crate::listen::{Addresses, BindFault, Socket, Sockets, bind};
use crate::logs::{LogFault, Logs};
use crate::metrics::Metrics;
use crate::notify;
use crate::operator_log::Moderation;
use crate::protected::{self, PathFault};
use crate::rate_limit::Limits;
use crate::reload::{Author, ReloadFault, record, reload};
use crate::route::RouteFault;
use crate::runtimes::{Handles, Place, Runtimes};
use crate::signals::{Signals, Wish};
use crate::slowest::Slowest;
use crate::tls::tickets::TicketKeys;
use crate::tls::{self, TlsFault};
use crate::tuning::history::{Cause, History};
use crate::upgrade::{Arrival, Succession};
use crate::upstream::connector::Connector;
use crate::upstream::probe::Probes;
use crate::upstream::resolve::Renewals;
use crate::upstream::server::Servers;
use crate::upstream::{ATTEMPTS_MAX, POOL_CONNECTIONS_MAX};

/// What is read at once from a client that speaks TLS: a record. Without TLS a request's head and body have
/// buffers of their own, and another before them would be a copy more and 64 KiB for each idle connection.
const TLS_READ_BYTES: usize = 16 * 1024;

/// How long clients of a process that was replaced are told before connections are closed.
const TOLD: Duration = Duration::from_secs(1);

/// How long the access log's last lines may take to be written at the end.
const LOG_FLUSH_MAX: Duration = Duration::from_secs(2);

/// Reads the configuration again, for a reload. It may block.
pub type Read = Arc<dyn Fn() -> Result<Config, ReloadFault> + Send + Sync>;

/// Closes and opens the logs again that are not the access log.
pub type Reopen = Arc<dyn Fn() + Send + Sync>;

/// Called when every socket is bound, requests are served and signals are heard; an error ends it.
pub type Ready = Box<dyn FnOnce(&Addresses) -> Result<(), StartFault>>;

/// What the ways of running the proxy do differently.
pub struct Manner {
    pub read: Read,
    pub ready: Ready,
    pub reopen: Reopen,
}

/// Why the proxy did not start.
#[derive(Debug, Error)]
pub enum StartFault {
    #[error(transparent)]
    Bind(#[from] BindFault),
    #[error(transparent)]
    Tls(#[from] TlsFault),
    #[error(transparent)]
    Route(#[from] RouteFault),
    #[error(transparent)]
    Token(#[from] TokenFault),
    #[error(transparent)]
    Path(#[from] PathFault),
    #[error(transparent)]
    Log(#[from] LogFault),
    #[error(
        "the sockets of the process before this one, or of the service manager, cannot be taken: {0}"
    )]
    TakeOver(io::Error),
    #[error("{path} cannot be written: {error}", path = path.display())]
    Told { path: PathBuf, error: io::Error },
    #[error("the system refused a thread, a runtime or a signal handler: {0}")]
    System(#[from] io::Error),
}

/// Runs the proxy until a signal ends it.
pub fn run(config: Config, manner: Manner) -> Result<(), StartFault> {
    let Manner { read, ready, reopen } = manner;
    raise_descriptor_limit();
    let mut arrival = Arrival::now().map_err(StartFault::TakeOver)?;
    let sockets = bind(&config, &mut arrival.inherited)?;
    let succession = Succession::of(&sockets)?;
    let addresses = Addresses::of(&sockets);
    let mut files: Vec<PathBuf> = sockets.listeners.values().filter_map(Socket::file).collect();
    let metrics = Metrics::new();
    let runtimes = Runtimes::start(&metrics)?;
    let (state, log_writers) = prepare(config, metrics, runtimes.handles())?;
    let (stop, stopping) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let draining = Arc::new(AtomicBool::new(false));
    serve(&runtimes, sockets, &state, (&stopping, &closing), &draining);

    let end = runtimes.latency.block_on(async {
        let mut signals = Signals::listen()?;
        ready(&addresses)?;
        tracing::info!(listeners = ?addresses.listeners, admin = addresses.admin, "serving");
        arrival.serves();
        notify::ready();
        notify::keep_telling(&state.runtimes);
        let succession = Arc::new(succession);
        let end = obey(&mut signals, &state, &read, &reopen, &succession).await;
        // Who holds the sockets holds the queues of those who connect.
        drop(succession);
        if end == End::Replaced {
            // Nobody else is let in; who is there and goes on asking is told that his connection ends.
            state.drain.begin();
            let _ = stop.send(true);
            tokio::time::sleep(TOLD).await;
            files.clear();
        } else {
            notify::stopping();
        }
        if end != End::Stopped {
            draining.store(true, Ordering::Release);
            state.drain.begin();
            state.metrics.draining.with_label_values::<&str>(&[]).set(1);
            // Nobody listening any more is as good as being told.
            let _ = stop.send(true);
            let _ = close.send(true);
            drain(&mut signals, &state).await;
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

/// Everything that can fail before the first connection, apart from sockets.
fn prepare(
    config: Config,
    metrics: Metrics,
    runtimes: Handles,
) -> Result<(Arc<State>, [Writer; 2]), StartFault> {
    let (lanes, caches) = (Lanes::default(), Caches::default());
    let buffers = Policies::default();
    let (limits, servers) = (Limits::default(), Servers::default());
    let ticket_keys = TicketKeys::default();
    let mut acceptors = std::collections::BTreeMap::new();
    for (name, listener) in &config.listeners {
        if let Some(acceptor) = tls::acceptor(name, listener, &ticket_keys)? {
            acceptors.insert(name.clone(), Arc::new(ArcSwap::from_pointee(acceptor)));
        }
    }
    protected::check(&config)?;
    let tokens = Tokens::read(&config.admin)?;
    let logs = Logs::open(&config, None)?;
    let generation =
        Generation::new((1, config, logs), &metrics, &lanes, &caches, &limits, &servers, &buffers)?;
    {
        // What is put into force may begin tasks.
        let _entered = runtimes.of(Place::Latency).enter();
        generation.enter_into_force(&metrics, &lanes, &caches, &limits, &buffers);
    }
    let (access_log, of_requests) = line_writer::of_requests(&metrics)?;
    let (error_log, of_failures) = line_writer::of_failures(&metrics)?;
    let author = Author { cause: Cause::Start, by: None, note: None };
    let mut history = History::default();
    history.add(record(generation.number, author, &generation.config, &generation.config));
    let state = State {
        encoding: Encoding::new(&metrics),
        connector: Arc::new(Connector::new(metrics.upstream_idle.clone())),
        metrics,
        lanes,
        buffers,
        runtimes,
        caches,
        limits,
        servers,
        probes: Probes::default(),
        renewals: Renewals::default(),
        access_log,
        error_log,
        drain: Drain::default(),
        moderation: Moderation::default(),
        slowest: Slowest::default(),
        acceptors,
        ticket_keys,
        generation: ArcSwap::from_pointee(generation),
        history: Mutex::new(history),
        tokens: ArcSwap::from_pointee(tokens),
    };
    Ok((Arc::new(state), [of_requests, of_failures]))
}

/// Starts a service per listener, and the admin service, which goes on while others drain.
fn serve(
    runtimes: &Runtimes,
    sockets: Sockets,
    state: &Arc<State>,
    (stopping, closing): (&watch::Receiver<bool>, &watch::Receiver<bool>),
    draining: &Arc<AtomicBool>,
) {
    let current = state.current();
    let _on_runtime = runtimes.latency.enter();
    state.probes.replace(current.routes.watches(), &state.connector);
    state.renewals.replace(current.routes.names());
    let config = &current.config;
    for (name, socket) in sockets.listeners {
        let Some(listener) = config.listeners.get(&name) else { continue };
        let app = connections(&name, listener, state, (runtimes, closing.clone()));
        // Cleartext is read as it comes, and put together where it is written (`prompt`).
        let buffers = match listener.tls.is_some() {
            true => L4BufferSettings::default().read(TLS_READ_BYTES),
            false => L4BufferSettings::unbuffered(),
        };
        start(runtimes, name, socket, app, buffers, stopping.clone());
    }
    let admin = Admin { state: Arc::clone(state), draining: Arc::clone(draining) };
    let (never, until_the_end) = watch::channel(false);
    let buffers = L4BufferSettings::default().read(0);
    start(runtimes, "admin".to_owned(), sockets.admin, admin, buffers, until_the_end);
    runtimes.latency.spawn(async move { never.closed().await });
}

fn connections(
    name: &str,
    listener: &Listener,
    state: &Arc<State>,
    (runtimes, closing): (&Runtimes, watch::Receiver<bool>),
) -> Connections {
    let conf = ServerConf {
        threads: runtimes.latency.metrics().num_workers(),
        max_retries: ATTEMPTS_MAX,
        upstream_keepalive_pool_size: POOL_CONNECTIONS_MAX,
        ..ServerConf::default()
    };
    let timeouts = listener.timeouts.clone();
    let edge =
        || Edge { listener: name.to_owned(), timeouts: timeouts.clone(), state: Arc::clone(state) };
    // Made in any case: its metrics say that it took nothing.
    let door = Some(Door::new(edge())).filter(|_| front::is_open());
    let mut proxy = http_proxy(&Arc::new(conf), edge());
    let mut options = HttpServerOptions::default();
    // `request` refuses it, in the proxy's own words.
    options.allow_connect_method_proxying = true;
    options.h2c = listener.http2;
    options.h2_idle_timeout = Some(listener.timeouts.idle.as_std());
    proxy.server_options = Some(options);
    let acceptor = state.acceptors.get(name).cloned();
    let requests = Requests::new(Arc::new(proxy), runtimes.handles());
    Connections::new(name, listener, requests, acceptor, (closing, door), state)
}

fn start<A>(
    runtimes: &Runtimes,
    name: String,
    socket: Socket,
    app: A,
    buffers: L4BufferSettings,
    stopping: watch::Receiver<bool>,
) where
    A: pingora::apps::ServerApp + Send + Sync + 'static,
{
    let mut service = Service::new(name.clone(), app);
    let backlog = socket.backlog();
    let (listener, fds) = socket.into_service();
    service.add_listener(listener.l4_buffer(buffers));
    runtimes.latency.spawn(async move {
        let mut serving = pin!(service.start_service(Some(fds), stopping, 1));
        // The first poll listens.
        let begun = poll_fn(|context| Poll::Ready(serving.as_mut().poll(context))).await;
        let applied = backlog.and_then(|backlog| backlog.map_or(Ok(()), |backlog| backlog.apply()));
        if let Err(error) = applied {
            tracing::warn!(listener = name, %error, "backlog_max has no effect");
        }
        if begun.is_pending() {
            serving.await;
        }
    });
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
    read: &Read,
    reopen: &Reopen,
    succession: &Arc<Succession>,
) -> End {
    loop {
        match signals.next().await {
            Wish::Reload => reload_and_tell(state, read).await,
            Wish::ReopenLogs => reopen_logs(state, reopen).await,
            Wish::Upgrade => {
                if is_replaced(succession).await {
                    return End::Replaced;
                }
            }
            Wish::StopGracefully => return End::Gracefully,
            Wish::StopFast => return End::Stopped,
        }
    }
}

/// Starts the program again. Signals that come meanwhile are obeyed afterwards.
async fn is_replaced(succession: &Arc<Succession>) -> bool {
    let of = Arc::clone(succession);
    let begun = tokio::task::spawn_blocking(move || of.begin()).await;
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

async fn reload_and_tell(state: &Arc<State>, read: &Read) {
    notify::reloading();
    let (on, read) = (Arc::clone(state), Arc::clone(read));
    let done = tokio::task::spawn_blocking(move || reload(&on, read()?)).await;
    let result = match done {
        Ok(Ok(generation)) => {
            tracing::info!(generation, "reloaded");
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
